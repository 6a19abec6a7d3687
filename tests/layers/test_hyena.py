"""The recurrence of gates and convolutions written out, and kernels as a function of the lag."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.hyena import Hyena
from tests.helpers import assert_close


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(**options: int) -> Hyena:
    torch.manual_seed(0)
    return Hyena(4, **{"max_length": 20, "filter_width": 8, "bands": 3, **options}).double()


def direct(u: Tensor, kernel: Tensor) -> Tensor:
    """`(L, D)`, one lag after another; `kernel (D, K)`."""
    y = torch.zeros_like(u)
    for lag in range(min(len(u), kernel.shape[1])):
        y[lag:] += kernel[:, lag] * u[: len(u) - lag]
    return y


@pytest.mark.parametrize("order", [1, 2, 3])
def test_it_is_the_recurrence_written_out(order: int) -> None:
    layer, x = make(order=order), noise(13, 4)
    projected = x @ layer.enter.weight.T + layer.enter.bias
    near = direct(projected, layer.short.weight[:, 0].flip(1)) + layer.short.bias
    *gates, z = near.split(4, 1)
    kernels = layer.filters()
    for i in range(order):
        z = gates[i] * (direct(z, kernels[i]) + layer.bias[i] * z)
    assert_close(layer(x[None])[0], z @ layer.out.weight.T + layer.out.bias)


def test_with_gates_of_1_it_is_long_convolutions_one_after_another() -> None:
    layer, x = make(), noise(1, 13, 4)
    with torch.no_grad():
        for linear in (layer.enter, layer.short, layer.out):
            linear.weight.zero_()
            linear.bias.zero_()
        layer.enter.weight[8:] = torch.eye(4)
        layer.short.weight[8:, 0, -1] = 1  # the last tap is the present
        layer.short.bias[:8] = 1
        layer.out.weight.copy_(torch.eye(4))
    first, second = layer.filters()
    one = direct(x[0], first) + layer.bias[0] * x[0]
    assert_close(layer(x)[0], direct(one, second) + layer.bias[1] * one)


def test_kernels_are_a_network_of_the_lag_by_hand() -> None:
    layer = make()
    network, taps = layer.filters, 20
    kernels = layer.filters()
    assert kernels.shape == (2, 4, taps)
    for lag in (0, 7, 19):
        bands = [1e-4 + i * (2 - 1e-4) / 2 for i in range(3)]
        waves = [2 * math.pi * lag / taps * f for f in bands]
        hidden = torch.tensor(
            [lag / (taps - 1), *map(math.cos, waves), *(-math.sin(w) for w in waves)]
        ).double()
        torch.testing.assert_close(network.position[lag], hidden, rtol=1e-5, atol=1e-6)
        hidden = network.position[lag]
        for linear in network.layers:
            hidden = torch.sin(10 * (linear.weight @ hidden + linear.bias))
        for channel in range(4):
            share = 1 / 1.5 + channel / 3 * (1 / 0.3 - 1 / 1.5)
            window = 0.01 ** (share * lag / (taps - 1))
            for order in range(2):
                value = (network.last.weight[order * 4 + channel] @ hidden) * window
                torch.testing.assert_close(
                    kernels[order, channel, lag], value, rtol=1e-5, atol=1e-8
                )


def test_what_a_step_gives_depends_on_the_input_by_its_gates() -> None:
    # Twice the input is not twice the output: of the third power without biases.
    layer, x = make(), noise(1, 13, 4)
    with torch.no_grad():
        for linear in (layer.enter, layer.short, layer.out):
            linear.bias.zero_()
    assert_close(layer(2 * x), 8 * layer(x))


def test_a_stream_goes_on_beyond_the_kernels() -> None:
    layer, x = make(max_length=6), noise(2, 17, 4)
    pieces, state = [], None
    for piece in x.split(5, 1):
        y, state = layer(piece, state=state, return_state=True)
        pieces.append(y)
    steps, state = [], layer.initial_state(2)
    for t in range(17):
        y, state = layer.step(x[:, t], state)
        steps.append(y)
    assert_close(torch.cat(pieces, 1), torch.stack(steps, 1))
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "short": (2, 2, 12),
        "long0": (2, 5, 4),
        "long1": (2, 5, 4),
    }


def test_the_network_of_the_kernels_learns_slowly_and_does_not_decay() -> None:
    slow = {"learning_rate": 1e-3, "weight_decay": 0.0}
    modules = list(make().filters.modules())
    hinted = [m for m in modules if list(m.parameters(recurse=False))]
    assert len(hinted) == 5
    for module in hinted:
        names = [name for name, _ in module.named_parameters(recurse=False)]
        assert module.optimizer_hints == dict.fromkeys(names, slow)


def test_its_size_hardly_depends_on_the_length() -> None:
    counts = {n: sum(p.numel() for p in Hyena(8, max_length=n).parameters()) for n in (64, 4096)}
    assert counts[64] == counts[4096]


@pytest.mark.parametrize("name", ["order", "max_length", "filter_width", "bands"])
def test_options_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        make(**{name: 0})
