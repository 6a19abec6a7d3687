import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tacita.errors import DataError
from tacita.report import samples


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))))


def test_of_a_volume_the_middle_slice_is_shown():
    volume = np.random.default_rng(0).random((1, 5, 8, 9))
    assert samples.shown(volume) == samples.shown(volume[:, 2])


def test_an_image_comes_through_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    shown = samples.picture(image)
    np.testing.assert_array_equal(pixels(shown), image.transpose(1, 2, 0))
    assert (shown.width, shown.height, shown.pixelated) == (7, 5, True)


def test_grey_images_have_three_equal_channels():
    image = np.array([[[0, 100], [200, 255]]], dtype=np.uint8)
    shown = pixels(samples.picture(image))
    np.testing.assert_array_equal(shown, np.repeat(image.transpose(1, 2, 0), 3, 2))


def test_shares_are_kept_and_other_numbers_stretched():
    share = samples.picture(np.array([[[0.2, 0.4]]]))
    assert pixels(share)[0, :, 0].tolist() == [51, 102]
    sixteen_bit = samples.picture(np.array([[[1000.0, 3000.0, 2000.0]]]))
    assert pixels(sixteen_bit)[0, :, 0].tolist() == [0, 255, 128]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 400), st.integers(1, 400))
def test_pictures_are_bounded(channels, height, width):
    shown = samples.picture(np.zeros((channels, height, width), dtype=np.float32))
    assert max(shown.width, shown.height) <= samples.PICTURE_SIDE
    assert pixels(shown).shape[2] == (4 if channels == 4 else 3)


def test_a_long_series_is_bounded_and_keeps_its_spike():
    series = np.zeros((100_000, 1))
    series[70_001] = 5.0
    (path,) = samples.sketch(series).paths
    points = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path), dtype=float)
    assert len(points) == 2 * samples.SKETCH_BUCKETS
    x, y = points[points[:, 1].argmin()]
    assert x == pytest.approx(0.7 * samples.WIDTH, abs=3)
    assert y == pytest.approx(6.0)


def test_a_gap_lifts_the_pen():
    series = np.array([[1.0], [2.0], [np.nan], [3.0], [np.inf], [4.0]])
    (path,) = samples.sketch(series).paths
    assert [part[0] for part in re.findall(r"[ML][\d.]+ [\d.]+", path)] == ["M", "L", "M", "M"]


def test_a_series_without_values_has_no_path():
    assert samples.sketch(np.full((4, 2), np.nan)).paths == []


def test_many_channels_and_columns_are_bounded_and_said_so():
    sketch = samples.sketch(np.random.default_rng(0).normal(size=(10, 9)))
    assert len(sketch.paths) == samples.SKETCH_CHANNELS
    assert "first 6 of 9 channels" in sketch.note
    row = samples.cells({f"c{i}": np.float32(i) for i in range(30)})
    assert len(row.cells) == samples.ROW_CELLS
    assert row.more == 20
    assert row.cells[3] == ("c3", "3")


def test_a_sample_of_no_known_kind_is_refused():
    with pytest.raises(DataError, match=r"\(3,\)"):
        samples.shown(np.zeros(3))
