"""The small network between features and a self-supervised loss; it is dropped after training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from tacita.errors import ConfigError


def projector(in_dim: int, widths: Sequence[int], *, norm_output: bool = False) -> nn.Sequential:
    """Linear layers of the given output widths, with batch norm and ReLU between them.

    The last layer is linear and without bias, as in SimCLR and Barlow Twins: their losses normalise
    the embeddings themselves. With `norm_output` a batch norm without scale and shift follows it,
    as in SimSiam. Shapes: `(B, in_dim)` to `(B, widths[-1])`.

    >>> len(projector(64, (128, 32)))
    4
    """
    if not widths or min(widths) < 1:
        raise ConfigError(
            f"projector={tuple(widths)} is not a list of layer widths.",
            remedy="Give one positive width a layer, for example (256, 256).",
        )
    *hidden, out_dim = widths
    layers: list[nn.Module] = []
    for before, width in pairwise((in_dim, *hidden)):
        layers += [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    layers.append(nn.Linear((in_dim, *hidden)[-1], out_dim, bias=False))
    if norm_output:
        layers.append(nn.BatchNorm1d(out_dim, affine=False))
    return nn.Sequential(*layers)
