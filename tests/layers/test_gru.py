"""The GRU's equations, and its resets: pieces run side by side must be as if they ran alone."""

from __future__ import annotations

import torch

from tacita.layers.gru import GRU
from tests.helpers import assert_close


def test_a_step_is_the_gates_of_the_paper() -> None:
    torch.manual_seed(0)
    layer = GRU(3).double()
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    reset_x, update_x, new_x = (x @ layer.weight_input.T + layer.bias_input).chunk(3, 1)
    reset_h, update_h, new_h = (h @ layer.weight_hidden.T + layer.bias_hidden).chunk(3, 1)
    update = torch.sigmoid(update_x + update_h)
    new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    expected = (1 - update) * new + update * h
    y, state = layer.step(x, {"hidden": h})
    assert_close(y, expected)
    assert_close(state["hidden"], expected)


def test_pieces_of_very_unequal_length_are_run_apart() -> None:
    torch.manual_seed(0)
    layer = GRU(4).double()
    x = torch.randn(3, 40, 4, dtype=torch.float64)
    resets = torch.zeros(3, 40, dtype=torch.bool)
    resets[0, [1, 2, 39]] = True
    resets[2, 0] = True
    begun = {"hidden": torch.randn(3, 4, dtype=torch.float64)}
    y = layer(x, resets=resets, state=begun)
    state = begun
    for t in range(40):
        expected, state = layer.step(x[:, t], state, reset=resets[:, t])
        assert_close(y[:, t], expected)
