"""What goes wrong when slices are drawn: a partition's slice comes from its neighbour, the last slice
is never drawn, or two volumes always give the same height."""

from __future__ import annotations

import pytest
import torch

from tacita.parts.slices import drawn_slices, middle_slices


def numbered(volumes: int, depth: int) -> torch.Tensor:
    """Volumes whose voxels are the number of their slice, and 100 more a volume."""
    number = 100 * torch.arange(volumes)[:, None] + torch.arange(depth)
    return number.float()[:, None, :, None, None].expand(-1, 2, -1, 3, 3)


@pytest.mark.parametrize("depth, partitions", [(4, 4), (10, 4), (7, 3), (24, 2)])
def test_every_slice_of_a_partition_is_drawn_and_none_of_another(depth, partitions):
    torch.manual_seed(0)
    seen = [drawn_slices(numbered(2, depth), partitions)[..., 0, 0, 0] for _ in range(200)]
    found = torch.stack(seen)  # (200, B, S)
    edges = [s * depth // partitions for s in range(partitions + 1)]
    for part in range(partitions):
        for volume in range(2):
            expected = {100 * volume + z for z in range(edges[part], edges[part + 1])}
            assert set(found[:, volume, part].tolist()) == expected


def test_volumes_draw_apart():
    torch.manual_seed(0)
    at = drawn_slices(numbered(2, 40), 4)[..., 0, 0, 0]
    assert not torch.equal(at[0], at[1] - 100)


def test_middle_slices_are_in_the_middle():
    at = middle_slices(numbered(2, 12), 4)[..., 0, 0, 0]
    assert at.tolist() == [[1, 4, 7, 10], [101, 104, 107, 110]]
    assert middle_slices(numbered(1, 12), 4).shape == (1, 4, 2, 3, 3)
