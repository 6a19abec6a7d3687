"""H3: two state spaces and two products, so that a layer can compare tokens and recall what followed.

Fu et al., "Hungry Hungry Hippos: Towards Language Modeling with State Space Models", 2023. A shift system
remembers the last keys, a product writes its value beside a key, a diagonal system keeps the pairs, and
a second product with the query reads them. Two convolutions and four matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import causal_conv
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.finite import convolve, convolve_step, remember
from tacita.layers.s4d import S4D


@method(
    "h3",
    title="Hungry hungry hippos (H3)",
    paper="https://arxiv.org/abs/2212.14052",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="Long convolutions between gates, made for recall in text, with a state of fixed size.",
    reuses=("fft_convolution", "vandermonde"),
)
class H3(SequenceLayer):
    """`y = W_o (q * SSM_diag(SSM_shift(k) * v))` with `q, k, v` linear in each step.

    d_model: channels.
    d_state: state size of both systems: the shift one sees that many steps; 64 as in the paper.
    d_head: channels of a head; above 1, heads keep outer products `k v^T` and `q` contracts them (8 in
        large language models).

    The diagonal system is S4D, `lin`, one kernel a head. Raises `ConfigError` where heads do not divide
    the channels or `d_state` is odd.

    >>> H3(8, d_state=4, d_head=2)(torch.randn(2, 10, 8)).shape
    torch.Size([2, 10, 8])
    """

    tiny = {"d_state": 4}
    resettable: bool = True
    channel_mixer: str = "mlp"

    def __init__(self, d_model: int, *, d_state: int = 64, d_head: int = 1) -> None:
        super().__init__()
        if d_head < 1 or d_model % d_head:
            raise ConfigError(
                f"d_model={d_model} cannot be shared out among heads of d_head={d_head}.",
                remedy="Choose d_model as a multiple of d_head.",
            )
        self.d_model, self.d_head = d_model, d_head
        self.query, self.key, self.value = (nn.Linear(d_model, d_model) for _ in range(3))
        self.diagonal = S4D(d_model // d_head, d_state=d_state, start="lin")
        self.shift = ShiftSSM(d_model, d_state)
        self.out = nn.Linear(d_model, d_model)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        u = x.to(self.out.weight.dtype)
        q, k, v = self.query(u), self.key(u), self.value(u)
        own = None if run.state is None else {"keys": run.state["keys"]}
        if run.lengths is not None:  # a bias makes something of padding
            valid = torch.arange(x.shape[1], device=x.device) < run.lengths[:, None]
            k = torch.where(valid[:, :, None], k, 0.0)
            v = torch.where(valid[:, :, None], v, 0.0)
        shifted, after = self.shift.mix(
            k, Run(run.lengths, run.resets, run.rate, own, run.return_state)
        )
        written = self._split(shifted)[..., :, None] * self._split(v)[..., None, :]
        kept, last = self.diagonal.mix(_fold(written), self._fold_run(run))
        read = (self._split(q)[..., :, None] * _unfold(kept, written.shape)).sum(-2)
        y = self.out(read.flatten(-2)).to(x.dtype)
        if last is None or after is None:
            return y, None
        return y, {**after, "ssm": self._unfold_state(last["ssm"])}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        u = x.to(self.out.weight.dtype)
        q, k, v = self.query(u), self.key(u), self.value(u)
        shifted, after = self.shift.advance(k, {"keys": state["keys"]}, rate)
        written = self._split(shifted)[..., :, None] * self._split(v)[..., None, :]
        pairs = _fold(written[:, None])[:, 0]
        kept, last = self.diagonal.advance(pairs, {"ssm": state["ssm"].flatten(0, 1)}, rate)
        kept = _unfold(kept[:, None], written[:, None].shape)[:, 0]
        y = self.out((self._split(q)[..., :, None] * kept).sum(-2).flatten(-2))
        return y.to(x.dtype), {**after, "ssm": self._unfold_state(last["ssm"])}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        kept = self.diagonal.zeros(batch_size * self.d_head**2, like)
        return {**self.shift.zeros(batch_size, like), "ssm": self._unfold_state(kept["ssm"])}

    def _split(self, x: Tensor) -> Tensor:
        """`(..., D)` to `(..., heads, d_head)`."""
        return x.reshape(*x.shape[:-1], self.d_model // self.d_head, self.d_head)

    def _unfold_state(self, state: Tensor) -> Tensor:
        """`(B d_head^2, heads, N/2)` to `(B, d_head^2, heads, N/2)`: the batch is the first axis."""
        pairs = self.d_head**2
        return state.view(len(state) // pairs, pairs, *state.shape[1:])

    def _fold_run(self, run: Run) -> Run:
        """The same run for every pair of channels of a head."""
        pairs = self.d_head**2
        return Run(
            None if run.lengths is None else run.lengths.repeat_interleave(pairs),
            None if run.resets is None else run.resets.repeat_interleave(pairs, 0),
            run.rate,
            None if run.state is None else {"ssm": run.state["ssm"].flatten(0, 1)},
            run.return_state,
        )


class ShiftSSM(SequenceLayer):
    """A system whose state is its last `N` inputs: a short convolution with any kernel, and a skip.

    >>> ShiftSSM(2, 3).initial_state(5)["keys"].shape
    torch.Size([5, 2, 2])
    """

    time_invariant: bool = True
    resettable: bool = True

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.C = nn.Parameter(torch.randn(d_model, d_state))
        self.D = nn.Parameter(torch.randn(d_model))

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            before = (run.state or self.zeros(u.shape[0], u.new_empty(0)))["keys"]
            if run.resets is None:
                y = convolve(u, self.C, before if run.state else None)
            else:  # each step has its own reach, so that no transform can do it
                y = causal_conv(u, self.C.flip(1), state=before, resets=run.resets)
            y = (y + self.D * u).to(x.dtype)
            if not run.return_state:
                return y, None
            return y, {"keys": remember(before, u, run.lengths, run.resets)}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return {"keys": like.new_zeros(batch_size, self.C.shape[1] - 1, self.d_model)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            y = convolve_step(u, self.C, state["keys"]) + self.D * u
            return y.to(x.dtype), {"keys": remember(state["keys"], u[:, None], None)}


def _fold(pairs: Tensor) -> Tensor:
    """`(B, L, heads, d, d)` to `(B d d, L, heads)`: every pair of a head is a sample of its own."""
    return pairs.permute(0, 3, 4, 1, 2).flatten(0, 2)


def _unfold(kept: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_fold`, back to `shape`."""
    batch, length, heads, one, other = shape
    return kept.view(batch, one, other, length, heads).permute(0, 3, 4, 1, 2)
