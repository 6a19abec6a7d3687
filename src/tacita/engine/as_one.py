"""A step of several processes as that of one: batch norms and dropout see the batch of all of them.

torch's own `SyncBatchNorm` takes a GPU's samples only, and replaces modules; here the two functions that
all networks call, those of libraries too, are another one for as long as a step takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tacita.processes import drawn, gathered, processes, sharing


@contextmanager
def as_one(seed: int | None = None) -> Iterator[None]:
    """What is computed within it is of the batch of all processes; with one, nothing changes.

    For a loop of one's own, around the loss, its backward pass and `after_step`; every process has to
    enter it, and to average its gradients with the others, as `DistributedDataParallel` does.

    seed: of what is drawn, the same in every process.
    """
    with sharing(seed):
        if processes() == 1:
            yield
        else:
            with _Mode():
                yield


class _Mode(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` over the samples of all processes, which may have unequal numbers.

    Shapes: `(B, C, ...)` to the same. Each process sends a mean, a sum of squares and a count a channel.

    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True).round(decimals=3).tolist()
    [[-1.0], [1.0]]
    """
    if not training:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    values = input if input.dtype == torch.float64 else input.float()
    axes = [0, *range(2, input.ndim)]
    shape = (1, -1, *[1] * (input.ndim - 2))
    count = input.numel() // input.shape[1]
    own_mean = values.sum(axes) / max(1, count)
    own_squares = (values - own_mean.view(shape)).square().sum(axes)
    own = torch.stack([own_mean, own_squares, torch.full_like(own_mean, count)])
    means, squares, counts = gathered(own[None]).unbind(1)  # (P, C) each
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    variance = (squares + counts * (means - mean).square()).sum(0) / total
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = variance * (total / (total - 1).clamp_min(1))
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_(unbiased.to(running_var), momentum)
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    normalised = (values - mean.view(shape)) * scale.view(shape)
    if bias is not None:
        normalised = normalised + bias.view(shape)
    return normalised.to(input.dtype)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout` of `(B, ...)` samples, drawn for those of all processes."""
    if not training or p == 0:
        return functional.dropout(input, p, training, inplace)
    scale = drawn(
        lambda shape: functional.dropout(input.new_ones(shape), p), input.shape, input.device
    )
    return input.mul_(scale) if inplace else input * scale


_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.batch_norm: batch_norm,
    functional.dropout: dropout,
}
