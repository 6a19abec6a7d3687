"""Which tokens are hidden from an encoder, and how to take tokens out and put them back.

The draw of MAE (He et al., 2022): each token gets a random number, the smallest are kept. It is
exact in its count, and a padded token is never drawn, neither to be seen nor to be predicted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels.double import doubled
from tacita.processes import rand


class Hiding(NamedTuple):
    """Shapes: `visible (B, K)` int64 positions; `valid (B, K)` bool, False where a row with fewer
    tokens has nothing to show; `hidden (B, T)` bool, True where a token is to be predicted."""

    visible: Tensor
    valid: Tensor
    hidden: Tensor


def kept(tokens: Tensor | int, ratio: float) -> Tensor:
    """How many of `tokens` stay visible: `floor(tokens * (1 - ratio))`, but one at least.

    >>> kept(16, 0.75).item(), kept(3, 0.9).item()
    (4, 1)
    """
    # The nudge undoes float error: 10 * (1 - 0.9) is a hair below 1.
    tokens = torch.as_tensor(tokens)
    share = doubled(tokens) * (1 - ratio) + 1e-6
    return share.floor().long().clamp_min(1).to(tokens.device)


def hide(noise: Tensor, ratio: float, mask: Tensor | None = None) -> Hiding:
    """Hide a share of the tokens of each row: those with the largest `noise (B, T)`.

    `mask (B, T)` True = valid; in a row of `n` valid tokens, `kept(n, ratio)` of them are visible.
    """
    length = noise.shape[1]
    if mask is None:
        mask = torch.ones_like(noise, dtype=torch.bool)
    order = noise.masked_fill(~mask, torch.inf).argsort(1)
    count = kept(mask.sum(1), ratio)
    visible = order[:, : int(kept(length, ratio))]
    valid = torch.arange(visible.shape[1], device=noise.device) < count[:, None]
    valid = valid & mask.gather(1, visible)
    shown = torch.zeros_like(mask).scatter(1, visible, valid)
    return Hiding(visible, valid, mask & ~shown)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """`(B, T, D)` at the positions `(B, K)` of each row: `(B, K, D)`."""
    batch, length, width = tokens.shape
    # Whole tokens by one index each: twice as fast as `gather`, which takes one a number.
    first = length * torch.arange(batch, device=index.device)
    flat = tokens.reshape(batch * length, width).index_select(0, (index + first[:, None]).flatten())
    return flat.view(batch, index.shape[1], width)


def scatter_tokens(
    tokens: Tensor, index: Tensor, fill: Tensor, length: int, valid: Tensor | None = None
) -> Tensor:
    """Put `(B, K, D)` back to their positions `(B, K)` among `length` tokens; `fill (D,)` elsewhere.

    >>> scatter_tokens(torch.ones(1, 1, 2), torch.tensor([[1]]), torch.zeros(2), 2).tolist()
    [[[0.0, 0.0], [1.0, 1.0]]]
    """
    fill = fill.to(tokens.dtype)
    if valid is not None:
        tokens = torch.where(valid[:, :, None], tokens, fill)
    full = fill.expand(tokens.shape[0], length, -1)
    return full.scatter(1, index[:, :, None].expand_as(tokens), tokens)


def hide_spans(noise: Tensor, ratio: float, span: int, mask: Tensor | None = None) -> Tensor:
    """`(B, L)` bool: in each row of `n` valid steps, `floor(n ratio / span)` spans of hidden steps.

    Spans do not overlap, and each arrangement of them is as likely as any other; `noise (B, L)` is
    uniform and decides. `mask (B, L)` True = valid, a prefix of the row.

    >>> noise = torch.tensor([[0.3, 0.1, 0.2, 0.9, 0.0]])
    >>> hide_spans(noise, 0.5, 2).int().tolist()
    [[0, 1, 1, 0, 0]]
    """
    length = noise.shape[1]
    steps = torch.arange(length, device=noise.device)
    total = noise.new_full(noise.shape[:1], length) if mask is None else mask.sum(1)
    exact = doubled(total) * ratio / span + 1e-6
    spans = exact.floor().long()[:, None].to(total.device)
    # With each span shrunk to one place, spans lie among the places as single steps do.
    places = total.long()[:, None] - spans * (span - 1)
    order = noise.masked_fill(steps >= places, torch.inf).argsort(1)
    taken = order.argsort(1) < spans
    width = torch.where(taken, span, 1)
    start = width.cumsum(1) - width
    edges = torch.zeros(len(noise), length + 1, dtype=torch.int64, device=noise.device)
    edges.scatter_add_(1, start.clamp_max(length), taken.long())
    edges.scatter_add_(1, (start + span).clamp_max(length), -taken.long())
    return edges[:, :length].cumsum(1) > 0


def markov_mask(
    rows: int,
    length: int,
    *,
    ratio: float,
    mean_run: float,
    device: torch.device | None = None,
) -> Tensor:
    """`(rows, length)` bool: hidden steps of a stationary two-state Markov chain, a chain a row.

    Runs of hidden steps last `mean_run` steps on average and a share `ratio` of all steps is hidden:
    the chain leaves hidden with `1 / mean_run` and visible with `ratio / (1 - ratio) / mean_run`.
    Run lengths of such a chain are geometric, so they are drawn at once rather than step by step.
    A ratio of 0 hides nothing. Raises `ConfigError` for a ratio that such runs cannot have.

    >>> markov_mask(2, 5, ratio=0.0, mean_run=3).any().item()
    False
    """
    enter, leave = chain(ratio, mean_run)
    hidden = rand(rows, 1, device=device) < ratio
    # As many runs as could be needed; those of one row alternate between hidden and visible.
    turn = torch.arange(length, device=device) % 2 == 1
    ends = doubled(torch.where(hidden ^ turn, leave, enter))
    draw = rand(rows, length, device=ends.device, dtype=torch.float64)
    runs = (torch.log1p(-draw) / torch.log1p(-ends)).nan_to_num(nan=length, posinf=length) + 1
    begin = runs.clamp_max(length).long().cumsum(1).to(hidden.device)
    edges = torch.zeros(rows, length + 1, dtype=torch.int64, device=device)
    edges.scatter_add_(1, begin.clamp_max(length), torch.ones_like(begin))
    return hidden ^ (edges[:, :length].cumsum(1) % 2 == 1)


def chain(ratio: float, mean_run: float) -> tuple[float, float]:
    """The probabilities of entering and of leaving the hidden state; see `markov_mask`.

    >>> chain(0.2, 4)
    (0.0625, 0.25)
    """
    if not mean_run >= 1:
        raise ConfigError(f"mean_run={mean_run} is below one step.", remedy="3 is usual.")
    if not 0 <= ratio <= mean_run / (1 + mean_run):
        raise ConfigError(
            f"mask_ratio={ratio} cannot be had by runs of {mean_run} hidden steps on average.",
            remedy=f"Choose from 0 to {mean_run / (1 + mean_run):.3g}, or longer runs.",
        )
    return ratio / (1 - ratio) / mean_run, 1 / mean_run
