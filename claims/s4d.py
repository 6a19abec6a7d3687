"""S4D: where the diagonal starts decides whether a linear state space learns a long delay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tacita.claim.check import Claim, Figures, run
from tacita.layers.s4d import S4D

LENGTH, DELAY = 512, 128
BAND = 16
"""The noise has the lowest 1/16 of the spectrum."""
CHANNELS, STEPS, BATCH = 4, 400, 16
STRUCTURED, UNSTRUCTURED = ("legs", "inv", "lin"), ("slow", "random", "real")

CLAIM = Claim(
    slug="s4d",
    claim="Frequencies of the HiPPO systems to start from decide whether a diagonal state space learns; "
    "random ones and none do not do.",
    baseline="the same layer with as many parameters, steps and learning rates, started from random "
    "frequencies, from none (`real`), or from those of `lin` divided by 10 (`slow`)",
    data="noise of the lowest 1/16 of the spectrum, 512 steps, power 1; the target is the input 128 steps "
    "ago, and the figure the mean squared error on 256 fresh sequences",
    criterion="in every seed the worst of legs, inv and lin has less than half the error of the best of "
    "the others",
    paper="Long Range Arena: 84.9% to 85.5% with legs, inv and lin; random and scaled frequencies clearly "
    "worse (ablations)",
    differs="one linear layer of 4 channels and 64 states on a synthetic task; 400 steps of Adam",
)


class Delay(nn.Module):
    """One number a step into `CHANNELS` systems, whose outputs are summed with weights."""

    def __init__(self, start: str) -> None:
        super().__init__()
        self.layer = S4D(CHANNELS, d_state=64, start="lin" if start == "slow" else start)  # type: ignore[arg-type]
        self.join = nn.Linear(CHANNELS, 1, bias=False)
        with torch.no_grad():
            steps = torch.linspace(math.log(1 / 512), math.log(1 / 64), CHANNELS)
            self.layer.log_step.copy_(steps)
            self.layer.C.mul_(0.1)
            if start == "slow":
                self.layer.frequency.div_(10)

    def forward(self, u: Tensor) -> Tensor:
        return self.join(self.layer(u[:, :, None].expand(-1, -1, CHANNELS)))[:, :, 0]


def noise(count: int, generator: torch.Generator) -> Tensor:
    """`(count, LENGTH)` band-limited noise of power 1."""
    spectrum = torch.fft.rfft(torch.randn(count, 2 * LENGTH, generator=generator))
    spectrum[:, LENGTH // BAND :] = 0
    return torch.fft.irfft(spectrum)[:, :LENGTH] * math.sqrt(BAND)


def error(model: nn.Module, u: Tensor) -> Tensor:
    """Mean squared error over the steps whose target has been seen."""
    return (model(u)[:, DELAY:] - u[:, :-DELAY]).square().mean()


def after_training(start: str, seed: int) -> float:
    """The error on fresh noise after the same training from any start; it is the same noise for all."""
    torch.manual_seed(seed)
    model = Delay(start)
    slow = [model.layer.log_step, model.layer.log_decay, model.layer.frequency]
    fast = [model.layer.B, model.layer.C, model.layer.D, model.join.weight]
    optimizer = torch.optim.Adam([{"params": slow, "lr": 1e-3}, {"params": fast, "lr": 1e-2}])
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(error(model, noise(BATCH, generator)))
        optimizer.step()
    with torch.no_grad():
        return float(error(model, noise(256, generator)))


def measure(seed: int) -> Figures:
    """Every start, on the same sequences."""
    return {start: after_training(start, seed) for start in (*STRUCTURED, *UNSTRUCTURED)}


def judge(figures: Sequence[Figures]) -> bool:
    """Every structured start has less than half the error of every other, seed by seed."""
    return all(
        2 * max(f[start] for start in STRUCTURED) < min(f[start] for start in UNSTRUCTURED)
        for f in figures
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
