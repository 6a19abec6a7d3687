"""Two sequence models on top of each other: one summarises short chunks, one runs over the summaries.

Bhirangi, Wang, Pattabiraman, Majidi, Gupta, Hellebrekers and Pinto, "Hierarchical State Space Models for
Continuous Sequence-to-Sequence Modeling", ICML 2024. For raw sensors at a high rate (touch, acceleration)
of which slower quantities are to be told, as the samples come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import ConfigError
from tacita.layers.base import State, last_valid
from tacita.layers.stack import make_norm, stack_of
from tacita.values import length_mask

LayerOptions = Mapping[str, int | float | bool | str]


@method(
    "hiss",
    title="Hierarchical state-space model (HiSS)",
    paper="https://arxiv.org/abs/2402.10211",
    year=2024,
    family="encoder",
    modalities=("series",),
    summary="Features of raw sensors at a high rate by two levels of sequence layers, over chunks of them.",
    claim="On made-up sensors a squared error of 0.162, against 0.444 of a flat model read as in the paper's "
    "code, but 0.187 of one read at the chunk's last step: most of the gain is where it is read. On a "
    "recorded walk 0.202 against 0.248 and 0.220.",
)
class HiSS(Encoder):
    """A stack of layers over the steps of each chunk, whose last outputs a second stack runs over.

    chunk: steps that are summarised into one, k; the paper's 10 (50 Hz to 5 Hz).
    low, high: the sequence layer of either level; `tacita methods layer` lists them. The paper has S4 below,
        S4 or Mamba above.
    d_low, d_model: width of either level; features are as wide as the upper one.
    low_depth, high_depth: blocks of either level.
    low_options, high_options: arguments of the layers, such as `{"d_state": 16}`.
    differences: whether each channel's change from the step before is an input too, as in the paper.
    dropout: share of the channels dropped in training; the paper has 0.1.

    Shapes: `x (B, L, C)`, any L from 1 up; `tokens (B, ceil(L / chunk), d_model)`, one a chunk, which knows
    the steps up to the chunk's end and no later ones; `per_step` holds it for all steps of its own chunk. A
    chunk that a series ends in is summarised at its last step. Features are the mean over valid tokens.

    `step` takes one sample at a time, as it comes, and gives the token of the last chunk that is whole: the
    same as `forward` does.

    Raises `ConfigError` for a chunk that is longer than the series, and sizes that cannot be.

    Differs from the paper: widths of 64 and depths of 2, where it has up to 256 and 6; S4D for S4; samples
    are standardised, their differences are not once more; a chunk cut off by a series' end counts.

    >>> encoder = HiSS(InputSpec("series", (50, 3)), d_model=16)
    >>> encoder(torch.zeros(2, 50, 3)).tokens.shape
    torch.Size([2, 5, 16])
    """

    modalities: ClassVar[tuple[str, ...]] = ("series",)
    tiny = {
        "chunk": 2, "d_low": 8, "d_model": 16, "low_depth": 1, "high_depth": 1,
        "low_options": {"d_state": 4}, "high_options": {"d_state": 4},
    }  # fmt: skip

    def __init__(
        self,
        spec: InputSpec,
        *,
        chunk: int = 10,
        low: str = "s4d",
        high: str = "s4d",
        d_low: int = 64,
        d_model: int = 64,
        low_depth: int = 2,
        high_depth: int = 2,
        low_options: LayerOptions | None = None,
        high_options: LayerOptions | None = None,
        differences: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.require(spec)
        length = spec.shape[0]
        if not 1 <= chunk <= length:
            raise ConfigError(
                f"chunk={chunk} does not fit series of {length} steps.",
                remedy=f"Choose from 1 to {length}; a tenth of the rate at which answers are wanted.",
            )
        if min(d_low, d_model) < 1 or not min(low_depth, high_depth) >= 1:
            raise ConfigError(
                f"d_low={d_low}, d_model={d_model}, low_depth={low_depth} and high_depth={high_depth}"
                " must be positive.",
                remedy="The defaults are 64, 64, 2 and 2.",
            )
        self.spec = spec
        self.dim = d_model
        self.chunk = chunk
        self.differences = differences
        self.enter = nn.Linear(spec.channels * (2 if differences else 1), d_low)
        self.low = stack_of(low, d_low, low_depth, chunk, options=low_options, dropout=dropout)
        self.low_norm = make_norm("layer", d_low)
        self.leave = nn.Linear(d_low, d_model)
        chunks = -(-length // chunk)
        self.high = stack_of(
            high, d_model, high_depth, chunks, options=high_options, dropout=dropout
        )
        self.norm = make_norm("layer", d_model)

    @property
    def causal(self) -> bool:
        """Whether a token depends on the steps up to the end of its own chunk only."""
        return self.low.causal and self.high.causal

    def forward(self, batch: Batch) -> Encoding:
        x, lengths = hide_padding(batch.x, batch.mask), batch.lengths
        summaries = self.summaries(x, lengths)  # (B, J, d_model)
        counts = None if lengths is None else -(-lengths // self.chunk)
        mask = None if counts is None else length_mask(counts, summaries.shape[1])
        tokens = self.norm(self.high(summaries, lengths=counts))
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))

    def summaries(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, J, d_model)`: c_j = f_L(x_{jk}, ..., x_{jk+k-1})[-1], each chunk for itself, all at once."""
        count, length, _ = x.shape
        inputs = functional.pad(self._inputs(x), (0, 0, 0, -length % self.chunk))
        chunks = inputs.shape[1] // self.chunk
        within = None  # how many steps of each chunk there are
        if lengths is not None or length % self.chunk:
            known = torch.full((count,), length, device=x.device) if lengths is None else lengths
            begins = self.chunk * torch.arange(chunks, device=x.device)
            within = (known[:, None] - begins).clamp(0, self.chunk).flatten()
        steps = self.enter(inputs.reshape(count * chunks, self.chunk, -1))
        steps = self.low(steps, lengths=within)
        last = last_valid(steps, torch.zeros_like(steps[:, 0]), within)
        return self.leave(self.low_norm(last)).view(count, chunks, -1)

    def per_step(self, batch: Batch) -> Tensor:
        """Of the chunk that a step lies in, which knows the steps up to the chunk's end."""
        held = self(batch).tokens.repeat_interleave(self.chunk, 1)[:, : batch.x.shape[1]]
        return hide_padding(held, batch.mask)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step."""
        weight = self.enter.weight
        return {
            **_named("low", self.low.initial_state(batch_size)),
            **_named("high", self.high.initial_state(batch_size)),
            "before": weight.new_full((batch_size, self.spec.channels), torch.nan),
            "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
            "token": weight.new_zeros(batch_size, self.dim),
        }

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One sample of each channel `(B, C)` to the last whole chunk's token `(B, d_model)`, and the state.

        Until the first chunk is whole the token is zeros.
        """
        before = torch.where(state["before"].isnan(), x, state["before"])
        inputs = torch.cat([x, x - before], 1) if self.differences else x
        y, low = self.low.step(self.enter(inputs), _of("low", state))
        count, token, high = state["count"] + 1, state["token"], _of("high", state)
        whole = count == self.chunk
        if bool(whole.any()):
            found, moved = self.high.step(self.leave(self.low_norm(y)), high)
            token = torch.where(whole[:, None], self.norm(found), token)
            high = {name: _where(whole, moved[name], value) for name, value in high.items()}
            low = self.low.erase(low, whole)
            count = torch.where(whole, 0, count)
        return token, {
            **_named("low", low),
            **_named("high", high),
            "before": x,
            "count": count,
            "token": token,
        }

    def _inputs(self, x: Tensor) -> Tensor:
        """Each step with its change from the one before, which is none at the first."""
        if not self.differences:
            return x
        return torch.cat([x, torch.diff(x, dim=1, prepend=x[:, :1])], 2)


def _where(which: Tensor, new: Tensor, old: Tensor) -> Tensor:
    if new.shape != old.shape:  # what grows with the steps; all samples are at the same step
        return new
    return torch.where(which.view(-1, *[1] * (new.ndim - 1)), new, old)


def _named(level: str, state: State) -> State:
    return {f"{level}.{name}": value for name, value in state.items()}


def _of(level: str, state: State) -> State:
    start = f"{level}."
    return {n.removeprefix(start): value for n, value in state.items() if n.startswith(start)}
