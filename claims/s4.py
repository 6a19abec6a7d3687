"""S4: started at HiPPO's matrix, a layer can learn a long delay from its readout alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tacita.claim.check import Claim, Figures, run
from tacita.layers.s4 import S4

LENGTH, DELAY, STATES, CHANNELS, STEPS = 512, 128, 64, 4, 300
RATES = (1e-3, 1e-2, 1e-1)

CLAIM = Claim(
    slug="s4",
    claim="A state-space layer that starts at HiPPO's matrix learns to repeat its input 128 steps later by "
    "its readout alone; the same layer with random modes does not.",
    baseline="the same layer with modes of decay 0.5 and Gaussian frequencies, B of ones and no low rank; "
    "each with the best of 3 learning rates by its loss in training, and with the same step sizes",
    data="Gaussian noise limited to frequencies below 0.05 a step, 512 steps, 8 new sequences a step, 64 "
    "held out (made up, as the paper's successor makes it up)",
    criterion="mean squared error on held-out noise, over its variance, of LegS at most a tenth of the "
    "random modes' in the mean over seeds, and lower in every seed",
    paper="table 6 and How to Train Your HiPPO, section 5: HiPPO's initialisation against random ones",
    differs="a delay of 128 instead of 1,000 steps; the readout alone learns, for 300 steps; the kernels' "
    "exactness and cost, the paper's other claim, are in the tests and in the benchmarks",
)


def measure(seed: int) -> Figures:
    """The same noise for all starts; the rate is chosen by the loss in training."""
    return {start: delayed(start, seed) for start in ("legs", "legt", "fout", "random")}


def delayed(start: str, seed: int) -> float:
    """Held-out error of the best rate."""
    return min(learn(start, seed, rate) for rate in RATES)[1]


def learn(start: str, seed: int, rate: float) -> tuple[float, float]:
    """Mean loss of the last 20 steps of training, and held-out error."""
    torch.manual_seed(seed)
    layer = S4(
        CHANNELS,
        d_state=STATES,
        measure="legs" if start == "random" else start,  # type: ignore[arg-type]
        length=LENGTH,
        dt_min=1 / DELAY,
        dt_max=1 / DELAY,
    )
    if start == "random":
        with torch.no_grad():
            layer.log_decay.fill_(math.log(0.5))
            layer.frequency.normal_()
            layer.P.zero_()
            layer.B.zero_()[:, 0] = 1.0
    layer.requires_grad_(False)
    layer.C_tilde.requires_grad_()
    optimizer = torch.optim.Adam([layer.C_tilde], lr=rate)
    draw = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = error(layer, noise(8, draw))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        held = error(layer, noise(64, draw)).item()
    late = float(np.mean(losses[-20:]))
    return (late if math.isfinite(late) else math.inf), held


def error(layer: S4, u: Tensor) -> Tensor:
    """Of the mean of the channels' convolutions against the input as it was before."""
    y = layer(u[..., None].expand(-1, -1, CHANNELS)) - layer.D * u[..., None]
    wanted = u[:, :-DELAY]
    return (y.mean(-1)[:, DELAY:] - wanted).square().mean() / wanted.square().mean()


def noise(count: int, draw: torch.Generator) -> Tensor:
    """`(count, L)` of unit deviation, without frequencies above 0.05 a step."""
    spectrum = torch.fft.rfft(torch.randn(count, LENGTH, generator=draw))
    spectrum[:, torch.fft.rfftfreq(LENGTH) > 0.05] = 0
    u = torch.fft.irfft(spectrum, LENGTH)
    return u / u.std()


def judge(figures: Sequence[Figures]) -> bool:
    """A tenth on average, and lower in every seed."""
    legs, random = (np.array([f[start] for f in figures]) for start in ("legs", "random"))
    return bool(legs.mean() <= random.mean() / 10 and (legs < random).all())


if __name__ == "__main__":
    run(CLAIM, measure, judge)
