"""What could go wrong: numbers that are no data count, or a row without hidden tokens gives NaN."""

from __future__ import annotations

import pytest
import torch

from tacita.encoder import require_tokens
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.parts.reconstruction import data_weights, hidden_mean, require_ratio
from tests.helpers import image_batch, series_batch


def test_the_mean_is_over_hidden_tokens_of_means_over_their_data() -> None:
    errors = torch.tensor([[[1.0, 3.0], [5.0, 100.0], [100.0, 100.0]], [[2.0, 2.0]] * 3])
    weights = torch.tensor([[[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0]] * 3])
    hidden = torch.tensor([[True, True, False], [False, False, False]])
    assert hidden_mean(errors, hidden, weights).item() == pytest.approx((2 + 5) / 2)


def test_nothing_hidden_and_tokens_without_data_are_zero_with_a_gradient_of_zero() -> None:
    errors = torch.ones(2, 3, 4, requires_grad=True)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    loss = hidden_mean(errors, nothing, torch.ones(2, 3, 4))
    loss = loss + hidden_mean(errors, ~nothing, torch.zeros(2, 3, 4))
    loss.backward()
    assert loss.item() == 0
    assert errors.grad is not None
    assert (errors.grad == 0).all()


def test_padding_is_no_data() -> None:
    spec, batch = series_batch()
    encoder = require_tokens(build("series-transformer", spec, patch=4), "mae")
    weights = data_weights(encoder, batch, encoder.patches(batch.x))
    assert batch.lengths is not None
    assert weights.sum((1, 2)).tolist() == (8 * batch.lengths).tolist()


def test_without_padding_all_is_data() -> None:
    spec, batch = image_batch()
    encoder = require_tokens(build("vit", spec), "mae")
    assert (data_weights(encoder, batch, encoder.patches(batch.x)) == 1).all()


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, float("nan")])
def test_a_ratio_that_hides_nothing_or_all_is_refused(ratio: float) -> None:
    require_ratio(0.5, 0.6)
    with pytest.raises(ConfigError, match=r"(?s)mask_ratio=.*0\.6"):
        require_ratio(ratio, 0.6)
