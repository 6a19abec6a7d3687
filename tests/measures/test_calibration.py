"""What goes wrong in calibration errors: bins that lose samples, and means that forget their size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.measures.calibration import ece, reliability, uce, uncertainty


def predictor(count: int, classes: int = 4, sharper: float = 1.0) -> tuple[Tensor, Tensor]:
    """Labels drawn from their own probabilities, which are then said more or less sharply."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, classes, generator=generator)
    y = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (sharper * logits).softmax(1), y


def test_a_predictor_that_knows_its_probabilities_has_no_error() -> None:
    few, many = ece(*predictor(1000)), ece(*predictor(400_000))
    assert many < 0.004
    assert many < few


@pytest.mark.parametrize("sharper, sign", [(3.0, 1), (0.3, -1)])
def test_too_sure_and_too_timid_predictors_are_told(sharper: float, sign: int) -> None:
    p, y = predictor(20_000, sharper=sharper)
    curve = reliability(p, y)
    gap = float(((curve.said - curve.found) * curve.count).sum() / len(y))
    assert sign * gap > 0.1
    assert curve.error == pytest.approx(abs(gap), abs=0.02)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_errors_by_a_loop_over_bins(bins: int) -> None:
    p, y = predictor(300, sharper=2.0)
    values, codes = p.double().numpy(), y.numpy()
    entropy = -(values * np.log(values)).sum(1) / np.log(4)
    right = values.argmax(1) == codes
    for said, found, curve in [
        (values.max(1), right, reliability(p, y, bins)),
        (entropy, ~right, uncertainty(p, y, bins)),
    ]:
        expected, counted = 0.0, []
        for k in range(bins):
            inside = (said > k / bins) & (said <= (k + 1) / bins)
            if inside.any():
                expected += inside.mean() * abs(said[inside].mean() - found[inside].mean())
                counted.append(inside.sum())
        assert curve.error == pytest.approx(expected, rel=1e-9)
        assert curve.count.tolist() == counted
    assert ece(p, y, bins) == reliability(p, y, bins).error
    assert uce(p, y, bins) == uncertainty(p, y, bins).error


def test_the_ends_of_the_scale_are_counted() -> None:
    certain = torch.eye(3)
    assert ece(certain, torch.arange(3)) == 0.0
    assert uce(certain, torch.arange(3)) == 0.0
    assert ece(certain, torch.tensor([1, 2, 0])) == 1.0
    assert reliability(certain, torch.arange(3)).count.tolist() == [3]
    equal = torch.full((4, 2), 0.5)
    assert uncertainty(equal, torch.tensor([0, 0, 1, 1])).said.tolist() == [1.0]


def test_probabilities_that_are_not_finite_have_an_error_that_is_not() -> None:
    p = torch.tensor([[torch.nan, 0.5], [0.5, 0.5]])
    assert np.isnan(ece(p, torch.tensor([0, 0])))
    assert np.isnan(uce(p, torch.tensor([0, 0])))


def test_no_samples_have_no_error() -> None:
    curve = reliability(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert np.isnan(curve.error)
    assert len(curve.count) == 0


def test_logits_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="sample 1 sum to 3"):
        ece(torch.tensor([[0.5, 0.5], [2.0, 1.0]]), torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match="do not fit"):
        ece(torch.eye(2), torch.tensor([0]))
    with pytest.raises(ConfigError, match="0 bins"):
        ece(torch.eye(2), torch.tensor([0, 1]), bins=0)
