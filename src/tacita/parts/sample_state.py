"""One number a sample, kept through training by the sample's stable index.

Histories, flags and last guesses of semi-supervised methods. One tensor lookup a batch; memory is a
number and an index a sample. Several processes write what all of them saw, so that they agree.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.processes import gathered


class SampleState(nn.Module):
    """`values (N,)` in the order of `index (N,)`, which rises; it is saved with a checkpoint.

    initial: every sample's value at first; its type is that of the values.

    An index that was not among those prepared for (a held-out sample) reads `initial`, and what is
    written to it is dropped. Raises `ConfigError` where nothing was prepared.

    >>> state = SampleState(0.0)
    >>> state.prepare(torch.tensor([7, 3, 5]))
    >>> state.write(torch.tensor([5, 9]), torch.tensor([1.0, 2.0]))
    >>> state.read(torch.tensor([3, 5, 9])), state.values
    (tensor([0., 1., 0.]), tensor([0., 1., 0.]))
    """

    index: Tensor
    kept: Tensor

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.register_buffer("index", torch.empty(0, dtype=torch.int64))
        # The last entry stands for all samples that are not known.
        self.register_buffer("kept", torch.tensor([initial]))

    def prepare(self, index: Tensor) -> None:
        """Begin anew with these samples."""
        self.index = torch.unique(index).to(self.index.device)
        self.kept = torch.full((len(self.index) + 1,), self.initial, device=self.kept.device)

    @property
    def values(self) -> Tensor:
        """`(N,)` of all samples, in the order of `index`."""
        return self.kept[:-1]

    def read(self, index: Tensor) -> Tensor:
        """`(B,)` values of these samples."""
        return self.kept[self._places(index)]

    @torch.no_grad()
    def write(self, index: Tensor, values: Tensor) -> None:
        """Keep `values (B,)` for the samples `index (B,)`; of one given twice, any of them."""
        places = self._places(gathered(index))
        self.kept[places] = gathered(values.to(self.kept.dtype))
        self.kept[-1] = self.initial

    def _places(self, index: Tensor) -> Tensor:
        last = self.index.shape[0]
        if not last:
            raise ConfigError(
                "The method keeps a number a sample, and was not told of the samples.",
                remedy="Call objective.prepare(data) before training; tacita.train does.",
            )
        places = torch.searchsorted(self.index, index).clamp_max(last - 1)
        # No branch on the values, so that a GPU is not waited for.
        return torch.where(self.index[places] == index, places, last)
