"""What was understood of a data set, and what looks suspicious in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.audit.shift.pool_shift import is_far, pool_shift
from tacita.data.check import doubtful_classes, told_either_way
from tacita.data.dataset import Dataset
from tacita.words import SHOWN, plural, printable

_NO_LABEL = "no sample has a label: only pretraining is possible"
_BLOCK = 2**24
_HUGE = 5
"""How many times the labels of all other classes one class has that may be none."""


@dataclass(frozen=True)
class Description:
    """Plain facts on a data set; `lines()` says them in words."""

    source: str
    modality: str
    samples: int
    shape: tuple[int, ...]
    """One sample's shape, as in `InputSpec`."""
    task: str
    labelled: int
    what: str
    """The samples in a phrase."""
    summary: str = ""
    """The labels in a phrase, such as "3 classes"."""
    classes: dict[str, int] = field(default_factory=dict)
    """Labels a class, in the order of their codes; of segmentation, voxels."""
    labels: list[tuple[str, str]] = field(default_factory=list)
    """What the task has to say of the labels, a key and a phrase each."""
    groups: int | None = None
    group: str | None = None
    weights: str = ""
    """How the labels are weighed, in a phrase; empty where all count the same."""
    id_column: str | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    """What the modality has to say besides, a key and a phrase each."""
    notes: list[str] = field(default_factory=list)
    """What was done when the data were read."""
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The description as aligned text, notes and warnings a line each at the end."""
        labels = f"{self.labelled} labelled of {self.samples}"
        phrases = [self.what, labels, *([self.summary] if self.summary else [])]
        said = [("data", ", ".join(phrases)), *self.labels]
        said += self.facts
        if self.id_column is not None:
            said.append(("ids", f"from column {self.id_column!r}, which is not learnt from"))
        if self.groups is not None:
            origin = f" of {self.group!r}" if self.group else ""
            said.append(("groups", f"{self.groups}{origin}, never split between parts"))
        if self.weights:
            said.append(("weights", self.weights))
        said += [("note", text) for text in self.notes]
        said += [("warning", text) for text in self.warnings]
        return [printable(f"{key:<9} {text}") for key, text in said]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def describe(data: Dataset, held_out: Dataset | None = None) -> Description:
    """Facts and suspicions; `held_out` is searched for samples that `data` holds too.

    >>> from tacita.modalities.load import load
    >>> describe(load("wine")).lines()[0]
    'data      178 rows, 13 columns, 178 labelled of 178, 3 classes'
    """
    task, known = data.task, data.targets[data.labelled]
    warnings = [
        *(task.suspicions(known) if len(known) else [_NO_LABEL]),
        *_about_words(data),
        *_about_groups(data),
        *([] if data.doubt is None else [str(data.doubt)]),
        *data.kind.suspicions(data),
        *_about_duplicates(data),
        *_about_pool(data),
        *(_about_leakage(data, held_out) if held_out is not None else []),
    ]
    return Description(
        data.source,
        data.modality,
        len(data),
        data.spec.shape,
        task.name,
        len(known),
        data.kind.words(data),
        summary=task.summary(known),
        classes=task.counts(known),
        labels=task.facts(known),
        groups=None if data.groups is None else len(torch.unique(data.groups)),
        group=data.meta.group,
        weights=_weights_in_words(data),
        id_column=data.meta.id_column,
        facts=data.kind.facts(data),
        notes=[str(note) for note in data.notes],
        warnings=warnings,
    )


def _weights_in_words(data: Dataset) -> str:
    weights = data.evened().weights
    if weights is None:
        return ""
    known = weights[data.labelled]
    origin = f" of {data.meta.weight!r}" if data.meta.weight else ""
    # As many samples of one weight would settle as much: Kish's effective sample size.
    effective = float(known.sum() ** 2 / known.square().sum())
    return (
        f"{float(known.min()):.3g} to {float(known.max()):.3g} times the mean{origin}, as good as"
        f" {effective:.0f} of {len(known)} labels; they count in learning, not in scores"
    )


def _about_words(data: Dataset) -> list[str]:
    """Classes whose names may mean that there is no label, and names that may be of one class."""
    if data.task.codes(data.targets[data.labelled]) is None:
        return []
    said = [
        f"the class {word!r} may mean that there is no label. {told_either_way(word)}"
        for word in doubtful_classes(data)
    ]
    counts = data.task.counts(data.targets[data.labelled])
    largest = max(counts, key=lambda name: counts[name], default="")
    others = sum(counts.values()) - counts.get(largest, 0)
    asked = largest in (*doubtful_classes(data), *data.meta.as_class)
    if len(counts) > 2 and counts[largest] > _HUGE * others and not asked:
        said.append(
            f"the class {largest!r} has {counts[largest]} labels, all others together {others}: if it"
            f" means that nobody labelled them, say unlabelled_as={largest!r}"
            f" (--unlabelled-as={largest})"
        )
    folded: dict[str, list[str]] = {}
    for name in data.task.classes:
        folded.setdefault(" ".join(re.split(r"[\s_-]+", name.casefold())), []).append(name)
    alike = [" and ".join(map(repr, names)) for names in folded.values() if len(names) > 1]
    return [*said, *(f"{names} are classes of their own: are they one?" for names in alike)]


def _about_groups(data: Dataset) -> list[str]:
    """Classes that one group has for itself, which no split by groups can learn and score."""
    known = data.task.codes(data.targets[data.labelled])
    if data.groups is None or known is None or not len(known):
        return []
    pairs = torch.unique(torch.stack([known, data.groups[data.labelled]]), dim=1)
    groups = torch.bincount(pairs[0], minlength=len(data.task.classes)).tolist()
    alone = [f"{name!r}" for name, n in zip(data.task.answers, groups, strict=False) if n == 1]
    if not alone:
        return []
    more = ", ..." * (len(alone) > SHOWN)
    return [
        f"labels of one group only in {plural(len(alone), 'class')}: {', '.join(alone[:SHOWN])}"
        f"{more}; no split can both learn and score {'it' if len(alone) == 1 else 'them'}"
    ]


def _about_duplicates(data: Dataset) -> list[str]:
    """Exact duplicates, those whose labels clash, and labelled samples among the unlabelled ones."""
    hashes = _hashes(data)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    twin = first[group]
    again = np.flatnonzero(twin != np.arange(len(data)))
    again = again[_equal(data, again, data, twin[again])]
    if not len(again):
        return []
    copy, original = int(again[0]), int(twin[again[0]])
    said = [
        f"{plural(len(again), 'exact duplicate')} of an earlier sample"
        f" (first: {data.name_of(copy)} = {data.name_of(original)})"
    ]
    y, known = data.y.numpy(), data.labelled.numpy()
    alike = twin == np.arange(len(data))
    alike[again] = True
    labelled = np.flatnonzero(alike & known)
    # The first twin with a label of each sample; there may be one before it that has none.
    told = np.full(len(first), -1)
    told[group[labelled[::-1]]] = labelled[::-1]
    model = told[group]
    others = labelled[model[labelled] != labelled]
    shape = (len(others), int(np.prod(y.shape[1:])))
    clash = others[(y[others] != y[model[others]]).reshape(shape).any(1)]
    if len(clash) and y.ndim > 1:
        said.append(f"{plural(len(clash), 'duplicate')} with other labels")
    elif len(clash):
        copy, original = int(clash[0]), int(model[clash[0]])
        one, other = data.task.words(data.y[torch.tensor([copy, original])])
        said.append(
            f"{plural(len(clash), 'duplicate')} with another label (first:"
            f" {data.name_of(copy)} is {one!r}, {data.name_of(original)} is {other!r})"
        )
    repeated = np.flatnonzero(alike & ~known & (model >= 0))
    if len(repeated):
        copy, original = int(repeated[0]), int(model[repeated[0]])
        said.append(
            f"{plural(len(repeated), 'unlabelled sample')} the same as a labelled one"
            f" (first: {data.name_of(copy)} = {data.name_of(original)})"
        )
    return said


def _about_pool(data: Dataset) -> list[str]:
    distance = pool_shift(data)
    if distance is None or not is_far(distance):
        return []
    return [
        "the unlabelled samples are unlike the labelled ones (Frechet distance"
        f" {distance.value:.2g}, by chance {distance.noise:.2g}): learning from them may do harm;"
        " leave out what is of another kind, and trust no winner that is not above 'supervised'"
    ]


def _about_leakage(data: Dataset, held_out: Dataset) -> list[str]:
    if data.x.dtype != held_out.x.dtype or data.spec.channels != held_out.spec.channels:
        return []
    seen, first = np.unique(_hashes(data), return_index=True)
    hashes = _hashes(held_out)
    at = np.searchsorted(seen, hashes).clip(max=len(seen) - 1)
    leaked = np.flatnonzero(seen[at] == hashes)
    leaked = leaked[_equal(held_out, leaked, data, first[at[leaked]])]
    if not len(leaked):
        return []
    inside, outside = int(first[at[leaked[0]]]), int(leaked[0])
    return [
        f"{plural(len(leaked), 'held-out sample')} found in the training data too (first:"
        f" {held_out.name_of(outside)} = {data.name_of(inside)}): scores will be too good"
    ]


def _hashes(data: Dataset) -> NDArray[np.uint64]:
    """`(N,)` hash of every sample: a random linear form over its bits, so padding does not count."""
    width = int(data.x[0].numel())
    # A longer padding draws more weights after the same first ones.
    weights = np.random.default_rng(0).integers(1, 2**63, width, dtype=np.uint64) * 2 + 1
    out = np.empty(len(data), np.uint64)
    rows = max(1, _BLOCK // max(width, 1))
    for start in range(0, len(data), rows):
        block = np.ascontiguousarray(data.x[start : start + rows].flatten(1).numpy())
        bits = block if block.dtype == np.uint8 else block.view(f"u{block.itemsize}")
        out[start : start + rows] = (bits.astype(np.uint64) * weights).sum(1, dtype=np.uint64)
    if data.lengths is not None:
        # The weight of a length must not depend on the padding either.
        out += data.lengths.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return out


def _equal(
    a: Dataset, at_a: NDArray[np.int64], b: Dataset, at_b: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether pairs of samples with one hash are the same indeed; the longer of two paddings is cut."""
    out = np.ones(len(at_a), bool)
    stepped = "steps" in a.kind.card.gives
    if a.x.shape[1 + stepped :] != b.x.shape[1 + stepped :]:
        return np.zeros(len(at_a), bool)
    rows = max(1, _BLOCK // max(int(a.x[0].numel()), 1))
    for start in range(0, len(at_a), rows):
        left = a.x[torch.from_numpy(at_a[start : start + rows])]
        right = b.x[torch.from_numpy(at_b[start : start + rows])]
        if stepped:
            common = min(left.shape[1], right.shape[1])
            left, right = left[:, :common], right[:, :common]
        same = (
            (left == right) | (left.isnan() & right.isnan())
            if left.is_floating_point()
            else left == right
        )
        out[start : start + rows] = same.flatten(1).all(1).numpy()
    return out
