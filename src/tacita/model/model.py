"""A model that can be trusted: what was learnt, what it expects, and how good it was found to be.

It works on samples in memory and on files, which may be larger than memory. `folder.py` has what it
is on disk.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset, Schema
from tacita.data.learnt import told
from tacita.data.notes import LearntWarning
from tacita.data.reading import Reading
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.files import write_text
from tacita.learner import Learner, features
from tacita.modalities.load import open_source, read_like
from tacita.model.features import write_features
from tacita.model.folder import read_folder, write_folder
from tacita.model.metrics import Metrics
from tacita.model.predictions import PredictionFile
from tacita.tasks import Task
from tacita.words import html_table

REPORT = "report.html"
SUMMARY = "report.md"
"""A model's report in its folder: the page, and what it comes to as Markdown."""


class Page(Protocol):
    """A report that can be made of what is in memory."""

    def html(self) -> str:
        """The page, one file that needs nothing else."""

    def markdown(self) -> str:
        """What it comes to, as text."""


class Judged(NamedTuple):
    """What a file with labels says of a model.

    scores: as `evaluate` gives them. confusion: `(K, K)`, a row a true answer, in the order of
    `task.answers`; None for a task without answers.
    """

    scores: dict[str, float]
    confusion: np.ndarray[Any, Any] | None


class Model:
    """A fitted learner with its recipe and its figures; `tacita.fit` gives one, `Model.load` too.

    recipe: what it is made of, resolved: nothing in it is "auto".
    learner: the fitted learner; `learner.encoder` is a plain torch module where there is one.
    metrics: its leaderboard, held-out scores and health, as in `metrics.json`.
    folder: where it is saved, if it is.
    page: its report, as long as it is not in the folder.
    """

    page: Page | None = None

    def __init__(
        self, recipe: Recipe, learner: Learner, metrics: Metrics, folder: Path | None = None
    ) -> None:
        self.recipe = recipe
        self.learner = learner
        self.metrics = metrics
        self.folder = folder

    @property
    def task(self) -> Task:
        """What it predicts."""
        return self.learner.task_

    @property
    def schema(self) -> Schema:
        """What further samples must look like."""
        return self.learner.data_.schema

    def __repr__(self) -> str:
        held = self.metrics.held_out or {}
        found = ", ".join(f"{name} {value:.3f}" for name, value in held.items())
        spec = self.schema.spec
        return (
            f"Model({self.recipe.name!r}, {self.task.name} of {spec.modality} {spec.shape}"
            + (f", held out: {found}" if found else "")
            + ")"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows in its place."""
        spec, metrics = self.schema.spec, self.metrics
        rows = [("task", self.task.name), ("samples", f"{spec.modality} of shape {spec.shape}")]
        rows += [("classes", ", ".join(self.task.answers))] * bool(self.task.answers)
        for key, scores, intervals in (
            ("held out", metrics.held_out, metrics.held_out_intervals),
            ("out of fold", metrics.out_of_fold, metrics.out_of_fold_intervals),
        ):
            for name, value in (scores or {}).items():
                within = intervals.get(name)
                text = f"{value:.3f}" + (f" ({within[0]:.3f} to {within[1]:.3f})" if within else "")
                rows.append((f"{name}, {key}", text))
        rows += [("folder", str(self.folder))] * (self.folder is not None)
        return html_table(f"Model {self.recipe.name}", rows, most=20)

    # Samples in memory; with `strict`, what would be a `ReadingWarning` is a `DataError`

    def predict(self, data: Any, *, strict: bool = False) -> np.ndarray[Any, Any]:
        """`(N,)` predicted labels in the user's own words, numbers or booleans."""
        return self.learner.predict(self._asked(self.learner.like_training(data, strict=strict)))

    def predict_proba(self, data: Any, *, strict: bool = False) -> np.ndarray[Any, Any]:
        """`(N, K)` class probabilities in the order of `task.answers`: the classes, mostly."""
        return self.learner.predict_proba(self.learner.like_training(data, strict=strict))

    def embed(self, data: Any, *, strict: bool = False) -> np.ndarray[Any, Any]:
        """`(N, dim)` features. Raises `ConfigError` for a baseline, which has none."""
        encoder = self.learner.encoder
        if encoder is None:
            raise ConfigError(
                f"{self.recipe.name} has no encoder, as a baseline or an ensemble has none,"
                " and so no features.",
                remedy="Run fit with --recipe barlow-linear-probe to get an encoder.",
            )
        return features(encoder, self.learner.like_training(data, strict=strict)).numpy()

    def evaluate(self, data: Any, y: Any = None, *, strict: bool = False) -> dict[str, float]:
        """The task's scores over the labelled samples.

        Warns with a `LearntWarning` of samples that the model has learnt from, known by their values.
        """
        data = self.learner.like_training(data, y, strict=strict).recoded(self.task)
        known = data.labelled.nonzero().squeeze(1)
        if not len(known):
            raise DataError(
                f"{data.source}: no sample has a label.", remedy="Give labels to compare with."
            )
        data = data.subset(known)
        self._warn_of_learnt(data.source, [self.learner.learnt_.among(data.samples)], len(data))
        return self.task.scores(self.learner.logits(data), data.y)

    def _warn_of_learnt(self, source: str, found: list[tuple[int, int]], count: int) -> None:
        known, of = (sum(each) for each in zip(*found, strict=True))
        said = told(known, of, count)
        if said:
            warnings.warn(f"{source}: {said}", LearntWarning, stacklevel=3)

    def _asked(self, data: Dataset) -> Dataset:
        """The samples that are to be predicted: of what goes on, those whose answer nobody knows yet."""
        if not self.task.continues:
            return data
        asked = data.subset(~data.labelled)
        if not len(asked):
            raise DataError(
                f"{data.source}: no series has the rows to come, of which something is known ahead.",
                remedy="`tacita future MODEL DATA` writes them, to be filled in and appended.",
            )
        return asked

    # Samples in files, a chunk at a time: the file may be larger than memory

    def predict_file(
        self,
        source: str | Path,
        out: str | Path | None,
        proba: bool = False,
        *,
        strict: bool = False,
        as_json: bool = False,
        escape_formulas: bool = False,
    ) -> int:
        """Write `id,predicted[,probability of each class]` as CSV; gives the number of rows.

        as_json: an object a line instead, `{"id": ..., "predicted": ..., "probabilities": {...}}`.
        escape_formulas: write a `'` before text in CSV that a spreadsheet would run as a formula.

        Of a label a step there is a line for each, `id,step[,time],predicted`, times where they are known.
        A segmentation is written as label volumes: of NIfTI files into the folder `out`, each under
        its own name and on its own grid; of arrays into a `.npz` as `predicted`.
        """
        task = self.task
        parts = (
            (
                task.named(
                    [part.name_of(position) for position in range(len(part))],
                    part.samples,
                    part.kind.times(part) if task.stepwise else None,
                ),
                self.learner.logits(part),
            )
            for part in map(self._asked, read_like(source, self.schema, strict=strict))
        )
        place = Path(out) if out else None
        to = PredictionFile(self.schema.kind, Path(source), place, as_json, escape_formulas)
        return task.write(parts, to, probabilities=proba)

    def future_file(
        self, source: str | Path, out: str | Path | None, *, escape_formulas: bool = False
    ) -> int:
        """Write the rows that a forecast asks for as CSV, to be filled in; gives how many there are.

        Raises `ConfigError` for a model that forecasts nothing.
        """
        opened = open_source(source, Reading(modality=self.schema.meta.modality))
        header, rows = self.schema.kind.to_come(opened, self.schema)
        place = Path(out) if out else None
        to = PredictionFile(self.schema.kind, Path(source), place, False, escape_formulas)
        return to.lines(header, rows)

    def embed_file(
        self,
        source: str | Path,
        out: str | Path,
        *,
        strict: bool = False,
        escape_formulas: bool = False,
    ) -> int:
        """Write `(N, dim)` features, a chunk at a time; gives the number of rows.

        `.csv` and `.parquet` have a column `id`; beside a `.npy` there is a `.ids.csv`.
        escape_formulas: as in `predict_file`, of ids in CSV.
        """
        dim = self.embed(self.learner.data_).shape[1]
        rows = (
            ([part.name_of(position) for position in range(len(part))], self.embed(part))
            for part in read_like(source, self.schema, strict=strict)
        )
        return write_features(rows, dim, Path(out), escape_formulas=escape_formulas)

    def evaluate_file(
        self,
        source: str | Path,
        labels: str | Path | None = None,
        *,
        strict: bool = False,
    ) -> dict[str, float]:
        """The scores over a file with labels, read a chunk at a time."""
        return self.judged_file(source, labels, strict=strict).scores

    def judged_file(
        self,
        source: str | Path,
        labels: str | Path | None = None,
        *,
        strict: bool = False,
    ) -> Judged:
        """The scores over a file with labels, and which answers are taken for which; warns as `evaluate`."""
        logits, y, learnt = [], [], []
        for part in read_like(source, self.schema, labels=labels, strict=strict):
            known = part.subset(part.labelled)
            if len(known):
                logits.append(self.learner.logits(known))
                y.append(known.y)
                learnt.append(self.learner.learnt_.among(known.samples))
        if not y:
            raise DataError(
                f"{source}: no sample has a label.", remedy="Name the labels with --labels."
            )
        self._warn_of_learnt(str(source), learnt, sum(map(len, y)))
        both = self.task.joined(logits, y)
        return Judged(self.task.scores(*both), self.task.shown(*both, 0).confusion)

    # The folder

    def save(self, folder: str | Path) -> Self:
        """Write the model's files, each whole or not at all; the weights last."""
        write_folder(Path(folder), self.recipe, self.learner, self.metrics)
        self.folder = Path(folder)
        return self

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a model's folder; raises `CheckpointError` for one that is damaged or not whole."""
        recipe, learner, metrics = read_folder(Path(folder))
        return cls(recipe, learner, metrics, Path(folder))

    def report(self, out: str | Path | None = None, *, markdown: bool = False) -> Path:
        """Write the report into a file, or say where it stands in the model's folder.

        markdown: what it comes to as Markdown text, in place of the page. Raises `ConfigError` for a
        model in memory without `out`, `CheckpointError` where there is none.
        """
        name = SUMMARY if markdown else REPORT
        if self.page is not None:
            if out is None:
                raise ConfigError(
                    "The model is not saved, so its report has no place.",
                    remedy='Name a file: model.report("page.html").',
                )
            write_text(Path(out), self.page.markdown() if markdown else self.page.html())
            return Path(out)
        if self.folder is None or not (self.folder / name).is_file():
            raise CheckpointError(
                f"There is no {name} in the model's folder.",
                remedy="Run fit with --out to get one.",
            )
        source = self.folder / name
        if out is None:
            return source
        write_text(Path(out), source.read_text(encoding="utf-8"))
        return Path(out)

    def export(self, out: str | Path, format: str = "onnx") -> Path:
        """Write a file that runs without tacita: "onnx" or "torch" (`torch.export`)."""
        from tacita.model.export import export

        return export(self, Path(out), format)
