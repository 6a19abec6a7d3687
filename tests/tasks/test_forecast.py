"""The task forecast: figures against loops, the null control at zero, any level and any unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.measures.forecasts import smape
from tacita.tasks import Forecast
from tacita.tasks.forecast import MEDIAN, QUANTILES
from tests.helpers import example_windows


def task_and_targets() -> tuple[Forecast, Tensor]:
    data = example_windows()
    assert isinstance(data.task, Forecast)
    return data.task, data.y[data.labelled]


def about(forecast: Tensor, width: float = 1.0) -> Tensor:
    """Logits whose median is a forecast `(N, H, K)`."""
    steps = torch.tensor([-3.0, -2, -1, 0, 1, 2, 3]) * width
    return (forecast[..., None] + steps).flatten(1)


def test_the_seasonal_naive_forecast_has_no_skill_and_a_perfect_one_has_all() -> None:
    task, y = task_and_targets()
    asked = task.asked(y)
    scores = task.scores(about(asked.naive), y)
    assert scores["skill"] == 0
    assert scores["owa"] == 1
    perfect = task.scores(about(asked.future.nan_to_num(0)), y)
    assert perfect["skill"] == 1
    assert perfect["mase"] == 0
    assert perfect["coverage_80"] == 1


def test_figures_are_those_of_a_loop() -> None:
    task, y = task_and_targets()
    forecast = torch.randn(
        len(y), task.horizon, len(task.names), generator=torch.Generator().manual_seed(0)
    )
    logits = about(task.asked(y).naive + forecast, 0.5).double()
    asked, found = task.asked(y), task.quantiles(logits)
    scaled, plain, squared, percent, lost, inside = [], [], [], [], [], []
    for n in range(len(y)):
        for h in range(task.horizon):
            for k in range(len(task.names)):
                true, median = float(asked.future[n, h, k]), float(found[n, h, k, MEDIAN])
                if math.isnan(true):
                    continue
                plain.append(abs(true - median))
                squared.append((true - median) ** 2)
                percent.append(200 * abs(true - median) / (abs(true) + abs(median)))
                inside.append(float(found[n, h, k, 1]) <= true <= float(found[n, h, k, -2]))
                if asked.scale[n, k] > 0:
                    scaled.append(plain[-1] / float(asked.scale[n, k]))
                for level, value in zip(QUANTILES, found[n, h, k].tolist(), strict=True):
                    lost.append(
                        level * (true - value) if true > value else (level - 1) * (true - value)
                    )
    scores = task.scores(logits, y)
    for name, values in (
        ("mase", scaled), ("mean_absolute_error", plain), ("mean_squared_error", squared),
        ("smape", percent), ("pinball", lost), ("coverage_80", inside),
    ):  # fmt: skip
        assert scores[name] == pytest.approx(np.mean(values), rel=1e-9), name


@pytest.mark.parametrize("unit, offset", [(1e-12, 0.0), (1e9, 0.0), (1.0, 1e6)])
def test_loss_and_skill_are_indifferent_to_unit_and_level(unit: float, offset: float) -> None:
    plain, moved = example_windows(), example_windows(unit, offset)
    assert isinstance(plain.task, Forecast)
    y, y_moved = plain.y[plain.labelled], moved.y[moved.labelled]
    logits = about(plain.task.asked(y).naive + 0.3).double()
    other = unit * logits + offset
    torch.testing.assert_close(
        plain.task.losses(logits, y), plain.task.losses(other, y_moved), rtol=1e-4, atol=1e-6
    )
    scores, scores_moved = plain.task.scores(logits, y), plain.task.scores(other, y_moved)
    for name in ("skill", "mase", "coverage_80"):
        assert scores_moved[name] == pytest.approx(scores[name], rel=1e-5), name


def test_the_best_constant_quantiles_are_those_of_the_errors() -> None:
    task, y = task_and_targets()
    asked = task.asked(y)
    shift = torch.zeros(len(QUANTILES), dtype=torch.float64, requires_grad=True)
    unit = asked.spread[:, None, :, None]
    optimiser = torch.optim.Adam([shift], lr=0.02)
    for _ in range(600):
        optimiser.zero_grad()
        task.loss((asked.naive[..., None] + unit * shift).flatten(1), y).backward()
        optimiser.step()
    errors = ((asked.future - asked.naive) / asked.spread[:, None]).flatten()
    wanted = errors[~errors.isnan()].quantile(torch.tensor(QUANTILES).double())
    torch.testing.assert_close(shift.detach(), wanted, rtol=0, atol=0.1)


def test_a_constant_window_is_forecast_as_it_is_and_learnt_from_no_more() -> None:
    task, y = task_and_targets()
    y = y.clone()
    y[0, -1] = 0  # Its spread.
    losses = task.losses(about(task.asked(y).naive + 5), y)
    assert losses[0] == 0
    assert bool((losses[1:] > 0).all())
    y[:, -1] = 0
    with pytest.raises(DataError, match="constant wherever a window ends"):
        task.check_enough(y, "test", 1)


def test_unknown_steps_count_for_nothing() -> None:
    task, y = task_and_targets()
    logits = about(task.asked(y).naive + 1)
    partly = y.clone()
    partly[:, 1:3] = torch.nan
    assert bool(task.known(partly).all())
    assert task.losses(logits, partly).isfinite().all()
    changed = logits.view(len(y), task.horizon, -1).clone()
    changed[:, 1:3] += 100
    torch.testing.assert_close(task.losses(changed.flatten(1), partly), task.losses(logits, partly))
    assert task.scores(changed.flatten(1), partly) == task.scores(logits, partly)


def test_nothing_that_has_classes_is_said_of_a_forecast() -> None:
    task, y = task_and_targets()
    with pytest.raises(ConfigError, match="which has no classes"):
        task.probabilities(torch.zeros(1, task.out_dim))
    with pytest.raises(ConfigError, match="no classes"):
        task.grown(["a"])
    assert task.codes(y) is None
    assert smape(torch.zeros(2), torch.zeros(2)) == 0
