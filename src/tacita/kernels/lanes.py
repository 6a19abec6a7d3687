"""What compiled loops over lanes of channels share: how many lanes, and tensors read where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacita.kernels.compiled import Array

LANES = 128
"""Channels of a block at most."""
VECTOR = 16
"""Lanes are a multiple of this, so that no loop over them has a rest to do one by one."""


def lanes_for(batch: int, width: int, most: int = LANES) -> int:
    """Channels of a block: few enough that every thread has a row, which is a sequence and a block.

    most: a multiple of 16.

    >>> lanes_for(8, 40)
    48
    """
    blocks = max(-(-width // most), -(-torch.get_num_threads() // batch))
    return VECTOR * -(-width // (VECTOR * blocks))


def sequences(*tensors: Tensor | None) -> tuple[Any, ...]:
    """Tensors of channels last as flat arrays, and their strides over all axes before the channels.

    Parts of a wider tensor, as projections are split into, are read where they lie. The first is there.
    """
    arrays: list[Array] = []
    axes = 0 if tensors[0] is None else tensors[0].ndim - 1
    strides = np.zeros((len(tensors), axes), np.int64)
    for i, tensor in enumerate(tensors):
        if tensor is None:
            arrays.append(arrays[0][:0])
            continue
        if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        strides[i] = tensor.stride()[:-1]
        reach = sum((n - 1) * s for n, s in zip(tensor.shape[:-1], strides[i], strict=True))
        arrays.append(tensor.detach().as_strided((int(reach) + tensor.shape[-1],), (1,)).numpy())
    return (*arrays, strides)
