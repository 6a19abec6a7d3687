"""RankMe: how good is a pretrained encoder, without a single label? The rank of its embeddings tells.

Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
Representations by Their Rank", 2023. The loss of a joint embedding says nothing of its quality; the
number of directions that the embeddings fill bounds what a linear probe can read out of them. High
rank is necessary and not sufficient: it ranks runs of one method with one encoder, never two methods.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.data.splits import drawn
from tacita.engine.history import Progress
from tacita.errors import ConfigError
from tacita.learner import chunks, evaluating
from tacita.measures.spectrum import (
    SpectrumTracker,
    effective_rank,
    gram_singular_values,
    singular_values,
)
from tacita.objective import Objective

LOW = 0.05
"""Share of the width below which a rank is alarming."""


def rankme(z: Tensor, epsilon: float = 1e-7, *, centre: bool = False) -> float:
    """The exponential of the entropy of the normalised singular values (equations 1 and 2).

    `z (N, K)` are embeddings as the network gives them: neither centred nor scaled to length 1. The
    rank is between 1 and `min(N, K)`; the values enter themselves, not their squares. Constant
    embeddings have rank 1. Warns where there are fewer than ten samples a feature, of which the rank
    is estimated too low. Raises `DataError` naming a row that is not finite.

    epsilon: added to each share; the paper's value.
    centre: whether the mean is taken out first; the paper leaves it in.

    >>> round(rankme(torch.eye(3).repeat(10, 1)), 3)
    3.0
    """
    sigma = singular_values(z, centre=centre)
    count, width = z.shape
    if count < 10 * width:
        warnings.warn(
            f"the rank of {width} features is estimated too low from {count} samples; "
            f"take {10 * width} or more",
            stacklevel=2,
        )
    return effective_rank(sigma, epsilon)


def rankme_from_gram(gram: Tensor, epsilon: float = 1e-7, *, count: int | None = None) -> float:
    """The same from `z^T z (K, K)`, for samples too many to hold; see `SpectrumTracker`.

    count: the number of samples, where it may be less than `K`.

    >>> round(rankme_from_gram(torch.eye(3)), 3)
    3.0
    """
    return effective_rank(gram_singular_values(gram, count), epsilon)


def select_by_rank(
    runs: Mapping[str, Tensor], *, tolerance: float = 0.01
) -> tuple[str, dict[str, float]]:
    """The run to keep of several of one method, and the rank of each, the highest first.

    runs: by name, the embeddings `(N, K)` of the same samples; see `embeddings`. Name the cheapest
        run first: of those within the tolerance of the highest rank, the first is kept.
    tolerance: differences below this share of the highest rank are noise; by the paper (appendix)
        estimates agree to about a hundredth.

    Raises `ConfigError` for no runs, and for runs of different shapes, whose ranks say nothing about
    each other.

    >>> good, poor = torch.eye(4).repeat(10, 1), torch.ones(40, 4)
    >>> best, ranks = select_by_rank({"poor": poor, "good": good})
    >>> best, [round(rank, 2) for rank in ranks.values()]
    ('good', [4.0, 1.0])
    """
    shapes = {tuple(z.shape) for z in runs.values()}
    if len(shapes) != 1:
        raise ConfigError(
            f"Runs to select from have embeddings of one shape, but these have {sorted(shapes)}.",
            remedy="Give runs of one method and one projector, on the same samples.",
        )
    ranks = {name: effective_rank(singular_values(z), 1e-7) for name, z in runs.items()}
    return highest(ranks, tolerance), dict(sorted(ranks.items(), key=lambda item: -item[1]))


def highest(ranks: Mapping[str, float], tolerance: float = 0.01) -> str:
    """The first name whose rank is within the tolerance of the highest.

    >>> highest({"early": 9.95, "late": 10.0, "poor": 3.0})
    'early'
    """
    enough = (1 - tolerance) * max(ranks.values())
    return next(name for name, rank in ranks.items() if rank >= enough)


def joint(objective: Objective[Any]) -> bool:
    """Whether a method's loss acts on embeddings of its own; reconstruction has none to collapse."""
    return type(objective).anchors is not Objective.anchors


@torch.no_grad()
def embeddings(objective: Objective[Any], data: Dataset) -> Tensor:
    """`(N, K)` embeddings on which the method's loss acts, in evaluation mode, on the CPU.

    Of samples without augmentation, from a normalised data set. The objective is left as it was.
    """
    with evaluating(objective):
        return torch.cat([_anchors(objective, batch) for batch in chunks(data)])


@torch.no_grad()
def spectrum_of(objective: Objective[Any], data: Dataset) -> SpectrumTracker:
    """The spectrum of the same embeddings, without holding them all."""
    with evaluating(objective):
        parts = (_anchors(objective, batch) for batch in chunks(data))
        first = next(parts)
        tracker = SpectrumTracker(first.shape[1])
        tracker.update(first)
        for part in parts:
            tracker.update(part)
        return tracker


def _anchors(objective: Objective[Any], batch: Batch) -> Tensor:
    weight = next(objective.parameters())
    x = batch.x.to(weight.dtype) if batch.x.is_floating_point() else batch.x
    return objective.anchors(batch.with_x(x).to(weight.device)).cpu()


@method(
    "rankme",
    title="RankMe",
    paper="https://arxiv.org/abs/2210.02885",
    year=2023,
    family="audit",
    labels="none",
    summary="Tells without labels which of several pretrainings is best, and when one collapses.",
    reuses=("health",),
    claim="Over nine weights of Barlow Twins rank orders the runs as a probe does (rho 0.89), and its choice "
    "beats chance by 6 points and the lowest loss by 10; within 1 point of the best it is not: "
    "it is 1.8 below.",
)
class RankMe:
    """A callback that measures the rank of the embeddings during training, and warns of collapse.

    `train(objective, data, callbacks=[RankMe(objective, data)])`. The rank stands in the history as
    `rank`, measured on the same samples each time, without augmentation. Training is not changed by
    it. An alarm is a line and no stop: the rank fell below a twentieth of the width (or of the number
    of samples, where there are fewer), or to less than half of what it was at the check before.

    every: steps between two checks, which take place at logged steps (the paper: each epoch).
    samples: how many to measure on; ten a feature or more (the paper: 25,600).
    seed: of the draw of samples.
    alarm: what is done with an alarm; by default a Python warning.

    An objective without embeddings of its own is measured on its features, whose rank is taken about
    the mean; see `tacita.audit.health.health`. Raises `ConfigError` for numbers below 1.
    """

    def __init__(
        self,
        objective: Objective[Any],
        data: Dataset,
        *,
        every: int = 100,
        samples: int = 2560,
        seed: int = 0,
        alarm: Callable[[str], object] = warnings.warn,
    ) -> None:
        for name, value in {"every": every, "samples": samples}.items():
            if value < 1:
                raise ConfigError(f"{name}={value}: it must be 1 or more.")
        if data.normaliser is None:
            data = data.normalised()
        self.objective = objective
        self.data = drawn(data, samples, seed)
        self.every = every
        self.alarm = alarm
        self.centre = not joint(objective)
        self._seen: int | None = None
        self._before = math.nan

    def __call__(self, progress: Progress) -> None:
        seen = progress.step - 1 if self._seen is None else self._seen
        self._seen = progress.step
        if progress.step // self.every == seen // self.every:
            return
        spectrum = spectrum_of(self.objective, self.data)
        rank = spectrum.rank(centre=self.centre)
        progress.row["rank"] = rank
        width = len(spectrum.mean)
        low = LOW * min(width, spectrum.count)
        if rank < low and not self._before < low:
            self._warn(progress, f"the rank of the embeddings is {rank:.1f} of {width}")
        elif rank < self._before / 2:
            self._warn(
                progress, f"the rank of the embeddings fell from {self._before:.1f} to {rank:.1f}"
            )
        self._before = rank

    def _warn(self, progress: Progress, found: str) -> None:
        self.alarm(f"step {progress.step}: {found}; the embeddings may be collapsing")
