"""A U-Net that reads volumes slice by slice and gives a feature to every voxel.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, in the
form of Chaitanya et al., 2020. Its two halves can be called, trained and frozen apart.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoding, SliceEncoder
from tacita.errors import ConfigError


@method(
    "unet",
    title="U-Net",
    paper="https://arxiv.org/abs/1505.04597",
    year=2015,
    family="encoder",
    modalities=("volumes",),
    summary="A feature for every voxel of a volume, read slice by slice: what segmentation needs.",
)
class UNet(SliceEncoder):
    """Levels of two 3x3 convolutions with a pooling between them, and as many steps back up.

    widths: channels of each level, from the full size down, each level half the size of the one
        before; the paper of the contrastive stages has (16, 32, 64, 128, 128, 128) for 192x192.

    Shapes: `x (B, C, D, H, W)`; `tokens (B, D * H * W, widths[0])`, the voxels slice by slice and row
    by row; `pooled` their mean. Slices whose sides the levels do not divide are padded with zeros on
    the right and below, and the features are cut to the slices again.

    `contracting` and `expanding` are the two halves; `contract` and `expand` apply them to slices.

    Differs from the paper: padded convolutions with batch norm, so that sizes stay; steps up are a
    nearest upsampling and a 2x2 convolution, as in Chaitanya et al.

    >>> encoder = UNet(InputSpec("volumes", (1, 4, 16, 16)), widths=(8, 16))
    >>> encoder(torch.zeros(2, 1, 4, 16, 16)).tokens.shape
    torch.Size([2, 1024, 8])
    """

    tiny = {"widths": [4, 8, 8]}
    modalities = ("volumes",)

    def __init__(self, spec: InputSpec, *, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.require(spec)
        if len(widths) < 2 or min(widths) < 1:
            raise ConfigError(
                f"widths={tuple(widths)} is not a list of two or more widths.",
                remedy="Give the channels of each level, for example (16, 32, 64, 128).",
            )
        if 2 ** (len(widths) - 1) > min(spec.shape[2:]):
            raise ConfigError(
                f"Slices of {spec.shape[2]}x{spec.shape[3]} cannot be halved {len(widths) - 1} times.",
                remedy="Give fewer widths.",
            )
        self.spec = spec
        self.dim = widths[0]
        self.widths = tuple(widths)
        self.contracting = nn.ModuleList(
            [double_convolution(a, b) for a, b in pairwise((spec.channels, *widths))]
        )
        deepest_first = widths[::-1]
        self.expanding = nn.ModuleList([StepUp(a, b) for a, b in pairwise(deepest_first)])
        # Weights in this layout make torch's CPU and GPU convolutions take the faster path.
        self.to(memory_format=torch.channels_last)

    def contract(self, slices: Tensor) -> list[Tensor]:
        size = 2 ** (len(self.widths) - 1)
        x = functional.pad(slices, (0, -slices.shape[3] % size, 0, -slices.shape[2] % size))
        maps: list[Tensor] = []
        for level in self.contracting:
            maps.append(level(functional.max_pool2d(maps[-1], 2) if maps else x))
        return maps

    def expand(self, maps: list[Tensor], blocks: int | None = None) -> Tensor:
        x = maps[-1]
        for step, skip in zip(self.expanding[:blocks], maps[-2::-1], strict=False):
            x = step(x, skip)
        return x

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        count, _, depth, height, width = x.shape
        # One slice behind another, in the layout of the convolutions.
        slices = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.expand(self.contract(slices))[:, :, :height, :width]
        tokens = features.permute(0, 2, 3, 1).reshape(count, depth * height * width, self.dim)
        return Encoding(tokens, tokens.mean(1))


class StepUp(nn.Module):
    """Twice the size, joined with the map of that size from the way down, and two convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.grow = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.ZeroPad2d((0, 1, 0, 1)),
            convolution(in_channels, out_channels, 2, padding=0),
        )
        self.merge = double_convolution(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.merge(torch.cat([skip, self.grow(x)], 1))


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice a 3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        convolution(in_channels, out_channels, 3, padding=1),
        convolution(out_channels, out_channels, 3, padding=1),
    )


def convolution(in_channels: int, out_channels: int, kernel: int, *, padding: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
