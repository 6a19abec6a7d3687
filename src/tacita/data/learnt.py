"""Which samples a model has learnt from, known again by what is in them.

A model that is asked how good it is on these would be flattered by the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.values import Graphs, Ragged, Values
from tacita.words import plural

MOST = 4096
"""Samples that are kept of a model's training: of more, those of the smallest marks."""
_DIGITS = 16
PATTERN = r"^([0-9a-f]{16})*$"
_CHUNK = 1024


@dataclass(frozen=True)
class Learnt:
    """The marks of samples whose labels were learnt: sixteen hexadecimal digits each, end to end, rising.

    >>> x = torch.eye(4)
    >>> learnt = Learnt.of(x[:3])
    >>> learnt.among(x), learnt.among(x[3:])
    ((3, 4), (0, 1))
    """

    text: str = ""

    @classmethod
    def of(cls, samples: Values) -> Learnt:
        """Those of raw samples."""
        marks = np.unique(fingerprints(samples))[:MOST]
        return cls("".join(f"{mark:0{_DIGITS}x}" for mark in marks.tolist()))

    @property
    def marks(self) -> NDArray[np.uint64]:
        """`(n,)`, rising."""
        starts = range(0, len(self.text), _DIGITS)
        return np.array([int(self.text[i : i + _DIGITS], 16) for i in starts], dtype=np.uint64)

    def among(self, samples: Values) -> tuple[int, int]:
        """How many of some raw samples were learnt from, and of how many that could be told.

        Where more were learnt from than are kept, it is told of samples with marks as small as theirs: a
        draw by content, so that the share holds.
        """
        marks, found = self.marks, fingerprints(samples)
        if len(marks) >= MOST:
            found = found[found <= marks[-1]]
        return int(np.isin(found, marks).sum()), len(found)


def told(known: int, of: int, count: int) -> str:
    """What is to be said of `count` scored samples, by `Learnt.among`; empty where none is known.

    >>> told(37, 120, 120)
    '37 of 120 samples were learnt from: the figures flatter the model'
    """
    if not known:
        return ""
    if known == of:
        said = "these are the samples that it was trained on"
    elif of == count:
        said = f"{known} of {plural(count, 'sample')} were learnt from"
    else:
        said = f"about {known / of:.0%} of {plural(count, 'sample')} were learnt from"
    return f"{said}: the figures flatter the model"


def fingerprints(samples: Values) -> NDArray[np.uint64]:
    """`(N,)` marks of raw samples by their values in 32 bits, so that a file and an array give the same."""
    marks = [
        int.from_bytes(hashlib.blake2b(each, digest_size=8).digest(), "big")
        for each in _contents(samples)
    ]
    return np.array(marks, dtype=np.uint64)


def _contents(samples: Values) -> Iterator[bytes]:
    for start in range(0, len(samples), _CHUNK):
        part = samples[torch.arange(start, min(start + _CHUNK, len(samples)))]
        if isinstance(part, Ragged):
            yield from map(np.ndarray.tobytes, _apart(part.flat, part.lengths))
        elif isinstance(part, Graphs):
            nodes, ends = (
                _apart(part.nodes, part.node_counts),
                _apart(part.ends.T, part.edge_counts),
            )
            yield from (a.tobytes() + b.tobytes() for a, b in zip(nodes, ends, strict=True))
        else:
            yield from map(np.ndarray.tobytes, _plain(part))


def _apart(flat: Tensor, counts: Tensor) -> list[NDArray[Any]]:
    return np.split(_plain(flat), counts.cumsum(0)[:-1].numpy())


def _plain(values: Tensor) -> NDArray[np.float32]:
    # Minus zero is zero, and there are many NaN.
    with np.errstate(over="ignore"):
        plain = values.numpy().astype(np.float32) + np.float32(0)
    plain[np.isnan(plain)] = np.nan
    return plain
