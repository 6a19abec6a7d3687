"""The selective scan over a grid in plain torch: what the other implementations must equal.

The variates one after another: a row's states along variates follow from the row before, all its steps
at once, and are an input of its states along time, a linear recurrence that is scanned in log depth.
Runs on any device, under `torch.compile` and in an exported program. Autograd keeps `(B, V, T, D, N)`
numbers of it a few times over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tacita.kernels.selective.reference import scan


def selective_scan_2d_reference(
    u: Tensor,
    steps: Sequence[Tensor],
    A: Sequence[Tensor],
    rho: Sequence[Tensor],
    B: Sequence[Tensor],
    C: Sequence[Tensor],
    states: Sequence[Tensor],
    *,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`y (B, V, T, D)` and the last states `(B, V, D, N)`, along time and along variates.

    Arguments of one dtype and shapes as in the kernel, in pairs: along time, along variates.

    >>> one = torch.ones(1, 2, 1, 1)
    >>> pair, half = (one, one), torch.full((1, 1), 0.5)
    >>> arguments = one, pair, (-half, -half), (half, half), pair, pair, (0 * one, 0 * one)
    >>> selective_scan_2d_reference(*arguments, reverse=False)[0].flatten()
    tensor([2.0000, 2.8033])
    """
    decay = [torch.exp(step[..., None] * a) for step, a in zip(steps, A, strict=True)]
    taken = [r * (1 - d) for r, d in zip(rho, decay, strict=True)]
    drive = [(step * u)[..., None] * b[..., None, :] for step, b in zip(steps, B, strict=True)]
    rows = [[each.unbind(1) for each in pair] for pair in (decay, taken, drive, states)]
    count = u.shape[1]
    found: list[list[Tensor]] = [[u] * count, [u] * count]
    none = torch.zeros_like(drive[0][:, 0])
    below = none, none
    for place in range(count):
        v = count - 1 - place if reverse else place
        (a_1, a_2), (k_1, k_2), (b_1, b_2), begun = ([each[v] for each in pair] for pair in rows)
        across = a_2 * below[1] + k_2 * below[0] + b_2
        earlier = torch.cat([begun[1][:, None], across[:, :-1]], 1)
        along = scan(a_1, k_1 * earlier + b_1, begun[0], None)
        below = found[0][v], found[1][v] = along, across
    h_1, h_2 = (torch.stack(each, 1) for each in found)
    y = (h_1 * C[0][..., None, :] + h_2 * C[1][..., None, :]).sum(-1)
    return y, h_1[:, :, -1], h_2[:, :, -1]
