"""Self-pretraining: attention from random weights is unfairly weak; a prior from the data changes that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import nn

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.claim.check import Claim, Figures, run
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.encoder import Encoder
from tacita.encoders.sequence_model import SequenceModel
from tacita.engine.train import train
from tacita.modalities.load import load
from tacita.pretrain.self_pretraining import SelfPretraining

POOL = 500
PRETRAIN_STEPS, FINE_TUNE_STEPS = 300, 500
RATE, BATCH = 2e-3, 50
FEW = 5
"""Labels a class where there are few; else all 500 of the pool have one."""

CLAIM = Claim(
    slug="self-pretraining",
    claim="Pretraining on the inputs of its own task makes attention more accurate than training from "
    "scratch, and gains it more than a state-space layer, whose structure is a prior already.",
    baseline="the same model from random weights, trained on the labels for as many steps as "
    "pretraining and fine-tuning together, with the same rate and batch size",
    data="scikit-learn digits as series of 64 pixels: 500 to learn from, 1,297 held out; all labels for "
    "the claim, and 50 of them for attention once more",
    criterion="with 500 labels: mean gain of attention above 0, paired t-test over seeds p < 0.05, and "
    "above the mean gain of S4D",
    paper="Long Range Arena: a Transformer rises from 53.7% to about 81%, S4 from 86.1% to about 87%",
    differs="2 blocks 32 wide, rotary positions, 800 steps in all; both bidirectional; no augmentation; "
    "tried before, on another seed: 400 and 200 steps, where fine-tuning was cut short (56% against 84%), so "
    "300 and 500 were chosen, which gave 87% against 84% there, and 1,200 and 1,000 (92% against 90%)",
)


def measure(seed: int) -> Figures:
    """Both layers with all labels, attention with few, each from scratch and from its own inputs."""
    pool, test = series_of_digits(seed)
    figures: Figures = {}
    for name in ("attention", "s4d"):
        pretrained, scratch = encoder(name, pool, seed), encoder(name, pool, seed)
        objective = SelfPretraining(pretrained, mask_ratio=0.5, span=1)
        history = train(
            objective, pool, steps=PRETRAIN_STEPS, learning_rate=RATE, batch_size=BATCH, seed=seed
        )
        figures |= learnt(name, pretrained, scratch, pool, test, seed)
        figures[f"{name}: loss to interpolation"] = history.rows[-1]["relative_to_interpolation"]
        if name == "attention":
            few = pool.hide_labels(draw_labels(pool, FEW, seed))
            figures |= learnt("attention, 50 labels", pretrained, scratch, few, test, seed)
    return figures


def learnt(
    name: str, pretrained: Encoder, scratch: Encoder, data: Dataset, test: Dataset, seed: int
) -> Figures:
    """Accuracies after fine-tuning, and from scratch with the steps of both stages."""
    found = {}
    for arm, start, steps in (
        ("self-pretrained", pretrained, FINE_TUNE_STEPS),
        ("scratch", scratch, PRETRAIN_STEPS + FINE_TUNE_STEPS),
    ):
        engine = {"steps": steps, "learning_rate": RATE, "batch_size": BATCH}
        # The paper does not augment, and views of pixels in a row would not be digits.
        learner = Trained(start, Supervised, options={"views": nn.Identity()}, engine=engine)
        found[f"{name}: {arm}"] = learner.fit(data, seed=seed).score(test)
    return found


def encoder(name: str, data: Dataset, seed: int) -> SequenceModel:
    """Two blocks that see both ways, with weights from the seed."""
    torch.manual_seed(seed)
    return SequenceModel(
        data.spec,
        layer=name,
        d_model=32,
        depth=2,
        layer_options={"causal": False} if name == "attention" else {},
        bidirectional=name == "s4d",
    )


def series_of_digits(seed: int) -> tuple[Dataset, Dataset]:
    """The pool and the held-out digits, read pixel by pixel, normalised by the pool."""
    images = load("digits")
    series = Dataset.of("series", images.x.float().reshape(-1, 64, 1), images.y, images.task)
    order = torch.randperm(len(series), generator=torch.Generator().manual_seed(seed))
    pool = series.subset(order[:POOL]).normalised()
    return pool, series.subset(order[POOL:]).normalised(pool.normaliser)


def judge(figures: Sequence[Figures]) -> bool:
    """Attention gains, hardly by chance, and more than S4D does."""
    attention, s4d = (
        np.array([f[f"{name}: self-pretrained"] - f[f"{name}: scratch"] for f in figures])
        for name in ("attention", "s4d")
    )
    gains = attention.mean() > 0 and stats.ttest_1samp(attention, 0.0).pvalue < 0.05
    return bool(gains and attention.mean() > s4d.mean())


if __name__ == "__main__":
    run(CLAIM, measure, judge)
