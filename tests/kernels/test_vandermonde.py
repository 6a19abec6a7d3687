"""Against the sum written out; phases at the end of a long line are where precision is lost."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.kernels import vandermonde_product, vandermonde_transpose
from tests.helpers import assert_close


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


def modes(channels: int, states: int, seed: int = 0) -> Tensor:
    """Exponents of decaying oscillations of many scales."""
    z = noise(channels, states, seed=seed)
    return torch.complex(-z.real.abs() / 10, 2 * z.imag)


def powers(exponents: Tensor, length: int) -> Tensor:
    """`(H, N, L)`, written out."""
    return (exponents[..., None] * torch.arange(length)).exp()


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 400), states=st.integers(1, 5), seed=st.integers(0, 1000))
def test_they_are_the_sums_for_any_length(length: int, states: int, seed: int) -> None:
    weights, z = noise(3, states, seed=seed), modes(3, states, seed=seed + 1)
    x = noise(2, 3, length, seed=seed + 2).real
    expected = (weights[..., None] * powers(z, length)).sum(1).real
    assert_close(vandermonde_product(weights, z, length), expected)
    expected = torch.einsum("bhl,hnl->bhn", x.to(z.dtype), powers(z, length))
    assert_close(torch.view_as_real(vandermonde_transpose(x, z)), torch.view_as_real(expected))


def test_weights_may_have_a_batch() -> None:
    weights, z = noise(2, 3, 4), modes(3, 4)
    batched = vandermonde_product(weights, z, 37)
    for row in range(2):
        assert_close(batched[row], vandermonde_product(weights[row], z, 37))


@pytest.mark.parametrize("length", [1, 5, 21])
def test_the_gradients_are_those_of_finite_differences(length: int) -> None:
    weights, z = noise(2, 2, 3).requires_grad_(), modes(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda w, e: vandermonde_product(w, e, length), (weights, z))
    x = noise(2, 2, length).real.requires_grad_()
    assert torch.autograd.gradcheck(vandermonde_transpose, (x, z))


def test_one_is_the_transpose_of_the_other() -> None:
    # <w, V x> = <V^T w, x>, the real part on both sides.
    weights, z, x = noise(3, 4), modes(3, 4), noise(1, 3, 50).real
    one = (vandermonde_product(weights, z, 50) * x[0]).sum()
    other = (weights * vandermonde_transpose(x, z)[0]).sum().real
    assert_close(one, other)


def test_phases_are_exact_at_the_end_of_a_long_line() -> None:
    # 16,384 steps of an undamped wave: l * frequency in single precision is off by whole degrees.
    length, frequency = 16384, 3.0
    z = torch.tensor([[complex(0, frequency)]], dtype=torch.complex64)
    wave = vandermonde_product(torch.ones_like(z), z, length)[0]
    exact = torch.tensor([math.cos(frequency * step) for step in range(length)])
    assert (wave - exact).abs().max() < 2e-6
    x = torch.zeros(1, 1, length)
    x[..., -1] = 1
    assert_close(vandermonde_transpose(x, z).real.flatten(), exact[-1:])


def test_what_has_died_away_is_zero_and_not_nan() -> None:
    z = torch.tensor([[complex(-50.0, 1.0)]], dtype=torch.complex64)
    kernel = vandermonde_product(torch.ones_like(z), z, 5000)
    assert kernel.isfinite().all()
    assert (kernel[0, 10:] == 0).all()
    assert vandermonde_transpose(torch.ones(1, 1, 5000), z).isfinite().all()


def test_nothing_of_size_channels_by_states_by_length_is_made() -> None:
    channels, states, length = 4, 16, 4096
    weights, z = noise(channels, states).requires_grad_(), modes(channels, states).requires_grad_()
    x = noise(1, channels, length).real.requires_grad_()
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = vandermonde_product(weights, z, length).sum() + vandermonde_transpose(x, z).abs().sum()
    y.backward()
    # The largest are rows or columns by 2 N, a few times the square root of the length.
    assert max(sizes) < channels * states * length / 8


def test_an_empty_batch_is_empty() -> None:
    z = modes(3, 4)
    assert vandermonde_transpose(torch.zeros(0, 3, 7), z).shape == (0, 3, 4)
    assert vandermonde_product(noise(0, 3, 4), z, 7).shape == (0, 3, 7)


def test_autocast_does_not_reach_inside() -> None:
    weights, z = noise(3, 4).to(torch.complex64), modes(3, 4).to(torch.complex64)
    x = noise(2, 3, 50).real.float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = vandermonde_product(weights, z, 50), vandermonde_transpose(x, z)
    assert torch.equal(inside[0], vandermonde_product(weights, z, 50))
    assert torch.equal(inside[1], vandermonde_transpose(x, z))
