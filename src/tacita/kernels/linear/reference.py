"""The linear recurrence in plain torch: pairs of steps are joined until one is left, then undone.

Two steps in a row are one step, `x -> a' (a x + b) + b' = (a' a) x + (a' b + b')`, which erases what
comes before it if either of them does. Joining neighbours halves the length; the states after every
second step come back, and those between follow by one step from the one before. `O(L)` work,
`O(log L)` operations of torch, and no division by products of `a`, which underflow. It runs on any
device, under autograd, and in an exported program, of any length up to a limit too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.kernels.lengths import lengthened


def linear_scan_reference(
    a: Tensor, b: Tensor, state: Tensor | None, resets: Tensor | None, reverse: bool
) -> Tensor:
    """All states `x (B, L, D)`, as `linear_scan` says; `a` is `(B or 1, L or 1, D)`.

    >>> a, b = torch.tensor([[[0.5]]]), torch.ones(1, 4, 1)
    >>> linear_scan_reference(a, b, None, None, False).flatten()
    tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    if reverse:
        a, b = a.flip(1), b.flip(1)
        resets = None if resets is None else resets.flip(1)
    if state is not None:
        if resets is not None:
            state = state.masked_fill(resets[:, :1], 0)
        b = torch.cat([b[:, :1] + a[:, :1] * state[:, None], b[:, 1:]], 1)
    length = b.shape[1]
    # What is added where the length is free comes after all steps, and is cut off.
    a, b = a if a.shape[1] == 1 else lengthened(a, 1), lengthened(b, 1)
    x = _scan(a, b, None if resets is None else lengthened(resets, 1)[..., None])[:, :length]
    return x.flip(1) if reverse else x


def _scan(a: Tensor, b: Tensor, resets: Tensor | None) -> Tensor:
    length = b.shape[1]
    if length == 1:
        return b
    paired = length // 2 * 2
    if a.shape[1] == 1:  # the same factor at every step, so the same product for every pair
        a_second = a_later = a
        product = a * a
    else:
        a_second, a_later = a[:, 1:paired:2], a[:, 2::2]
        product = a_second * a[:, 0:paired:2]
    joined = None if resets is None else resets[:, 0:paired:2] | resets[:, 1:paired:2]
    product = _erase(product, joined)  # grows without bound where only resets hold the states
    before = _erase(b[:, 0:paired:2], None if resets is None else resets[:, 1:paired:2])
    second = _scan(product, torch.addcmul(b[:, 1:paired:2], a_second, before), joined)
    before = _erase(second[:, : (length - 1) // 2], None if resets is None else resets[:, 2::2])
    first = torch.cat([b[:, :1], torch.addcmul(b[:, 2::2], a_later, before)], 1)
    x = torch.stack([first[:, : paired // 2], second], 2).flatten(1, 2)
    return x if paired == length else torch.cat([x, first[:, -1:]], 1)


def _erase(x: Tensor, resets: Tensor | None) -> Tensor:
    """Erased before it is multiplied: what was NaN or infinite ahead of a reset stays there."""
    return x if resets is None else x.masked_fill(resets, 0)
