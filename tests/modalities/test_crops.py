"""What could go wrong in crops: they leave the sample, their size or share slips, or padding leaks in."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import find
from tacita.errors import ConfigError
from tacita.modalities.images.crops import ASPECT
from tacita.values import length_mask
from tests.helpers import assert_close, samples_of

IMAGES = InputSpec("images", (2, 16, 24))
SERIES = InputSpec("series", (20, 1))
TABLES = InputSpec("tables", (6,), (0,) * 6)


def batch_of(x: torch.Tensor, lengths: torch.Tensor | None = None) -> Batch:
    return Batch(samples_of(x, lengths), torch.arange(len(x)), torch.arange(len(x)))


def crops_of(spec: InputSpec, **how: object) -> torch.nn.Module:
    return find(spec.modality).crops(spec, **how)


@pytest.mark.parametrize("spec", [SERIES, TABLES], ids=lambda spec: spec.modality)
def test_crops_of_all_at_full_size_are_the_sample(spec):
    x = torch.randn(5, *spec.shape)
    assert_close(crops_of(spec, scale=(1.0, 1.0))(batch_of(x)).x, x)


@pytest.mark.parametrize(
    "spec, shape",
    [(IMAGES, (2, 7, 10)), (SERIES, (8, 1)), (TABLES, (6,))],
    ids=lambda v: getattr(v, "modality", ""),
)
def test_crops_have_their_own_size_keep_labels_and_repeat_under_a_seed(spec, shape):
    crops, batch = crops_of(spec, scale=(0.1, 0.4), size=0.4), batch_of(torch.randn(5, *spec.shape))
    before = batch.x.clone()
    torch.manual_seed(0)
    first = crops(batch)
    torch.manual_seed(0)
    second = crops(batch)
    assert first.x.shape == (5, *shape)
    assert torch.equal(first.x, second.x)
    assert not torch.equal(crops(batch).x, first.x)
    assert torch.equal(first.y, batch.y)
    assert torch.equal(first.index, batch.index)
    assert torch.equal(batch.x, before)


def test_a_crop_of_an_image_is_a_rectangle_of_the_area_asked_within_it():
    # Each pixel says where it is, in shares of the side, so a crop says where it was taken.
    rows = ((torch.arange(64) + 0.5) / 64)[:, None].expand(64, 64)
    x = torch.stack([rows, rows.T]).expand(300, 2, 64, 64)
    crop = crops_of(InputSpec("images", (2, 64, 64)), scale=(0.2, 0.5), size=0.5)(batch_of(x)).x
    down, across = crop[:, 0, :, 0], crop[:, 1, 0, :]
    assert_close(crop[:, 0], down[:, :, None].expand(300, 32, 32))
    assert_close(crop[:, 1], across[:, None, :].expand(300, 32, 32))
    for line in (down, across):
        # Of the 32 pixels the inner ones are spaced evenly; the outer may be held at the border.
        steps = line[:, 2:-2].diff(dim=1)
        assert float((steps - steps.mean(1, keepdim=True)).abs().max()) < 1e-5
        assert float(line.min()) > 0
        assert float(line.max()) < 1
    height, width = (32 * line[:, 2:-2].diff(dim=1).mean(1) for line in (down, across))
    area = height * width
    assert float(area.min()) == pytest.approx(0.2, abs=0.01)
    assert float(area.max()) == pytest.approx(0.5, abs=0.01)
    ratio = (height / width).log()
    assert float(ratio.abs().max()) <= math.log(ASPECT) + 1e-4
    assert float(ratio.max()) > 0.2 > -0.2 > float(ratio.min())
    # They lie anywhere: from edge to edge.
    assert float(down[:, 0].min()) < 0.05
    assert float(down[:, -1].max()) > 0.95


def test_a_crop_of_a_series_is_a_stretch_of_the_share_asked_within_it():
    lengths = torch.tensor([20, 20, 7, 1]).repeat(100)
    x = torch.arange(20.0)[None, :, None].expand(400, 20, 1)
    x = x.masked_fill(~length_mask(lengths, 20)[:, :, None], 1e3)  # padding must not come in
    crop = crops_of(SERIES, scale=(0.3, 0.6), size=0.5)(batch_of(x, lengths))
    assert crop.lengths is not None
    assert crop.lengths.view(100, 4)[0].tolist() == [10, 10, 4, 1]
    assert crop.x.shape == (400, 10, 1)
    for series, length, before in zip(crop.x[:, :, 0], crop.lengths, lengths, strict=True):
        part = series[:length]
        assert (series[length:] == 0).all()
        assert float(part.min()) >= 0
        assert float(part.max()) <= before - 1
        if length > 1:
            share = float(part[-1] - part[0]) / (before - 1)
            assert 0.3 - 1e-5 <= share <= 0.6 + 1e-5
            assert_close(part.diff(), part.diff().mean().expand(length - 1))


def test_a_crop_of_a_row_keeps_the_share_of_its_cells_and_the_columns_of_the_rest():
    x = torch.arange(6000.0).view(1000, 6)
    crop = crops_of(TABLES, scale=(0.2, 0.4))(batch_of(x)).x
    assert (crop % 6 == x % 6).all()  # each value is of its own column
    kept = (crop == x).float().mean().item()
    assert kept == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 6000))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0.01, 1.0),
    st.floats(0.01, 1.0),
    st.integers(0, 99),
)
def test_any_crop_of_any_image_is_within_the_values_it_has(height, width, least, size, seed):
    torch.manual_seed(seed)
    x = torch.rand(3, 1, height, width)
    crop = crops_of(InputSpec("images", (1, height, width)), scale=(least, 1.0), size=size)
    seen = crop(batch_of(x)).x
    assert seen.shape == (3, 1, math.ceil(height * size), math.ceil(width * size))
    assert float(seen.min()) >= float(x.min()) - 1e-5
    assert float(seen.max()) <= float(x.max()) + 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (0.0, 0.5)},
        {"scale": (0.5, 0.4)},
        {"scale": (0.5, 1.1)},
        {"scale": (math.nan, 1.0)},
        {"scale": (0.4, 1.0), "size": 0.0},
        {"scale": (0.4, 1.0), "size": 2.0},
    ],
)
def test_parts_that_are_nothing_or_more_than_the_whole_are_refused(options):
    with pytest.raises(ConfigError, match="size=" if "size" in options else "scale="):
        crops_of(IMAGES, **options)


def test_samples_that_have_no_parts_are_refused():
    with pytest.raises(ConfigError, match="no crops of text"):
        crops_of(InputSpec("text", (5,), vocabulary=4), scale=(0.4, 1.0))
