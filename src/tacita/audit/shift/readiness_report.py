"""What an audit of readiness has measured, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tacita.measures.frechet import FrechetDistance


@dataclass(frozen=True)
class Comparison:
    """The two networks on the same labels and pool, a figure a seed; scores are balanced accuracy.

    labels: how many in all; share: of the most frequent class in the pool, where that was set.
    """

    labels: int
    alone: tuple[float, ...]
    semi: tuple[float, ...]
    alone_ece: tuple[float, ...]
    semi_ece: tuple[float, ...]
    share: float | None = None

    @property
    def gain(self) -> float:
        """What the semi-supervised network has more, in the mean over the seeds."""
        return float(np.mean(self.semi) - np.mean(self.alone))

    @property
    def error(self) -> float:
        """Standard error of the gain; NaN of one seed."""
        gains = np.subtract(self.semi, self.alone)
        return float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else float("nan")

    def line(self, width: int = 8) -> str:
        """One line of figures; width: of the column of the semi-supervised network."""
        return (
            f"{np.mean(self.alone):6.1%}  {np.mean(self.semi):{width}.1%}  {self.points():>13}  "
            f"{np.mean(self.alone_ece):6.1%}  {np.mean(self.semi_ece):6.1%}"
        )

    def points(self) -> str:
        """The gain in points, with its error where there is one."""
        error = f" +- {100 * self.error:.1f}" if np.isfinite(self.error) else ""
        return f"{100 * self.gain:+.1f}{error}"


@dataclass(frozen=True)
class ReadinessReport:
    """What was measured.

    volumes: with ever more labels. shares: with `labels` fixed and pools of one size, from equal shares
        of the classes on; empty where labels do not suffice for pools.
    guesses: as `Guesses` has them at the `step`s of the last semi-supervised training, that with the most
        labels; empty where no label was hidden.
    distance: held-out labelled samples against those that have no label, by features of the network of
        the labels alone; cheap: as `tacita.audit.shift.pool_shift` has it before any training. None where
        there are too few of either.
    """

    semi: str
    held_out: int
    volumes: tuple[Comparison, ...]
    shares: tuple[Comparison, ...]
    guesses: tuple[Mapping[str, float], ...]
    distance: FrechetDistance | None
    cheap: FrechetDistance | None

    @property
    def answer(self) -> str:
        """Whether unlabelled samples help with the most labels there are, in a sentence."""
        most = self.volumes[-1]
        best = max(self.volumes, key=lambda point: point.gain)
        found = f"{most.points()} points with {most.labels} labels"
        if most.gain > 2 * most.error:
            said = f"yes: {self.semi} gains {found}"
        elif most.gain < -2 * most.error:
            said = f"no: {self.semi} loses, {found}"
        elif np.isfinite(most.error):
            said = f"not that it could be seen: {found}"
        else:
            said = f"no error is known of one seed: {found}"
        if best is not most and best.gain > 0:
            said += f"; its gain is largest ({100 * best.gain:+.1f}) with {best.labels}"
        return said

    def lines(self) -> list[str]:
        """All curves as text, and the answer at the end."""
        width = max(6, len(self.semi))
        head = f"{'alone':>6}  {self.semi:>{width}}  {'gain':>13}  {'ECE of both':>14}"
        said = [f"{'labels':<9} {head}"]
        said += [f"{point.labels:<9} {point.line(width)}" for point in self.volumes]
        if self.shares:
            said.append(f"{'share':<9} {head}   with {self.shares[0].labels} labels")
            said += [f"{point.share:<9.0%} {point.line(width)}" for point in self.shares]
        if self.guesses:
            last = self.guesses[-1]
            said.append(
                f"guesses   {last['mask_rate']:.0%} of the hidden samples are guessed with "
                f"confidence at the end, {last['impurity']:.1%} of these wrongly"
            )
        for name, found in {"distance": self.distance, "before": self.cheap}.items():
            if found is not None:
                said.append(f"{name:<9} {found.line()}")
        return [*said, f"answer    {self.answer}"]

    def __str__(self) -> str:
        return "\n".join(self.lines())
