"""Mega's averages are their recurrence, and its gates and attention are what the paper writes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.damped_average import DampedAverage
from tacita.layers.mega import Mega
from tacita.layers.recall import rotate
from tests.helpers import assert_close


def make(**options: int) -> Mega:
    torch.manual_seed(0)
    return Mega(8, d_state=3, **options).double().eval()


def averaged_by_hand(layer: DampedAverage, x: Tensor) -> Tensor:
    rise, damping = layer.rise_logit.sigmoid(), layer.damping_logit.sigmoid()
    state, outputs = torch.zeros(len(x), 8, 3, dtype=torch.float64), []
    for u in x.unbind(1):
        state = rise * layer.spread * u[:, :, None] + (1 - rise * damping) * state
        outputs.append((layer.readout * state).sum(2) / math.sqrt(3) + layer.skip * u)
    return torch.stack(outputs, 1)


def test_the_averages_are_the_recurrence_of_the_paper() -> None:
    layer, x = make(), torch.randn(2, 11, 8, dtype=torch.float64)
    assert_close(layer.average(x), averaged_by_hand(layer.average, x))


def test_the_whole_layer_is_the_equations_of_the_paper() -> None:
    layer, x = make(), torch.randn(2, 11, 8, dtype=torch.float64)
    averaged = averaged_by_hand(layer.average, x)
    shared = functional.silu(layer.shared(averaged))
    steps = torch.arange(11)
    query = rotate((layer.query_scale * shared + layer.query_shift)[:, None], steps)[:, 0]
    key = rotate((layer.key_scale * shared)[:, None], steps)[:, 0]
    scores = query @ key.mT / math.sqrt(layer.keys)
    weights = scores.masked_fill(steps > steps[:, None], -torch.inf).softmax(2)
    recalled = weights @ functional.silu(layer.value(x))
    gated = functional.silu(layer.reset_gate(averaged)) * recalled
    candidate = functional.silu(layer.from_average(averaged) + layer.from_attention(gated))
    update = layer.update_gate(averaged).sigmoid()
    assert_close(layer(x), update * candidate + (1 - update) * x)


def test_without_attention_it_is_a_gated_average() -> None:
    layer, x = make(), torch.randn(2, 11, 8, dtype=torch.float64)
    torch.nn.init.zeros_(layer.from_attention.weight)
    before = layer(x)
    torch.nn.init.normal_(layer.value.weight)
    assert torch.equal(layer(x), before)


def test_a_closed_gate_passes_the_input_on() -> None:
    layer, x = make(), torch.randn(2, 11, 8, dtype=torch.float64)
    torch.nn.init.zeros_(layer.update_gate.weight)
    torch.nn.init.constant_(layer.update_gate.bias, -60.0)
    assert_close(layer(x), x)


def test_a_window_bounds_the_attention_and_not_the_averages() -> None:
    layer = make(window=4)
    x = torch.randn(1, 30, 8, dtype=torch.float64)
    _, state = layer(x, return_state=True)
    assert state["keys"].shape == (1, 1, 3, layer.keys)
    assert state["values"].shape == (1, 1, 3, layer.values)
    outputs, state = [], layer.initial_state(1)
    for t in range(30):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), layer(x))


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="keys even"):
        Mega(8, keys=3)
    with pytest.raises(ConfigError, match="window=0"):
        Mega(8, window=0)
