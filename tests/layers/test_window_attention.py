"""Attention by blocks is attention with a mask, over windows, steps, directions and remembered keys."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.window_attention import WindowAttention
from tests.helpers import assert_close


def dense(
    layer: WindowAttention, query: Tensor, key: Tensor, value: Tensor, at: Tensor, key_at: Tensor
) -> Tensor:
    """One query after another, over the keys that it may see; zeros where there is none."""
    remembered = key.shape[1] - query.shape[1]
    low = 0 if layer.causal else -layer.farthest
    rows = []
    for b in range(len(query)):
        for t in range(query.shape[1]):
            near = [
                s
                for s in range(key.shape[1])
                if key_at[b, s] > 0
                and (0 if layer.causal else -layer.window) <= t + remembered - s <= layer.window
            ]
            if not near:
                rows.append(torch.zeros_like(value[0, 0]))
                continue
            apart = torch.tensor(
                [
                    int(at[b, t] - key_at[b, s])
                    if layer.distance == "steps"
                    else t + remembered - s
                    for s in near
                ]
            )
            bias = layer.bias[apart.clamp(low, layer.farthest) - low]
            scores = key[b, near] @ query[b, t]
            if layer.activation == "softmax":
                weights = (scores / query.shape[2] ** 0.5 + bias).softmax(0)
            else:
                scale = layer.window * (1 if layer.causal else 2)
                weights = (scores / scale + bias).clamp_min(0) ** 2
            rows.append(weights @ value[b, near])
    return torch.stack(rows).view(len(query), -1, value.shape[2])


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(1, 14),
    remembered=st.integers(0, 3),
    window=st.integers(3, 20),
    causal=st.booleans(),
    activation=st.sampled_from(["softmax", "squared-relu"]),
    distance=st.sampled_from(["steps", "places"]),
    seed=st.integers(0, 1000),
)
def test_blocks_are_the_dense_form_with_all_gradients(
    length: int,
    remembered: int,
    window: int,
    causal: bool,
    activation: str,
    distance: str,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    remembered = remembered if causal else 0
    layer = WindowAttention(
        window=window, causal=causal, activation=activation, distance=distance, max_distance=9
    ).double()
    total = remembered + length
    key_at = torch.randint(1, 4, (2, total)).cumsum(1)
    key_at[0, : remembered // 2] = 0  # places of the state that are not filled
    key_at[1, total - length // 2 :] = 0  # and padding at the end
    at = key_at[:, remembered:]
    shapes = ((2, length, 4), (2, total, 4), (2, total, 3))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    live = (at > 0)[..., None]
    y, expected = layer(*given, at, key_at), dense(layer, *given, at, key_at)
    assert_close(y * live, expected * live)
    assert y.isfinite().all()
    weights = torch.randn_like(y) * live
    inputs = [*given, layer.bias]
    actual = torch.autograd.grad((y * weights).sum(), inputs)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, materialize_grads=True)
    for one, other in zip(actual, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_query_that_sees_nothing_is_finite_and_passes_no_gradient_that_is_not() -> None:
    layer, x = WindowAttention(window=2), torch.randn(1, 7, 4, requires_grad=True)
    steps = torch.tensor([[1, 2, 0, 0, 0, 0, 0]])
    layer(x, x, x, steps, steps)[:, :2].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[:, 2:] == 0).all()


def test_what_cannot_be_is_refused() -> None:
    for options in ({"window": 0}, {"window": 3, "max_distance": 0}):
        with pytest.raises(ConfigError, match="must be positive"):
            WindowAttention(**options)
    with pytest.raises(ConfigError, match="'relu' is unknown"):
        WindowAttention(window=3, activation="relu")
    with pytest.raises(ConfigError, match="'time' is unknown"):
        WindowAttention(window=3, distance="time")
