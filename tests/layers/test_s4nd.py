"""The kernel of several axes is written out as a sum over all pixels; then rates, bands and directions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.s4nd import S4ND
from tests.helpers import assert_close


def layer(d_model: int = 3, **options: object) -> S4ND:
    torch.manual_seed(0)
    return S4ND(d_model, **{"d_state": 4, **options}).double()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("sizes", [(5, 7), (1, 6), (8, 8)])
def test_the_output_is_the_sum_over_all_pixels(rank: int, sizes: tuple[int, int]) -> None:
    one, x = layer(rank=rank), noise(2, *sizes, 3)
    height, width = sizes
    down, across = one.kernels(sizes, (1.0, 1.0))
    expected = one.D * x
    for i in range(height):
        for j in range(width):
            rows = down[..., height - 1 + i - torch.arange(height)]
            columns = across[..., width - 1 + j - torch.arange(width)]
            weights = torch.einsum("rdh,rdw->hwd", rows, columns)
            expected[:, i, j] += (x * weights).sum((1, 2))
    assert_close(one(x), expected)


def test_a_kernel_of_rank_1_is_two_passes_along_the_axes() -> None:
    one, x = layer(), noise(2, 6, 9, 3)
    down, across = (kernel[0] for kernel in one.kernels((6, 9), (1.0, 1.0)))

    def along(line: Tensor, kernel: Tensor) -> Tensor:
        """`(..., D, n)` with the `(D, 2 n - 1)` kernel, by torch's own convolution."""
        flat = functional.pad(line.flatten(0, -3), [line.shape[-1] - 1] * 2)
        return functional.conv1d(flat, kernel.flip(-1)[:, None], groups=3).view(line.shape)

    rows = along(x.permute(0, 1, 3, 2), across)  # (B, H, D, W)
    both = along(rows.permute(0, 3, 2, 1), down).permute(0, 3, 1, 2)
    assert_close(one(x), both + one.D * x)


def test_one_axis_is_a_line_and_three_are_a_film() -> None:
    line, x = layer(axes=1), noise(2, 9, 3)
    kernel = line.kernels((9,), (1.0,))[0][0]
    expected = line.D * x
    for t in range(9):
        expected[:, t] += (x * kernel[:, 8 + t - torch.arange(9)].T).sum(1)
    assert_close(line(x), expected)
    film = layer(axes=3)
    kernels = [kernel[0] for kernel in film.kernels((3, 4, 5), (1.0, 1.0, 1.0))]
    impulse = torch.zeros(1, 3, 4, 5, 3, dtype=torch.float64)
    impulse[0, 1, 2, 3] = 1.0
    seen = torch.einsum(
        "dt,dh,dw->thwd", kernels[0][:, 1:4], kernels[1][:, 1:5], kernels[2][:, 1:6]
    )
    assert_close(film(impulse)[0], seen + film.D * impulse[0])


def test_every_pixel_sees_every_pixel_and_samples_do_not_touch() -> None:
    one, x = layer(), noise(2, 4, 5, 3).requires_grad_()
    (slope,) = torch.autograd.grad(one(x)[0, 1, 2].sum(), x)
    assert (slope[0].abs() > 1e-9).all()
    assert (slope[1] == 0).all()


def test_pixels_held_over_half_the_distance_give_the_same_quadrant() -> None:
    """Zero-order hold: what comes from above and from the left is exact on the finer grid."""
    one, x = layer(), noise(1, 6, 5, 3)
    with torch.no_grad():
        for line in one.lines:
            line.C[3:] = 0.0  # the backward directions, which hold from the other side
        one.D.zero_()
    twice = x.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert_close(one(twice, rates=(0.5, 0.5))[:, 1::2, 1::2], one(x))
    across = x.repeat_interleave(2, 2)
    assert_close(one(across, rates=(1.0, 0.5))[:, :, 1::2], one(x))


def test_fast_modes_are_silent_on_the_grid_of_training_and_on_a_coarser_one() -> None:
    one, all_of_them = layer(band_limit=0.5), layer()
    for line, whole in zip(one.lines, all_of_them.lines, strict=True):
        turns = line.log_step.exp()[:, None] * line.frequency.abs() / (2 * torch.pi)
        for rate, limit in ((1.0, 0.25), (0.5, 0.25), (2.0, 0.125)):
            _, b = line.discrete(rate)
            _, unlimited = whole.discrete(rate)
            kept = turns < limit
            assert (b[~kept] == 0).all()
            assert torch.equal(b[kept], unlimited[kept])
        assert (turns < 0.25).any()
        assert (turns >= 0.25).any()


def test_gradients_are_those_of_finite_differences() -> None:
    one = layer(2)
    x = noise(1, 3, 4, 2).requires_grad_()
    parameters = tuple(one.parameters())
    names = [name for name, _ in one.named_parameters()]

    def value(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(one, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(value, (x, *parameters))


def test_wrong_shapes_rates_and_options_are_refused() -> None:
    one = layer()
    for wrong in (noise(2, 5, 3), noise(2, 5, 5, 4), noise(2, 0, 5, 3)):
        with pytest.raises(ConfigError, match="2 sizes"):
            one(wrong)
    for rates in ((1.0,), (0.0, 1.0), (1.0, float("inf"))):
        with pytest.raises(ConfigError, match="one an axis"):
            one(noise(2, 5, 5, 3), rates=rates)
    with pytest.raises(ConfigError, match="positive"):
        layer(rank=0)
    with pytest.raises(ConfigError, match="band_limit"):
        layer(band_limit=0.0)


def test_in_half_precision_it_is_the_same_up_to_rounding() -> None:
    one, x = layer().float(), noise(2, 5, 7, 3).float()
    expected = one(x)
    y = one.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() <= 0.02 * expected.abs().max()


def test_it_compiles_as_one_graph() -> None:
    one, x = layer(), noise(2, 5, 7, 3)
    assert_close(torch.compile(one, backend="eager", fullgraph=True)(x), one(x))
