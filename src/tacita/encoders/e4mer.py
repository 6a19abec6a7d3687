"""E4mer: sensors of different rates become one token a second, and attention mixes the seconds.

Corponi et al., "Wearable Data From Subjects Playing Super Mario, Taking University Exams, or Performing
Physical Exercise Help Detect Acute Mood Episodes via Self-Supervised Learning", 2024. For recordings of
several sensors (see `tacita.modalities.series.recordings`); attention is quadratic in the seconds of a
window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import ConfigError
from tacita.modalities.series.rates import channel_rates, rate_groups, to_signals
from tacita.parts.batch_norm import ValidBatchNorm
from tacita.parts.transformer import Transformer


@method(
    "e4mer",
    title="E4mer, a Transformer for wearables",
    paper="https://arxiv.org/abs/2311.04215",
    year=2024,
    family="encoder",
    modalities=("series",),
    summary="Features of recordings whose sensors have different rates, such as those of a wrist band.",
    reuses=("transformer", "rates", "batch-norm"),
)
class E4mer(Encoder):
    """A convolution of one second over each sensor, `filters` maxima a second, then Transformer blocks.

    filters: features that each channel gives a second.
    dim: width of a token, and of each attention head.
    depth: number of blocks.
    heads: number of attention heads, each of full width as in the authors' code.

    Shapes: `x (B, S, C)` with a row a second, its columns shared out by `spec.rates`; tokens
    `(B, S, dim)`; pooled is their mean over valid seconds. A series without rates is one of channels of
    one sample a row. There are no positions: a token's order is in its own second only, so a permutation
    of seconds permutes the tokens but for the borders of the convolution.

    Differs from the paper: features are the mean of the tokens, where its classifier normalises every
    second of a window of fixed length apart; a last norm; no stochastic depth, its default too.

    >>> encoder = E4mer(InputSpec("series", (60, 68), rates=(64, 4)))
    >>> encoder(torch.zeros(2, 60, 68)).tokens.shape
    torch.Size([2, 60, 64])
    """

    tiny = {"dim": 16, "depth": 2}
    modalities = ("series",)

    def __init__(
        self, spec: InputSpec, *, filters: int = 4, dim: int = 64, depth: int = 3, heads: int = 3
    ) -> None:
        super().__init__()
        self.require(spec)
        if filters < 1 or dim < 1:
            raise ConfigError(
                f"filters={filters} and dim={dim} must be at least 1.",
                remedy="The defaults are 4 and 64.",
            )
        rates = channel_rates(spec)
        if min(rates) < 1 or sum(rates) != spec.channels:
            raise ConfigError(
                f"rates={rates} do not share out rows of {spec.channels} numbers.",
                remedy="Give the samples a row of each channel, channel after channel.",
            )
        self.spec = spec
        self.dim = dim
        self.sensors = nn.ModuleList(
            Sensors(group.rate, group.columns, filters) for group in rate_groups(rates)
        )
        self.join = nn.Linear(filters * len(rates), dim)
        self.transformer = Transformer(dim, depth=depth, heads=heads, expansion=1, head_dim=dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def embed(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, S, dim)`: each second by itself, before any block."""
        x = hide_padding(x, mask)
        return self.join(torch.cat([sensors(x, mask) for sensors in self.sensors], 2))

    def forward(self, batch: Batch) -> Encoding:
        x, mask = batch.x, batch.mask
        tokens = self.transformer(self.embed(x, mask), mask)
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))


class Sensors(nn.Module):
    """The channels of one rate: `(B, S, C)` to `(B, S, channels * filters)` features a second.

    Each channel has filters of its own, as long as a second; the largest response of a second counts.
    """

    columns: Tensor

    def __init__(self, rate: int, columns: tuple[int, ...], filters: int) -> None:
        super().__init__()
        channels = len(columns) // rate
        self.rate = rate
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.filter = nn.Conv1d(channels, channels * filters, rate, groups=channels, bias=False)
        self.norm = ValidBatchNorm(channels * filters)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        signals = to_signals(x, self.columns, self.rate)
        # As much before a sample as after it, so that there are as many responses as samples.
        signals = functional.pad(signals, ((self.rate - 1) // 2, self.rate // 2))
        valid = None if mask is None else mask.repeat_interleave(self.rate, 1)
        responses = self.norm(functional.gelu(self.filter(signals)), valid)
        return functional.max_pool1d(responses, self.rate).transpose(1, 2)
