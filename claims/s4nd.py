"""S4ND: trained at one resolution, it reads another without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tacita.adapt.supervised import Supervised
from tacita.claim.check import Claim, Figures, run
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.data.splits import hold_out
from tacita.encoders import build
from tacita.engine.train import train
from tacita.modalities.load import load

TRAINING: dict[str, Any] = {"steps": 300, "batch_size": 32, "learning_rate": 3e-3}
FINE = InputSpec("images", (1, 16, 16))

CLAIM = Claim(
    slug="s4nd",
    claim="An S4ND network trained on images of one resolution classifies them at twice the resolution "
    "without any training there.",
    baseline="the same trained network told that the pixels are as far apart as before, and a residual "
    "CNN trained with the same steps, rate and augmentation",
    data="scikit-learn digits (1,797 images 8x8): 70% to train on, 30% held out, these also at 16x16 "
    "by bilinear interpolation",
    criterion="in every seed the accuracy at 16x16 is within 10 points of that at 8x8, and at least 10 "
    "points above both baselines at 16x16",
    paper="Zero-shot from lower to higher resolution on CIFAR-10 and CelebA, where S4ND is better than "
    "convolutions by tens of points",
    differs="3 blocks 64 wide on 8x8 pixels, 300 steps; the finer images are interpolated, so "
    "that resizing them back would serve any network; a first run failed because the script gave raw pixels "
    "to the networks it tested; mended, with the criterion as it was",
)


def accuracy(trained: Supervised, x: Tensor, y: Tensor) -> float:
    """The share of `x (B, 1, H, W)` that the trained network classifies as `y (B,)`."""
    trained.eval()
    with torch.no_grad():
        logits = trained.head(trained.encoder(x).pooled)
    return float((logits.argmax(1) == y).float().mean())


def trained_on(data: Dataset, encoder: str, seed: int) -> Supervised:
    """A classifier after the same training, whatever the encoder."""
    torch.manual_seed(seed)
    objective = Supervised(build(encoder, data.spec), data.task)
    train(objective, data, **TRAINING, seed=seed)
    return objective


def measure(seed: int) -> Figures:
    """Accuracies on the held-out digits, at the resolution of training and at twice that."""
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    batch = test.take(torch.arange(len(test)))
    x, y = batch.x, batch.y
    fine = functional.interpolate(x, scale_factor=2, mode="bilinear")
    ours, theirs = trained_on(pool, "s4nd", seed), trained_on(pool, "residual-cnn", seed)
    figures = {
        "s4nd at 8x8": accuracy(ours, x, y),
        "s4nd at 16x16": accuracy(ours, fine, y),
        "CNN at 8x8": accuracy(theirs, x, y),
        "CNN at 16x16": accuracy(theirs, fine, y),
    }
    ours.encoder.spec = FINE  # now 16 pixels a side are what it believes it was trained on
    return {**figures, "s4nd at 16x16, rate ignored": accuracy(ours, fine, y)}


def judge(figures: Sequence[Figures]) -> bool:
    """Little is lost by the change of resolution, and much more by the baselines, seed by seed."""
    return all(
        f["s4nd at 16x16"] >= f["s4nd at 8x8"] - 0.1
        and f["s4nd at 16x16"] >= max(f["CNN at 16x16"], f["s4nd at 16x16, rate ignored"]) + 0.1
        for f in figures
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
