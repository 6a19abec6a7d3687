"""The claim that objectives without labels share: their features beat those of a random encoder.

Pretraining sees the training part of a small real data set without labels; then k-NN and a linear
probe learn from a few labels on the frozen features of both encoders, and are scored on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.catalog.claim_check import Figures
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.data.read import load
from tacita.data.splits import draw_labels, hold_out
from tacita.encoders import build
from tacita.encoders.base import Encoder
from tacita.engine.train import train
from tacita.learner import chunks
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


def measure(method: Callable[[Encoder], Objective[Batch]], seed: int) -> Figures:
    """Pretrain with a method's own defaults, then probe both encoders with the same few labels."""
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    few = pool.hide_labels(draw_labels(pool, 4, seed))
    torch.manual_seed(seed)
    encoder = build("residual-cnn", pool.spec)
    random = adapted(build("residual-cnn", pool.spec), pool)
    objective = method(encoder)
    train(objective, pool, **{**objective.engine_defaults, "steps": STEPS, "seed": seed})
    return {
        "knn": Knn(encoder).fit(few).score(test),
        "knn of random": Knn(random).fit(few).score(test),
        "probe": LinearProbe(encoder).fit(few).score(test),
        "probe of random": LinearProbe(random).fit(few).score(test),
    }


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
