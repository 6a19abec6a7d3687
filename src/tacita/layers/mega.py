"""Mega: attention with a single head and a gate, whose queries have been smoothed by moving averages.

Ma et al., "Mega: Moving Average Equipped Gated Attention", ICLR 2023. Damped exponential averages of
each channel bring in what is near, attention looks up what is far, and gates weigh the two. With a
window it is linear in length, since the averages carry over from one window to the next.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.damped_average import DampedAverage
from tacita.layers.recall import Recall, forget_unused, nothing_remembered, rotate


@method(
    "mega",
    title="Moving average equipped gated attention (Mega)",
    paper="https://arxiv.org/abs/2209.10655",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="Looks up earlier steps through one gated head, after averages that smooth over time.",
    reuses=("fft_convolution", "vandermonde", "linear_scan"),
)
class Mega(SequenceLayer):
    """`y = g h + (1 - g) x`: a candidate `h` from the averages and from gated attention, and its gate.

    d_model: channels.
    d_state: moving averages of each channel, `h` in the paper; 16.
    keys: width of queries and keys; by default a quarter of `d_model`, and even.
    values: width of the values; by default twice `d_model`.
    window: how far a step attends, itself included; None is no limit.

    The state is the averages `(B, D, h)` and the keys and values so far. Raises `ConfigError` for
    widths that are not positive or, of the keys, odd.

    Differs from the paper: softmax attention only, with rotary positions in place of a learnt bias and
    of the keys' shift, and a sliding window in place of fixed chunks; the norm is the residual block's.
    Differs from the authors' code: there the averages go through a SiLU; its gate stands for the residual
    connection, `g h + (1 - g) x` of the input before the norm, where here `x` is the input after it, and a
    block adds its own residual connection; the scales of queries and keys start around 0, here around 1, the
    queries' shift at 0, here around it, and linear maps with deviation 0.02, here as torch's do; averages,
    values, weights of attention and candidate may be dropped out there, here nothing is.

    >>> layer = Mega(8, d_state=4)
    >>> y, state = layer(torch.randn(2, 10, 8), return_state=True)
    >>> state["averages"].shape
    torch.Size([2, 8, 4])
    """

    tiny = {"d_state": 4}
    resettable = True
    channel_mixer = "mlp"

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 16,
        keys: int | None = None,
        values: int | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        keys = 2 * max(1, d_model // 8) if keys is None else keys
        values = 2 * d_model if values is None else values
        if min(d_model, d_state, keys, values) < 1 or keys % 2:
            raise ConfigError(
                f"d_model={d_model}, d_state={d_state}, keys={keys} and values={values} must be "
                "positive, and keys even: rotations turn pairs of numbers."
            )
        self.d_model, self.keys, self.values = d_model, keys, values
        self.recall = Recall(causal=True, window=window)
        self.average = DampedAverage(d_model, d_state)
        self.shared = nn.Linear(d_model, keys)  # z
        self.query_scale = nn.Parameter(1 + 0.02 * torch.randn(keys))  # kappa and mu of the queries
        self.query_shift = nn.Parameter(0.02 * torch.randn(keys))
        self.key_scale = nn.Parameter(1 + 0.02 * torch.randn(keys))
        self.value = nn.Linear(d_model, values)
        self.reset_gate = nn.Linear(d_model, values)  # r
        self.from_average = nn.Linear(d_model, d_model)  # W_h
        self.from_attention = nn.Linear(values, d_model, bias=False)  # U_h
        self.update_gate = nn.Linear(d_model, d_model)  # phi

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        u = x.to(self.query_scale.dtype)
        own = None if run.state is None else {"averages": run.state["averages"]}
        averaged, averages = self.average.mix(
            u, Run(run.lengths, run.resets, run.rate, own, run.return_state)
        )
        places = self.recall.places(x, run)
        query, key = self._query_and_key(averaged)
        value = functional.silu(self.value(u.to(self.value.weight.dtype)))
        recalled, last = self.recall(
            rotate(query[:, None], places.position),
            rotate(key[:, None], places.position),
            value[:, None],
            places,
            run,
        )
        y = self._gated(u, averaged, recalled[:, 0]).to(x.dtype)
        if last is None or averages is None:
            return y, None
        return y, {**last, **averages}

    def _query_and_key(self, averaged: Tensor) -> tuple[Tensor, Tensor]:
        """Equations 7 and 8: two affine maps of one shared representation.

        A shift of the keys would add the same to all scores of a query but for the rotation: left out.
        """
        shared = functional.silu(self.shared(averaged.to(self.shared.weight.dtype)))
        query = self.query_scale * shared + self.query_shift
        return query.to(shared.dtype), (self.key_scale * shared).to(shared.dtype)

    def _gated(self, u: Tensor, averaged: Tensor, recalled: Tensor) -> Tensor:
        """Equations 10 to 13."""
        averaged = averaged.to(self.from_average.weight.dtype)
        reset = functional.silu(self.reset_gate(averaged))
        candidate = self.from_average(averaged) + self.from_attention(reset * recalled)
        update = torch.sigmoid(self.update_gate(averaged))
        return torch.lerp(u, functional.silu(candidate).to(u.dtype), update.to(u.dtype))

    def zeros(self, batch_size: int, like: Tensor) -> State:
        nothing = nothing_remembered(like, batch_size, 1, self.keys, self.values)
        return {**nothing, **self.average.zeros(batch_size, like)}

    def erase(self, state: State, reset: Tensor) -> State:
        return forget_unused(super().erase(state, reset))

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        u = x.to(self.query_scale.dtype)
        averaged, averages = self.average.advance(u, {"averages": state["averages"]}, rate)
        run = Run(state=state, return_state=True)
        places = self.recall.places(x[:, None], run)
        query, key = self._query_and_key(averaged)
        value = functional.silu(self.value(u.to(self.value.weight.dtype)))
        recalled, after = self.recall(
            rotate(query[:, None, None], places.position),
            rotate(key[:, None, None], places.position),
            value[:, None, None],
            places,
            run,
        )
        assert after is not None
        y = self._gated(u, averaged, recalled[:, 0, 0])
        return y.to(x.dtype), {**after, **averages}
