"""What several processes that train together share, so that they learn what one would have learnt.

A step's batch is one, cut into a stretch of samples a process, in their order. What needs all of it is
`gathered`; what is drawn is drawn for all of it by every process, which keeps its own stretch, so that a
sample gets the same view whatever the number of processes. Each process may come to the loss of the whole
batch, or to the mean over its own samples: gradients are averaged, and either way that is the whole
batch's gradient.

All this holds within `sharing()`, which the engine enters for a step. Elsewhere, and with a single
process, each works alone: nothing is sent, and draws are plain ones of torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

_together = False
_seed = 0
_kinds: tuple[int, ...] = ()
_counts: list[int] = []
_generators: dict[str, torch.Generator] = {}


@contextmanager
def sharing(seed: int | None = None) -> Iterator[None]:
    """Within it the processes of `torch.distributed` are one; all of them have to enter it.

    seed: of what is drawn alike, the same in every process; without one the draws go on.

    >>> with sharing(): processes()
    1
    """
    global _together, _seed
    before, _together = _together, True
    if seed is not None:
        _seed = seed
        _generators.clear()
    try:
        yield
    finally:
        _together = before


def processes() -> int:
    """How many train together."""
    if not _together or not torch.distributed.is_available():
        return 1
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def own(value: Tensor, dim: int = 0) -> Tensor:
    """This process's stretch of what is of the whole batch along an axis."""
    if processes() == 1:
        return value
    rank = torch.distributed.get_rank()
    if _counts:
        return value.tensor_split(list(accumulate(_counts))[:-1], dim)[rank]
    return torch.cat([kind.chunk(processes(), dim)[rank] for kind in _of_kinds(value, dim)], dim)


@contextmanager
def kinds(*sizes: int) -> Iterator[None]:
    """Within it samples are of several kinds, this process having `sizes` of each, kind after kind.

    What a network draws in one pass over a labelled and an unlabelled batch is then drawn for all
    labelled samples and then for all others, as one process would.
    """
    global _kinds
    before, _kinds = _kinds, sizes
    try:
        yield
    finally:
        _kinds = before


@contextmanager
def uneven(count: int, device: torch.device) -> Iterator[int]:
    """Within it this process has `count` samples, and others have other numbers; gives that of all."""
    global _counts
    if processes() == 1:
        yield count
        return
    before = _counts
    _counts = gathered(torch.tensor([count], device=device)).tolist()
    try:
        yield sum(_counts)
    finally:
        _counts = before


def _of_kinds(value: Tensor, dim: int) -> tuple[Tensor, ...]:
    rows, each = value.shape[dim], sum(_kinds) * processes()
    if not _kinds or rows % each:
        return (value,)
    sizes = [size * processes() * (rows // each) for size in _kinds]
    return torch.split(value, sizes, dim)


def gathered(value: Tensor) -> Tensor:
    """`(B, ...)` of every process, one after another: `(P B, ...)`; gradients flow back to all.

    >>> gathered(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    return value if processes() == 1 else _Gather.apply(value)


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of a tensor that every process has one of."""
    return value if processes() == 1 else gathered(value[None]).sum(0)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a tensor that every process has one of; of counts, no whole number."""
    return value if processes() == 1 else sum_over_processes(value) / processes()


def count_over_processes(count: int, device: torch.device) -> int:
    """The sum of what every process has counted."""
    if processes() == 1:
        return count
    return int(sum_over_processes(torch.tensor(count, device=device)))


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """`total / count` over the whole batch, where processes may count differently; zero for none.

    What each process gets is its own part, of which the mean over processes is that.

    >>> mean_of(torch.tensor(6.0), torch.tensor(3)), mean_of(torch.tensor(0.0), torch.tensor(0))
    (tensor(2.), tensor(0.))
    """
    return total / sum_over_processes(count).clamp_min(1) * processes()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        parts = [
            torch.empty_like(value, memory_format=torch.contiguous_format)
            for _ in range(processes())
        ]
        torch.distributed.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Every process has used what all of them gave.
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient)
        count = torch.distributed.get_world_size()
        return gradient.chunk(count)[torch.distributed.get_rank()]


# Draws


@contextmanager
def alike(device: torch.device | None = None) -> Iterator[None]:
    """What is drawn within it from torch's global generator of a device is the same in every process."""
    if processes() == 1:
        yield
        return
    default, shared = _default(device), _shared(device)
    mine = default.get_state()
    default.set_state(shared.get_state())
    try:
        yield
    finally:
        shared.set_state(default.get_state())
        default.set_state(mine)


@contextmanager
def undrawn(device: torch.device) -> Iterator[None]:
    """What is drawn within it leaves no trace: the generators of a device go back."""
    shared = _shared(device) if processes() > 1 else None
    state = None if shared is None else shared.get_state()
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        yield
    if shared is not None and state is not None:
        shared.set_state(state)


def rand(
    *shape: int,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    dim: int = 0,
) -> Tensor:
    """`torch.rand`, whose axis `dim` runs over samples: this process's stretch of the whole batch's.

    >>> rand(2, 3).shape
    torch.Size([2, 3])
    """
    return drawn(lambda shape: torch.rand(shape, device=device, dtype=dtype), shape, device, dim)


def randn(*shape: int, like: Tensor) -> Tensor:
    """`torch.randn` of samples, in the type of a tensor and on its device; see `rand`."""
    return drawn(
        lambda shape: torch.randn(shape, dtype=like.dtype, device=like.device), shape, like.device
    )


def randint(low: int, high: int, shape: Sequence[int], device: torch.device | None) -> Tensor:
    """`torch.randint` of samples; see `rand`."""
    return drawn(lambda shape: torch.randint(low, high, shape, device=device), shape, device)


def randperm(count: int, device: torch.device | None = None) -> Tensor:
    """`(P count,)`: a random order of the whole batch, of which this process has `count` samples."""
    with alike(device):
        return torch.randperm(count * processes(), device=device)


def drawn(
    draw: Callable[[tuple[int, ...]], Tensor],
    shape: Sequence[int],
    device: torch.device | None = None,
    dim: int = 0,
) -> Tensor:
    """What `draw` gives for the shape of the whole batch, of which this process keeps its stretch."""
    if processes() == 1:
        return draw(tuple(shape))
    whole = list(shape)
    whole[dim] = sum(_counts) if _counts else whole[dim] * processes()
    with alike(device):
        return own(draw(tuple(whole)), dim)


def _default(device: torch.device | None) -> torch.Generator:
    if device is None or device.type == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[device.index or 0]


def _shared(device: torch.device | None) -> torch.Generator:
    name = "cpu" if device is None else str(device)
    if name not in _generators:
        _generators[name] = torch.Generator(_default(device).device).manual_seed(_seed)
    return _generators[name]
