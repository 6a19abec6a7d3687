"""What could go wrong: a transformation that leaks over padding or into another channel, a second torn
apart, an order of pieces that changes nothing, or noise of the wrong strength."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import default_views
from tacita.modalities.series.sensor_views import (
    TRANSFORMATIONS,
    SensorViews,
    add_noise,
    crop_and_resize,
    magnitude_warp,
    permute_pieces,
    read,
    smooth_curves,
    time_warp,
    transformed,
)
from tacita.modalities.series.views import SeriesViews
from tests.helpers import assert_close, samples_of

RATES = (8, 1, 8)
SPEC = InputSpec("series", (12, 17), rates=RATES)


def signals(rows: int = 6, length: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, length), torch.tensor([length, 40, 9, 3, 1, 0])[:rows]


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_only_valid_samples_are_read_and_padding_is_zero(name):
    x, lengths = signals()
    kinds = torch.full((6,), list(TRANSFORMATIONS).index(name))
    torch.manual_seed(1)
    clean = transformed(x, lengths, kinds)
    assert clean.isfinite().all()
    beyond = torch.arange(64) >= lengths[:, None]
    assert (clean[beyond] == 0).all()
    torch.manual_seed(1)
    assert torch.equal(transformed(x.masked_fill(beyond, 9.0), lengths, kinds), clean)
    if name != "identity":
        assert ((clean - x).masked_fill(beyond, 0).abs().amax(1) > 1e-3)[:3].all()


def test_a_magnitude_warp_is_a_smooth_factor_around_one():
    torch.manual_seed(0)
    curves = magnitude_warp(torch.ones(4000, 256), torch.full((4000,), 256))
    assert curves[:, 0].mean().item() == pytest.approx(1, abs=0.02)
    assert curves[:, 0].std().item() == pytest.approx(0.2, abs=0.02)
    assert curves[:, -1].std().item() == pytest.approx(0.2, abs=0.02)
    assert curves.diff(dim=1).abs().max() < 0.1
    x = torch.randn(4000, 256)
    torch.manual_seed(0)
    assert_close(magnitude_warp(x, torch.full((4000,), 256)), x * curves)


def test_a_smooth_curve_is_the_cubic_spline_through_its_knots():
    import numpy as np
    from scipy.interpolate import CubicSpline

    torch.manual_seed(0)
    heights = 1 + 0.2 * torch.randn(3, 6, dtype=torch.float64)
    torch.manual_seed(0)
    curves = smooth_curves(torch.zeros(3, 9, dtype=torch.float64))
    spline = CubicSpline(np.linspace(0, 1, 6), heights.numpy(), axis=1)
    assert_close(curves, torch.from_numpy(spline(np.linspace(0, 1, 256))))


def test_a_time_warp_keeps_order_ends_and_values():
    torch.manual_seed(0)
    line = torch.arange(100.0).expand(200, 100)
    lengths = torch.full((200,), 80)
    warped = time_warp(line, lengths)[:, :80]
    assert_close(warped[:, 0], torch.zeros(200))
    assert_close(warped[:, -1], torch.full((200,), 79.0))
    assert (warped.diff(dim=1) > 0).all()
    assert (warped - line[:, :80]).abs().max() > 3


def test_pieces_change_places_and_nothing_else():
    torch.manual_seed(0)
    line = torch.arange(20.0).expand(300, 20)
    lengths = torch.full((300,), 16)
    moved = permute_pieces(line, lengths)
    assert torch.equal(moved[:, 16:], line[:, 16:])
    pieces = moved[:, :16].view(300, 4, 4)
    assert (pieces.diff(dim=2) == 1).all()
    orders = {tuple(row) for row in (pieces[:, :, 0] / 4).long().tolist()}
    assert len(orders) == 23
    assert (0, 1, 2, 3) not in orders


def test_a_crop_is_a_stretch_of_half_to_nine_tenths():
    torch.manual_seed(0)
    line = torch.arange(101.0).expand(500, 101)
    cut = crop_and_resize(line, torch.full((500,), 101))
    share = (cut[:, -1] - cut[:, 0]) / 100
    assert 0.5 <= share.min() < 0.55
    assert 0.85 < share.max() <= 0.9
    assert_close(cut.diff(dim=1), (share[:, None]).expand(500, 100).contiguous())
    assert cut.min() >= 0
    assert cut.max() <= 100


def test_noise_has_its_ratio_to_the_signal():
    torch.manual_seed(0)
    x = 5 * torch.randn(4, 20_000)
    noise = add_noise(x, torch.full((4,), 20_000)) - x
    decibel = 10 * torch.log10(x.square().mean(1) / noise.square().mean(1))
    assert (decibel - 1.5).abs().max() < 0.1


def test_reading_between_samples_is_linear():
    x = torch.tensor([[0.0, 10.0, 30.0]])
    assert read(x, torch.tensor([[0.0, 0.5, 1.25, 2.0]])).tolist() == [[0.0, 5.0, 15.0, 30.0]]


def make_batch(unequal: bool = False) -> Batch:
    torch.manual_seed(0)
    x = torch.randn(5, 12, 17)
    lengths = torch.tensor([12, 7, 1, 12, 4]) if unequal else None
    return Batch(samples_of(x, lengths), torch.zeros(5), torch.arange(5))


def test_each_channel_is_transformed_as_a_signal_of_its_own_rate():
    batch = make_batch()
    kinds = torch.zeros(5, 3, dtype=torch.int64)
    kinds[1, 2] = list(TRANSFORMATIONS).index("permutation")
    view = SensorViews(SPEC).apply_kinds(batch, kinds)
    changed = (view.x != batch.x).any(1)
    assert changed.nonzero().tolist() == [[1, column] for column in range(9, 17)]
    before, after = batch.x[1, :, 9:].flatten(), view.x[1, :, 9:].flatten()
    # 96 samples in quarters of 24, which are three seconds each.
    orders = [torch.equal(after[:24], before[24 * i : 24 * i + 24]) for i in range(4)]
    assert sum(orders) == 1


def test_strong_views_differ_between_channels_and_keep_padding():
    batch = make_batch(unequal=True)
    view = SensorViews.strong(SPEC)(batch)
    assert (view.x[~batch.mask] == 0).all()
    assert view.lengths is batch.lengths
    assert not torch.equal(SensorViews.strong(SPEC)(batch).x, view.x)


def test_weak_views_scale_a_channel_as_one():
    views = SensorViews(SPEC, scale=0.1)
    batch = make_batch()
    factor = views(batch).x / batch.x
    for channel in factor.split(RATES, 2):
        own = channel.flatten(1)
        assert_close(own, own[:, :1].expand_as(own).contiguous())
    assert factor[0, 0, 0] != factor[0, 0, 9]
    assert (SensorViews(SPEC, noise=0.5)(batch).x - batch.x).std().item() == pytest.approx(
        0.5, abs=0.03
    )


def test_recordings_get_views_of_sensors_and_ordinary_series_those_of_series():
    assert isinstance(default_views(SPEC, "weak"), SensorViews)
    assert default_views(SPEC, "strong").transform
    assert isinstance(default_views(InputSpec("series", (12, 17)), "strong"), SeriesViews)


def test_the_contrast_of_sensor_views_is_simclr_under_e4mer():
    from tacita.encoders import build
    from tacita.pretrain.simclr import SimCLR

    torch.manual_seed(0)
    objective = SimCLR(build("e4mer", SPEC, dim=16, depth=1), temperature=0.5)
    assert isinstance(objective.views, SensorViews)
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    totals = []
    for _ in range(30):
        optimiser.zero_grad()
        total = objective(make_batch()).total
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < sum(totals[:5]) - 0.5
