"""Forecasts: the values of the steps to come, as quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from tacita.catalog.tasks import task
from tacita.errors import ConfigError, DataError
from tacita.measures.forecasts import coverage, pinball, scaled_errors, smape
from tacita.tasks.base import Part, Task, full_precision
from tacita.tasks.shown import Course, Shown, Writer
from tacita.values import Values, as_tensor
from tacita.windows import Windows, levels_and_spreads
from tacita.words import listed, plural

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Of which the median is the forecast, and the others are the ends of intervals of 50, 80 and 95%."""
MEDIAN = QUANTILES.index(0.5)
_REMEDY = "Read series with a horizon: --horizon 24, or load(..., horizon=24)."


class Asked(NamedTuple):
    """The targets of a forecast, taken apart.

    Shapes: `future`, `naive (N, H, K)`: what came after, NaN where nobody knows, and what was a season ago;
    `scale`, `level`, `spread (N, K)`: the mean change over a season, and the window's mean and deviation.
    """

    future: Tensor
    naive: Tensor
    scale: Tensor
    level: Tensor
    spread: Tensor


@task("forecast", apart=True)
@dataclass(frozen=True)
class Forecast(Task):
    """The values of the next `horizon` steps, by their quantiles; candidates are ranked by their skill.

    Skill is the share of the seasonal naive forecast's mean absolute scaled error (MASE) that is gone: 0 for
    that forecast itself, 1 for a perfect one. OWA is relative to it too, where the M4 competition takes a
    naive forecast of the seasonally adjusted series.

    Shapes: targets `(N, 2H + 3, K)` float64, see `Asked`; logits `(N, H * K * Q)`, in the data's own units.
    """

    metric = "skill"
    ranking = ("mase", "owa", "smape", "mean_absolute_error", "mean_squared_error", "pinball")
    lower = ranking
    blends = True
    continues: ClassVar[bool] = True
    asks: ClassVar[tuple[str, ...]] = ("horizon",)

    horizon: int = 1
    names: tuple[str, ...] = ("value",)
    """Of the targets, `K`."""
    season: int = 1

    # Targets

    @classmethod
    def claims(cls, raw: Any) -> int:
        """Windows are there to be forecast."""
        return 9 * isinstance(raw, Windows)

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        windows = _windows(samples, source)
        course = windows.course
        task = cls(horizon=course.horizon, names=course.names, season=course.season)
        return task._told(raw, windows), task

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        windows = _windows(samples, source)
        if (windows.course.horizon, windows.course.targets) != (self.horizon, len(self.names)):
            raise DataError(
                f"{source}: windows of {plural(windows.course.targets, 'target')} and"
                f" {windows.course.horizon} steps ahead, but the model has {len(self.names)} and"
                f" {self.horizon}.",
                remedy="Read them as the model does: give it the file.",
            )
        return self._told(raw, windows)

    def _told(self, raw: Any, windows: Windows) -> Values:
        """What came after, without that of which a list of labels says that it is hidden."""
        y = _targets(windows)
        if not isinstance(raw, list):
            return y
        return self.hide(y, torch.tensor([each is not None for each in raw], dtype=torch.bool))

    def decode(self, predicted: Values) -> list[Any]:
        """Targets, or forecasts `(N, H, K)`, as `(H,)` or `(H, K)` numbers a window."""
        values = as_tensor(predicted)
        values = values[:, : self.horizon]
        return list((values[:, :, 0] if len(self.names) == 1 else values).numpy())

    def words(self, predicted: Values) -> list[str]:
        """The first steps."""
        each = as_tensor(predicted)[:, : self.horizon, 0]
        more = ", ..." * (self.horizon > 3)
        return [", ".join(f"{value:.4g}" for value in row[:3].tolist()) + more for row in each]

    def unlabelled(self, samples: Values) -> Values:
        if not isinstance(samples, Windows):
            return torch.full(
                (len(samples), 2 * self.horizon + 3, len(self.names)), torch.nan
            ).double()
        y = _targets(samples)
        y[:, : self.horizon] = torch.nan
        return y

    def known(self, y: Values) -> Tensor:
        return ~as_tensor(y)[:, : self.horizon].isnan().all(2).all(1)

    def hide(self, y: Values, keep: Tensor) -> Values:
        hidden = as_tensor(y).clone()
        hidden[:, : self.horizon] = torch.nan
        hidden[keep, : self.horizon] = as_tensor(y)[keep, : self.horizon]
        return hidden

    def asked(self, y: Tensor) -> Asked:
        """The targets `(N, 2H + 3, K)`, taken apart."""
        steps = self.horizon
        return Asked(y[:, :steps], y[:, steps : 2 * steps], y[:, -3], y[:, -2], y[:, -1])

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        asked = self.asked(as_tensor(y))
        if not bool((asked.spread > 0).any()):
            raise DataError(
                f"{source}: the series are constant wherever a window ends.",
                remedy="Give series that change.",
            )

    # Learning

    @property
    def out_dim(self) -> int:
        return self.horizon * len(self.names) * len(QUANTILES)

    def quantiles(self, logits: Tensor) -> Tensor:
        """`(N, H, K, Q)` of logits `(N, H * K * Q)`."""
        return logits.view(len(logits), self.horizon, len(self.names), len(QUANTILES))

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """The mean pinball loss over all steps and quantiles, in deviations of the window.

        Windows in which a target is constant have no unit to be wrong in, and no loss.
        """
        asked = self.asked(y)
        spread = asked.spread[:, None, :].double()
        counted = (~asked.future.isnan()) & (spread > 0)
        unit = spread.where(spread > 0, 1)
        off = asked.future.double().where(counted, 0)[..., None] - self.quantiles(
            full_precision(logits)
        )
        lost = pinball(off / unit[..., None], QUANTILES).mean(3) * counted
        return (lost.sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)).float()

    # Predictions

    def predict(self, logits: Tensor) -> Tensor:
        """`(N, H, K)`: the median."""
        return self.quantiles(logits)[..., MEDIAN]

    def blended(self, logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The weighted mean of each quantile."""
        both = zip(logits, weights, strict=True)
        return torch.stack([each.double() * weight for each, weight in both]).sum(0)

    def log_likelihoods(self, logits: Tensor, y: Tensor) -> Tensor:
        """Of scaled errors that follow Laplace's distribution, of the width that they have here.

        A window counts as one observation, as its steps are wrong together.
        """
        asked = self.asked(y)
        errors = scaled_errors(self.predict(logits), asked.future, asked.scale)
        each = errors.nanmean((1, 2)).nan_to_num(0)
        width = each.mean().clamp_min(torch.finfo(torch.float64).tiny)
        return -each / width - width.log()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """Over all windows, steps and targets that are known; scaled errors where a scale is above 0."""
        asked, found = self.asked(y), self.quantiles(logits.double())
        forecast = found[..., MEDIAN]
        off = asked.future - forecast
        scaled = scaled_errors(forecast, asked.future, asked.scale).nanmean().item()
        of_naive = scaled_errors(asked.naive, asked.future, asked.scale).nanmean().item()
        relative, relative_naive = (smape(each, asked.future) for each in (forecast, asked.naive))
        lost = pinball(asked.future[..., None] - found, QUANTILES)
        return {
            "skill": 1 - _ratio(scaled, of_naive),
            "mase": scaled,
            "owa": (_ratio(scaled, of_naive) + _ratio(relative, relative_naive)) / 2,
            "smape": relative,
            "mean_absolute_error": off.abs().nanmean().item(),
            "mean_squared_error": off.square().nanmean().item(),
            "pinball": lost.nanmean().item(),
            "coverage_80": coverage(asked.future, found[..., 1], found[..., -2]),
            "coverage_95": coverage(asked.future, found[..., 0], found[..., -1]),
        }

    # Words and files

    def summary(self, y: Values) -> str:
        return f"{plural(self.horizon, 'step')} ahead of {listed('target', [*self.names])}"

    def suspicions(self, y: Values) -> list[str]:
        spread = self.asked(as_tensor(y)).spread
        constant = int((spread == 0).any(1).sum())
        if not constant:
            return []
        return [
            f"a target is constant in {plural(constant, 'window')}: nothing is learnt from these, and they"
            " are forecast as they are"
        ]

    def shown(self, logits: Tensor, y: Tensor, top: int) -> Shown:
        asked, forecast = self.asked(y), self.predict(logits.double())
        errors = scaled_errors(forecast, asked.future, asked.scale)
        of_naive = scaled_errors(asked.naive, asked.future, asked.scale)
        each = errors.nanmean((1, 2)).nan_to_num(0)
        worst = each.argsort(descending=True)[:top].numpy()
        known = ~asked.future.isnan()
        return Shown(
            fit=(asked.future[known].numpy(), forecast[known].numpy()),
            worst=worst,
            guesses=forecast.numpy()[worst],
            ahead=(errors.nanmean((0, 2)).numpy(), of_naive.nanmean((0, 2)).numpy()),
        )

    def courses(
        self, samples: Values, logits: Tensor, names: Sequence[str], most: int
    ) -> list[Course]:
        """The last windows of some series, the first of their targets."""
        if not isinstance(samples, Windows):
            return []
        last = {int(begin): place for place, begin in enumerate(samples.begins.tolist())}
        at = torch.tensor(sorted(last.values())[:most], dtype=torch.int64)
        if not len(at):
            return []
        found = self.quantiles(logits[at].double())[:, :, 0].numpy()
        future = samples[at].future()[:, :, 0].numpy()
        history = [
            samples.history(place)[-3 * self.horizon - 2 * self.season :, 0].numpy()
            for place in at.tolist()
        ]
        return [
            Course(names[place], past, after, each[:, MEDIAN], each[:, 1], each[:, -2])
            for place, past, after, each in zip(at.tolist(), history, future, found, strict=True)
        ]

    def named(
        self, names: Sequence[str], samples: Values, times: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Any]:
        """A window's series with the moments that it looks ahead to."""
        if not isinstance(samples, Windows):
            return [(name, [""] * self.horizon) for name in names]
        return list(zip(names, samples.stamps(), strict=True))

    def write(self, parts: Iterable[Part], to: Writer, *, probabilities: bool = False) -> int:
        """A line for every step of every target, with the ends of the intervals."""
        if probabilities:
            raise ConfigError(
                "A forecast has no probabilities.",
                remedy="Leave --proba out: it comes with quantiles.",
            )
        ends = [f"q{100 * level:g}" for level in QUANTILES if level != 0.5]
        header = ["id", "step", "time", *(["target"] * (len(self.names) > 1)), "predicted", *ends]
        return to.lines(header, self._rows(parts))

    def _rows(self, parts: Iterable[Part]) -> Iterator[list[Any]]:
        for named, logits in parts:
            found = self.quantiles(logits.double()).tolist()
            for (name, times), steps in zip(named, found, strict=True):
                for step, (time, targets) in enumerate(zip(times, steps, strict=True), start=1):
                    for target, levels in zip(self.names, targets, strict=True):
                        of = [target] if len(self.names) > 1 else []
                        others = [*levels[:MEDIAN], *levels[MEDIAN + 1 :]]
                        yield [name, step, time, *of, levels[MEDIAN], *others]


def require_forecast(why: str, task: Task, *, remedy: str = _REMEDY) -> Forecast:
    """The task, which must be a forecast. Raises `ConfigError` for any other; `why` is its beginning."""
    if not isinstance(task, Forecast):
        raise ConfigError(f"{why}, but the task is {task.name}.", remedy=remedy)
    return task


def _windows(samples: Values, source: str) -> Windows:
    if not isinstance(samples, Windows):
        raise ConfigError(
            f"{source}: a forecast needs to know how far it is to look.", remedy=_REMEDY
        )
    return samples


def _targets(windows: Windows) -> Tensor:
    """As `Asked`, laid one behind the other."""
    level, spread = levels_and_spreads(windows)
    rows = [each[:, None] for each in (windows.scale(), level, spread)]
    return torch.cat([windows.future(), windows.naive(), *rows], 1)


def _ratio(value: float, of: float) -> float:
    """1 where both are nothing."""
    return value / of if of else float("nan") if value else 1.0
