"""Averages by convolution are their recurrence, forwards and from the end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tacita.layers.base import reverse_valid
from tacita.layers.damped_average import DampedAverage
from tests.helpers import assert_close


def make(*, causal: bool = True) -> DampedAverage:
    torch.manual_seed(0)
    return DampedAverage(6, 3, causal=causal).double()


def recurrence(layer: DampedAverage, x: Tensor, rows: slice) -> Tensor:
    """One direction, without the skip, one step after another."""
    rise, damping = layer.rise_logit[rows].sigmoid(), layer.damping_logit[rows].sigmoid()
    state, outputs = torch.zeros(len(x), 6, 3, dtype=torch.float64), []
    for u in x.unbind(1):
        state = rise * layer.spread[rows] * u[:, :, None] + (1 - rise * damping) * state
        outputs.append((layer.readout[rows] * state).sum(2) / math.sqrt(3))
    return torch.stack(outputs, 1)


def test_it_is_the_recurrence_of_the_paper() -> None:
    layer, x = make(), torch.randn(2, 11, 6, dtype=torch.float64)
    assert_close(layer(x), recurrence(layer, x, slice(None)) + layer.skip * x)


def test_both_ways_is_the_sum_of_two_recurrences_and_each_counts_the_step_itself() -> None:
    layer, x = make(causal=False), torch.randn(2, 11, 6, dtype=torch.float64)
    ahead = recurrence(layer, x, slice(0, 6))
    back = recurrence(layer, x.flip(1), slice(6, None)).flip(1)
    assert_close(layer(x), ahead + back + layer.skip * x)


def test_both_ways_padding_is_as_if_it_were_not_there() -> None:
    layer, x = make(causal=False), torch.randn(2, 11, 6, dtype=torch.float64)
    lengths = torch.tensor([7, 11])
    y = layer(x, lengths=lengths)
    assert_close(y[:1, :7], layer(x[:1, :7]))
    assert (y[0, 7:] == 0).all()
    turned = layer(reverse_valid(x, lengths), lengths=lengths)
    assert turned.shape == y.shape


def test_single_precision_steps_are_the_convolution_over_512_steps() -> None:
    layer, x = make().float(), torch.randn(1, 512, 6)
    outputs, state = [], layer.initial_state(1)
    with torch.no_grad():
        for t in range(512):
            y, state = layer.step(x[:, t], state)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs, 1), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_those_of_finite_differences(causal: bool) -> None:
    layer, x = make(causal=causal), torch.randn(1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
