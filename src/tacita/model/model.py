"""A model that can be trusted: what was learnt, what it expects, and how good it was found to be.

On disk a model is a folder: `model.safetensors` (weights and normaliser) or `baseline.skops`,
`recipe.yaml` (what it is), `labels.json` (what goes in and what comes out), `metrics.json` (how
good), `history.jsonl` and `report.html`. Loading checks every tensor against the recipe and never
runs code from the folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from tacita.baselines.base import Baseline
from tacita.catalog.recipe import Recipe, dump_recipe, load_recipe
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Schema
from tacita.engine.checkpoint import add_to_digest, check_tensors, read_tensors, write_tensors
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.files import replacing, write_text
from tacita.learner import Learner, NetworkLearner
from tacita.modalities.load import read_like
from tacita.model.build import encoder_for, learner_for, needs_encoder
from tacita.model.labels_file import (
    DAMAGED,
    FORMAT,
    Signature,
    empty_dataset,
    parse_json,
    signature_of,
)
from tacita.model.metrics import Metrics
from tacita.model.predictions import PredictionFile
from tacita.model.safe_estimator import load_estimator, save_estimator
from tacita.tasks import Task


class Model:
    """A fitted learner with its recipe and its figures; `tacita.fit` gives one, `Model.load` too.

    recipe: what it is made of, resolved: nothing in it is "auto".
    learner: the fitted learner; `learner.encoder` is a plain torch module where there is one.
    metrics: its leaderboard, held-out scores and health, as in `metrics.json`.
    folder: where it is saved, if it is.
    """

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

    # Samples in memory

    def predict(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N,)` predicted labels in the user's own words."""
        return self.learner.predict(data)

    def predict_proba(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N, K)` class probabilities in the order of `task.answers`: the classes, mostly."""
        return self.learner.predict_proba(data)

    def embed(self, data: Any) -> np.ndarray[Any, Any]:
        """`(N, dim)` features. Raises `ConfigError` for a baseline, which has none."""
        if not isinstance(self.learner, NetworkLearner):
            raise ConfigError(
                f"{self.recipe.name} has no encoder, as a baseline has none, and so no features.",
                remedy="Run fit with --recipe barlow-linear-probe to get an encoder.",
            )
        return self.learner.embed(data)

    def evaluate(self, data: Any, y: Any = None) -> dict[str, float]:
        """The task's scores over the labelled samples."""
        data = self.learner.like_training(data, y).recoded(self.task)
        known = data.labelled.nonzero().squeeze(1)
        if not len(known):
            raise DataError(
                f"{data.source}: no sample has a label.", remedy="Give labels to compare with."
            )
        return self.task.scores(self.learner.logits(data.subset(known)), data.y[known])

    # Samples in files, streamed: the file may be larger than memory

    def predict_file(self, source: str | Path, out: str | Path | None, proba: bool = False) -> int:
        """Write `id,predicted[,probability of each class]` as CSV; gives the number of rows.

        A segmentation is written as label volumes: of NIfTI files into the folder `out`, each under
        its own name and on its own grid; of arrays into a `.npz` as `predicted`.
        """
        parts = (
            ([part.name_of(position) for position in range(len(part))], self.learner.logits(part))
            for part in read_like(source, self.schema)
        )
        to = PredictionFile(self.schema.kind, Path(source), Path(out) if out else None)
        return self.task.write(parts, to, probabilities=proba)

    def embed_file(self, source: str | Path, out: str | Path) -> int:
        """Write `(N, dim)` features as .npy, a chunk at a time; gives the number of rows."""
        self.embed(self.learner.data_)
        target = Path(out)
        if target.suffix != ".npy":
            raise ConfigError(
                f"--out {target}: features are written as .npy.", remedy="Name it so."
            )
        rows = 0
        dim = cast(NetworkLearner, self.learner).encoder.dim
        with replacing(target) as temporary, temporary.open("wb") as file:
            _npy_header(file, 0, dim)
            for part in read_like(source, self.schema):
                file.write(self.embed(part).astype(np.float32).tobytes())
                rows += len(part)
            file.seek(0)
            _npy_header(file, rows, dim)
        return rows

    def evaluate_file(
        self, source: str | Path, labels: str | Path | None = None
    ) -> dict[str, float]:
        """The scores over a file with labels, streamed."""
        logits, y = [], []
        for part in read_like(source, self.schema, labels=labels):
            known = part.subset(part.labelled)
            if len(known):
                logits.append(self.learner.logits(known))
                y.append(known.y)
        if not y:
            raise DataError(
                f"{source}: no sample has a label.", remedy="Name the labels with --labels."
            )
        return self.task.scores(*self.task.joined(logits, y))

    # The folder

    def save(self, folder: str | Path) -> Self:
        """Write the model's files, each whole or not at all; the weights last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "recipe.yaml", dump_recipe(self.recipe))
        write_text(folder / "labels.json", signature_of(self.learner).model_dump_json(indent=1))
        write_text(folder / "metrics.json", self.metrics.model_dump_json(indent=1))
        if isinstance(self.learner, Baseline):
            save_estimator(self.learner.estimator_, folder / "baseline.skops")
        tensors = self._tensors()
        metadata = {"format": str(FORMAT), "digest": _digest(folder, tensors)}
        write_tensors(folder / "model.safetensors", tensors, metadata)
        self.folder = folder
        return self

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a model's folder; raises `CheckpointError` for one that is damaged or not whole."""
        folder = Path(folder)
        if not (folder / "recipe.yaml").is_file():
            raise CheckpointError(
                f"{folder}: not a model folder (it has no recipe.yaml).",
                remedy="Give the folder that `tacita fit --out` wrote.",
            )
        recipe = load_recipe(folder / "recipe.yaml")
        signature = parse_json(Signature, folder / "labels.json")
        recipe.check(signature.modality)
        metrics = parse_json(Metrics, folder / "metrics.json")
        if signature.format != FORMAT:
            raise CheckpointError(
                f"{folder}: format {signature.format}; this version reads format {FORMAT}.",
                remedy="Load it with the version of tacita that metrics.json names.",
            )
        empty = empty_dataset(folder, signature)
        spec = empty.spec
        tensors, metadata = read_tensors(folder / "model.safetensors", remedy=DAMAGED)
        learner = _untrained(recipe, spec, empty.task, tensors, folder)
        learner.task_ = empty.task
        model = cls(recipe, learner, metrics, folder)
        learner.data_ = empty.normalised(empty.kind.normaliser(spec))
        check_tensors(folder / "model.safetensors", tensors, model._tensors())
        found = metadata.get("format"), metadata.get("digest")
        if found != (str(FORMAT), _digest(folder, tensors)):
            raise CheckpointError(
                f"{folder}: its files are damaged or of two models (their digest differs).",
                remedy=DAMAGED,
            )
        for name, module in model._modules().items():
            prefix = f"{name}/"
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
            module.eval()
        if isinstance(learner, Baseline):
            learner.spec_ = spec
            like = learner.estimator(empty.task, spec, rows=2, seed=recipe.seed)
            learner.estimator_ = load_estimator(folder / "baseline.skops", like, spec)
            _try_out(learner, folder)
        return model

    def _modules(self) -> dict[str, torch.nn.Module]:
        assert self.learner.data_.normaliser is not None
        modules: dict[str, torch.nn.Module] = {"normaliser": self.learner.data_.normaliser}
        if isinstance(self.learner, NetworkLearner):
            modules |= {"encoder": self.learner.encoder, "head": self.learner.head}
        return modules

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": value.detach()
            for name, module in self._modules().items()
            for key, value in module.state_dict().items()
        }

    def write_report(self, out: str | Path | None = None) -> Path:
        """Where the model's report stands; written at the end of `fit`."""
        if self.folder is None or not (self.folder / "report.html").is_file():
            raise CheckpointError(
                "There is no report in the model's folder.", remedy="Run fit with --out to get one."
            )
        source = self.folder / "report.html"
        if out is None:
            return source
        write_text(Path(out), source.read_text(encoding="utf-8"))
        return Path(out)

    def export(self, out: str | Path, format: str = "onnx") -> Path:
        """Write a file that runs without tacita: "onnx" or "torch" (`torch.export`)."""
        from tacita.model.export import export

        return export(self, Path(out), format)


def _npy_header(file: Any, rows: int, dim: int) -> None:
    """NumPy leaves room in a header for the rows to grow, so that they can be filled in at the end."""
    shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, shape)  # type: ignore[no-untyped-call]


def _try_out(learner: Baseline, folder: Path) -> None:
    """One prediction, so that an estimator of other classes or columns is refused at once."""
    x = torch.zeros(1, *learner.spec_.shape)
    try:
        logits = learner._logits(Batch.of(x))
        fits = logits.shape == (1, learner.task_.out_dim)
    except Exception:
        # scikit-learn refuses what does not fit it with many kinds of error.
        fits = False
    if not fits:
        raise CheckpointError(
            f"{folder / 'baseline.skops'}: the estimator is not of the recipe's task or input.",
            remedy=DAMAGED,
        )


def _digest(folder: Path, tensors: dict[str, Tensor]) -> str:
    """One number for everything that decides a prediction: recipe, labels, estimator and weights."""
    digest = hashlib.sha256()
    for name in ("recipe.yaml", "labels.json", "baseline.skops"):
        path = folder / name
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    add_to_digest(digest, tensors)
    return digest.hexdigest()


def _untrained(
    recipe: Recipe, spec: InputSpec, task: Task, tensors: dict[str, Tensor], folder: Path
) -> Learner:
    """The recipe's learner with networks of the file's shapes.

    They are first made without memory, so that a recipe that promises huge networks is refused
    before it takes any.
    """
    if (folder / "baseline.skops").exists() == needs_encoder(recipe):
        raise CheckpointError(
            f"{folder}: the recipe and the files do not belong together.",
            remedy=DAMAGED,
        )
    if not needs_encoder(recipe):
        return learner_for(recipe, None)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        with torch.device("meta"):
            outline = cast(NetworkLearner, learner_for(recipe, encoder_for(recipe, spec)))
            outline.rebuild(task, shapes)
        expected = {
            f"{part}/{name}": tuple(value.shape)
            for part, module in {"encoder": outline.encoder, "head": outline.head}.items()
            for name, value in module.state_dict().items()
        }
    except (RuntimeError, NotImplementedError):
        expected = {}  # A network of another library may need real numbers to be built.
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            raise CheckpointError(
                f"{folder / 'model.safetensors'}: {name} is not of the recipe's shape {shape}.",
                remedy="The folder is damaged or its files are of two models.",
            )
    try:
        learner = cast(NetworkLearner, learner_for(recipe, encoder_for(recipe, spec)))
        learner.rebuild(task, shapes)
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(
            f"{folder / 'recipe.yaml'}: its networks cannot be built ({error}).", remedy=DAMAGED
        ) from error
    return learner
