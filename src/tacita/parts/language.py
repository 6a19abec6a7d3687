"""Predicting tokens of a vocabulary from an encoder's tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.processes import count_over_processes, processes
from tacita.values import Ragged, as_tensor


class LanguageHead(nn.Module):
    """A layer, GELU and a norm, then the table of token vectors itself, transposed, and a bias.

    The table is the encoder's own (tied weights, Press and Wolf, 2017), so it is given with each call.

    Shapes: `tokens (n, dim)` and `table (V, dim)` to logits `(n, V)`, at least in float32.

    >>> LanguageHead(4, 9)(torch.zeros(2, 4), torch.zeros(9, 4)).shape
    torch.Size([2, 9])
    """

    log_shares: Tensor

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        uniform = torch.full((vocabulary,), 1 / vocabulary).log()
        self.register_buffer("log_shares", uniform, persistent=False)

    @torch.no_grad()
    def begin_from(self, data: Dataset) -> None:
        """Begin by saying how often each token occurs, so that no step is spent on finding that out."""
        samples = data.samples
        tokens = samples.flat if isinstance(samples, Ragged) else as_tensor(samples).flatten()
        counts = tokens.bincount(minlength=len(self.bias)) + 1
        self.log_shares.copy_((counts / counts.sum()).log())
        self.bias.copy_(self.log_shares)

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        logits = functional.linear(self.change(tokens), table, self.bias)
        return logits if logits.dtype == torch.float64 else logits.float()

    def surprise(self, tokens: Tensor, table: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of `truth (n,)`, zero where there is none, and how it compares.

        The second is relative to saying how often each token occurs: above 1, nothing has been learnt.
        """
        each = functional.cross_entropy(self(tokens, table), truth, reduction="none")
        told = -self.log_shares[truth].sum()
        relative = each.detach().sum() / told.clamp_min(1e-6)
        count = count_over_processes(len(each), each.device)
        return each.sum() * processes() / max(1, count), relative


def require_language(encoder: Encoder, method: str) -> Encoder:
    """The encoder, if it reads tokens of a vocabulary and has a vector for each.

    Raises `ConfigError` for any other.
    """
    if not encoder.spec.vocabulary:
        raise ConfigError(
            f"{method} predicts tokens, and {encoder.spec.modality} have none.",
            remedy="Give texts, or choose another method.",
        )
    if len(encoder.table) != encoder.spec.vocabulary:
        raise ConfigError(
            f"{method}: the encoder has vectors for {len(encoder.table)} tokens, and the vocabulary"
            f" {encoder.spec.vocabulary}.",
            remedy="Tokenise with what the encoder was made for.",
        )
    return encoder
