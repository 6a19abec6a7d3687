"""What holds for every method that forecasts and does nothing else, on two short series with a season."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tacita.catalog.discover import cards
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.data.splits import hold_out
from tacita.errors import ConfigError
from tacita.learner import Learner
from tacita.model.build import encoder_for, learner_for, needs_encoder, trains
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.tasks import Forecast
from tests.helpers import example_windows

METHODS = [card.slug for card in cards().values() if card.tasks == ("forecast",)]
SEARCHED = "auto-arima"
"""It takes seconds a history, so most of what is looked at waits for the slow tests."""
every_method = pytest.mark.parametrize(
    "method", [pytest.param(m, marks=[pytest.mark.slow] * (m == SEARCHED)) for m in METHODS]
)
TRAINING = {"steps": 5, "batch_size": 16}


@cache
def parts(unit: float = 1.0, offset: float = 0.0) -> tuple[Dataset, Dataset]:
    """Windows to learn from, and later ones."""
    data = example_windows(unit, offset)
    kept, held = hold_out(data, 0.25, 0)
    return data.subset(kept), data.subset(held)


def unfitted(method: str) -> tuple[Recipe, Learner]:
    sections = {"learn": {"method": method}}
    if cards()[method].needs_encoder:
        sections["encoder"] = {"method": "residual-conv", "width": 8, "depth": 2}  # type: ignore[dict-item]
    recipe = Recipe.model_validate({"name": method, **sections})
    encoder = encoder_for(recipe, parts()[0].spec) if needs_encoder(recipe) else None
    return recipe, learner_for(recipe, encoder, TRAINING if trains(recipe, "learn") else {})


@cache
def model_of(method: str) -> Model:
    recipe, learner = unfitted(method)
    return Model(recipe, learner.fit(parts()[0]), Metrics(winner=method, leaderboard=[]))


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_rise_and_are_as_many_as_are_asked_for(method: str) -> None:
    learner, held = model_of(method).learner, parts()[1]
    assert isinstance(learner.task_, Forecast)
    logits = learner.logits(held)
    assert logits.dtype == torch.float64
    found = learner.task_.quantiles(logits)
    assert bool(found.isfinite().all())
    assert bool((found.diff(dim=3) >= 0).all())
    assert learner.predict(held).shape == (len(held), 4)


@every_method
def test_a_loaded_model_forecasts_the_same(method: str, tmp_path: Path) -> None:
    model, held = model_of(method), parts()[1]
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert torch.equal(loaded.learner.logits(held), model.learner.logits(held))
    assert (loaded.recipe, loaded.schema, loaded.task) == (model.recipe, model.schema, model.task)


@every_method
def test_a_fit_repeats_and_a_window_is_forecast_apart_from_others(method: str) -> None:
    kept, held = parts()
    logits = model_of(method).learner.logits(held)
    assert torch.equal(unfitted(method)[1].fit(kept).logits(held), logits)
    some = torch.tensor([3, 1])
    torch.testing.assert_close(
        model_of(method).learner.logits(held.subset(some)), logits[some], rtol=1e-6, atol=1e-6
    )


@every_method
@pytest.mark.parametrize("unit, offset", [(1e-9, 0.0), (1e6, 3e6)])
def test_a_forecast_moves_with_level_and_unit(method: str, unit: float, offset: float) -> None:
    logits = model_of(method).learner.logits(parts()[1])
    kept, held = parts(unit, offset)
    moved = unfitted(method)[1].fit(kept).logits(held)
    # Searches over forms of a model end where rounding sends them, if two are as good.
    near = 0.05 if method.startswith("auto-") else 1e-3
    torch.testing.assert_close((moved - offset) / unit, logits, rtol=near, atol=near)


@every_method
def test_the_future_is_not_looked_at(method: str) -> None:
    learner, held = model_of(method).learner, parts()[1]
    blind = held.hide_labels(torch.empty(0, dtype=torch.int64))
    assert torch.equal(learner.logits(blind), learner.logits(held))


@every_method
def test_other_tasks_are_refused_by_name(method: str) -> None:
    from tests.helpers import example

    _, learner = unfitted(method)
    with pytest.raises(ConfigError, match="classification"):
        learner.fit(example("series"))


@every_method
def test_it_is_better_than_nothing_where_there_is_a_trend_and_a_season(method: str) -> None:
    kept, held = parts()
    learner = unfitted(method)[1]
    if trains(unfitted(method)[0], "learn"):
        recipe, _ = unfitted(method)
        encoder = encoder_for(recipe, kept.spec)
        learner = learner_for(recipe, encoder, {"steps": 150, "batch_size": 32})
    score = learner.fit(kept).score(held)
    if method == "seasonal-naive":
        assert score == 0
    else:
        assert score > 0.2


def test_models_that_look_at_the_whole_past_say_so_of_a_batch() -> None:
    held = parts()[1]
    learner = model_of("auto-theta").learner
    with pytest.raises(ConfigError, match="whole past"):
        learner._logits(held.normalised().take(torch.arange(2)))


def test_forecasts_of_several_targets_are_each_on_their_own_scale() -> None:
    from tacita.modalities.memory import as_dataset

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 40, 3)).cumsum(1) * [1e-6, 1.0, 1e6]
    data = as_dataset(x, horizon=3)
    kept, held = hold_out(data, 0.25, 0)
    for method in ("lag-ridge", "lag-boosting", "seasonal-naive", "auto-theta"):
        learner = unfitted(method)[1].fit(data.subset(kept))
        assert isinstance(learner.task_, Forecast)
        median = learner.task_.predict(learner.logits(data.subset(held)))
        sizes = median.abs().amax((0, 1))
        assert sizes[0] < 1e-4 < sizes[1] < 1e3 < sizes[2]
