"""Batches of tokens no wider than their longest text: most texts are far shorter than they may be."""

from __future__ import annotations

import torch

from tacita.data.normalise import Normaliser
from tacita.values import Ragged, Values


class Trimmed(Normaliser):
    """Tokens as they are, with no more padding than the batch needs.

    >>> from tacita.data.batch import InputSpec
    >>> trimmed = Trimmed(InputSpec("text", (256,), vocabulary=9))
    >>> trimmed(Ragged(torch.tensor([7, 8, 8]), torch.tensor([1, 2]), 256)).padded.tolist()
    [[7, 0], [8, 8]]
    """

    def forward(self, samples: Values) -> Values:
        # An exported program has one width; it could not follow the batch's.
        if not isinstance(samples, Ragged) or torch.compiler.is_compiling():
            return samples
        if not len(samples):
            return samples
        longest = int(samples.lengths.max())
        if "padded" in vars(samples):
            return Ragged.of(samples.padded[:, :longest], samples.lengths)
        return Ragged(samples.flat, samples.lengths, longest)
