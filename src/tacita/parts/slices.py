"""What both stages share: an encoder of two halves, and slices that are drawn from the parts of a volume."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.encoder import Encoder, SliceEncoder
from tacita.errors import ConfigError
from tacita.processes import rand


def check_stage(encoder: Encoder, partitions: int, temperature: float) -> SliceEncoder:
    """The encoder as one of two halves, which it must be.

    Raises `ConfigError` for another encoder, for fewer than two partitions or slices, and for a
    temperature that is none.
    """
    if not isinstance(encoder, SliceEncoder):
        raise ConfigError(
            f"Contrast in volumes needs the two halves of a U-Net, not a {type(encoder).__name__}.",
            remedy="Choose encoder=unet.",
        )
    if not temperature > 0:
        raise ConfigError(
            f"temperature={temperature} is not above 0.", remedy="The default is 0.1."
        )
    depth = encoder.spec.shape[1]
    if not 2 <= partitions <= depth:
        raise ConfigError(
            f"partitions={partitions}, but the volumes have {depth} slices.",
            remedy=f"Give 2 to {depth}; the paper has 4, and 3 for volumes of few slices.",
        )
    return encoder


def drawn_slices(x: Tensor, partitions: int) -> Tensor:
    """`(B, S, C, H, W)`: of each of S equal parts along the depth of `(B, C, D, H, W)`, one slice.

    Every volume draws its own. Parts differ by one slice at most where S does not divide D.
    """
    first = _starts(x, partitions)
    size = first.diff()
    draw = rand(len(x), partitions, device=x.device)
    return _taken(x, first[:-1] + (draw * size).long())


def middle_slices(x: Tensor, partitions: int) -> Tensor:
    """`(B, S, C, H, W)`: the slice in the middle of each part, in which nothing is drawn."""
    first = _starts(x, partitions)
    return _taken(x, ((first[:-1] + first[1:] - 1) // 2).expand(len(x), -1))


def _starts(x: Tensor, partitions: int) -> Tensor:
    """`(S + 1,)`: where each part begins, and the end."""
    return torch.arange(partitions + 1, device=x.device) * x.shape[2] // partitions


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """The slices at `(B, S)` of each volume."""
    return x.transpose(1, 2)[torch.arange(len(x), device=x.device)[:, None], at]
