"""The threshold, whose gradient decides which taps live, and the convolution, against direct sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.long_conv import (
    LongConv,
    moving_average,
    smooth_spectrum,
    squash,
    starting_kernel,
)
from tests.helpers import assert_close


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(**options: object) -> LongConv:
    torch.manual_seed(0)
    return LongConv(4, **{"max_length": 20, **options}).double().eval()


def direct(u: Tensor, kernel: Tensor) -> Tensor:
    """`(B, L, D)` for `u` alike and `kernel (D, K)`, one lag after another."""
    y = torch.zeros_like(u)
    for lag in range(min(u.shape[1], kernel.shape[1])):
        y[:, lag:] += kernel[:, lag] * u[:, : u.shape[1] - lag]
    return y


def test_the_threshold_has_its_values_and_its_gradient() -> None:
    kernel = torch.tensor([-1.2, -0.3, 0.0, 0.5, 0.9], requires_grad=True)
    squashed = squash(kernel, 0.5)
    assert_close(squashed, torch.tensor([-0.7, 0.0, 0.0, 0.0, 0.4]))
    squashed.sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.tolist() == [1, 0, 0, 0, 1]


@settings(deadline=None)
@given(first=st.floats(0, 2), second=st.floats(0, 2), seed=st.integers(0, 100))
def test_thresholds_add_up(first: float, second: float, seed: int) -> None:
    kernel = noise(50, seed=seed)
    assert_close(squash(squash(kernel, first), second), squash(kernel, first + second))
    assert torch.equal(squash(kernel, 0.0), kernel)


def test_the_threshold_is_the_nearest_point_under_a_price_on_size() -> None:
    # argmin over x of (x - k)^2 / 2 + threshold |x|, on a fine grid.
    grid = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    for k in (-2.0, -0.4, 0.0, 0.7, 1.3):
        cost = (grid - k).square() / 2 + 0.7 * grid.abs()
        nearest = squash(torch.tensor(k, dtype=torch.float64), 0.7)
        assert abs(grid[cost.argmin()] - nearest) < 2e-4


def test_one_channel_is_a_convolution_and_a_skip() -> None:
    layer, u = make(channels=1), noise(2, 15, 4)
    expected = direct(u, squash(layer.kernel[0], 0.003)) + layer.skip[0] * u
    assert_close(layer(u), expected)
    assert layer.time_invariant
    assert layer.channel_mixer == "glu"


def test_channels_are_joined_by_gelu_a_linear_map_and_a_gate() -> None:
    layer, u = make(channels=3), noise(2, 15, 4)
    each = [
        direct(u, squash(k, 0.003)) + d * u for k, d in zip(layer.kernel, layer.skip, strict=True)
    ]
    assert layer.join is not None
    joined = functional.gelu(torch.cat(each, 2)) @ layer.join.weight.T + layer.join.bias
    assert_close(layer(u), joined[..., :4] * joined[..., 4:].sigmoid())
    assert not layer.time_invariant
    assert layer.channel_mixer == "none"


def test_one_channel_is_linear_and_passes_delays() -> None:
    layer, x, z = make(channels=1), noise(2, 12, 4), noise(2, 12, 4, seed=1)
    assert_close(layer(2 * x - 3 * z), 2 * layer(x) - 3 * layer(z))
    delayed = torch.cat([torch.zeros(2, 3, 4, dtype=torch.float64), x], 1)
    assert_close(layer(delayed)[:, 3:], layer(x))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_goes_on_beyond_the_kernel_and_forgets_what_is_older(channels: int) -> None:
    layer, u = make(channels=channels), noise(2, 50, 4)
    state, outputs = layer.initial_state(2), []
    for t in range(50):
        y, state = layer.step(u[:, t], state)
        outputs.append(y)
    chunked, begun = [], None
    for piece in u.split(7, 1):
        y, begun = layer(piece, state=begun, return_state=True)
        chunked.append(y)
    assert_close(torch.cat(chunked, 1), torch.stack(outputs, 1))
    if channels == 1:
        expected = direct(u, squash(layer.kernel[0], 0.003)) + layer.skip[0] * u
        assert_close(torch.stack(outputs, 1), expected)
    assert state["inputs"].shape == (2, 19, 4)


def test_everything_below_the_threshold_is_a_skip() -> None:
    layer, u = make(channels=1), noise(2, 15, 4)
    layer.threshold = 1.0
    assert layer.active_fraction() == 0
    assert_close(layer(u), layer.skip[0] * u)


def test_a_tap_below_the_threshold_never_learns() -> None:
    layer = make(channels=1)
    layer(noise(2, 20, 4)).square().sum().backward()
    assert layer.kernel.grad is not None
    assert torch.equal(layer.kernel.grad != 0, layer.kernel.abs() > 0.003)


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 0.317), (1.5, 0.134), (2.0, 0.046)])
def test_the_active_share_at_the_start_is_that_of_the_normal_distribution(
    ratio: float, share: float
) -> None:
    torch.manual_seed(0)
    layer = LongConv(32, channels=1, max_length=1000, threshold=0.002 * ratio)
    assert share == pytest.approx(math.erfc(ratio / math.sqrt(2)), abs=1e-3)
    assert layer.active_fraction() == pytest.approx(share, abs=0.005)


def test_a_threshold_that_kills_the_layer_is_refused() -> None:
    for options in ({"threshold": 0.1}, {"smooth": "time"}):
        with pytest.raises(ConfigError, match="can never learn"):
            LongConv(8, **options)
    assert LongConv(8, smooth="time", threshold=0.0).active_fraction() == 1


def test_taps_are_dropped_in_training_only_and_kept_ones_scaled() -> None:
    layer = make(channels=1, max_length=4000, threshold=0.0, kernel_dropout=0.2).train()
    ratio = layer.taps() / layer.kernel
    kept = ratio != 0
    assert_close(ratio[kept], torch.full_like(ratio[kept], 1.25))
    assert kept.double().mean() == pytest.approx(0.8, abs=0.02)
    assert torch.equal(layer.eval().taps(), layer.kernel)


def test_a_moving_average_is_the_mean_of_its_neighbours() -> None:
    kernel = noise(2, 3, 12)
    padded = functional.pad(kernel, (2, 2))
    expected = torch.stack([padded[..., j : j + 5].mean(-1) for j in range(12)], -1)
    assert_close(moving_average(kernel, 5), expected)


def test_a_spectrum_is_smoothed_over_frequencies() -> None:
    # Averaging over frequencies is a window over time: late taps of a kernel shrink, early ones stay.
    kernel = torch.ones(1, 1, 64, dtype=torch.float64)
    for tap in (0, 16, 32):
        one = torch.zeros_like(kernel).index_fill(2, torch.tensor([tap]), 1.0)
        smooth = smooth_spectrum(one, 7)[0, 0, tap]
        offsets = torch.arange(-3, 4).double()
        weights = (-offsets.square() / 2).exp()
        phases = (2 * math.pi * offsets * tap / 64).cos()
        # Up to the two ends of the spectrum, beyond which there is nothing to average with.
        assert smooth == pytest.approx(float((weights * phases).sum() / weights.sum()), abs=0.06)


@pytest.mark.parametrize("smooth", [moving_average, smooth_spectrum])
def test_smoothing_has_the_gradient_of_finite_differences(
    smooth: Callable[[Tensor, int], Tensor],
) -> None:
    kernel = noise(2, 2, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: smooth(k, 3), (kernel,))


def test_what_is_smoothed_is_smoother() -> None:
    def roughness(x: Tensor) -> Tensor:
        return x.diff(dim=-1).abs().sum() / x.abs().sum()

    kernel = noise(1, 4, 1024)
    # Of white noise, differences of means of 7 are smaller by 7, and the means by the root of 7.
    ratio = roughness(moving_average(kernel, 7)) / roughness(kernel)
    assert ratio.item() == pytest.approx(7**-0.5, rel=0.05)
    spectra = [torch.fft.rfft(k) for k in (smooth_spectrum(kernel, 7), kernel)]
    assert roughness(spectra[0]) < roughness(spectra[1]) / 1.5


def test_kernels_start_with_their_deviations() -> None:
    torch.manual_seed(0)
    assert starting_kernel("random", 2, 64, 500).std().item() == pytest.approx(0.002, rel=0.02)
    kernel = starting_kernel("double-exp", 64, 16, 1000)
    spread = kernel.square().mean(0).sqrt()  # (D, K)
    for feature in (0, 7, 15):
        rate = 8 ** ((feature + 1) / 16)
        for tap in (0, 300, 999):
            near = spread[feature, max(0, tap - 20) : tap + 20].mean()
            assert near.item() == pytest.approx(0.02 * math.exp(-rate * tap / 1000), rel=0.15)


def test_the_kernel_learns_slowly_and_does_not_decay() -> None:
    assert LongConv.optimizer_hints == {"kernel": {"learning_rate": 1e-3, "weight_decay": 0.0}}


def test_the_parameters_are_counted() -> None:
    # Of one layer: C D K taps, C D skips, and the map of C D + 1 to 2 D.
    count = sum(p.numel() for p in LongConv(16, channels=2, max_length=100).parameters())
    assert count == 2 * 16 * 100 + 2 * 16 + 32 * 32 + 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels=0"),
        ({"max_length": 0}, "max_length=0"),
        ({"threshold": -1.0}, "threshold=-1"),
        ({"kernel_dropout": 1.0}, "kernel_dropout=1"),
        ({"start": "zeros"}, "start='zeros'"),
        ({"smooth": "both"}, "smooth='both'"),
        ({"smooth_width": 4}, "smooth_width=4"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LongConv(8, **options)
