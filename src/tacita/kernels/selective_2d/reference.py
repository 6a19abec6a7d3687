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


def selective_2d_reference(
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
    >>> selective_2d_reference(*arguments, reverse=False)[0].flatten()
    tensor([2.0000, 2.8033])
    """
    count = u.shape[1]
    below = [torch.zeros_like(states[0][:, :1]).expand(-1, u.shape[2], -1, -1)] * 2
    outputs: list[Tensor] = [u] * count
    lasts: list[list[Tensor]] = [[u] * count, [u] * count]
    for place in range(count):
        v = count - 1 - place if reverse else place
        decay, kept, drive = [], [], []
        for axis in range(2):
            step = steps[axis][:, v]
            decay.append(torch.exp(step[..., None] * A[axis]))
            kept.append(rho[axis] * (1 - decay[axis]))
            drive.append((step * u[:, v])[..., None] * B[axis][:, v, :, None])
        across = decay[1] * below[1] + kept[1] * below[0] + drive[1]
        earlier = torch.cat([states[1][:, v, None], across[:, :-1]], 1)
        along = scan(decay[0], kept[0] * earlier + drive[0], states[0][:, v], None)
        below = [along, across]
        outputs[v] = sum(
            ((x * c[:, v, :, None]).sum(-1) for x, c in zip(below, C, strict=True)), 0 * u[:, v]
        )
        for last, x in zip(lasts, below, strict=True):
            last[v] = x[:, -1]
    return torch.stack(outputs, 1), torch.stack(lasts[0], 1), torch.stack(lasts[1], 1)
