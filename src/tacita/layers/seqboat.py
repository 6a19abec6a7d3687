"""SeqBoat: moving averages at every step, gated attention only at the steps that a router chooses.

Ren et al., "Sparse Modular Activation for Efficient Sequence Modeling", NeurIPS 2023. The chosen steps are
gathered into a shorter sequence, on which a window of attention may span any distance. How many are
chosen is learnt, differs between layers, and can be seen: `activation_shares`.

Work: `O(D L log L)` of the averages and `O(r w (z + e))` of the attention, at `r` active steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.base import Run, SequenceLayer, State
from tacita.layers.damped_average import DampedAverage
from tacita.layers.precision import SinglePrecision
from tacita.layers.sparse_activation import Compression, Router
from tacita.layers.window_attention import Activation, Distance, WindowAttention
from tacita.values import length_mask


class Remembered(NamedTuple):
    """The last `w` active steps, the newest last: `(B, w, z)`, `(B, w, e)` and `(B, w)`, 0 if none."""

    keys: Tensor
    values: Tensor
    ticks: Tensor


@method(
    "seqboat",
    title="Sparse modular activation of attention (SeqBoat)",
    paper="https://arxiv.org/abs/2306.11197",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="Averages at every step, attention at those that a router chooses, which can be seen.",
    reuses=(
        "fft_convolution",
        "vandermonde",
        "damped-average",
        "sparse-activation",
        "window-attention",
    ),
    claim="Compressed evaluation is dense evaluation with masks; but in sparse recall routers stayed on at "
    "most steps, and recalled no more than local attention at all of them: 34% against 37%.",
)
class SeqBoat(SequenceLayer):
    """`y = silu(h + g o + x)`: `h` from the averages, `o` of gated attention, `g` the router's confidence.

    d_model: channels.
    d_state: moving averages of each channel; 16.
    keys: width of queries and keys, `z` in the paper; by default half of `d_model`, as for text.
    values: width of the values, `e` in the paper; by default twice `d_model`.
    window: active steps that an active step sees before its own, and after it where not causal; 128.
    causal: whether a step sees itself and the past only; otherwise averages and attention go both
        ways, and there is no step form.
    activation: of the attention: `softmax` as for text, or `squared-relu` as for images and speech.
    distance: what the bias of the attention is of: `steps` of the whole sequence, or `places` among the
        active ones.
    max_distance: larger distances share one bias; the paper has one for each distance in its data.
    temperature: scale of the router's temperature at the start; the paper has 0.3 to 1.

    The state is the averages, the keys, values and numbers of the last `window` active steps, and the
    number of steps: of fixed size. Raises `ConfigError` for sizes that are not positive.

    Differs from the paper: the kernel of the averages is as long as the sequence, not cut; no dropout;
    the norm is the residual block's, which also adds its own residual connection to the one inside.
    The shift of the keys is left out under softmax, from which it cancels.

    >>> layer = SeqBoat(8, d_state=4, window=3)
    >>> y, state = layer(torch.randn(2, 10, 8), return_state=True)
    >>> state["keys"].shape
    torch.Size([2, 3, 4])
    """

    tiny = {"d_state": 4, "window": 4}
    channel_mixer = "none"

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 16,
        keys: int | None = None,
        values: int | None = None,
        window: int = 128,
        causal: bool = True,
        activation: Activation = "softmax",
        distance: Distance = "steps",
        max_distance: int = 4096,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        keys = max(1, d_model // 2) if keys is None else keys
        values = 2 * d_model if values is None else values
        if min(d_model, d_state, keys, values) < 1:
            raise ConfigError(
                f"d_model={d_model}, d_state={d_state}, keys={keys} and values={values} must be positive."
            )
        self.d_model, self.keys, self.values, self.window = d_model, keys, values, window
        self.causal = self.streams = causal
        self.average = DampedAverage(d_model, d_state, causal=causal)
        self.router = Router(d_model, temperature=temperature)
        self.always = linear(d_model, d_model)
        attention = WindowAttention(
            window=window,
            causal=causal,
            activation=activation,
            distance=distance,
            max_distance=max_distance,
        )
        self.unit = GatedAttentionUnit(d_model, keys, values, attention)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        u = x.to(self.average.skip.dtype)
        state = run.state
        if state is None and run.return_state:
            state = self.zeros(x.shape[0], u)
        own = None if state is None else {"averages": state["averages"]}
        # At every step: averages, and from them the router's confidence.
        averaged, averages = self.average.mix(
            u, Run(run.lengths, None, run.rate, own, run.return_state)
        )
        m = functional.silu(averaged)
        length = x.shape[1]
        valid = None if run.lengths is None else length_mask(run.lengths, length)
        confidence = self.router(m, valid)
        # At the active steps: compress, attend, extract.
        active = Compression.of(confidence > 0)
        before = 0 if state is None else state["steps"][:, None]
        ticks = torch.where(active.steps > 0, active.steps + before, 0)
        o, seen = self.unit(active.compress(m), ticks, None if state is None else remembered(state))
        # The confidence before the steps are put back: what is kept for gradients stays short.
        o = active.compress(confidence)[..., None] * o
        y = self._joined(m, active.extract(o), u).to(x.dtype)
        if state is None or averages is None or not run.return_state:
            return y, None
        newest = active.count[:, None] + torch.arange(self.window, device=x.device)
        kept = {name: picked(part, newest) for name, part in seen._asdict().items()}
        gone = length if run.lengths is None else run.lengths
        return y, {**averages, **kept, "steps": state["steps"] + gone}

    def _joined(self, m: Tensor, o: Tensor, u: Tensor) -> Tensor:
        """The always-on path, what attention gives, and the input."""
        return functional.silu(self.always(m.to(self.always.weight.dtype)) + o + u)

    def zeros(self, batch_size: int, like: Tensor) -> State:
        numbers = torch.zeros(batch_size, self.window + 1, dtype=torch.int64, device=like.device)
        return {
            **self.average.zeros(batch_size, like),
            "keys": like.new_zeros(batch_size, self.window, self.keys),
            "values": like.new_zeros(batch_size, self.window, self.values),
            "ticks": numbers[:, 1:],
            "steps": numbers[:, 0],
        }

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        """As `mix`; what a single step compresses is the batch: inactive samples leave the rest out."""
        u = x.to(self.average.skip.dtype)
        averaged, averages = self.average.advance(u, {"averages": state["averages"]}, rate)
        m = functional.silu(averaged)
        confidence = self.router(m)
        rows = confidence.nonzero()[:, 0]
        steps = state["steps"] + 1
        before = Remembered(*(part[rows] for part in remembered(state)))
        o, seen = self.unit(m[rows, None], steps[rows, None], before)
        o = confidence[rows, None] * o[:, 0]
        y = self._joined(m, torch.zeros_like(u, dtype=o.dtype).index_copy(0, rows, o), u)
        kept = {
            name: state[name].to(part.dtype).index_copy(0, rows, part[:, 1:])
            for name, part in seen._asdict().items()
        }
        return y.to(x.dtype), {**averages, **kept, "steps": steps}


class GatedAttentionUnit(SinglePrecision):
    """Attention with a single head whose output is gated, on the compressed sequence.

    `[Z, R, V] = silu(W m)`, `Q = kappa_0 Z + mu_0`, `K = kappa_1 Z + mu_1`, `o = W_o (R * attend(Q, K, V))`.
    """

    def __init__(self, d_model: int, keys: int, values: int, attention: WindowAttention) -> None:
        super().__init__()
        self.widths = [keys, values, values]
        self.enter = linear(d_model, sum(self.widths))
        self.leave = linear(values, d_model)
        self.scale = nn.Parameter(0.02 * torch.randn(2, keys))  # kappa
        # Under softmax a shift of the keys adds the same to all scores of a query, which is nothing.
        shifts = 1 if attention.activation == "softmax" else 2
        self.shift = nn.Parameter(torch.zeros(shifts, keys))  # mu
        self.attention = attention

    def forward(
        self, m: Tensor, ticks: Tensor, before: Remembered | None
    ) -> tuple[Tensor, Remembered]:
        """`(B, r, D)` to the same, and all that was seen: what is remembered from before, then these."""
        entered = functional.silu(self.enter(m.to(self.enter.weight.dtype)))
        z, gate, value = torch.split(entered, self.widths, -1)
        query = (self.scale[0] * z + self.shift[0]).to(z.dtype)
        key = self.scale[1] * z
        if len(self.shift) > 1:
            key = key + self.shift[1]
        seen = Remembered(key.to(z.dtype), value, ticks)
        if before is not None:
            joined = zip(before, seen, strict=True)
            seen = Remembered(*(torch.cat([old.to(new.dtype), new], 1) for old, new in joined))
        attended = self.attention(query, seen.keys, seen.values, ticks, seen.ticks)
        return self.leave(gate * attended), seen


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map as the paper begins it: normal of deviation 0.02, cut at two of them; no bias yet."""
    made = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(made.weight, std=0.02, a=-0.04, b=0.04)
    nn.init.zeros_(made.bias)
    return made


def remembered(state: State) -> Remembered:
    return Remembered(state["keys"], state["values"], state["ticks"])


def picked(x: Tensor, index: Tensor) -> Tensor:
    """Of `x (B, n, ...)` what stands at `index (B, m)`."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
