"""The selective scan over a grid, forward and back: beside the loop over its cells in plain torch, beside a
selective scan of each variate alone, and how its time grows with steps and variates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import Result, side_by_side
from tacita.kernels import selective_scan, selective_scan_2d

BATCH, VARIATES, LENGTH, WIDTH, D_STATE = 16, 8, 96, 32, 16
Scan = Callable[..., Tensor]


def run() -> list[Result]:
    """The same tensors on all sides; the loop on fewer cells, as it takes its time."""
    results = []
    sizes = {"B": 4, "V": VARIATES, "T": LENGTH, "D": WIDTH, "N": D_STATE}
    tensors = arguments(*sizes.values())
    check_same(tensors)
    times = side_by_side(
        partial(there_and_back, ours, tensors), partial(there_and_back, loop, tensors), repeats=5
    )
    what = "selective scan over a grid, forward and backward,"
    named = " ".join(f"{name}={size}" for name, size in sizes.items())
    results.append(Result(f"{what} {named}", "the loop over cells in plain torch", *times, "20"))
    for width in (16, WIDTH, 64):
        tensors = arguments(BATCH, VARIATES, LENGTH, width, D_STATE)
        times = side_by_side(
            partial(there_and_back, ours, tensors), partial(there_and_back, alone, tensors)
        )
        named = f"B={BATCH} V={VARIATES} T={LENGTH} D={width} N={D_STATE}"
        peer = "a selective scan of each variate"
        results.append(Result(f"{what} {named}", peer, *times, "0.33"))
    for axis, short, long in (
        ("steps", (VARIATES, 64), (VARIATES, 1024)),
        ("variates", (4, LENGTH), (64, LENGTH)),
    ):
        few, many = (arguments(2, *shape, WIDTH, D_STATE) for shape in (short, long))
        times = side_by_side(
            partial(there_and_back, ours, few), partial(there_and_back, ours, many), repeats=5
        )
        slope = math.log(times[1] / times[0]) / math.log(16)
        title = f"time in {axis}, log-log slope over a factor of 16 ({what[:-1]})"
        results.append(Result(title, "", slope, None, "1", "slope"))
    return results


def arguments(batch: int, variates: int, length: int, width: int, d_state: int) -> list[Tensor]:
    """`u`, and pairs of steps, A, rho, B and C, one after another, as at the start of a layer."""
    draw = torch.Generator().manual_seed(0)
    cells = batch, variates, length
    tensors = [torch.randn(*cells, width, generator=draw)]
    tensors += [torch.rand(*cells, width, generator=draw) / 10 for _ in range(2)]
    tensors += [-torch.arange(1.0, d_state + 1).repeat(width, 1) for _ in range(2)]
    tensors += [torch.full((width, d_state), 0.1) for _ in range(2)]
    tensors += [torch.randn(*cells, d_state, generator=draw) for _ in range(4)]
    return [tensor.requires_grad_() for tensor in tensors]


def ours(u: Tensor, *pairs: Tensor) -> Tensor:
    two = [(pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2)]
    return selective_scan_2d(u, *two)[0]


def alone(u: Tensor, *pairs: Tensor) -> Tensor:
    """The field along time alone, by the scan of a sequence: as many cells."""
    step, A, B, C = pairs[0], pairs[2], pairs[6], pairs[8]
    rows = [each.flatten(0, 1) for each in (u, step, B, C)]
    return selective_scan(rows[0], rows[1], A, rows[2], rows[3]).view(u.shape)


def loop(u: Tensor, *pairs: Tensor) -> Tensor:
    """A cell at a time."""
    step_1, step_2, A_1, A_2, rho_1, rho_2, B_1, B_2, C_1, C_2 = pairs
    _, variates, length, _ = u.shape
    none = u.new_zeros(len(u), *A_1.shape)
    below: list[tuple[Tensor, Tensor]] = [(none, none)] * length
    rows = []
    for v in range(variates):
        earlier, row = (none, none), []
        for t in range(length):
            a_1 = torch.exp(step_1[:, v, t, :, None] * A_1)
            a_2 = torch.exp(step_2[:, v, t, :, None] * A_2)
            drive_1 = (step_1[:, v, t] * u[:, v, t])[..., None] * B_1[:, v, t, None]
            drive_2 = (step_2[:, v, t] * u[:, v, t])[..., None] * B_2[:, v, t, None]
            h_1 = a_1 * earlier[0] + rho_1 * (1 - a_1) * earlier[1] + drive_1
            h_2 = a_2 * below[t][1] + rho_2 * (1 - a_2) * below[t][0] + drive_2
            earlier = below[t] = h_1, h_2
            row.append((h_1 * C_1[:, v, t, None] + h_2 * C_2[:, v, t, None]).sum(-1))
        rows.append(torch.stack(row, 1))
    return torch.stack(rows, 1)


def there_and_back(scan: Scan, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of all arguments that there are."""
    return torch.autograd.grad(scan(*tensors).sum(), tensors, allow_unused=True)


def check_same(tensors: list[Tensor]) -> None:
    """Both sides compute one thing."""
    for mine, theirs in zip(
        there_and_back(ours, tensors), there_and_back(loop, tensors), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
