"""What an audit of readiness has measured, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from tacita.measures.frechet import FrechetDistance

CHANCE = 0.05
"""How often a gain, or a loss, that is none may be told as one."""


@dataclass(frozen=True)
class Scores:
    """What one learner scores, a figure a seed: balanced accuracy and calibration error."""

    accuracy: tuple[float, ...]
    ece: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The learners on the same labels and pool.

    labels: how many in all; share: of the most frequent class in the pool, where that was set.
    semi: the method. alone: the method itself without what it learns from the pool, so that nothing but the
        pool is between the two. supervised: a network of the labels, with the house's strong views.
    """

    labels: int
    semi: Scores
    alone: Scores
    supervised: Scores
    share: float | None = None

    @property
    def baseline(self) -> Scores:
        """The better of the two that learn from labels, in the mean over the seeds."""
        return max(self.alone, self.supervised, key=lambda scores: np.mean(scores.accuracy))

    @property
    def gain(self) -> float:
        """What the method has more than the better baseline, in the mean over the seeds."""
        return float(self._gains().mean())

    @property
    def error(self) -> float:
        """Standard error of the gain; NaN of one seed."""
        gains = self._gains()
        return float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else float("nan")

    @property
    def p(self) -> float:
        """How often chance alone would gain, or lose, as much (Student's t, one side); NaN of one seed."""
        if self.error == 0:
            return float(self.gain == 0)
        return float(t.sf(abs(self.gain) / self.error, len(self._gains()) - 1))

    def _gains(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.subtract(self.semi.accuracy, self.baseline.accuracy)

    def line(self, width: int = 8) -> str:
        """One line of figures; width: of the column of the method."""
        return (
            f"{np.mean(self.alone.accuracy):6.1%}  {np.mean(self.supervised.accuracy):10.1%}  "
            f"{np.mean(self.semi.accuracy):{width}.1%}  {self.points():>13}  "
            f"{np.mean(self.baseline.ece):6.1%}  {np.mean(self.semi.ece):6.1%}"
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
    distance: held-out labelled samples against those that have no label, by features of the method's
        network without its pool; cheap: as `tacita.audit.shift.pool_shift` has it before any training.
        None where there are too few of either.
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
        if not np.isfinite(most.error):
            said = f"no error is known of one seed: {found}"
        elif most.p >= CHANCE:
            said = f"not that it could be seen: {found} (p {most.p:.2f})"
        elif most.gain > 0:
            said = f"yes: {self.semi} gains {found} (p {most.p:.3f})"
        else:
            said = f"no: {self.semi} loses, {found} (p {most.p:.3f})"
        if best is not most and best.gain > 0:
            said += f"; its gain is largest ({best.points()}) with {best.labels}"
        return said

    def lines(self) -> list[str]:
        """All curves as text, and the answer at the end."""
        width = max(6, len(self.semi))
        head = (
            f"{'alone':>6}  {'supervised':>10}  {self.semi:>{width}}  {'gain':>13}  "
            f"{'ECE without, with':>17}"
        )
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
