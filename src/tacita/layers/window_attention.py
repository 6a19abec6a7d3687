"""Attention within a window, by blocks: time and memory are those of the window, at any length.

Keys may begin with some that are remembered from before the first query. The distance that the learnt
bias is of can be another than that in the sequence, as where the sequence holds chosen steps of a longer
one: each key and query has the number of its step, from 1; a key of step 0 is empty and never seen.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.kernels.lengths import is_free
from tacita.layers.precision import SinglePrecision

Activation = Literal["softmax", "squared-relu"]
Distance = Literal["steps", "places"]


class WindowAttention(SinglePrecision):
    """Weighted means (softmax) or sums (squared ReLU) of the values up to `window` places away.

    window: places that a query sees before its own, and after it where not causal.
    activation: `softmax` of `q k / sqrt(d) + b`, or `squared-relu`, `max(0, q k / l + b)^2` with `l` the
        window, twice the window where not causal: a constant, however many keys there are.
    distance: what the bias `b` is of: `steps` between query and key, or `places`.
    max_distance: larger distances share one bias; of `places`, the window is the largest.

    Shapes: `query (B, r, d)`, `key (B, m + r, d)`, `value (B, m + r, e)` with `m` remembered places, and
    the steps `(B, r)` and `(B, m + r)`; the result is `(B, r, e)`. What a query gives that sees no key has
    no meaning. Raises `ConfigError` for unknown words and for a window or distance that is not positive.

    >>> layer = WindowAttention(window=2)
    >>> x, steps = torch.randn(1, 5, 4), torch.tensor([[3, 4, 8, 20, 21]])
    >>> layer(x, x, x, steps, steps).shape
    torch.Size([1, 5, 4])
    """

    def __init__(
        self,
        *,
        window: int,
        causal: bool = True,
        activation: Activation = "softmax",
        distance: Distance = "steps",
        max_distance: int = 4096,
    ) -> None:
        super().__init__()
        if min(window, max_distance) < 1:
            raise ConfigError(f"window={window} and max_distance={max_distance} must be positive.")
        if activation not in ("softmax", "squared-relu"):
            raise ConfigError(
                f"activation={activation!r} is unknown.", remedy="Known: softmax, squared-relu."
            )
        if distance not in ("steps", "places"):
            raise ConfigError(f"distance={distance!r} is unknown.", remedy="Known: steps, places.")
        self.window, self.causal = window, causal
        self.activation, self.distance = activation, distance
        self.farthest = max_distance if distance == "steps" else window
        sides = 1 if causal else 2
        self.bias = nn.Parameter(torch.empty(sides * self.farthest + 1))
        nn.init.trunc_normal_(self.bias, std=0.02, a=-0.04, b=0.04)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_steps: Tensor, key_steps: Tensor
    ) -> Tensor:
        length, remembered = query.shape[1], key.shape[1] - query.shape[1]
        # One block where all fits in it; otherwise blocks as long as the window, with a window of keys
        # before each, and one after it where not causal.
        free = is_free(length)  # exported for any length: blocks that are plainly enough
        whole = not free and length <= self.window
        size = length if whole else self.window
        before, after = (remembered, 0) if whole else (self.window, self.window)
        after = 0 if self.causal else after
        fill = size * (length // size + 2) - length if free else -length % size
        front = before - remembered

        def cut(x: Tensor, front: int, behind: int, span: int) -> Tensor:
            """`(B, steps, d)` to blocks `(B, n, d, span)`."""
            return functional.pad(x, (0, 0, front, behind)).unfold(1, span, size)

        span, behind = before + size + after, fill + after
        queries = cut(query, 0, fill, size).transpose(2, 3)
        keys = cut(key, front, behind, span)
        values = cut(value, front, behind, span).transpose(2, 3)
        bias = self._bias(
            cut(query_steps[..., None].int(), 0, fill, size).transpose(2, 3),
            cut(key_steps[..., None].int(), front, behind, span),
            before,
        )
        mixed = self._weights(queries, keys, bias).to(values.dtype) @ values  # (B, n, size, e)
        joined = mixed.flatten(1, 2)
        if free:  # a slice would ask the exporter to prove that it is enough
            return joined.index_select(1, torch.arange(length, device=joined.device))
        return joined[:, :length]

    def _weights(self, queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """`(B, n, size, span)`."""
        if self.activation == "softmax":
            return (queries * queries.shape[-1] ** -0.5 @ keys + bias).softmax(-1)
        scale = self.window if self.causal else 2 * self.window
        return (queries / scale @ keys + bias).relu().square()

    def _bias(self, query_steps: Tensor, key_steps: Tensor, before: int) -> Tensor:
        """`(B, n, size, span)`, of steps `(B, n, size, 1)` and `(B, n, 1, span)`; least where unseen."""
        size, span = query_steps.shape[2], key_steps.shape[3]
        places = torch.arange(span, dtype=torch.int32, device=key_steps.device)
        # How many places a key lies before a query.
        back = (places[:size] + before)[:, None] - places
        near = (back <= self.window) & (back >= (0 if self.causal else -self.window))
        apart = query_steps - key_steps if self.distance == "steps" else back
        low = 0 if self.causal else -self.farthest
        entry = apart.clamp(low, self.farthest) - low
        # One entry more, of what is not seen: finite, so that a query without any key stays finite.
        entry = torch.where(near & (key_steps > 0), entry, len(self.bias))
        unseen = self.bias.new_full((1,), torch.finfo(self.bias.dtype).min)
        table = torch.cat([self.bias, unseen])
        if is_free(entry.shape[1]):  # slower, and the exporter need not prove the view below
            return table.take(entry.long())
        return table.index_select(0, entry.flatten()).view(entry.shape)
