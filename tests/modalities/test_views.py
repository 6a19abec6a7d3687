"""Views change a sample and not its label: what is valid stays valid, and each draws its own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import default_views
from tacita.modalities.images.views import ImageViews, _grid
from tacita.modalities.series.views import SeriesViews
from tacita.modalities.tables.views import TableViews
from tests.helpers import assert_close, samples_of

SPECS = {
    "images": InputSpec("images", (3, 9, 12)),
    "series": InputSpec("series", (20, 2)),
    "tables": InputSpec("tables", (4,), (0, 0, 3, 0)),
}


def batch_of(spec: InputSpec, size: int = 6) -> Batch:
    x = torch.randn(size, *spec.shape)
    if spec.modality == "tables":
        x[:, 2] = torch.arange(size) % 3
    return Batch(x, torch.arange(size), torch.arange(size))


@pytest.mark.parametrize("strength", ["weak", "strong"])
@pytest.mark.parametrize("modality", ["images", "series", "tables"])
def test_views_keep_shape_and_labels_and_repeat_under_a_seed(modality: str, strength: str) -> None:
    spec = SPECS[modality]
    views, batch = default_views(spec, strength), batch_of(spec)  # type: ignore[arg-type]
    before = batch.x.clone()
    torch.manual_seed(0)
    first = views(batch)
    torch.manual_seed(0)
    second = views(batch)
    third = views(batch)
    assert first.x.shape == batch.x.shape
    assert torch.equal(first.y, batch.y)
    assert torch.equal(first.x, second.x)
    assert not torch.equal(first.x, third.x)
    assert torch.equal(batch.x, before)
    assert first.x.isfinite().all()


def test_no_change_asked_is_no_change() -> None:
    for views, spec in ((ImageViews(), SPECS["images"]), (SeriesViews(), SPECS["series"])):
        batch = batch_of(spec)
        assert torch.equal(views(batch).x, batch.x)


def test_a_quarter_turn_is_a_quarter_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.arange(25.0).view(1, 1, 5, 5)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape))
    turned = ImageViews(rotate=90.0)(Batch(image, torch.zeros(1), torch.zeros(1))).x
    options = [torch.rot90(image, k, (2, 3)) for k in (1, -1)]
    assert any(torch.allclose(turned, option, atol=1e-3) for option in options)


def test_a_shift_is_a_share_of_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 4, 4] = 1.0
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape))
    shifted = ImageViews(translate=0.25)(Batch(image, torch.zeros(1), torch.zeros(1))).x
    assert shifted[0, 0, 2, 2] == pytest.approx(1.0, abs=1e-4)


def test_the_grid_is_that_of_affine_grid() -> None:
    x, matrices = torch.zeros(5, 2, 7, 9), torch.randn(5, 2, 3)
    expected = functional.affine_grid(matrices, [5, 2, 7, 9], align_corners=False)
    assert_close(_grid(matrices, x), expected)


def test_an_erased_square_is_no_larger_than_asked_and_zero() -> None:
    x = torch.ones(200, 1, 20, 20)
    erased = ImageViews(erase=0.5)(Batch(x, torch.zeros(200), torch.zeros(200))).x == 0
    assert erased.any()
    rows, columns = erased.any(3).sum(2), erased.any(2).sum(2)
    assert int(rows.max()) <= 10
    assert int(columns.max()) <= 10


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=6), st.integers(0, 99))
def test_padding_of_series_stays_zero_and_never_leaks_in(lengths: list[int], seed: int) -> None:
    counts = torch.tensor(lengths)
    spec = SPECS["series"]
    x = torch.randn(len(lengths), 20, 2)
    padded = Batch(samples_of(x * _valid(counts), counts), torch.zeros(len(lengths)), counts)
    dirty = Batch(samples_of(torch.where(_valid(counts), x, 1e3), counts), padded.y, counts)
    views = SeriesViews.strong(spec)
    torch.manual_seed(seed)
    clean = views(padded).x
    torch.manual_seed(seed)
    assert_close(views(dirty).x, clean)
    assert bool((clean[~_valid(counts).expand_as(clean)] == 0).all())


def _valid(lengths: Tensor) -> Tensor:
    return (torch.arange(20) < lengths[:, None])[:, :, None]


def test_warped_time_keeps_both_ends_and_its_order() -> None:
    ramp = torch.linspace(0, 1, 50).view(1, 50, 1).expand(64, 50, 1)
    warped = SeriesViews(warp=0.9)(Batch(ramp, torch.zeros(64), torch.zeros(64))).x
    assert_close(warped[:, 0], ramp[:, 0])
    assert_close(warped[:, -1], ramp[:, -1])
    assert bool((warped.diff(dim=1) >= -1e-6).all())
    assert float((warped - ramp).abs().max()) > 0.05


def test_corrupted_cells_come_from_their_own_column() -> None:
    x = torch.arange(40.0).view(10, 4) + torch.tensor([0.0, 100.0, 200.0, 300.0])
    view = TableViews(corrupt=0.5)(Batch(x, torch.zeros(10), torch.zeros(10))).x
    assert all(set(view[:, i].tolist()) <= set(x[:, i].tolist()) for i in range(4))


def test_corruption_is_as_frequent_as_asked() -> None:
    x = torch.randn(4000, 5)
    view = TableViews(corrupt=0.3)(Batch(x, torch.zeros(4000), torch.zeros(4000))).x
    assert float((view != x).float().mean()) == pytest.approx(0.3, abs=4 / math.sqrt(20000))
