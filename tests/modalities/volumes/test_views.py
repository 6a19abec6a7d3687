"""What goes wrong with views of volumes: slices of one volume are moved apart, labels stay behind, or a
crop reaches beyond the slice."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import default_views
from tacita.modalities.volumes.views import VolumeViews


def test_labels_go_where_their_voxels_go():
    torch.manual_seed(0)
    y = torch.zeros(8, 32, 32, dtype=torch.int64)
    y[:, 10:20, 8:26] = 1
    x = y[:, None].float()
    seen = VolumeViews(crop=0.6, rotate=30.0)(Batch(x, y, torch.arange(8)))
    assert seen.y.dtype == torch.int64
    assert not torch.equal(seen.y, y)
    agrees = (seen.x[:, 0] > 0.5) == (seen.y == 1)
    assert agrees.float().mean() > 0.98
    assert not torch.equal(seen.y[0], seen.y[1])


def test_a_volume_is_seen_in_one_way_from_end_to_end():
    torch.manual_seed(0)
    flat = torch.randn(3, 1, 1, 16, 16).expand(3, 1, 5, 16, 16)
    views = VolumeViews(crop=0.6, rotate=30.0, intensity=0.3)
    seen = views(Batch(flat, torch.zeros(3), torch.arange(3))).x
    assert torch.allclose(seen, seen[:, :, :1].expand_as(seen), atol=1e-5)
    assert not torch.allclose(seen, flat, atol=1e-2)


@given(st.floats(0.3, 1.0), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_crop_stays_inside_the_slice(crop, seed):
    torch.manual_seed(seed)
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(4, 1, 64, 64)
    seen = VolumeViews(crop=crop)(Batch(ramp, torch.zeros(4), torch.arange(4))).x
    step = seen.diff(dim=3)
    # At the border a ramp would stand still where the box reached beyond it.
    assert bool((step[..., 1:-1] > 0.9 * crop / 63).all())


def test_intensity_alone_moves_no_voxel_and_no_label():
    torch.manual_seed(0)
    x, y = torch.randn(3, 2, 4, 8, 8), torch.randint(2, (3, 4, 8, 8))
    seen = VolumeViews(intensity=0.4)(Batch(x, y, torch.arange(3)))
    assert torch.equal(seen.y, y)
    # A line a volume: contrast and brightness and nothing else.
    for before, after in zip(x.flatten(1), seen.x.flatten(1), strict=True):
        slope = (after[1] - after[0]) / (before[1] - before[0])
        assert torch.allclose(after - after[0], slope * (before - before[0]), atol=1e-4)


def test_a_seed_fixes_the_default_views_and_batches_stay_as_they_are():
    spec = InputSpec("volumes", (1, 4, 8, 8))
    batch = Batch(torch.randn(2, 1, 4, 8, 8), torch.zeros(2), torch.arange(2))
    before = batch.x.clone()
    for strength in ("weak", "strong"):
        made = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            made.append(default_views(spec, strength)(batch).x)
        assert torch.equal(made[0], made[1])
        assert not torch.equal(made[0], made[2])
    assert torch.equal(batch.x, before)
