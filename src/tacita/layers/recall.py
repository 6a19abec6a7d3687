"""Looking up earlier steps by content: what attention and gated attention do with queries and keys.

A step's position counts from the beginning of its sequence or from its last reset, and only
differences of positions matter. `S` steps are remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.kernels.double import doubled
from tacita.layers.base import Run, State

BASE = 10_000.0
"""The longest wavelength is about `2 pi BASE` steps; RoFormer's value."""
BEFORE = -1
"""The segment of the steps before any reset, which the given state belongs to."""
NOTHING = -2
"""The segment of what is no step: padding, and places of the state that are not filled."""


@dataclass(frozen=True)
class Places:
    """Where the steps of a batch stand, as far as anything but their order matters.

    position: `(L,)` or `(B, L)`, counted from the beginning of the segment.
    queries, keys: `(B or 1, L)` and `(B or 1, S + L)` segments: a step sees those of its own.
    """

    position: Tensor
    queries: Tensor
    keys: Tensor


class Recall:
    """Softmax attention over the steps of a batch and those that a state remembers.

    causal: whether a step sees only itself and the steps before it.
    window: how far a step sees, itself included; None is no limit.

    The state is `keys (B, heads, S, d)`, `values (B, heads, S, v)` and `count (B,)`.
    """

    def __init__(self, *, causal: bool, window: int | None) -> None:
        if window is not None and window < 1:
            raise ConfigError(f"window={window} leaves a step nothing to see, itself included.")
        self.causal, self.window = causal, window

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, places: Places, run: Run
    ) -> tuple[Tensor, State | None]:
        """Weighted means of the values, `(B, heads, L, v)`, and the last state where it is wanted."""
        if run.state is not None:
            key = torch.cat([run.state["keys"].to(key.dtype), key], 2)
            value = torch.cat([run.state["values"].to(value.dtype), value], 2)
        mixed = self._attend(query, key, value, places, run)
        return mixed, self._last(key, value, places, run) if run.return_state else None

    def places(self, x: Tensor, run: Run) -> Places:
        batch, length, _ = x.shape
        steps = torch.arange(length, device=x.device)
        position, segment = steps, torch.full_like(steps, BEFORE)[None]
        if run.state is not None:
            position = run.state["count"][:, None] + steps
        if run.resets is not None:  # a segment is named by the step that it begins at
            segment = torch.where(run.resets, steps, BEFORE).cummax(1).values
            position = torch.where(segment == BEFORE, position, steps - segment)
        if run.lengths is not None and not self.causal:
            segment = torch.where(steps < run.lengths[:, None], segment, NOTHING)
        if run.state is None:
            return Places(position, segment, segment)
        remembered = run.state["keys"].shape[2]
        empty = remembered - run.state["count"][:, None]  # the newest stand last
        slots = torch.arange(remembered, device=x.device)
        past = torch.where(slots < empty, NOTHING, BEFORE)
        return Places(position, segment, torch.cat([past, segment.expand(batch, length)], 1))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, at: Places, run: Run) -> Tensor:
        length, total = query.shape[2], key.shape[2]
        local = self.window is not None and self.window < total
        if self.window is not None and self.window < length:
            return self._attend_in_chunks(query, key, value, at, self.window)
        plain = total == length and run.resets is None and not local
        if plain and (self.causal or run.lengths is None):
            # Padding comes last: where causal, no valid step sees it, and no mask need be made.
            return functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        newest = torch.arange(total - length, total, device=query.device)
        back = newest[:, None] - torch.arange(total, device=query.device)
        seen = self._near(back) & (at.queries[:, :, None] == at.keys[:, None, :])
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None])

    def _near(self, back: Tensor) -> Tensor:
        """Whether a step sees what lies so many steps back (ahead, if negative)."""
        near = back >= 0 if self.causal else torch.ones_like(back, dtype=torch.bool)
        return near if self.window is None else near & (back.abs() < self.window)

    def _attend_in_chunks(
        self, query: Tensor, key: Tensor, value: Tensor, at: Places, window: int
    ) -> Tensor:
        """Chunks as long as the window see themselves and the neighbours: `2 L window` scores."""
        batch, length = query.shape[0], query.shape[2]
        fill = -length % window
        front, behind = window - (key.shape[2] - length), fill if self.causal else fill + window
        span = 2 * window if self.causal else 3 * window

        def cut(x: Tensor, before: int, after: int, size: int) -> Tensor:
            """`(B, heads, steps, d)` to pieces `(B chunks, heads, size, d)`."""
            padded = functional.pad(x, (0, 0, before, after))
            return padded.unfold(2, size, window).permute(0, 2, 1, 4, 3).flatten(0, 1)

        queries = functional.pad(at.queries, (0, fill), value=NOTHING).unfold(1, window, window)
        keys = functional.pad(at.keys, (front, behind), value=NOTHING).unfold(1, span, window)
        steps = torch.arange(span, device=query.device)
        back = (steps[:window] + window)[:, None] - steps
        seen = self._near(back) & (queries[..., :, None] == keys[..., None, :])
        mixed = functional.scaled_dot_product_attention(
            cut(query, 0, fill, window),
            cut(key, front, behind, span),
            cut(value, front, behind, span),
            attn_mask=seen.expand(batch, -1, -1, -1).flatten(0, 1)[:, None],
        )
        by_chunk = mixed.view(batch, -1, *mixed.shape[1:])  # (B, chunks, heads, window, d)
        return by_chunk.transpose(1, 2).flatten(2, 3)[:, :, :length]

    def _last(self, key: Tensor, value: Tensor, at: Places, run: Run) -> State:
        """What is remembered, the last valid step last; `count` steps of it are of this segment."""
        position = at.position.expand(key.shape[0], -1)
        count = position[:, -1] + 1
        if run.lengths is not None:
            total, length = key.shape[2], position.shape[1]
            before = position.new_zeros(len(position)) if run.state is None else run.state["count"]
            reached = position.gather(1, (run.lengths - 1).clamp_min(0)[:, None])[:, 0] + 1
            count = torch.where(run.lengths > 0, reached, before)
            slots = torch.arange(total, device=key.device) - (length - run.lengths)[:, None]
            index = slots.clamp_min(0)[:, None, :, None]
            key = key.gather(2, index.expand_as(key))
            value = value.gather(2, index.expand_as(value))
        kept = key.shape[2] if self.window is None else min(key.shape[2], self.window - 1)
        first = key.shape[2] - kept
        return {"keys": key[:, :, first:], "values": value[:, :, first:], "count": count}


def nothing_remembered(like: Tensor, batch_size: int, heads: int, key: int, value: int) -> State:
    """The state before the first step, of the widths of keys and values, in the manner of a tensor."""
    return {
        "keys": like.new_zeros(batch_size, heads, 0, key),
        "values": like.new_zeros(batch_size, heads, 0, value),
        "count": torch.zeros(batch_size, dtype=torch.int64, device=like.device),
    }


def forget_unused(state: State) -> State:
    """The state without the places that no sample fills any more after a reset."""
    count = state["count"]
    filled = int(count.max()) if len(count) else 0
    first = max(0, state["keys"].shape[2] - filled)
    return {**state, "keys": state["keys"][:, :, first:], "values": state["values"][:, :, first:]}


def rotate(x: Tensor, position: Tensor) -> Tensor:
    """`(B, heads, L, d)`: pairs of numbers turned by angles in proportion to `position (L)` or `(B, L)`.

    The product of two rotated vectors depends on the difference of their positions only. Number `i`
    of the first half and of the second are a pair, turned by `position * BASE^(-2i / d)`.

    >>> rotate(torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([0]))
    tensor([[[[1., 0.]]]])
    """
    half = x.shape[-1] // 2
    # Double precision: at a position of a million, a single one is off by a tenth of a turn.
    exact = doubled(position)[..., None]
    pairs = torch.arange(half, dtype=torch.float64, device=exact.device)
    angle = exact * BASE ** (-pairs / half)
    if angle.ndim == 3:
        angle = angle[:, None]
    wide = torch.promote_types(x.dtype, torch.float32)
    cosine, sine = angle.cos().to(x.device, wide), angle.sin().to(x.device, wide)
    first, second = x[..., :half], x[..., half:]
    turned = torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)
    return turned.to(x.dtype)
