"""Barlow Twins: redundancy reduction learns features without labels that a random encoder lacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.catalog.claim_check import Claim, Figures, run
from tacita.data.dataset import Dataset
from tacita.data.read import load
from tacita.data.splits import draw_labels, hold_out
from tacita.encoders import build
from tacita.encoders.base import Encoder
from tacita.engine.train import train
from tacita.learner import chunks
from tacita.pretrain.barlow_twins import BarlowTwins

CLAIM = Claim(
    slug="barlow-twins",
    claim="Features learnt without labels by redundancy reduction separate the classes linearly "
    "and by neighbourhood.",
    baseline="the same encoder with random weights and batch-norm statistics adapted to the data",
    data="scikit-learn digits (1,797 images 8x8): 70% to pretrain on, 4 labels a class to probe with, "
    "30% held out",
    criterion="k-NN and linear-probe accuracy above the random encoder's by 3 points or more, "
    "in every seed",
    paper="ImageNet, ResNet-50: linear probe 73.2% top-1 (table 1)",
    differs="a small CNN on 8x8 images, 500 steps of 128 images, projector 256 wide",
)


def measure(seed: int) -> Figures:
    """Pretrain, then probe with few labels, both encoders with the same labels."""
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    few = pool.hide_labels(draw_labels(pool, 4, seed))
    torch.manual_seed(seed)
    encoder = build("residual-cnn", pool.spec)
    random = adapted(build("residual-cnn", pool.spec), pool)
    train(BarlowTwins(encoder), pool, **{**BarlowTwins.engine_defaults, "steps": 500, "seed": seed})
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
    """Every seed gains at least 3 points by both probes."""
    return all(
        f["knn"] >= f["knn of random"] + 0.03 and f["probe"] >= f["probe of random"] + 0.03
        for f in figures
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
