"""SimCore: what is like a small data set is found in a large pool, and both are pretrained on together.

Kim, Bae and Yun, "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning", 2023. For
a small special collection (birds, scans, machines) beside a large general one without labels: too few
samples to pretrain on alone, and too much else in the pool. Three steps: pretrain on the target alone,
select by its features, pretrain anew on target and selection: `tacita.verbs.simcore.pretrain_on_coreset`.
`tacita.apps.simcore.coreset` has the selection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacita.apps.base import App
from tacita.apps.simcore.coreset import Picks, check_options, prototypes_of, select_nearest
from tacita.catalog.cards import method
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.errors import ConfigError

__all__ = ["Selection", "SimCore", "merge"]

BUDGET = 50
"""At most so many samples for each of the target, where nothing else is said; the paper's."""


@dataclass(frozen=True)
class Selection:
    """What was selected, by which prototypes, and why it ended; `picks` has it round by round.

    prototypes: `(k, D)` unit vectors, in the features that were given.
    target, pool: how many samples each had.
    """

    picks: Picks
    prototypes: Tensor
    target: int
    pool: int

    @property
    def indices(self) -> Tensor:
        """`(S,)` positions in the pool, in the order in which they were picked."""
        return torch.from_numpy(self.picks.indices)

    @property
    def counts(self) -> NDArray[np.int64]:
        """`(k,)`: how many samples each prototype picked first."""
        return np.bincount(self.picks.prototypes, minlength=len(self.prototypes))

    def figures(self) -> dict[str, float]:
        """How many were selected, in how many rounds, and how near the first and the last round was."""
        values = self.picks.values
        return {
            "selected": len(self.picks.indices),
            "pool": self.pool,
            "rounds": len(values),
            "first cosine": float(values[0]),
            "last cosine": float(values[-1]),
        }

    def line(self) -> str:
        """One line for the screen."""
        count, values = len(self.picks.indices), self.picks.values
        why = {
            "similarity": "the next were no longer near",
            "budget": "the budget is spent",
            "pool": "the pool is at its end",
        }
        return (
            f"{count} of {self.pool} ({count / self.pool:.1%}) for a target of {self.target}, in "
            f"{len(values)} rounds, cosine {values[0]:.2f} to {values[-1]:.2f}; "
            f"{why[self.picks.stopped]}"
        )


class Prototypes(nn.Module):
    """What is known of a target: `rows (k, D)`, unit vectors, and `count`, the samples that it has."""

    rows: Tensor
    count: Tensor

    def __init__(self, rows: Tensor, count: int) -> None:
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("count", torch.tensor(count))


@method(
    "simcore",
    title="SimCore",
    paper="https://arxiv.org/abs/2303.11101",
    year=2023,
    family="app",
    labels="none",
    summary="Finds in a large unlabelled pool what is like a small data set, to pretrain on both.",
    reuses=("coreset", "simclr"),
    claim="In a pool with 17% digits, 300 digits find 800 samples of which 95% are digits; pretrained on "
    "with them, a probe is 5 points above a random 800 and 9 above the whole pool, but not above the "
    "target alone (90.8% against 90.4%), so that the claim fails on that.",
)
class SimCore(App):
    """Selects from a pool what is like a target, by features of one encoder.

    k: prototypes of the target, by k-means; where it has fewer samples, each is one. The paper's.
    budget: the most samples to select; by default 50 for each of the target's, as in the paper.
    patience: rounds before the selection may end by itself; the paper's.
    stop: it ends when a round's mean cosine is below this share of that of round `patience`; the
        paper's. 0 goes on to the budget.

    The paper trains for as many steps whatever was selected; steps are what the engine counts, so
    here it needs no rule.

    Differs from the paper: of a last round that would pass the budget the nearest samples are kept,
    rather than some at random; the selection is made once.

    After `fit`: `selection_`, and `prototypes_`, by which `predict` selects from other pools.

    >>> target, pool = torch.eye(2, 3), torch.eye(3)[[2, 0, 2, 1]] + 0.1
    >>> simcore = SimCore(k=2, stop=0.0, budget=2).fit(target=target, pool=pool)
    >>> simcore.selection_.indices.tolist(), simcore.predict(pool.flip(0)).indices.tolist()
    ([1, 3], [0, 2])
    """

    prototypes_: Prototypes
    selection_: Selection

    def __init__(
        self,
        *,
        k: int = 100,
        budget: int | None = None,
        patience: int = 20,
        stop: float = 0.95,
    ) -> None:
        if k < 1:
            raise ConfigError(f"k={k} prototypes.", remedy="The default is 100.")
        check_options(1 if budget is None else budget, patience, stop)
        self.k = k
        self.budget = budget
        self.patience = patience
        self.stop = stop

    def fit(self, *, target: Any, pool: Any) -> Self:
        """Select by features of one encoder, `target (M, D)` and `pool (N, D)`: arrays, or on disk.

        Raises `DataError` for features that do not fit.
        """
        self.prototypes_ = Prototypes(prototypes_of(target, self.k), len(target))
        self.selection_ = self.predict(pool)
        return self

    def predict(self, pool: Any) -> Selection:
        """What is selected from another pool, for the target of `fit`."""
        if not hasattr(self, "prototypes_"):
            raise ConfigError("There is no target yet.", remedy="Call fit or load first.")
        rows, count = self.prototypes_.rows, int(self.prototypes_.count)
        budget = BUDGET * count if self.budget is None else self.budget
        picks = select_nearest(rows, pool, budget, patience=self.patience, stop=self.stop)
        return Selection(picks, rows, count, len(pool))

    def figures(self) -> dict[str, float]:
        """Those of `selection_`."""
        if not hasattr(self, "selection_"):
            raise ConfigError("Nothing was selected yet.", remedy="Call fit first.")
        return self.selection_.figures()

    def modules(self) -> dict[str, nn.Module]:
        return {"prototypes": self.prototypes_} if hasattr(self, "prototypes_") else {}

    def rebuild(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        shape = shapes.get("prototypes/rows", ())
        if len(shape) != 2:
            raise ConfigError("the file holds no prototypes.", remedy="Give one that `save` wrote.")
        self.prototypes_ = Prototypes(torch.zeros(shape), 0)


def merge(target: Dataset, pool: Dataset, indices: Tensor) -> Dataset:
    """The target and the chosen samples of the pool as one data set, numbered anew.

    The target keeps its labels; those of the pool are hidden, since their classes are others.
    Raises `DataError` where the two are not of one modality and shape.
    """
    check_alike(target, pool)
    chosen = pool.subset(indices)
    chosen = chosen.with_labels(target.task.unlabelled(chosen.samples), target.task)
    whole = joined([replace(target, ids=()), replace(chosen, ids=())])
    source = f"{target.source} and {len(chosen)} of {pool.source}"
    return replace(whole, index=torch.arange(len(whole)), source=source, normaliser=None)
