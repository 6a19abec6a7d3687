"""Raw samples to float32 of zero mean and unit deviation, a channel or a column at a time.

It belongs to the model: its statistics come from the training samples only, are saved beside the
weights, and every later sample (held out, predicted, exported) goes through the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.data.batch import InputSpec, length_mask


class Normaliser(nn.Module):
    """`(x - mean) / std`; missing table cells become the mean, padding of series stays zero.

    Shapes: `mean`, `std` `(C, 1, 1)` for images, `(C,)` for series, `(F,)` for tables, where a
    categorical column keeps its codes (mean 0, std 1) and a missing category becomes code 0.

    >>> spec = InputSpec("tables", (1,), (0,))
    >>> Normaliser.fit(spec, torch.tensor([[1.0], [3.0]]))(torch.tensor([[2.0]])).item()
    0.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        shape = {"images": (spec.channels, 1, 1)}.get(spec.modality, (spec.channels,))
        self.spec = spec
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    @classmethod
    @torch.no_grad()
    def fit(cls, spec: InputSpec, x: Tensor, lengths: Tensor | None = None) -> Normaliser:
        """Statistics of all valid values, in float64, a channel at a time to keep memory small."""
        normaliser = cls(spec)
        axis = 1 if spec.modality != "series" else 2
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        for channel in range(spec.channels):
            if spec.modality == "tables" and spec.cardinalities[channel]:
                continue
            values = x.select(axis, channel)
            if mask is not None:
                values = values[mask]
            values = values.double() / (255 if x.dtype == torch.uint8 else 1)
            values = values[~values.isnan()]
            if not values.numel():
                continue
            std, mean = torch.std_mean(values, correction=0)
            normaliser.mean[channel] = mean
            # A constant channel carries nothing: it becomes zero rather than a division by zero.
            normaliser.std[channel] = std if std > 1e-12 * (1 + mean.abs()) else 1.0
        return normaliser

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        x = (x - self.mean) / self.std
        if self.spec.modality == "tables":
            return torch.nan_to_num(x, nan=0.0)
        if lengths is not None:
            x = x * length_mask(lengths, x.shape[1])[:, :, None]
        return x
