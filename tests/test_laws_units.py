"""The unit of a column, a series or a target, and an offset, change no result by more than rounding."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

import tacita
from tacita.audit.shift.pool_shift import pool_shift
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.report.describe import describe
from tacita.tasks import Regression
from tacita.values import as_tensor, with_tensor
from tests.helpers import example, with_examples

POWERS = [-20, 20]
NUMBERS = [name for name in with_examples() if "numbers" in find(name).card.gives]


@cache
def wide(name: str) -> Dataset:
    """The first of the example of a modality in floats of 64 bits."""
    whole = replace(example(name), normaliser=None)
    data = whole.subset(torch.arange(min(120, len(whole))))
    x = as_tensor(data.samples).double()
    return data.with_samples(with_tensor(data.samples, x))


def changed(data: Dataset, factor: float, offset: float) -> Dataset:
    """The same samples in another unit; padding and categories stay as they are."""
    x = as_tensor(data.samples) * factor + offset
    if data.lengths is not None:
        steps = torch.arange(x.shape[1])
        x = torch.where((steps < data.lengths[:, None])[:, :, None], x, 0.0)
    sizes = torch.tensor(data.spec.cardinalities or [0])
    if sizes.any():
        x = torch.where(sizes > 0, as_tensor(data.samples), x)
    return data.with_samples(with_tensor(data.samples, x))


@pytest.mark.parametrize("name", NUMBERS)
@settings(deadline=None, max_examples=8)
@given(power=st.integers(-20, 20), offset=st.sampled_from([0.0, 1e6]))
def test_what_is_normalised_knows_no_unit(name: str, power: int, offset: float) -> None:
    data = wide(name)
    factor = 10.0**power
    # An offset is kept as far as 64 bits keep what lies on it: of some channels, a thousandth.
    offset *= float(as_tensor(data.samples).nan_to_num().std()) * factor
    other = changed(data, factor, offset)
    mine, theirs = (
        as_tensor(each.normalised().take(torch.arange(len(data))).samples) for each in (data, other)
    )
    assert mine.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=2e-3 if offset else 1e-5)


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "volumes"])
@pytest.mark.parametrize("power", POWERS)
def test_a_baseline_knows_no_unit(name: str, power: int) -> None:
    data = wide(name)
    method = "label-spreading" if find(name).card.name != "tables" else "random-forest"
    expected = tacita.adapt(method, data, quiet=True).metrics.held_out
    found = tacita.adapt(method, changed(data, 10.0**power, 0.0), quiet=True).metrics.held_out
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("power", [-20])
def test_a_network_knows_no_unit(power: int) -> None:
    data = wide("tables")
    options = {"encoder": "feature-tokens", "steps": 3, "batch_size": 16, "quiet": True}
    expected = tacita.adapt("supervised", data, **options).predict_proba(data)
    other = changed(data, 10.0**power, 0.0)
    found = tacita.adapt("supervised", other, **options).predict_proba(other)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("method", ["random-forest", "gradient-boosting", "ridge"])
@pytest.mark.parametrize("factor, offset", [(1e-20, 0.0), (1e20, 0.0), (1.0, 1e9)])
def test_a_target_has_any_unit(method: str, factor: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = X @ [1.0, 2.0, -1.0] + rng.normal(size=90) / 2
    plain = tacita.adapt(method, X[:60], y[:60], task="regression", quiet=True)
    other = tacita.adapt(method, X[:60], y[:60] * factor + offset, task="regression", quiet=True)
    predicted = np.asarray(other.predict(X[60:]))
    held = tacita.as_dataset(X[60:], y[60:] * factor + offset, task="regression")
    expected = r2_score(y[60:] * factor + offset, predicted)
    assert other.evaluate(held)["r2"] == pytest.approx(expected, abs=1e-6)
    # An offset rounds the targets, and a tree may then take the other of two splits that are as good.
    near = 0.02 if offset else 1e-5
    assert expected == pytest.approx(r2_score(y[60:], plain.predict(X[60:])), abs=near)


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_a_constant_prediction_explains_nothing(unit: float) -> None:
    y = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64) * unit
    task = Regression(mean=float(y.mean()), std=float(y.std(correction=0)))
    assert task.scores(torch.zeros(3, 1), y)["r2"] == pytest.approx(0.0, abs=1e-9)
    same = torch.full((3,), unit, dtype=torch.float64)
    constant = Regression(mean=unit, std=unit)
    assert constant.scores(torch.ones(3, 1), same)["r2"] == 0.0 == r2_score(same, 2 * same)
    assert constant.scores(torch.zeros(3, 1), same)["r2"] == 1.0 == r2_score(same, same)


@pytest.mark.parametrize("power", POWERS)
def test_a_shift_of_the_pool_has_no_unit(power: int) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(60, 4)), rng.normal(3, 1, size=(60, 4))])
    y = np.where(np.arange(120) < 60, np.arange(120) % 2, -1)
    plain, other = (
        pool_shift(tacita.as_dataset(x, y)),
        pool_shift(tacita.as_dataset(x * 10.0**power, y)),
    )
    assert plain is not None
    assert other is not None
    assert other.excess == pytest.approx(plain.excess, rel=1e-6)


@pytest.mark.parametrize("power", POWERS)
def test_a_column_is_told_constant_or_a_leak_in_any_unit(power: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) * 10.0**power
    x[:, 1] = 0.1 * 10.0**power
    said = describe(tacita.as_dataset(x, x[:, 2] * 1.0, task="regression")).warnings
    assert any("constant column '1'" in each for each in said)
    assert any("the label can be read off column '2'" in each for each in said)
    apart = describe(
        tacita.as_dataset(x + 1e9 * 10.0**power, rng.normal(size=40) + 1e9, task="regression")
    )
    assert not any("read off" in each for each in apart.warnings)


def test_a_clock_keeps_its_seconds_from_a_file_to_a_saved_model(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    late = rng.integers(0, 60, 80)
    path = tmp_path / "clock.csv"
    lines = [f"{1_700_000_000 + second},{'late' if second > 30 else 'early'}" for second in late]
    path.write_text("end,label\n" + "\n".join(lines) + "\n")
    model = tacita.adapt("random-forest", path, labels="label", quiet=True, out=tmp_path / "run")
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["accuracy"] == 1.0
    assert (tacita.Model.load(tmp_path / "run").predict(path) == model.predict(path)).all()


def test_floats_of_32_bits_take_no_more_than_they_did() -> None:
    x = np.zeros((10, 8), np.float32)
    data = tacita.as_dataset(x)
    assert data.x.data_ptr() == x.__array_interface__["data"][0]
    assert tacita.as_dataset(np.zeros((4, 2), np.int16)).x.dtype == torch.float32
    assert tacita.as_dataset(np.zeros((4, 2), np.int64)).x.dtype == torch.float64
