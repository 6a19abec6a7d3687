"""The transform must be long enough not to wrap around, for kernels of any length against any input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import fft_convolution
from tests.helpers import assert_close


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_hand(u: Tensor, kernel: Tensor) -> Tensor:
    """numpy's direct sum, one channel after another."""
    rows = [
        [np.convolve(channel, k)[: u.shape[-1]] for channel, k in zip(sample, kernel, strict=True)]
        for sample, kernel in ((s.numpy(), kernel.numpy()) for s in u)
    ]
    return torch.tensor(np.array(rows))


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 70), taps=st.integers(1, 90), seed=st.integers(0, 1000))
def test_it_is_the_direct_sum_for_any_lengths(length: int, taps: int, seed: int) -> None:
    u, kernel = noise(2, 3, length, seed=seed), noise(3, taps, seed=seed + 1)
    assert_close(fft_convolution(u, kernel), by_hand(u, kernel))


@pytest.mark.parametrize("shape", [(3, 4), (3, 20), (2, 3, 4), (2, 3, 20)])
def test_the_gradients_are_those_of_finite_differences(shape: tuple[int, ...]) -> None:
    u, kernel = noise(2, 3, 11).requires_grad_(), noise(*shape, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(fft_convolution, (u, kernel))


def test_each_gradient_is_there_without_the_other() -> None:
    u, kernel = noise(2, 3, 11), noise(3, 5, seed=1)
    for asked in (u, kernel):
        asked.requires_grad_()
        fft_convolution(u, kernel).square().sum().backward()
        together = asked.grad
        asked.requires_grad_(False)
        u.grad = kernel.grad = None
        both = [t.clone().requires_grad_() for t in (u, kernel)]
        fft_convolution(*both).square().sum().backward()
        assert_close(together, both[0 if asked is u else 1].grad)


def test_several_kernels_of_a_channel_are_as_many_convolutions() -> None:
    u, kernels = noise(2, 3, 11), noise(4, 3, 7, seed=1)
    y = fft_convolution(u, kernels)
    assert y.shape == (2, 4, 3, 11)
    for number, kernel in enumerate(kernels):
        assert_close(y[:, number], by_hand(u, kernel))


def test_nothing_but_the_past_is_seen() -> None:
    u = noise(1, 1, 9).requires_grad_()
    y = fft_convolution(u, noise(1, 9, seed=1))
    (slope,) = torch.autograd.grad(y[0, 0, 4], u)
    assert slope[0, 0, 5:].abs().max() < 1e-15
    assert (slope[0, 0, :5].abs() > 1e-3).all()


def test_an_impulse_gives_the_kernel_and_a_kernel_of_one_tap_a_multiple() -> None:
    kernel, u = noise(3, 11), noise(2, 3, 11, seed=1)
    impulse = torch.zeros(1, 3, 11, dtype=torch.float64)
    impulse[:, :, 0] = 1
    assert_close(fft_convolution(impulse, kernel)[0], kernel)
    assert_close(fft_convolution(u, kernel[:, :1]), u * kernel[:, :1])


def test_single_precision_is_good_to_its_last_digits_on_long_lines() -> None:
    u, kernel = noise(1, 2, 16384), noise(2, 16384, seed=1)
    exact = fft_convolution(u, kernel)
    single = fft_convolution(u.float(), kernel.float())
    assert (single - exact).abs().max() < 1e-6 * exact.abs().max() * 14  # log2 of the length


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single_precision(dtype: torch.dtype) -> None:
    u, kernel = noise(2, 3, 50).to(dtype), noise(3, 50, seed=1).to(dtype)
    y = fft_convolution(u, kernel)
    assert y.dtype == dtype
    assert torch.equal(y, fft_convolution(u.float(), kernel.float()).to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fft_convolution(u, kernel), y)


def test_an_empty_batch_is_empty_and_has_gradients() -> None:
    kernels = noise(2, 3, 5).requires_grad_()
    assert fft_convolution(noise(0, 3, 7), kernels[0]).shape == (0, 3, 7)
    y = fft_convolution(noise(0, 3, 7), kernels)
    assert y.shape == (0, 2, 3, 7)
    y.sum().backward()
    assert kernels.grad is not None
    assert (kernels.grad == 0).all()


def test_strides_do_not_matter() -> None:
    u, kernel = noise(2, 11, 3).mT, noise(5, 3, seed=1).mT
    assert_close(fft_convolution(u, kernel), by_hand(u.contiguous(), kernel.contiguous()))


def test_what_is_saved_is_one_spectrum_of_each() -> None:
    saved: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    u, kernel = noise(4, 3, 100).requires_grad_(), noise(3, 100, seed=1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        fft_convolution(u, kernel)
        assert len(saved) == 2
        assert sum(saved) <= (4 + 1) * 3 * 110
        saved.clear()
        fft_convolution(u.detach(), kernel.detach())
        assert not saved


def test_tracing_gives_the_same_function() -> None:
    class Convolve(torch.nn.Module):
        def forward(self, u: Tensor, kernel: Tensor) -> Tensor:
            return fft_convolution(u, kernel)

    for kernel in (noise(3, 5), noise(2, 3, 5)):
        u = noise(2, 3, 11, seed=1)
        program = torch.export.export(Convolve(), (u, kernel))
        assert_close(program.module()(u, kernel), fft_convolution(u, kernel))


@pytest.mark.parametrize(
    ("u", "kernel"),
    [((2, 3, 5), (2, 5)), ((3, 5), (3, 5)), ((2, 3, 5), (5,)), ((2, 3, 5), (3, 2, 5))],
)
def test_shapes_that_do_not_fit_are_refused(u: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        fft_convolution(torch.zeros(u), torch.zeros(kernel))
