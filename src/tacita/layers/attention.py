"""Softmax attention with rotary positions: what every other sequence layer is measured against.

Vaswani et al., "Attention Is All You Need", 2017; positions from Su et al., "RoFormer: Enhanced
Transformer with Rotary Position Embedding", 2021. Exact recall of any earlier step, at `L^2` work in
parallel and a state that grows with the steps; a window makes both linear.

A step's position counts from the beginning of its sequence or from its last reset, and only
differences of positions matter. `S` steps are remembered.
"""

from __future__ import annotations

from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.recall import Recall, forget_unused, nothing_remembered, rotate


@method(
    "attention",
    title="Softmax attention with rotary positions",
    paper="https://arxiv.org/abs/1706.03762",
    year=2017,
    family="layer",
    needs=("steps",),
    summary="Looks up any earlier step by content; for recall and short sequences, quadratic in length.",
)
class Attention(SequenceLayer):
    """Each step takes a weighted mean of values, `softmax(q k^T / sqrt(d)) v`, in several heads.

    d_model: channels, shared out evenly among the heads.
    heads: number of heads; 4.
    causal: whether a step sees only itself and the steps before it; otherwise all, and there is no
        step form.
    window: how far a step sees, itself included, so `window - 1` steps back (and ahead where not
        causal); None is no limit. Time, memory and state are then linear in the window.

    The state is the keys and values so far, `(B, heads, S, d_model / heads)`. Raises `ConfigError`
    where heads cannot be of equal and even width, or the window is not positive.

    Differs from the paper: rotary positions instead of added ones; no biases.

    >>> import torch
    >>> layer = Attention(8, heads=2)
    >>> y, state = layer(torch.randn(2, 10, 8), return_state=True)
    >>> state["keys"].shape
    torch.Size([2, 2, 10, 4])
    """

    resettable = True
    channel_mixer = "mlp"

    def __init__(
        self, d_model: int, *, heads: int = 4, causal: bool = True, window: int | None = None
    ) -> None:
        super().__init__()
        if heads < 1 or d_model < 1 or d_model % (2 * heads):
            raise ConfigError(
                f"d_model={d_model} cannot be shared out among heads={heads} of even width.",
                remedy="Choose d_model as a multiple of 2 * heads: rotations turn pairs of numbers.",
            )
        self.d_model, self.heads = d_model, heads
        self.causal = self.streams = causal
        self.recall = Recall(causal=causal, window=window)
        self.query_key_value = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        places = self.recall.places(x, run)
        mixed, last = self.recall(*self._heads(x, places.position), places, run)
        return self.out(mixed.transpose(1, 2).flatten(2)).to(x.dtype), last

    def _heads(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, each `(B, heads, L, d_model / heads)`."""
        projected = self.query_key_value(x.to(self.out.weight.dtype))
        split = projected.view(*x.shape[:2], 3, self.heads, self.d_model // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        return rotate(query, position), rotate(key, position), value

    def zeros(self, batch_size: int, like: Tensor) -> State:
        width = self.d_model // self.heads
        return nothing_remembered(like, batch_size, self.heads, width, width)

    def erase(self, state: State, reset: Tensor) -> State:
        return forget_unused(super().erase(state, reset))

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        y, after = self.mix(x[:, None], Run(state=state, return_state=True))
        assert after is not None
        return y[:, 0], after
