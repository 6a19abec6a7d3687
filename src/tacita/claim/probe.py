"""The claim that objectives without labels share: their features beat those of a random encoder.

Pretraining sees the training part of a small real data set without labels; then k-NN and a linear
probe learn from a few labels on the frozen features of both encoders, and are scored on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.claim.check import Figures
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels, hold_out
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.engine.train import train
from tacita.learner import chunks
from tacita.modalities.load import load
from tacita.objective import Objective

BASELINE = "the same encoder with random weights and batch-norm statistics adapted to the data"
DATA = (
    "scikit-learn digits (1,797 images 8x8): 70% to pretrain on, 4 labels a class to probe with, "
    "30% held out"
)
CRITERION = (
    "k-NN and linear-probe accuracy above the random encoder's by 3 points or more, in every seed"
)
STEPS = 500
MARGIN = 0.03


COLLAPSE = (
    "; and the embeddings of held-out images, scaled to length 1, deviate by over 0.5 of the most that is "
    "possible (standard deviation times the root of their width), and by under 0.1 without "
)
"""To be followed by what is left out."""


Gauge = Callable[[Objective[Batch], Dataset], float]


def measure(
    method: Callable[[Encoder], Objective[Batch]],
    seed: int,
    *,
    collapsing: Callable[[Encoder], Objective[Batch]] | None = None,
    gauges: Sequence[Gauge] | None = None,
    steps: int = STEPS,
    encoder: str = "residual-cnn",
    **options: Any,
) -> Figures:
    """Pretrain with a method's own defaults, then probe both encoders with the same few labels.

    collapsing: the method without what keeps it from collapsing; it gets the same encoder and steps,
        and the embeddings of both are gauged.
    gauges: by default their spread.
    options: the encoder's.
    """
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    few = pool.hide_labels(draw_labels(pool, 4, seed))
    torch.manual_seed(seed)
    learner = build(encoder, pool.spec, **options)
    random = adapted(build(encoder, pool.spec, **options), pool)
    objective = pretrained(method(learner), pool, steps, seed)
    figures = {
        "knn": Knn(learner).fit(few).score(test),
        "knn of random": Knn(random).fit(few).score(test),
        "probe": LinearProbe(learner).fit(few).score(test),
        "probe of random": LinearProbe(random).fit(few).score(test),
    }
    if collapsing is None:
        return figures
    torch.manual_seed(seed)
    without = pretrained(collapsing(build(encoder, pool.spec, **options)), pool, steps, seed)
    for gauge in gauges or (spread,):
        figures[gauge.__name__] = gauge(objective, test)
        figures[f"{gauge.__name__} without"] = gauge(without, test)
    return figures


def pretrained(
    objective: Objective[Batch], data: Dataset, steps: int, seed: int
) -> Objective[Batch]:
    """The objective after its training."""
    train(objective, data, **{**objective.engine_defaults, "steps": steps, "seed": seed})
    return objective


def spread(objective: Objective[Batch], data: Dataset) -> float:
    """How far embeddings on the sphere deviate, on average: 1 fills it, 0 is a single point.

    `std(z / |z|) * sqrt(D)` where the method's loss acts, in evaluation mode (Chen and He, 2021).
    """
    z = functional.normalize(anchors(objective, data), dim=1)
    return float(z.std(0).mean() * math.sqrt(z.shape[1]))


def deviation(objective: Objective[Batch], data: Dataset) -> float:
    """How far embeddings deviate as they are, on average: for losses that do not scale them."""
    return float(anchors(objective, data).std(0).mean())


@torch.no_grad()
def anchors(objective: Objective[Batch], data: Dataset) -> Tensor:
    """`(N, D)`: embeddings where the method's loss acts, in evaluation mode."""
    objective.eval()
    return torch.cat([objective.anchors(batch) for batch in chunks(data, 256)])


@torch.no_grad()
def adapted(encoder: Encoder, data: Dataset) -> Encoder:
    """Random weights, but batch-norm statistics of the data: the fair untrained encoder."""
    encoder.train()
    for batch in chunks(data, 256):
        encoder(batch.x)
    return encoder.eval()


def judge(figures: Sequence[Figures]) -> bool:
    """Every seed gains the margin by both probes."""
    return all(
        f[probe] >= f[f"{probe} of random"] + MARGIN for f in figures for probe in ("knn", "probe")
    )


def judge_collapse(figures: Sequence[Figures]) -> bool:
    """And in every seed embeddings spread, and collapse without what keeps them from it."""
    return judge(figures) and all(f["spread"] > 0.5 and f["spread without"] < 0.1 for f in figures)
