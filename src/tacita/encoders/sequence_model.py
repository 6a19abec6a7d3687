"""A residual stack of any sequence layer, from state-space models to attention, as an encoder.

Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, section 3.4. One
frame for all layers, so that they can be compared; causal ones also run one step at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import ConfigError
from tacita.layers.base import State, last_valid
from tacita.layers.stack import ChannelMixer, Norm, make_norm, stack_of
from tacita.parts.tokens import check_ids, padded
from tacita.values import prefix_lengths


@method(
    "sequence-model",
    title="Residual stack of sequence layers",
    paper="https://arxiv.org/abs/2111.00396",
    year=2022,
    family="encoder",
    modalities=("series", "text"),
    summary="Features of long series by any sequence layer (S4D, Mamba, attention, ...), linear in length.",
    claim="Layers that gate or select by content copy tokens out of texts 4 times as long as in training, "
    "48% against 27% of fixed ones: GRU and Mamba do, H3 and Liquid-S4 do not; on digits a tie.",
)
class SequenceModel(Encoder):
    """A linear map of each step, `depth` residual blocks, a last norm, and a pooled feature vector.

    layer: name of the sequence layer; `tacita methods layer` lists them.
    d_model: width of the features.
    depth: number of blocks.
    layer_options: arguments of the layer, such as `{"d_state": 16}`. A `max_length` is that of the
        samples where none is given.
    channel_mixer: what follows the layer: `glu`, `mlp` or `none`; by default as suits the layer.
    norm: `layer` or `rms`.
    prenorm: norms before the branches rather than after the sums.
    dropout: share of the channels dropped in training.
    bidirectional: a second layer a block runs from the end; then it cannot run step by step.
    pooling: features of a sample: `mean` of its valid steps, or its `last` valid step.

    Shapes: `x (B, L, C)` numbers, or `(B, L)` token numbers for text; `tokens (B, L, d_model)`, zero
    where not valid. Raises `ConfigError` for an unknown layer or option, and text of unknown vocabulary.

    >>> model = SequenceModel(InputSpec("series", (50, 3)), layer="s4d", d_model=16, depth=2)
    >>> model(torch.zeros(2, 50, 3)).tokens.shape
    torch.Size([2, 50, 16])
    >>> state = model.initial_state(2)
    >>> features, state = model.step(torch.zeros(2, 3), state)
    """

    modalities: ClassVar[tuple[str, ...]] = ("series", "text")
    tiny = {"d_model": 16, "depth": 2, "layer_options": {"d_state": 8}}

    def __init__(
        self,
        spec: InputSpec,
        *,
        layer: str = "s4d",
        d_model: int = 64,
        depth: int = 4,
        layer_options: Mapping[str, int | float | bool | str] | None = None,
        channel_mixer: ChannelMixer | None = None,
        norm: Norm = "layer",
        prenorm: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        pooling: Literal["mean", "last"] = "mean",
    ) -> None:
        super().__init__()
        self.require(spec)
        if d_model < 1 or not 1 <= depth <= 256:
            raise ConfigError(
                f"d_model={d_model} must be positive and depth={depth} from 1 to 256.",
                remedy="The defaults are 64 and 4.",
            )
        if pooling not in ("mean", "last"):
            raise ConfigError(f"pooling={pooling!r} is unknown.", remedy="Known: mean, last.")
        if len(spec.shape) == 1 and not spec.vocabulary:
            raise ConfigError(
                "the vocabulary of the text is not known.",
                remedy='Give its size: InputSpec("text", (100,), vocabulary=256).',
            )
        self.spec = spec
        self.dim = d_model
        self.pooling = pooling
        self.enter: nn.Module
        if spec.vocabulary:
            self.enter = nn.Embedding(padded(spec.vocabulary), d_model)
            nn.init.normal_(
                self.enter.weight, std=0.02
            )  # it may be the head of a language model too
        else:
            self.enter = nn.Linear(spec.channels, d_model)
        self.stack = stack_of(
            layer, d_model, depth, spec.shape[0], options=layer_options, bidirectional=bidirectional,
            channel_mixer=channel_mixer, norm=norm, prenorm=prenorm, dropout=dropout,
        )  # fmt: skip
        self.norm = make_norm(norm, d_model) if prenorm else nn.Identity()

    @property
    def causal(self) -> bool:
        """Whether a token depends on the steps up to its own only."""
        return self.stack.causal

    @property
    def table(self) -> Tensor:
        if not self.spec.vocabulary:
            return super().table
        return cast(nn.Embedding, self.enter).weight[: self.spec.vocabulary]

    def embed(self, x: Tensor) -> Tensor:
        """`(B, L, d_model)`: each step by itself, before any block."""
        if self.spec.vocabulary:
            check_ids(x, self.spec.vocabulary)
        return self.enter(x)

    def blocks(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, L, d_model)` to the same, through all blocks; `mask (B, L)` True = valid.

        Raises `DataError` where what is valid does not come first.
        """
        return self._blocks(tokens, mask, None if mask is None else prefix_lengths(mask))

    def _blocks(self, tokens: Tensor, mask: Tensor | None, lengths: Tensor | None) -> Tensor:
        return hide_padding(self.norm(self.stack(tokens, lengths=lengths)), mask)

    def forward(self, batch: Batch) -> Encoding:
        x, mask, lengths = batch.x, batch.mask, batch.lengths
        x = hide_padding(x, mask)
        tokens = self._blocks(self.embed(x), mask, lengths)
        if self.pooling == "mean":
            return Encoding(tokens, masked_mean(tokens, mask))
        return Encoding(tokens, last_valid(tokens, torch.zeros_like(tokens[:, 0]), lengths))

    def per_step(self, batch: Batch) -> Tensor:
        return self(batch).tokens

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step."""
        return self.stack.initial_state(batch_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: `(B, C)`, or `(B,)` token numbers, to its `(B, d_model)` and the state.

        The token is the same as that of `forward` over all steps so far.
        """
        y, state = self.stack.step(self.embed(x), state)
        return self.norm(y), state
