"""Which samples to label next: those that the model is torn about, and that are unlike each other.

Diverse mini-batch active learning (Zhdanov, 2019, arXiv 1901.05954): of the most uncertain samples, ten
for each that is asked for, k-means in the model's features makes as many clusters as are asked for, each
sample weighing as much as its uncertainty; of each cluster the sample nearest to its centre is taken.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.files import CsvLines, write_text
from tacita.learner import EncoderOnly, features
from tacita.modalities.load import read_like
from tacita.model.model import Model
from tacita.verbs.start import opened

KEPT: Final = 10
"""Uncertain samples that are kept for each one asked for: beta in the paper."""
HEADER: Final = ("id", "label", "predicted", "uncertainty")


class Pick(NamedTuple):
    """A sample to label: what the model takes it for, and how torn it is, from 0 to 1, where it can tell."""

    id: str
    predicted: str
    uncertainty: float | None


def label_next(
    model: Model | str | Path,
    data: Any,
    *,
    count: int = 20,
    out: str | Path | None = None,
    escape_formulas: bool = False,
) -> list[Pick]:
    """The samples without a label whose labels would teach the model most, the most uncertain first.

    model: a model or the folder of a run; where it has learnt no labels yet, or predicts no classes,
        samples are chosen to be unlike each other alone.
    data: a path, or data in memory, as for `Model.predict`; larger than memory if it is a file. Samples
        that have a label there are passed over.
    out: a CSV file to write: `id`, `label` (empty, to be filled in and given back as `labels=`),
        `predicted`, `uncertainty`.
    escape_formulas: write a `'` before ids and classes in it that a spreadsheet would run as a formula; as
        labels the ids are understood with it and without.

    Raises `ConfigError` for a count below 1, `DataError` where every sample has a label.

    >>> import torch
    >>> from tacita.modalities.load import load
    >>> from tacita.verbs.adapt import adapt
    >>> few = load("wine").hide_labels(torch.arange(0, 178, 6))
    >>> len(label_next(adapt("logistic-regression", few, quiet=True), few, count=3))
    3
    """
    if count < 1:
        raise ConfigError(f"count={count} is no number of samples.", remedy="Give 1 or more.")
    model = opened(model)
    pool = None
    for part in read_like(data, model.schema):
        mine = _candidates(model, part)
        pool = mine if pool is None else pool.with_more(mine)
        pool = pool.best(KEPT * count)
    if pool is None or not len(pool.ids):
        raise DataError(
            f"{data if isinstance(data, str | Path) else 'data'}: every sample has a label.",
            remedy="Give samples without labels.",
        )
    picks = [pool.pick(place) for place in diverse(pool.features, pool.weights, count).tolist()]
    picks.sort(key=lambda pick: -(pick.uncertainty or 0.0))
    if out is not None:
        write_text(Path(out), as_csv(picks, escape_formulas=escape_formulas))
    return picks


class _Candidates(NamedTuple):
    """Samples without a label. Shapes: `features (N, D)`, `rank (N,)` by which the best are kept."""

    ids: list[str]
    predicted: list[str]
    features: NDArray[Any]
    rank: NDArray[Any]
    torn: bool
    """Whether the rank is an uncertainty; else it is drawn at random."""

    def with_more(self, other: _Candidates) -> _Candidates:
        return _Candidates(
            self.ids + other.ids,
            self.predicted + other.predicted,
            np.concatenate([self.features, other.features]),
            np.concatenate([self.rank, other.rank]),
            self.torn,
        )

    def best(self, most: int) -> _Candidates:
        kept = np.sort(np.argsort(-self.rank, kind="stable")[:most])
        return _Candidates(
            [self.ids[i] for i in kept],
            [self.predicted[i] for i in kept],
            self.features[kept],
            self.rank[kept],
            self.torn,
        )

    @property
    def weights(self) -> NDArray[Any]:
        return self.rank if self.torn else np.ones(len(self.rank))

    def pick(self, place: int) -> Pick:
        torn = float(self.rank[place]) if self.torn else None
        return Pick(self.ids[place], self.predicted[place], torn)


def _candidates(model: Model, part: Dataset) -> _Candidates:
    learner, task = model.learner, model.task
    part = learner.like_training(part.subset(~part.labelled))
    ids = [part.name_of(position) for position in range(len(part))]
    if not ids:
        return _Candidates([], [], np.empty((0, 1)), np.empty(0), True)
    encoder = learner.encoder
    rows = part.arrays()[0] if encoder is None else features(encoder, part).numpy()
    predicted, torn = [""] * len(part), None
    if not isinstance(learner, EncoderOnly):
        logits = learner.logits(part)
        torn = task.uncertainty(logits)
        if logits.ndim == 2:
            predicted = task.words(task.predict(logits))
    if torn is None:
        # A draw that depends on the sample alone, so that it is the same in chunks of any size.
        return _Candidates(ids, predicted, rows, _draw(part.index), False)
    return _Candidates(ids, predicted, rows, torn.double().numpy(), True)


def _draw(index: Tensor) -> NDArray[np.float64]:
    mixed = (index.numpy().astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    return (mixed * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(11)) / 2.0**53


def diverse(rows: NDArray[Any], weights: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Positions of `count` samples that stand for all: one of each cluster, never two that are the same.

    Shapes: `rows (N, D)`; `weights (N,)`, what each counts for.

    >>> rows = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> diverse(rows, np.array([1.0, 9.0, 1.0, 9.0]), 2).tolist()
    [1, 3]
    """
    rows = rows.astype(np.float64)
    centred = rows - rows.mean(0)
    scale = np.abs(centred).max() or 1.0
    # Exactly equal samples would teach the same.
    _, first = np.unique(rows, axis=0, return_index=True)
    first = np.sort(first)
    if len(first) <= count:
        return first
    rows, weights = centred[first] / scale, np.maximum(weights[first], 1e-9)
    means = KMeans(count, n_init=1, random_state=0).fit(rows, sample_weight=weights)
    distance = np.linalg.norm(rows - means.cluster_centers_[means.labels_], axis=1)
    order = np.argsort(distance, kind="stable")
    _, nearest = np.unique(means.labels_[order], return_index=True)
    return np.sort(first[order[nearest]])


def as_csv(picks: list[Pick], *, escape_formulas: bool = False) -> str:
    """The picks as CSV, with an empty column for their labels."""
    text = io.StringIO()
    lines = CsvLines(text, escape_formulas=escape_formulas, ending="\n")
    for line in (HEADER, *_lines(picks)):
        lines.write(line)
    return text.getvalue()


def _lines(picks: list[Pick]) -> Iterator[tuple[str, str, str, str]]:
    for pick in picks:
        torn = "" if pick.uncertainty is None else f"{pick.uncertainty:.6f}"
        yield pick.id, "", pick.predicted, torn
