"""The network of radio galaxy classification: convolutions with few channels, then three dense layers.

Tang, Scaife and Leahy, "Transfer learning for radio galaxy classification", 2019, in the form of
Slijepcevic et al., 2022. Some 300,000 weights, for grey images of 150 x 150 pixels.
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding
from tacita.errors import ConfigError
from tacita.modalities.images.circle import in_circle

SIDE = 150


@method(
    "tang-cnn",
    title="Tang's network for radio galaxies",
    paper="https://arxiv.org/abs/1903.11921",
    year=2019,
    family="encoder",
    modalities=("images",),
    summary="Features of single sources on a dark field, such as radio galaxies of 150x150 pixels.",
)
class TangCNN(Encoder):
    """Five convolutions to 256 features, and three dense layers with dropout; a linear head follows.

    dropout: of each dense layer; the paper's.

    Shapes: `x (B, C, H, W)`; `tokens (B, 1, 256)`, the features of the convolutions, on which distances
    are measured; `pooled (B, 256)`, after the dense layers. Sides go 150, 142, 71, 35, 17 and 4.

    Differs from the paper: the network hides what is outside the inscribed circle itself, so that
    prediction sees what training saw; images of another size are first brought to 150 x 150.

    Raises `ConfigError` for a dropout that is no share.

    >>> import torch
    >>> encoder = TangCNN(InputSpec("images", (1, 150, 150)))
    >>> encoder(torch.zeros(2, 1, 150, 150)).pooled.shape
    torch.Size([2, 256])
    """

    modalities = ("images",)

    def __init__(self, spec: InputSpec, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.require(spec)
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout} is no share.", remedy="The default is 0.5.")
        self.spec = spec
        self.dim = 256
        self.convolutions = nn.Sequential(
            nn.Conv2d(spec.channels, 6, 11, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            *_convolution(6, 16, 5, stride=2),
            nn.MaxPool2d(3, 2),
            *_convolution(16, 24, 3),
            *_convolution(24, 24, 3),
            *_convolution(24, 16, 3),
            nn.MaxPool2d(5, 4),
            nn.Flatten(),
        )
        self.dense = nn.Sequential(*_dense(dropout), *_dense(dropout), *_dense(dropout))

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        if self.spec.shape[1:] != (SIDE, SIDE):
            x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        features = self.convolutions(in_circle(x))
        return Encoding(features[:, None], self.dense(features))


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d, nn.ReLU]:
    # A bias before batch norm would be taken out again.
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, 1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU()


def _dense(dropout: float) -> tuple[nn.Linear, nn.ReLU, nn.Dropout]:
    return nn.Linear(256, 256), nn.ReLU(), nn.Dropout(dropout)
