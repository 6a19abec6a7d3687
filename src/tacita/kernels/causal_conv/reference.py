"""The short causal convolution in plain torch: one multiply-add of the whole sequence for each tap.

    y_t = bias + sum_k w_{W-1-k} x_{t-k},   k from 0 to W - 1, or to `reach_t` where that is less

Runs on any device, under autograd and in an exported program.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def causal_conv_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None, reach: Tensor | None
) -> Tensor:
    """`y (B, L, D)`; `weight (D, W)`, `reach (B, L)` int64.

    >>> x, weight = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[10.0, 1.0]])
    >>> causal_conv_reference(x, weight, None, None).flatten()
    tensor([ 1., 12., 23.])
    """
    length, width = x.shape[1], weight.shape[1]
    known = F.pad(x, (0, 0, width - 1, 0))
    y = torch.zeros_like(x) if bias is None else bias.expand_as(x)
    for k in range(width):
        begin = width - 1 - k
        past = known[:, begin : begin + length]
        if reach is not None and k:
            past = torch.where((reach >= k)[:, :, None], past, 0.0)
        y = torch.addcmul(y, past, weight[:, width - 1 - k])
    return y
