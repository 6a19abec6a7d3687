"""Against torch's transform for the exact matrices; what is lost with others is measured and asserted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import fft_convolution
from tacita.kernels.butterfly.function import (
    block_sizes,
    butterfly,
    butterfly_convolution,
    butterfly_inverse,
    dft,
    in_order,
)
from tacita.layers.butterfly_conv import ButterflyConv
from tacita.layers.long_conv import LongConv
from tests.helpers import assert_close


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def signal(length: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.complex(noise(2, length), noise(2, length, seed=1)).to(dtype)


def exact_blocks(sizes: tuple[int, ...], like: Tensor) -> list[Tensor]:
    return [dft(n, like) for n in sizes]


def test_four_numbers_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    spectrum = in_order(butterfly(x, exact_blocks((2, 2), x)), (2, 2))
    expected = torch.tensor([10, -2 + 2j, -2, -2 - 2j], dtype=torch.complex128)
    assert (spectrum - expected).abs().max() < 1e-14


@pytest.mark.parametrize("power", range(1, 14))
def test_it_is_the_fourier_transform(power: int) -> None:
    sizes = block_sizes(2**power)
    for dtype, bound in ((torch.complex128, 1e-14), (torch.complex64, 1e-6)):
        x = signal(2**power, dtype)
        spectrum = in_order(butterfly(x, exact_blocks(sizes, x)), sizes)
        expected = torch.fft.fft(x)
        assert (spectrum - expected).abs().max() < bound * expected.abs().max()


@pytest.mark.parametrize("sizes", [(2, 3, 5), (7,), (4, 16, 2), (6, 6)])
def test_any_factors_do_in_any_order(sizes: tuple[int, ...]) -> None:
    x = signal(torch.tensor(sizes).prod().item())
    spectrum = in_order(butterfly(x, exact_blocks(sizes, x)), sizes)
    assert (spectrum - torch.fft.fft(x)).abs().max() < 1e-12
    back = butterfly_inverse(butterfly(x, exact_blocks(sizes, x)), sizes)
    assert (back - x).abs().max() < 1e-13


def test_energy_is_kept_and_the_inverse_is_the_conjugate_of_the_transform_of_the_conjugate() -> (
    None
):
    x, sizes = signal(512), block_sizes(512)
    spectrum = butterfly(x, exact_blocks(sizes, x))
    assert_close(spectrum.abs().square().sum(), 512 * x.abs().square().sum())
    sorted_spectrum = in_order(spectrum, sizes)
    conjugate = in_order(butterfly(sorted_spectrum.conj(), exact_blocks(sizes, x)), sizes)
    assert (conjugate.conj() / 512 - x).abs().max() < 1e-13


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 60), taps=st.integers(1, 80), seed=st.integers(0, 100))
def test_convolution_is_that_by_the_transform(length: int, taps: int, seed: int) -> None:
    u, kernel = noise(2, 3, length, seed=seed), noise(3, taps, seed=seed + 1)
    assert_close(butterfly_convolution(u, kernel), fft_convolution(u, kernel))


def test_several_kernels_half_precision_and_gradients() -> None:
    u, kernels = noise(2, 3, 11).requires_grad_(), noise(4, 3, 7, seed=1).requires_grad_()
    assert_close(butterfly_convolution(u, kernels), fft_convolution(u, kernels))
    assert torch.autograd.gradcheck(butterfly_convolution, (u, kernels))
    half = butterfly_convolution(u.bfloat16(), kernels.bfloat16())
    assert half.dtype == torch.bfloat16
    assert_close(half, fft_convolution(u.bfloat16(), kernels.bfloat16()))


def test_a_size_that_wraps_around_is_refused() -> None:
    u, kernel = noise(1, 1, 20), noise(1, 20)
    with pytest.raises(ConfigError, match="wraps around in 32"):
        butterfly_convolution(u, kernel, size=32)
    with pytest.raises(ConfigError, match="no power of two"):
        butterfly_convolution(u, kernel, size=40)
    assert_close(butterfly_convolution(u, kernel, size=128), fft_convolution(u, kernel))


def make(**options: object) -> ButterflyConv:
    torch.manual_seed(0)
    return ButterflyConv(4, **{"max_length": 20, **options}).double().eval()


@pytest.mark.parametrize("channels", [1, 2])
def test_the_learnt_one_starts_as_the_long_convolution(channels: int) -> None:
    layer, u = make(channels=channels), noise(2, 13, 4)
    plain = LongConv(4, channels=channels, max_length=20).double().eval()
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if k in plain.state_dict()})
    assert_close(layer(u), plain(u))


def test_causality_holds_at_the_start_and_is_lost_with_the_first_step() -> None:
    def leak(layer: ButterflyConv) -> float:
        u = noise(1, 20, 4).requires_grad_()
        (slope,) = torch.autograd.grad(layer(u)[0, 4].sum(), u)
        return float(slope[0, 5:].abs().max() / slope[0, :5].abs().max())

    layer = make(channels=1)
    assert leak(layer) < 1e-12
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(noise(4, 20, 4, seed=1)).square().sum().backward()
    optimizer.step()
    assert leak(layer) > 1e-6
    assert not layer.causal
    assert not layer.streams


def test_matrices_that_differ_are_used_where_they_belong() -> None:
    # With one matrix for all of the length, the transform of the input is the product written out.
    layer = make(channels=1, max_length=8, spread=0.1)
    assert layer.sizes == (16,)
    u = noise(1, 8, 4)
    left, right = (layer.blocks(side)[0] for side in ("signal", "kernel"))
    taps = layer.taps()[0].to(left.dtype)
    spectrum = u[0].T.to(left.dtype) @ left[:, :8].T * (taps @ right[:, :8].T)
    expected = torch.fft.ifft(spectrum).real[:, :8].T + layer.skip[0] * u[0]
    assert_close(layer(u)[0], expected)
    assert (left - right).abs().max() > 0.01


def test_hints_let_the_matrices_decay_towards_the_transform() -> None:
    layer = make()
    assert layer.sizes == (16, 4)
    names = {"signal_16", "signal_4", "kernel_16", "kernel_4"}
    assert {n for n, _ in layer.named_parameters()} >= names
    for name in names:
        assert layer.optimizer_hints[name] == {"learning_rate": 1e-3}
    assert layer.optimizer_hints["kernel"]["weight_decay"] == 0


def test_a_negative_spread_is_refused() -> None:
    with pytest.raises(ConfigError, match="spread=-1"):
        make(spread=-1.0)
