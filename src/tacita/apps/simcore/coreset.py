"""Out of a large pool, the samples nearest to a small set of them: SimCore's selection, over features.

Kim, Bae and Yun, "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", 2023.
Prototypes of the target take turns: each picks the candidate nearest to it that none has picked yet,
until what they find is no longer near. Works on any features: of an encoder, of a PCA, of text.

Time is that of comparing each candidate with each prototype once or a few times; memory is that of the
prototypes' lists, whatever the number of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.parts.similarity import unit

try:
    import faiss
except ModuleNotFoundError:
    faiss = None  # type: ignore[assignment]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LISTED = 2**23
"""How many candidates are listed at most, over all prototypes together: 128 MB."""
FIRST_LISTED = 2**20
"""How many at first, or a hundredth of the pool for each prototype: often the picks end before these."""
ROWS = 2**16
"""Candidates that are compared at a time."""
ROUNDING = 1e-5
"""More than two float32 cosines of one pair can differ by."""


@dataclass(frozen=True)
class Picks:
    """What the prototypes picked, in the order of the rounds; within a round the nearest first.

    Shapes: `indices (S,)` positions in the pool, none twice; `prototypes (S,)`, which one picked each;
    `similarities (S,)`, the cosines between them; `values (R,)`, the mean cosine of each round.
    stopped: `"similarity"` where the picks were no longer near, `"budget"`, or `"pool"` where all of it
        is chosen.
    """

    indices: Indices
    prototypes: Indices
    similarities: Floats
    values: Floats
    stopped: Literal["similarity", "budget", "pool"]


class Lists:
    """For each prototype the candidates from the nearest on, and how far down it has come.

    Shapes: `order` and `similarity (k, depth)`, of which the first `known (k,)` of a row are so.
    """

    def __init__(self, order: Indices, similarity: Floats, known: Indices) -> None:
        self.order = order
        self.similarity = similarity
        self.known = known
        self.at = np.zeros(len(order), dtype=np.int64)

    def skip(self, chosen: NDArray[np.bool_]) -> bool:
        """Move every prototype on to a candidate that is not chosen; False where a list is at its end."""
        rows = np.arange(len(self.order))
        while True:
            if bool((self.at >= self.known).any()):
                return False
            taken = chosen[self.order[rows, self.at]]
            if not taken.any():
                return True
            self.at += taken

    def nearest(self) -> tuple[Indices, Floats]:
        """The candidate that each prototype has come to, and its cosine: `(k,)` each."""
        rows = np.arange(len(self.order))
        return self.order[rows, self.at], self.similarity[rows, self.at]


def facility_greedy(
    similarity: Any, budget: int, *, patience: int = 20, stop: float = 0.95
) -> Picks:
    """Round-robin greedy over a matrix of cosines, candidates by prototypes `(N, k)`.

    Each round every prototype picks its nearest candidate that is in no earlier round; one that is
    picked twice in a round counts once. From round `patience + 1` on, the picks end before the first
    round whose mean cosine is below `stop` times that of round `patience` (0: they do not). They are at
    most `budget`: of a last round that would be more, the nearest are kept.

    Equal cosines are taken in the order of the candidates. For matrices too large for memory:
    `select_nearest`. Raises `ConfigError` for options that make no sense.

    >>> similarity = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7]])
    >>> facility_greedy(similarity, 3).indices.tolist()
    [0, 2, 1]
    """
    columns = np.asarray(similarity, dtype=np.float64).T
    check_options(budget, patience, stop)
    order = np.argsort(-columns, axis=1, kind="stable")
    whole = np.full(len(columns), columns.shape[1])
    lists = Lists(order, np.take_along_axis(columns, order, axis=1), whole)
    return _take_turns(lambda chosen: lists, columns.shape[1], budget, patience, stop)


def select_nearest(
    prototypes: Any, pool: Any, budget: int, *, patience: int = 20, stop: float = 0.95
) -> Picks:
    """`facility_greedy` over the cosines of `pool (N, D)` and `prototypes (k, D)`, never held at once.

    The pool may be an array on disk (`numpy.load(path, mmap_mode="r")`): it is read in blocks. Lists of
    the nearest candidates are as long as `LISTED` allows, and made anew from the candidates left when
    one is at its end. faiss finds them where it is installed. The cosines in them are computed once
    more in float64, and what rounding could have put behind a list's end is left out, so that blocks
    and backends have no say in the answer.

    Raises `DataError` for features that are not finite or of unlike widths, `ConfigError` for options
    that make no sense.

    >>> select_nearest([[1.0, 0.0]], [[0.0, 1.0], [2.0, 0.1], [1.0, 1.0]], 2).indices.tolist()
    [1, 2]
    """
    queries, candidates = _matrix(prototypes, "prototypes"), _matrix(pool, "pool")
    check_options(budget, patience, stop)
    if queries.shape[1] != candidates.shape[1]:
        raise DataError(
            f"the prototypes have {queries.shape[1]} features, and the pool {candidates.shape[1]}.",
            remedy="Take both from one encoder.",
        )
    rows = _unit(queries, "prototypes")

    made = 0

    def refill(chosen: NDArray[np.bool_]) -> Lists:
        nonlocal made
        left = len(candidates) - int(chosen.sum())
        first = max(FIRST_LISTED // len(rows), len(candidates) // 100)
        depth = min(left, max(2 * patience, min(LISTED // len(rows), first * 4**made)))
        made += 1
        while True:
            lists = _nearest_lists(rows, candidates, chosen, depth)
            if bool((lists.known > 0).all()):
                return lists
            depth = min(left, 2 * depth)  # all of a list may be equal but for rounding

    return _take_turns(refill, len(candidates), budget, patience, stop)


def prototypes_of(features: Any, k: int = 100) -> Tensor:
    """`(k, D)` unit vectors: k-means centres of the normalised `features (M, D)`; with `k >= M`, all.

    scikit-learn's k-means, always from the same seed, on rows in the order of their values, so that
    the order in which samples come has no say.

    >>> prototypes_of([[2.0, 0.0], [0.0, 3.0]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    rows = _unit(_matrix(features, "target"), "target")
    if k < 1:
        raise ConfigError(f"k={k} prototypes.", remedy="The default is 100.")
    if k >= len(rows):
        return rows
    rows = rows[torch.from_numpy(np.lexsort(rows.numpy().T[::-1]))]
    means = KMeans(k, random_state=0, n_init=1).fit(rows.numpy())
    return unit(torch.from_numpy(means.cluster_centers_.astype(np.float32)))


def coverage(targets: Any, chosen: Any) -> float:
    """The facility-location value a target: the mean over `targets (M, D)` of the best cosine in `chosen`.

    >>> coverage([[1.0, 0.0], [0.0, 1.0]], [[3.0, 0.0]])
    0.5
    """
    wanted = _matrix(targets, "targets")
    found = _unit(_matrix(chosen, "chosen"), "chosen")
    blocks = (wanted[start : start + 1024] for start in range(0, len(wanted), 1024))
    best = [(_unit(block, "targets") @ found.T).amax(1) for block in blocks]
    return float(torch.cat(best).double().mean())


def check_options(budget: int, patience: int, stop: float) -> None:
    """Refuse what makes no sense. Raises `ConfigError`."""
    if budget < 1 or patience < 1:
        raise ConfigError(f"budget={budget}, patience={patience}: both must be 1 or more.")
    if not 0 <= stop <= 1:
        raise ConfigError(
            f"stop={stop} is no share of a similarity.",
            remedy="The default is 0.95; 0 goes on to the budget.",
        )


def _take_turns(
    refill: Callable[[NDArray[np.bool_]], Lists],
    count: int,
    budget: int,
    patience: int,
    stop: float,
) -> Picks:
    """The rounds: `refill(chosen)` lists the nearest candidates of those that are not chosen."""
    chosen = np.zeros(count, dtype=bool)
    lists: Lists | None = None
    picked: list[tuple[Indices, Indices, Floats]] = []
    values: list[float] = []
    total = 0
    stopped: Literal["similarity", "budget", "pool"] = "budget"
    while total < budget:
        if total == count:
            stopped = "pool"
            break
        if lists is None or not lists.skip(chosen):
            lists = refill(chosen)
        at, similarity = lists.nearest()
        value = float(similarity.mean())
        if stop and len(values) >= patience and value < stop * values[patience - 1]:
            stopped = "similarity"
            break
        # Of two prototypes that pick one candidate, the nearer has picked it.
        nearest_first = np.lexsort((at, -similarity))
        _, first = np.unique(at[nearest_first], return_index=True)
        new = nearest_first[np.sort(first)][: budget - total]
        picked.append((at[new], new, similarity[new]))
        chosen[at[new]] = True
        total += len(new)
        values.append(value)
    parts = [np.concatenate(part) for part in zip(*picked, strict=True)]
    return Picks(parts[0], parts[1], parts[2], np.array(values), stopped)


def _nearest_lists(
    queries: Tensor, pool: NDArray[Any], chosen: NDArray[np.bool_], depth: int
) -> Lists:
    """The `depth` nearest candidates of each prototype among those that are not chosen."""
    best = torch.empty(len(queries), 0)
    at = torch.empty(len(queries), 0, dtype=torch.int64)
    for positions, rows in _blocks(pool, chosen, max(ROWS, depth)):
        found, where = _top(queries, rows, min(depth, len(rows)))
        best, at = torch.cat([best, found], 1), torch.cat([at, positions[where]], 1)
        if best.shape[1] > depth:
            best, kept = best.topk(depth, dim=1)
            at = at.gather(1, kept)
    last = best.amin(1).double().numpy()
    complete = depth >= len(pool) - int(chosen.sum())
    order, similarity = at.numpy(), np.empty(at.shape)
    for row, query in enumerate(queries.double()):
        exact = _cosines(query, pool, order[row])
        sorted_ = np.lexsort((order[row], -exact))
        order[row], similarity[row] = order[row][sorted_], exact[sorted_]
    sure = similarity > (last + ROUNDING)[:, None]
    known = np.full(len(order), depth) if complete else sure.sum(1)
    return Lists(order, similarity, known)


def _cosines(query: Tensor, pool: NDArray[Any], at: Indices) -> Floats:
    """Of one query with some candidates, in float64; equal candidates have equal cosines."""
    parts = []
    for start in range(0, len(at), 1024):  # what fits into a cache
        rows = torch.from_numpy(np.asarray(pool[at[start : start + 1024]], dtype=np.float64))
        # Sums along a row, and not a product with a matrix, whose order of adding is not one.
        lengths = rows.square().sum(1).sqrt().clamp_min(1e-300)
        parts.append((rows * query).sum(1) / lengths)
    return (torch.cat(parts) / query.norm()).numpy()


def _blocks(
    pool: NDArray[Any], chosen: NDArray[np.bool_], size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions and unit features of the candidates that are not chosen, a block at a time."""
    for start in range(0, len(pool), size):
        left = np.flatnonzero(~chosen[start : start + size])
        if len(left):
            block = np.array(pool[start : start + size], dtype=np.float32)
            if len(left) < len(block):
                block = block[left]
            yield torch.from_numpy(left + start), _unit(block, "pool")


def _top(queries: Tensor, rows: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """The cosines and positions of the `depth` rows nearest to each query: `(k, depth)` each."""
    if faiss is not None:
        found, where = faiss.knn(
            queries.numpy(), rows.numpy(), depth, metric=faiss.METRIC_INNER_PRODUCT
        )
        return torch.from_numpy(found), torch.from_numpy(where)
    # A block of queries at a time: the products are as many as are listed, and no more.
    size = max(1, LISTED // len(rows))
    parts = [(part @ rows.T).topk(depth, dim=1) for part in queries.split(size)]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def _unit(values: NDArray[Any], name: str) -> Tensor:
    """Rows of unit length in float32, of a copy."""
    rows = unit(torch.from_numpy(np.array(values, dtype=np.float32)))
    if not bool(rows.isfinite().all()):
        raise DataError(
            f"the features of the {name} are not all finite.",
            remedy="See whether the encoder has diverged.",
        )
    return rows


def _matrix(values: Any, name: str) -> NDArray[Any]:
    """As an array of two axes, not copied where it is one."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    array = np.asanyarray(values)
    if array.ndim != 2 or not array.size:
        raise DataError(
            f"the features of the {name} have the shape {array.shape}.",
            remedy="Give one row a sample, and at least one.",
        )
    return array
