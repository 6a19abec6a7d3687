"""What goes wrong in a swap of amplitudes: the band is not symmetric, so that the result is not real;
the mean gets a sign of its own; a batch keeps its looks; or a later draw an image brings them back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.data.batch import Batch, InputSpec
from tacita.data.normalise import Standardiser
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.images.batch_styles import BatchStyles, batch_style_standardise
from tacita.modalities.images.views import ImageViews
from tacita.pretrain.barlow_twins import BarlowTwins
from tests.helpers import assert_close, image_batch

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def pixels(height: int = 8, width: int = 8, count: int = 4, channels: int = 3) -> Tensor:
    """Values in [0, 1], float64, always the same."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(count, channels, height, width, generator=generator, dtype=torch.float64)


def by_hand(x: Tensor, ratio: float, index: int) -> np.ndarray:
    """The paper's steps on pixels in [0, 1], by the definition of the Fourier transform, wave by wave."""
    images = x.numpy()
    height, width = images.shape[2:]
    rows, columns = np.arange(height), np.arange(width)
    result = np.zeros(images.shape, dtype=complex)
    for v in range(height):
        for u in range(width):
            wave = np.exp(-2j * np.pi * (v * rows[:, None] / height + u * columns / width))
            coefficient = (images * wave).sum((2, 3))
            # In a centred spectrum a frequency is as far from the middle on either side.
            far_v, far_u = min(v, height - v), min(u, width - u)
            if far_v <= np.sqrt(ratio) * height / 2 and far_u <= np.sqrt(ratio) * width / 2:
                phase = np.exp(1j * np.angle(coefficient))
                coefficient = np.abs(coefficient[index]) * phase
            result += coefficient[:, :, None, None] * wave.conj() / (height * width)
    assert np.abs(result.imag).max() < 1e-9
    return result.real


@pytest.mark.parametrize("ratio", [0.0, 0.07, 0.3, 1.0])
@pytest.mark.parametrize("height, width", [(8, 8), (7, 6), (5, 9), (1, 4)])
def test_a_swap_is_that_of_the_paper_wave_by_wave(height: int, width: int, ratio: float) -> None:
    x = pixels(height, width)
    expected = torch.from_numpy(by_hand(x, ratio, 2))
    assert_close(batch_style_standardise(x, ratio, 2), expected)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.floats(0, 1), st.integers(0, 3))
def test_normalised_pixels_give_the_normalised_result(
    size: tuple[int, int], ratio: float, index: int
) -> None:
    # Bright and dark images, so that the normalised means have both signs.
    x = pixels(*size) * torch.tensor([0.05, 0.3, 0.9, 1.0], dtype=torch.float64).view(4, 1, 1, 1)
    mean, std = torch.tensor([[0.4, 0.1, 0.6], [0.2, 0.5, 0.1]], dtype=torch.float64)[
        :, :, None, None
    ]
    expected = (batch_style_standardise(x, ratio, index) - mean) / std
    assert_close(batch_style_standardise((x - mean) / std, ratio, index), expected)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.floats(0, 1), st.integers(0, 3))
def test_what_is_replaced_is_equal_in_all_images_and_the_rest_is_untouched(
    size: tuple[int, int], ratio: float, index: int
) -> None:
    height, width = size
    x = pixels(height, width)
    styled = batch_style_standardise(x, ratio, index)
    before, after = torch.fft.fft2(x), torch.fft.fft2(styled)
    far_v = np.minimum(np.arange(height), height - np.arange(height))[:, None]
    far_u = np.minimum(np.arange(width), width - np.arange(width))
    low = (far_v <= np.sqrt(ratio) * height / 2) & (far_u <= np.sqrt(ratio) * width / 2)
    assert_close(after.abs()[:, :, low], before.abs()[index, :, low].expand(4, -1, -1))
    assert_close(after[:, :, ~low], before[:, :, ~low])
    assert_close(styled[index], x[index])
    means = styled.mean((2, 3))
    assert_close(means, means[index].expand_as(means))


def test_phases_stay() -> None:
    x = pixels()
    before = torch.fft.fft2(x)
    after = torch.fft.fft2(batch_style_standardise(x, 1.0, 1))
    unit = before / before.abs()
    assert_close(after, after.abs() * unit)


def test_all_of_the_spectrum_leaves_one_spectrum_in_the_batch() -> None:
    after = torch.fft.fft2(batch_style_standardise(pixels(7, 10), 1.0, 3)).abs()
    assert float((after - after[3]).abs().max()) < 1e-10


def test_the_mean_alone_moves_all_pixels_alike() -> None:
    x = pixels() - 0.5
    moved = batch_style_standardise(x, 0.0, 2)
    expected = x - x.mean((2, 3), keepdim=True) + x[2].mean((1, 2))[:, None, None]
    assert_close(moved, expected)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_a_second_time_changes_nothing(ratio: float) -> None:
    once = batch_style_standardise(pixels(), ratio, 0)
    assert_close(batch_style_standardise(once, ratio, 0), once)


def test_a_permuted_batch_gives_the_permuted_result() -> None:
    x, order = pixels(), torch.tensor([2, 0, 3, 1])
    expected = batch_style_standardise(x, 0.2, 3)[order]
    assert_close(batch_style_standardise(x[order], 0.2, int((order == 3).nonzero())), expected)


def test_a_ratio_and_a_style_for_each_image() -> None:
    x = pixels()
    ratio, index = torch.tensor([0.0, 0.1, 0.5, 1.0]), torch.tensor([3, 0, 0, 2])
    together = batch_style_standardise(x, ratio, index)
    for i in range(4):
        alone = batch_style_standardise(x, float(ratio[i]), int(index[i]))
        assert_close(together[i], alone[i])


def test_a_constant_image_gets_amplitudes_and_stays_finite() -> None:
    x = torch.stack([torch.zeros(1, 6, 6), torch.rand(1, 6, 6)])
    styled = batch_style_standardise(x, 0.3, 1)
    assert styled.isfinite().all()
    assert_close(styled.mean((2, 3))[0], x.mean((2, 3))[1])


@pytest.mark.parametrize("length", [1, 7, 10])
def test_series_have_the_amplitudes_of_each_channel_over_time(length: int) -> None:
    x = torch.randn(3, length, 2, dtype=torch.float64)
    styled = batch_style_standardise(x, 0.25, 1, dims=(1,))
    before, after = torch.fft.fft(x, dim=1), torch.fft.fft(styled, dim=1)
    far = np.minimum(np.arange(length), length - np.arange(length)) <= length / 4
    assert_close(after[:, far].abs(), before[1:2, far].abs().expand(3, -1, -1))
    assert_close(after[:, ~far], before[:, ~far])


def test_half_precision_is_computed_in_float32() -> None:
    x = pixels().to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        styled = batch_style_standardise(x, 0.2, 1)
    assert styled.dtype == torch.bfloat16
    assert torch.equal(styled, batch_style_standardise(x.float(), 0.2, 1).bfloat16())


def batch_of(x: Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x)), torch.arange(len(x)))


def looks(x: Tensor) -> Tensor:
    """How much the channel means of images differ: `(C,)`."""
    return x.mean((2, 3)).std(0)


def coloured(count: int = 32, side: int = 12) -> Tensor:
    """Images of unlike means; a wide range of values, so that nothing is cut off below."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, side, side, generator=generator)
    x = x + 3 * torch.randn(count, 3, 1, 1, generator=generator)
    x[0, :, 0, :2] = torch.tensor([-40.0, 40.0])
    return x


@pytest.mark.parametrize("intensity", [0.0, 0.4])
def test_a_view_has_one_look_and_another_view_another(intensity: float) -> None:
    views = BatchStyles(ImageViews(intensity=intensity), ratio=(0.05, 0.1))
    x = coloured()
    torch.manual_seed(1)
    first, second = views(batch_of(x)).x, views(batch_of(x)).x
    assert float(looks(x).min()) > 1
    for view in (first, second):
        assert float(looks(view).max()) < 0.05
    assert float((first.mean((0, 2, 3)) - second.mean((0, 2, 3))).abs().max()) > 0.5


@pytest.mark.parametrize("intensity", [0.0, 0.4])
def test_a_style_an_image_leaves_a_batch_of_many_looks(intensity: float) -> None:
    views = BatchStyles(ImageViews(intensity=intensity), ratio=(0.05, 0.1), share="image")
    assert float(looks(views(batch_of(coloured())).x).min()) > 1


def test_contrast_and_brightness_are_one_line_for_the_whole_batch() -> None:
    x = coloured()
    views = BatchStyles(ImageViews(intensity=0.4), ratio=(0.1, 0.1))
    torch.manual_seed(3)
    with_intensity = views(batch_of(x)).x
    views.intensity = 0.0
    torch.manual_seed(3)
    without = views(batch_of(x)).x
    slope = (with_intensity[0, 0, 5, 5] - with_intensity[1, 2, 3, 4]) / (
        without[0, 0, 5, 5] - without[1, 2, 3, 4]
    )
    offset = with_intensity[0, 0, 5, 5] - slope * without[0, 0, 5, 5]
    assert float(slope) != pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(with_intensity, slope * without + offset, rtol=1e-3, atol=1e-3)


def test_values_stay_within_those_of_the_batch() -> None:
    x = pixels(12, 12, 16).float()
    styled = BatchStyles(ratio=(0.5, 0.5))(batch_of(x)).x
    assert bool((styled >= x.amin((0, 2, 3), keepdim=True)).all())
    assert bool((styled <= x.amax((0, 2, 3), keepdim=True)).all())


def test_the_warp_comes_first_and_is_each_images_own(monkeypatch: pytest.MonkeyPatch) -> None:
    same = (0.1 + torch.rand(1, 1, 8, 8)).expand(6, 1, 8, 8)
    seen: list[Tensor] = []

    def remember(x: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
        seen.append(x)
        return x

    monkeypatch.setattr("tacita.modalities.images.batch_styles.batch_style_standardise", remember)
    BatchStyles(ImageViews(translate=0.3, noise=1.0, erase=0.5))(batch_of(same))
    (warped,) = seen
    assert not torch.equal(warped[0], warped[1])
    # Neither noise nor a hole: the values are mixtures of neighbours of the one image.
    assert float(warped.max()) <= float(same.max())
    assert bool((warped > 0).all())


def test_a_seed_fixes_the_view_and_the_batch_is_left_as_it_is() -> None:
    views = BatchStyles.strong(InputSpec("images", (3, 12, 12)))
    batch = batch_of(coloured())
    before = batch.x.clone()
    torch.manual_seed(5)
    first = views(batch).x
    torch.manual_seed(5)
    assert torch.equal(views(batch).x, first)
    assert not torch.equal(views(batch).x, first)
    assert torch.equal(batch.x, before)


def test_any_objective_takes_them_as_its_views() -> None:
    spec, batch = image_batch(8)
    objective = BarlowTwins(build("residual-cnn", spec, width=4), views=BatchStyles.strong(spec))
    torch.manual_seed(0)
    first = objective(batch).total
    torch.manual_seed(0)
    objective.views.share = "image"
    assert first.isfinite()
    assert not torch.equal(objective(batch).total, first)


def test_styles_are_drawn_from_all_images_of_the_batch() -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 6, 6)
    views = BatchStyles(ratio=(0.0, 0.0))
    means = {round(float(views(batch_of(x)).x.mean()), 3) for _ in range(100)}
    assert means == {0.0, 1.0, 2.0, 3.0}


def test_a_normalised_data_set_is_styled_as_its_pixels() -> None:
    x = (pixels(9, 8, 5) * 255).to(torch.uint8)
    spec = InputSpec("images", (3, 9, 8))
    normaliser = Standardiser(spec, axis=1).fit(x)
    styled = batch_style_standardise(normaliser(x), 0.2, 1)
    expected = normaliser(batch_style_standardise(x.float() / 255, 0.2, 1))
    assert_close(styled, expected)


@pytest.mark.parametrize("ratio", [(0.2, 0.1), (-0.1, 0.1), (0.0, 1.1), (float("nan"), 0.1)])
def test_a_ratio_that_is_no_range_is_refused(ratio: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="ratio="):
        BatchStyles(ratio=ratio)


def test_what_is_no_image_and_what_is_unknown_are_refused() -> None:
    with pytest.raises(ConfigError, match="series"):
        BatchStyles.strong(InputSpec("series", (20, 2)))
    with pytest.raises(ConfigError, match="share="):
        BatchStyles(share="pixel")  # type: ignore[arg-type]
