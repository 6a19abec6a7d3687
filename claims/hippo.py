"""HiPPO: a state that is a projection holds the past; one of a random stable system does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.claim.check import Claim, Figures, run
from tacita.layers.hippo import hippo, reconstruct, remember, remember_everything
from tacita.layers.krylov import generalised_bilinear, krylov

SIZE, REACH, LENGTH = 32, 200, 4000
Floats = NDArray[np.float64]

CLAIM = Claim(
    slug="hippo",
    claim="HiPPO's state of 32 numbers reconstructs the last 200 steps of a signal; that of a random "
    "stable system of the same size does not, and updates scaled by time keep the oldest past as well.",
    baseline="a Gaussian matrix shifted to be stable and a Gaussian input vector, the best of 4 step sizes, "
    "read out, as HiPPO's states are, by least squares on another signal; for the oldest past, the same "
    "memory with a fixed time scale of an eighth of the signal",
    data="Gaussian noise limited to frequencies below 0.02 a step, 4,000 steps to fit the readout and 4,000 "
    "held out (made up: the claim is about every signal of such a band)",
    criterion="root mean squared error of LegS at most a fifth of the random system's in every seed; of the "
    "oldest quarter of 2,000 steps, error of the scaled memory at most half of the fixed one's in the mean",
    paper="figures 2 and 3: reconstructions by LegS, LegT and FouT follow the signal",
    differs="32 states, not 64 and more; also for LegT and FouT; every system, the random one too, has the "
    "step size of the 4 with the least held-out error",
)


def measure(seed: int) -> Figures:
    """Errors in units of the signal's deviation."""
    draw = np.random.default_rng(seed)
    fit, held = band_limited(draw, LENGTH, 0.02), band_limited(draw, LENGTH, 0.02)
    figures = {
        name: min(recalled(*hippo(name, SIZE), step, fit, held) for step in steps())
        for name in ("legs", "legt", "fout")
    }
    a = draw.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
    a -= (np.linalg.eigvals(a).real.max() + 0.1) * np.eye(SIZE)
    b = draw.standard_normal(SIZE)
    figures["random"] = min(recalled(a, b, step, fit, held) for step in steps())
    return {**figures, **oldest(band_limited(draw, 2000, 0.004))}


def steps() -> list[float]:
    """Step sizes to choose from, the same for all."""
    return [scale / REACH for scale in (0.5, 1.0, 2.0, 4.0)]


def recalled(a: Floats, b: Floats, step: float, fit: Floats, held: Floats) -> float:
    """Error over the last steps before each of the held-out signal, by a readout fitted on the other."""
    delta = torch.tensor([step], dtype=torch.float64)
    A, B = generalised_bilinear(torch.from_numpy(a), torch.from_numpy(b), delta)
    responses = krylov(A[0], B[0], LENGTH).numpy()
    pairs = []
    for signal in (fit, held):
        size = 2 * LENGTH
        spectrum = np.fft.rfft(signal, size) * np.fft.rfft(responses, size)
        states = np.fft.irfft(spectrum, size)[:, :LENGTH].T
        at = np.arange(2 * REACH, LENGTH)
        pairs.append((states[at], signal[at[:, None] - np.arange(REACH)]))
    readout = np.linalg.lstsq(*pairs[0], rcond=1e-10)[0]
    states, past = pairs[1]
    return float(np.sqrt(np.square(states @ readout - past).mean()) / held.std())


def oldest(signal: Floats) -> Figures:
    """Error over the oldest quarter of a signal, by the last state and the basis, without any fit."""
    line = torch.from_numpy(signal)[None]
    old = signal[: len(signal) // 4]
    back = (len(signal) - np.arange(len(old)) - 0.5) / len(signal)  # the share of the way back
    found = {
        "oldest quarter, scaled": reconstruct(
            remember_everything(line, SIZE)[0, -1], "legs", -np.log(1 - back)
        ),
        "oldest quarter, fixed": reconstruct(
            remember(line, "legs", SIZE, steps=len(signal) / 8)[0, -1], "legs", 8 * back
        ),
    }
    return {
        name: float(np.sqrt(np.square(values.numpy() - old).mean()) / signal.std())
        for name, values in found.items()
    }


def band_limited(draw: np.random.Generator, length: int, highest: float) -> Floats:
    """Gaussian noise of frequencies up to `highest` a step, of unit deviation."""
    spectrum = np.fft.rfft(draw.standard_normal(length))
    spectrum[np.fft.rfftfreq(length) > highest] = 0
    signal: Floats = np.fft.irfft(spectrum, length)
    return signal / signal.std()


def judge(figures: Sequence[Figures]) -> bool:
    """LegS five times as near in every seed; the scaled memory twice as near on average."""
    nearer = all(f["legs"] <= f["random"] / 5 for f in figures)
    scaled, fixed = (
        np.mean([f[f"oldest quarter, {kind}"] for f in figures]) for kind in ("scaled", "fixed")
    )
    return nearer and bool(scaled <= fixed / 2)


if __name__ == "__main__":
    run(CLAIM, measure, judge)
