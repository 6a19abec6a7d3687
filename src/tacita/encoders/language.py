"""Language by a causal `SequenceModel`: numbers for the next token, and texts drawn one token after another.

The head is the table of token vectors itself, transposed. The table has rows up to a multiple of 8,
which matrix units are fast at; token numbers beyond the vocabulary are neither taken nor predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.values import length_mask

if TYPE_CHECKING:
    from tacita.encoders.sequence_model import SequenceModel


def padded(vocabulary: int) -> int:
    """Rows of the table of token vectors.

    >>> padded(50277)
    50280
    """
    return -(-vocabulary // 8) * 8


def check_ids(ids: Tensor, vocabulary: int) -> None:
    """Raise `DataError` for numbers that are no tokens; on a GPU values are not looked at."""
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise DataError(f"token numbers are whole numbers, not {ids.dtype}.")
    if ids.numel() == 0 or ids.device.type != "cpu" or torch.compiler.is_compiling():
        return
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= vocabulary:
        raise DataError(
            f"token numbers run from {least} to {most}, and the vocabulary has {vocabulary}.",
            remedy="Tokenise with what the model was made for.",
        )


def require_language(model: SequenceModel) -> None:
    """Raise `ConfigError` for a model that does not read tokens, or that sees the next one."""
    if not model.spec.vocabulary or not model.causal:
        raise ConfigError(
            "only a causal model of text predicts the next token.",
            remedy='Make it with an InputSpec of "text" and without bidirectional.',
        )


@torch.no_grad()
def generate(
    model: SequenceModel,
    ids: Tensor,
    count: int,
    *,
    lengths: Tensor | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """`(B, count)` tokens that follow `ids (B, L)`; `SequenceModel.generate` says how."""
    require_language(model)
    if ids.ndim != 2 or ids.shape[1] < 1 or count < 1:
        raise ConfigError(
            f"ids {tuple(ids.shape)} must be (B, L) and count={count} positive.",
            remedy="A text begins with a token at least: that of its beginning.",
        )
    if not 0 <= temperature < float("inf"):
        raise ConfigError(f"temperature={temperature} is not 0 or more.")
    if lengths is not None:
        ids = ids.masked_fill(~length_mask(lengths, ids.shape[1]), 0)
    generator = torch.Generator(ids.device).manual_seed(seed)
    tokens, state = model.stack(model.embed(ids), lengths=lengths, return_state=True)
    last = _last(tokens, lengths)
    drawn = []
    for number in range(count):
        logits = model.head(model.norm(last))
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chances = (logits.float() / temperature).softmax(-1)
            chosen = torch.multinomial(chances, 1, generator=generator)[:, 0]
        drawn.append(chosen)
        if number + 1 < count:
            # What `step` would check is right by construction.
            last, state = model.stack.advance(model.enter(chosen), state, 1.0)
    return torch.stack(drawn, 1)


def _last(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    """`(B, D)`: the last valid token of each text, of which there must be one."""
    if lengths is None:
        return tokens[:, -1]
    if not bool((lengths > 0).all()):
        raise DataError("a text without any token has nothing that could be continued.")
    return tokens[torch.arange(len(tokens), device=tokens.device), lengths - 1]
