"""The second stage before segmentation: a region attracts itself in another view, and repels others.

Chaitanya et al., 2020, section 3.2. The way down of the U-Net is frozen as `global-contrast` left it;
the first steps up learn features that tell a place from the places around it. The two views differ
in intensity alone, so that every pixel keeps its place.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, SliceEncoder
from tacita.errors import ConfigError
from tacita.modalities.volumes.views import VolumeViews
from tacita.objective import Losses, Objective
from tacita.parts.contrast import masked_ntxent
from tacita.parts.slices import check_stage, drawn_slices, middle_slices

NEGATIVES = 5
"""Regions nearby that repel, in either view."""


@method(
    "local-contrast",
    title="Local contrast of regions",
    paper="https://arxiv.org/abs/2006.10511",
    year=2020,
    family="pretrain",
    needs=("slices",),
    labels="none",
    summary="Pretrains a U-Net's first steps up: regions of a slice are told from those around them.",
    reuses=("contrast", "unet", "views"),
    claim="After global contrast it raises the Dice from one labelled volume to 64.5%, from 63.8% without it "
    "and 63.5% from random weights, and did not in runs of some hundreds of steps (measured in the claim of "
    "global-contrast).",
)
class LocalContrast(Objective[Batch]):
    """Thirteen regions of the map after the first steps up, each against five others of both views.

    blocks: l, how many steps up are trained; by default all but the last two of five or more, as in
        the paper, and all but the last of fewer.
    partitions: S; one random slice of each part of each volume is seen.
    temperature: tau.
    size: side of a region in cells of the map.
    views: makes a view of slices that leaves every voxel in its place.

    Raises `ConfigError` for an encoder that is no U-Net, for a map in which thirteen regions find no
    room, and for views that move voxels.

    Differs from the paper: the negatives of a region are the five others nearest to it; batch norms of
    the frozen half use their running statistics, so that it does not change at all.
    """

    tiny = {"blocks": 2}  # small slices have room for the regions after the last step up only
    encoder: SliceEncoder
    reads = "unlabelled"
    engine_defaults = {"steps": 1000, "batch_size": 6, "learning_rate": 1e-3, "weight_decay": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        *,
        blocks: int | None = None,
        partitions: int = 4,
        temperature: float = 0.1,
        size: int = 3,
        views: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = check_stage(encoder, partitions, temperature)
        steps = len(self.encoder.expanding)
        self.blocks = blocks or max(1, steps - (2 if steps >= 5 else 1))
        if not 1 <= self.blocks <= steps:
            raise ConfigError(
                f"blocks={blocks}, but the U-Net has {steps} steps up.",
                remedy=f"Give 1 to {steps}.",
            )
        self.partitions = partitions
        self.temperature = temperature
        self.size = size
        self.views = views or VolumeViews(intensity=0.4)
        if getattr(self.views, "moves_voxels", False):
            raise ConfigError(
                "These views move voxels, so that regions in the same place do not match.",
                remedy="Give views of intensity alone, such as VolumeViews(intensity=0.4).",
            )
        shrink = 2 ** (steps - self.blocks)
        map_size = [-(-side // shrink) for side in encoder.spec.shape[2:]]
        region_positions(map_size[0], map_size[1], size)  # Refuses a map that is too small.
        channels = self.encoder.widths[steps - self.blocks]
        self.projector = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
        )
        self.encoder.requires_grad_(False)
        self.encoder.expanding[: self.blocks].requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but the frozen half stays in evaluation mode."""
        super().train(mode)
        self.encoder.contracting.eval()
        return self

    def loss(self, batch: Batch) -> Losses:
        slices = drawn_slices(batch.x, self.partitions).flatten(0, 1)
        seen = Batch(slices, batch.y, batch.index)
        f_a, f_b = self.embedded(torch.cat([self.views(seen).x, self.views(seen).x])).chunk(2)
        return Losses(contrast=local_region_loss(f_a, f_b, self.temperature, self.size))

    def embedded(self, slices: Tensor) -> Tensor:
        """`(M, K, h, w)` embeddings of the cells of `(M, C, H, W)` slices."""
        slices = slices.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            maps = self.encoder.contract(slices)
        return self.projector(self.encoder.expand(maps, self.blocks))

    def finish(self) -> None:
        self.encoder.requires_grad_(True)

    def anchors(self, batch: Batch) -> Tensor:
        """The region in the middle of the middle slices of a volume's parts, one after another."""
        maps = self.embedded(middle_slices(batch.x, self.partitions).flatten(0, 1))
        return regions(maps, self.size)[:, 4].reshape(len(batch), -1)


def local_region_loss(f_a: Tensor, f_b: Tensor, temperature: float, size: int = 3) -> Tensor:
    """Contrast of regions of two maps `(M, K, h, w)` of the same slices (equation 3), in float32.

    For each of 13 regions of either view the positive is the same region of the other view, and the
    negatives are the 5 nearest other regions of both. Raises `ConfigError` for maps too small.

    >>> f = torch.ones(2, 4, 8, 8)
    >>> torch.isclose(local_region_loss(f, f, 0.1), torch.tensor(11.0).log()).item()  # one and ten
    True
    """
    positions = region_positions(f_a.shape[2], f_a.shape[3], size).to(f_a.device)
    z = torch.cat([regions(f_a, size), regions(f_b, size)], 1)  # (M, 2 * 13, K * size^2)
    count = len(positions)
    near = nearest_others(positions)
    positive = torch.eye(2 * count, dtype=torch.bool, device=z.device).roll(count, 1)
    return masked_ntxent(z, positive, near.repeat(2, 2), temperature)


def regions(maps: Tensor, size: int) -> Tensor:
    """`(M, 13, K * size * size)`: the flattened regions of `(M, K, h, w)` maps."""
    positions = region_positions(maps.shape[2], maps.shape[3], size).to(maps.device)
    within = torch.arange(size, device=maps.device)
    rows, columns = positions[:, 0, None] + within, positions[:, 1, None] + within  # (13, size)
    found = maps[:, :, rows[:, :, None], columns[:, None, :]]  # (M, K, 13, size, size)
    return found.transpose(1, 2).flatten(2)


def region_positions(height: int, width: int, size: int) -> Tensor:
    """`(13, 2)` upper left cells of regions: corners, edges and centre, then the quarter points.

    Raises `ConfigError` where the regions would not lie in 13 places inside the map.

    >>> region_positions(11, 11, 3)[[0, 4, 8, 9]].tolist()
    [[0, 0], [4, 4], [8, 8], [2, 2]]
    """
    if size < 1 or min(height, width) < size + 4:
        raise ConfigError(
            f"A map of {height}x{width} cells has no room for 13 regions of {size}x{size}.",
            remedy="Give larger slices, fewer widths, more blocks, or a smaller size.",
        )
    across = [
        torch.linspace(0, side - size, 5, dtype=torch.float64).round().long()
        for side in (height, width)
    ]
    grid = torch.cartesian_prod(*across).view(5, 5, 2)
    return torch.cat([grid[::2, ::2].reshape(9, 2), grid[1::2, 1::2].reshape(4, 2)])


def nearest_others(positions: Tensor) -> Tensor:
    """`(R, R)` bool: of each region the five others that lie nearest; of equally near ones the first."""
    distance = (positions[:, None] - positions).square().sum(2)
    distance.fill_diagonal_(int(distance.max()) + 1)
    order = distance.argsort(dim=1, stable=True)[:, :NEGATIVES]
    return torch.zeros_like(distance, dtype=torch.bool).scatter(1, order, True)
