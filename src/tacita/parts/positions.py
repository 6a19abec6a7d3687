"""Fixed sine and cosine position embeddings, for tokens on a line or on a grid.

Vaswani et al., "Attention Is All You Need", 2017, section 3.5; the grid form is that of MoCo v3
and MAE: half of the features tell the row, half the column.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.errors import ConfigError


def sine_positions(length: int, dim: int) -> Tensor:
    """`(length, dim)`: sines, then cosines, of the position at geometrically falling frequencies.

    >>> sine_positions(3, 4).shape
    torch.Size([3, 4])
    """
    if dim % 2:
        raise ConfigError(f"dim={dim} is odd.", remedy="Positions need an even dim.")
    frequencies = 10_000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def grid_positions(height: int, width: int, dim: int) -> Tensor:
    """`(height * width, dim)`: positions of a grid's cells, row by row.

    >>> grid_positions(2, 3, 8).shape
    torch.Size([6, 8])
    """
    if dim % 4:
        raise ConfigError(
            f"dim={dim} is not a multiple of 4.", remedy="Positions on a grid need four parts."
        )
    rows = sine_positions(height, dim // 2).repeat_interleave(width, 0)
    columns = sine_positions(width, dim // 2).repeat(height, 1)
    return torch.cat([rows, columns], 1)
