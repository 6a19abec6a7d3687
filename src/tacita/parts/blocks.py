"""Blocks of tokens to predict, and one to predict them from: the draw of I-JEPA.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture",
2023, section 3. Tokens lie on a grid of rows and columns; those of a series are a grid of one row, so
that its blocks are spans. One size is drawn for a batch and a place for every block, so a draw is a
few operations on whole tensors, however many samples there are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tacita.processes import alike, rand

Range = tuple[float, float]


class BlockDraw(NamedTuple):
    """Shapes: `context (B, T)` and `targets (B, M, T)` bool; no token of a row is in both."""

    context: Tensor
    targets: Tensor


def draw_blocks(
    valid: Tensor,
    grid: tuple[int, int],
    *,
    targets: int = 4,
    target_scale: Range = (0.15, 0.2),
    target_aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
) -> BlockDraw:
    """Target blocks and a context block without them, for each row of `valid (B, T)`.

    `grid` is the tokens' rows and columns; only on one row may some not be valid, and these come
    last. Scales are shares of the valid tokens, aspects are height by width as shares of the grid's.

    A target is never all of a row, and where the targets leave nothing of the context block, the
    first of them stands for all and the context is every other token. So a row of two valid tokens
    or more has both; one of a single token has no target.

    >>> valid = torch.ones(2, 16, dtype=torch.bool)
    >>> context, blocks = draw_blocks(valid, (4, 4))
    >>> context.any(1).all().item(), blocks.any(2).all().item(), (context & blocks.any(1)).any().item()
    (True, True, False)
    """
    rows, columns = grid
    # A series' shorter rows have fewer columns, and their spans are as much shorter.
    widths = valid.sum(1) if rows == 1 else torch.full_like(valid[:, 0], columns, dtype=torch.long)
    with alike():
        # Sizes are shapes: drawn where Python reads them.
        scale, aspect, whole = torch.rand(3).tolist()
    height = round(rows * math.sqrt(_within(target_scale, scale) * _within(target_aspect, aspect)))
    height = max(1, min(height, rows - (columns == 1)))
    width = _width(_within(target_scale, scale), rows, height, widths)
    width = torch.minimum(width, widths - int(height == rows)).clamp_min(0)
    blocks = _placed(targets, height, width, grid, widths)
    height = max(1, min(round(rows * math.sqrt(_within(context_scale, whole))), rows))
    width = _width(_within(context_scale, whole), rows, height, widths)
    context = _placed(1, height, width, grid, widths)[:, 0] & ~blocks.any(1)
    bare = ~context.any(1, keepdim=True)
    blocks = torch.where(bare[:, :, None], blocks[:, :1], blocks)
    return BlockDraw(torch.where(bare, valid & ~blocks[:, 0], context), blocks)


def positions_of(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """`(..., T)` bool to the positions that are True, in order: `(..., K)` int64, and bool which count.

    K is the most that a row has, but one at least; shorter rows are filled up with positions that
    do not count.

    >>> index, counts = positions_of(torch.tensor([[True, False, True], [False, True, False]]))
    >>> index[counts].tolist(), counts.tolist()
    ([0, 2, 1], [[True, True], [True, False]])
    """
    most = max(1, int(chosen.sum(-1).max()))
    index = chosen.byte().argsort(dim=-1, descending=True, stable=True)[..., :most]
    return index, chosen.gather(-1, index)


def _within(bounds: Range, share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])


def _width(scale: float, rows: int, height: int, widths: Tensor) -> Tensor:
    """`(B,)`: the columns with which a block of a height has its share of the tokens."""
    return torch.minimum((scale * rows * widths / height).round().long().clamp_min(1), widths)


def _placed(
    count: int, height: int, width: Tensor, grid: tuple[int, int], widths: Tensor
) -> Tensor:
    """`(B, count, T)`: blocks of one size at places of which each is as likely as any other."""
    rows, columns = grid
    noise = rand(2, len(width), count, device=width.device, dim=1)
    top = (noise[0] * (rows - height + 1)).long()[:, :, None]
    left = (noise[1] * (widths - width + 1)[:, None]).long()[:, :, None]
    row = torch.arange(rows, device=width.device)
    column = torch.arange(columns, device=width.device)
    high = (row >= top) & (row < top + height)
    wide = (column >= left) & (column < left + width[:, None, None])
    return (high[:, :, :, None] & wide[:, :, None, :]).flatten(2)
