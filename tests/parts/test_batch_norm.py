"""Padding in the statistics would make a sample's features depend on how long its batch is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tacita.parts.batch_norm import ValidBatchNorm
from tests.helpers import assert_close


def pair() -> tuple[ValidBatchNorm, nn.BatchNorm1d]:
    torch.manual_seed(0)
    norm, plain = ValidBatchNorm(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        for own, other in zip(norm.parameters(), plain.parameters(), strict=True):
            own.uniform_(0.5, 2)
            other.copy_(own)
    return norm, plain


def test_without_padding_it_is_batch_norm():
    norm, plain = pair()
    x = torch.randn(4, 3, 7)
    assert torch.equal(norm(x), plain(x))
    assert_close(norm(x, torch.ones(4, 7, dtype=torch.bool)), plain(x))
    assert_close(norm.running_var, plain.running_var)
    norm.eval()
    plain.eval()
    assert_close(norm(x, torch.zeros(4, 7, dtype=torch.bool)), plain(x))


def test_with_padding_it_is_batch_norm_of_the_valid_places():
    norm, plain = pair()
    x, lengths = torch.randn(4, 3, 7), torch.tensor([7, 1, 4, 0])
    mask = torch.arange(7) < lengths[:, None]
    filled = x.masked_fill(~mask[:, None], torch.nan)
    expected = plain(x.transpose(1, 2)[mask])  # (12, 3)
    assert_close(norm(filled, mask).transpose(1, 2)[mask], expected)
    assert_close(norm.running_mean, plain.running_mean)
    assert_close(norm.running_var, plain.running_var)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_places_for_a_variance_are_normalised_as_in_evaluation(count):
    norm, _ = pair()
    x = torch.randn(1, 3, 2)
    mask = torch.tensor([[count == 1, False]])
    before = norm.running_mean.clone()
    found = norm(x, mask)
    assert torch.equal(norm.running_mean, before)
    assert_close(norm(x[:, :, :1])[..., 0], found[..., 0])
    assert torch.equal(norm.eval()(x), found)
