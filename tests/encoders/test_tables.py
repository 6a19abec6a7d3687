"""Codes of categories must never be read as numbers, nor run into the next column's rows."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders.feature_tokens import FeatureTokens
from tacita.errors import ConfigError
from tests.helpers import assert_close

SPEC = InputSpec("tables", (4,), cardinalities=(3, 0, 2, 0))


def test_tokens_are_a_vector_a_category_and_a_line_a_number():
    torch.manual_seed(0)
    encoder = FeatureTokens(SPEC, dim=8)
    x = torch.tensor([[2.0, 0.5, 1.0, -3.0], [0.0, 1.0, 0.0, 0.0]])
    tokens = encoder.embed(x)
    rows, weight, column = encoder.category.weight, encoder.weight, encoder.column
    expected = [rows[2], 0.5 * weight[1], rows[4 + 1], -3.0 * weight[3]]
    assert_close(tokens[0], torch.stack(expected) + column)
    expected = [rows[0], weight[1], rows[4], 0 * weight[3]]
    assert_close(tokens[1], torch.stack(expected) + column)


@pytest.mark.parametrize("code", [-1.0, 3.0, 1e9, float("nan")])
def test_unknown_categories_share_a_row_that_says_nothing(code):
    encoder = FeatureTokens(SPEC, dim=8)
    token = encoder.embed(torch.tensor([[code, 0.0, 0.0, 0.0]]))[0, 0]
    assert torch.equal(token, encoder.column[0])
    assert encoder(torch.tensor([[code, 0.0, 0.0, 0.0]])).pooled.isfinite().all()


def test_patches_are_numbers_and_one_hot_categories():
    patches = FeatureTokens(SPEC, dim=8).patches(torch.tensor([[2.0, 0.5, 1.0, -3.0]]))
    assert patches.tolist() == [[[0, 0, 1], [0.5, 0, 0], [0, 1, 0], [-3, 0, 0]]]
    weights = FeatureTokens(SPEC, dim=8).patch_weights()
    assert weights.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("cardinalities", [(0, 0), (2, 5)])
def test_tables_of_one_kind_of_column_have_no_unused_weights(cardinalities):
    encoder = FeatureTokens(InputSpec("tables", (2,), cardinalities), dim=8)
    encoder(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).pooled.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_the_order_of_columns_is_told_by_their_vectors_alone():
    torch.manual_seed(0)
    encoder = FeatureTokens(InputSpec("tables", (3,), (0, 0, 0)), dim=8)
    x, order = torch.randn(5, 3), torch.tensor([2, 0, 1])
    tokens = encoder.embed(x)
    assert_close(encoder.blocks(tokens[:, order]), encoder.blocks(tokens)[:, order])
    assert (encoder(x).pooled - encoder(x[:, order]).pooled).abs().max() > 1e-2


def test_columns_without_a_cardinality_are_refused():
    with pytest.raises(ConfigError, match="4 columns"):
        FeatureTokens(InputSpec("tables", (4,), (0,)))
