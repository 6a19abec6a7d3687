"""Infinite learning rates: at the same forgetting, one warm-up learns more than one for each data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_1samp
from torch import nn

from tacita.adapt.linear_probe import LinearProbe
from tacita.claim.check import Claim, Figures, run
from tacita.claim.data import mnist
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, joined
from tacita.encoder import Encoder, Encoding
from tacita.engine.history import Progress
from tacita.engine.schedules import Infinite
from tacita.engine.train import train
from tacita.objective import Losses, Objective
from tacita.parts.masking import hide
from tacita.stream.pretraining import ContinualPretraining, held_out_loss, kept_aside

TASKS = 5
STEPS = 200
WARMUP, COOLDOWN, ANNEAL = 20, 60, 40
COSINE_RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
CONSTANT_RATES = (2.5e-4, 5e-4)
FINAL_RATE = 2e-5
ENGINE = {"batch_size": 64, "weight_decay": 0.05, "warmup": WARMUP / STEPS, "device": "cpu"}

CLAIM = Claim(
    slug="infinite-lr",
    claim="On a stream of data sets, the infinite schedule has a lower final loss than a cosine that warms "
    "up for each, at the same forgetting.",
    baseline="repeated cosine with the optimiser's moments kept, at five rates from 2.5e-4 to 4e-3, read "
    "off between its rates at the forgetting of the infinite run; same networks and first weights, and "
    "as many steps on the way to the final model",
    data="5,000 MNIST digits in five sets of two classes, in an order drawn for each seed; a fifth of each "
    "set is held out for all figures",
    criterion="the cosine's loss at equal forgetting minus the infinite schedule's, averaged over two "
    "constant rates, is above 0 over the seeds (one-sided paired t-test, p < 0.05); and on two halves "
    "alike the loss on the first rises more while the second warms up again than it does at the constant "
    "rate, in every seed",
    paper="masked autoencoders on CIFAR-10 in five sets and on ImageNet, then Places, then FireRisk, and "
    "language models: the infinite schedule above repeated cosine in all",
    differs="a masked MLP on digits, 200 steps a set, no replay; the largest rate of the infinite schedule "
    "is the cosine's best by its final loss; the earlier sets are measured on branches whose 40 steps are "
    "extra, while `strict` has figures where every step counts, so that the main line is 40 steps a set "
    "shorter; a lower rate alone trades learning for forgetting, so the losses of all rates are recorded",
)


class FlatEncoder(Encoder):
    """Pixels, of which hidden ones are zero, to a code: 784-256-64."""

    modalities = ("images",)

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec, self.dim = spec, 64
        self.layers = nn.Sequential(nn.Linear(784, 256), nn.GELU(), nn.Linear(256, 64))

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        features = self.layers(x.flatten(1))
        return Encoding(features[:, None], features)


class FlatMAE(Objective[Batch]):
    """A masked autoencoder of 49 patches of 4x4, of which three quarters are hidden, without attention."""

    reads = "unlabelled"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 784))

    def loss(self, batch: Batch) -> Losses:
        hidden = hide(torch.rand(len(batch), 49), 0.75).hidden
        pixels = hidden.reshape(-1, 7, 1, 7, 1).expand(-1, 7, 4, 7, 4).reshape(-1, 1, 28, 28)
        predicted = self.decoder(self.encoder(batch.x.masked_fill(pixels, 0.0)).pooled)
        error = (predicted - batch.x.flatten(1)).square() * pixels.flatten(1)
        return Losses(reconstruction=error.sum() / pixels.sum())


def network(spec: InputSpec, seed: int) -> FlatMAE:
    """The objective with weights drawn from a seed."""
    torch.manual_seed(seed)
    return FlatMAE(FlatEncoder(spec))


def measure(seed: int) -> Figures:
    """Every schedule from the same weights over the same stream; the frontier is read off last."""
    whole = mnist(28)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed)).reshape(TASKS, 2)
    parts = [kept_aside(whole.subset(torch.isin(whole.y, pair)), seed) for pair in order]
    cosines = {rate: streamed(parts, seed, "repeated-cosine", rate) for rate in COSINE_RATES}
    best = min(cosines, key=lambda rate: cosines[rate]["loss"])
    found: Figures = {"best cosine rate": best}
    for rate, figures in cosines.items():
        found |= {f"cosine {rate:g} {name}": value for name, value in figures.items()}
    gaps: dict[str, list[float]] = {"": [], "strict ": []}
    for constant in CONSTANT_RATES:
        schedule = Infinite(
            WARMUP, COOLDOWN, constant / best, anneal=ANNEAL, final=FINAL_RATE / best
        )
        for kind, extra in (("", ANNEAL), ("strict ", 0)):
            figures = streamed(parts, seed, schedule, best, extra)
            found |= {f"{kind}infinite {constant:g} {n}": v for n, v in figures.items()}
            equal = at_equal_forgetting(cosines.values(), figures["forgetting"])
            gaps[kind].append(equal - figures["loss"])
            found[f"{kind}gap at {constant:g}"] = gaps[kind][-1]
    found |= {f"{kind}gap": float(np.mean(each)) for kind, each in gaps.items()}
    return found | two_halves(whole, seed, best)


def streamed(
    parts: list[tuple[Dataset, Dataset]], seed: int, schedule: Any, rate: float, extra: int = 0
) -> Figures:
    """Final loss, forgetting and a probe of all ten classes after one stream."""
    steps = [STEPS + extra] * (TASKS - 1) + [STEPS]
    engine = {**ENGINE, "learning_rate": rate}
    sets, held = [a for a, _ in parts], [b for _, b in parts]
    stream = ContinualPretraining(
        network(sets[0].spec, seed), schedule=schedule, steps=steps, engine=engine
    )
    figures = stream.fit(sets, held, seed=seed).summary()
    by = sets[0].normalised().normaliser
    probe = LinearProbe(stream.objective_.encoder).fit(joined(sets).normalised(by))
    return {
        "loss": figures["final loss"],
        "forgetting": figures["forgetting"],
        "probe": probe.score(joined(held).normalised(by)),
    }


def at_equal_forgetting(cosines: Any, forgetting: float) -> float:
    """The cosine's final loss at a forgetting between its rates; beyond them, that of the nearest."""
    points = sorted((figures["forgetting"], figures["loss"]) for figures in cosines)
    return float(np.interp(forgetting, [f for f, _ in points], [loss for _, loss in points]))


def two_halves(whole: Dataset, seed: int, rate: float) -> Figures:
    """How far the loss on held-out digits rises at most while a half like the first is learnt."""
    kept, held = kept_aside(whole, seed)
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))
    halves = [kept.subset(part.sort().values).normalised() for part in order.tensor_split(2)]
    halves[1] = halves[1].normalised(halves[0].normaliser)
    held = held.normalised(halves[0].normaliser)
    infinite = Infinite(WARMUP, COOLDOWN, CONSTANT_RATES[-1] / rate)
    rises: Figures = {}
    for name, schedule in (("cosine", "cosine"), ("infinite", infinite)):
        objective = network(kept.spec, seed)
        losses: list[float] = []

        def look(
            progress: Progress, objective: FlatMAE = objective, to: list[float] = losses
        ) -> None:
            to.append(held_out_loss(objective, held, 64, seed))

        options: dict[str, Any] = {**ENGINE, "steps": 2 * STEPS, "schedule": schedule, "seed": seed}
        options |= {"learning_rate": rate, "warmup": WARMUP / (2 * STEPS)}
        with TemporaryDirectory() as folder:
            state = Path(folder) / "state.safetensors"
            train(objective, halves[0], keep=state, **options)
            before = held_out_loss(objective, held, 64, seed)
            train(objective, halves[1], start=state, callbacks=[look], log_every=5, **options)
        rises[f"rise of {name}"] = max(losses) - before
    return rises


def judge(figures: Sequence[Figures]) -> bool:
    """A gap over the seeds that chance would not give, and a larger rise in every seed."""
    gap = ttest_1samp([f["gap"] for f in figures], 0.0, alternative="greater")
    return bool(gap.pvalue < 0.05) and all(
        f["rise of cosine"] > max(0.0, f["rise of infinite"]) for f in figures
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
