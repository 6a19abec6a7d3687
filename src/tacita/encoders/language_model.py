"""Language by a causal `SequenceModel`: numbers for the next token, and texts drawn one token after another.

The head is the table of token vectors itself, transposed. Token numbers beyond the vocabulary, up to
which the table may have rows, are neither taken nor predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoders import transformers_mamba
from tacita.encoders.sequence_model import SequenceModel
from tacita.errors import ConfigError, DataError
from tacita.layers.stack import ChannelMixer, Norm
from tacita.values import Values, length_mask


@method(
    "language-model",
    title="Causal language model of any sequence layer",
    paper="https://arxiv.org/abs/2312.00752",
    year=2023,
    family="encoder",
    modalities=("text",),
    summary="A sequence model that predicts the next token, continues texts, and reads Mamba's weights.",
    reuses=("sequence-model", "mamba"),
)
class LanguageModel(SequenceModel):
    """A causal sequence model over tokens, whose features are those of the last one.

    layer: name of a causal sequence layer; `tacita methods layer` lists them.
    d_model, depth, layer_options, channel_mixer, norm, prenorm, dropout, pooling: as in `SequenceModel`;
        layer, norm and pooling are by default those of the Mamba models of transformers.

    Shapes: `x (B, L)` token numbers; `tokens (B, L, d_model)`, zero where not valid. Raises `ConfigError`
    for a layer that sees later steps, and text of unknown vocabulary.

    >>> model = LanguageModel(InputSpec("text", (50,), vocabulary=30), d_model=16, depth=2)
    >>> ids = torch.zeros(2, 10, dtype=torch.int64)
    >>> model.logits(ids).shape, model.generate(ids, 3).shape
    (torch.Size([2, 10, 30]), torch.Size([2, 3]))
    """

    modalities = ("text",)

    def __init__(
        self,
        spec: InputSpec,
        *,
        layer: str = "mamba",
        d_model: int = 64,
        depth: int = 4,
        layer_options: Mapping[str, int | float | bool | str] | None = None,
        channel_mixer: ChannelMixer | None = None,
        norm: Norm = "rms",
        prenorm: bool = True,
        dropout: float = 0.0,
        pooling: Literal["mean", "last"] = "last",
    ) -> None:
        super().__init__(
            spec,
            layer=layer,
            d_model=d_model,
            depth=depth,
            layer_options=layer_options,
            channel_mixer=channel_mixer,
            norm=norm,
            prenorm=prenorm,
            dropout=dropout,
            pooling=pooling,
        )
        if not self.causal:
            raise ConfigError(
                f"layer={layer} sees the token that is to be predicted.",
                remedy="Choose a causal layer, such as mamba.",
            )

    def head(self, tokens: Tensor) -> Tensor:
        """`(..., d_model)` tokens of `forward` or `step` to `(..., V)` logits of the token that follows."""
        table = cast(nn.Embedding, self.enter).weight
        return functional.linear(tokens, table)[..., : self.spec.vocabulary]

    def logits(self, texts: Batch | Values) -> Tensor:
        """`(B, L, V)`: at each of the tokens, `(B, L)` or ragged, what follows; zero where not valid."""
        return self.head(self(texts).tokens)

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor,
        count: int,
        *,
        lengths: Tensor | None = None,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """`(B, count)` tokens that follow `ids (B, L)`, each drawn from the logits given all before.

        `lengths (B,)` are the valid tokens of texts that are not of one length; at temperature 0 the
        likeliest token is taken. The texts so far are read in parallel, the rest in steps of the same
        cost. Raises `ConfigError` for a layer without steps, `DataError` for ids that are no tokens.
        """
        if ids.ndim != 2 or ids.shape[1] < 1 or count < 1:
            raise ConfigError(
                f"ids {tuple(ids.shape)} must be (B, L) and count={count} positive.",
                remedy="A text begins with a token at least: that of its beginning.",
            )
        if not 0 <= temperature < float("inf"):
            raise ConfigError(f"temperature={temperature} is not 0 or more.")
        if lengths is not None:
            lengths = lengths.to(torch.int64)  # of bytes, they would be a mask
            ids = ids.masked_fill(~length_mask(lengths, ids.shape[1]), 0)
        generator = torch.Generator(ids.device).manual_seed(seed)
        tokens, state = self.stack(self.embed(ids), lengths=lengths, return_state=True)
        last = _last(tokens, lengths)
        drawn = []
        for number in range(count):
            logits = self.head(self.norm(last))
            if temperature == 0:
                chosen = logits.argmax(-1)
            else:
                chances = (logits.float() / temperature).softmax(-1)
                chosen = torch.multinomial(chances, 1, generator=generator)[:, 0]
            drawn.append(chosen)
            if number + 1 < count:
                # What `step` would check is right by construction.
                last, state = self.stack.advance(self.enter(chosen), state, 1.0)
        return torch.stack(drawn, 1)

    @classmethod
    def from_transformers(
        cls,
        source: str | Path | nn.Module | Mapping[str, Tensor],
        config: Mapping[str, Any] | None = None,
    ) -> Self:
        """The model of a `MambaForCausalLM`, of its state dict and `config`, or of a folder.

        A folder holds `config.json` and `model.safetensors`, and loading it runs no code. Raises
        `CheckpointError` for one that does not fit, `ConfigError` for models of another kind.
        """
        return transformers_mamba.load(cls, source, config)

    def to_transformers(self, folder: str | Path) -> None:
        """Write a folder that `MambaForCausalLM.from_pretrained` reads.

        Raises `ConfigError` for a model that is not one of Mamba layers with RMS norms.
        """
        transformers_mamba.save(self, folder)


def _last(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    """`(B, D)`: the last valid token of each text, of which there must be one."""
    if lengths is None:
        return tokens[:, -1]
    if not bool((lengths > 0).all()):
        raise DataError("a text without any token has nothing that could be continued.")
    return tokens[torch.arange(len(tokens), device=tokens.device), lengths - 1]
