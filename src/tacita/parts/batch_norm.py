"""Batch norm over steps some of which are padding: only valid ones make the statistics."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tacita.processes import count_over_processes, processes


class ValidBatchNorm(nn.BatchNorm1d):
    """`(B, D, T)` to the same: each of the `D` features normalised over the valid places of `(B, T)`.

    Padding enters no statistic; what stands there afterwards means nothing. With a single valid place,
    which has no variance, the running statistics serve, as in evaluation.

    >>> import torch
    >>> norm = ValidBatchNorm(1, affine=False)
    >>> x = torch.tensor([[[1.0, 3.0, 99.0]]])
    >>> norm(x, torch.tensor([[True, True, False]]))[0, 0, :2].round(decimals=3).tolist()
    [-1.0, 1.0]
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.training:
            return self._normalised(x, training=False)
        if mask is None:
            several = x.shape[0] * x.shape[2] * processes() > 1
            return self._normalised(x, training=several)
        places = x.transpose(1, 2)
        valid = places[mask]  # (n, D)
        if count_over_processes(len(valid), x.device) < 2:
            return self._normalised(x, training=False)
        normalised = self._normalised(valid, training=True)
        return places.masked_scatter(mask[:, :, None], normalised).transpose(1, 2)

    def _normalised(self, x: Tensor, *, training: bool) -> Tensor:
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            self.momentum or 0.0,
            self.eps,
        )
