"""Which implementation of a kernel runs: plain torch, numba on a CPU, or triton on a GPU.

Every kernel has a form in plain torch, which runs on any device, under `torch.compile` and in an
exported program. `numba` and `triton` are the same function, faster.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from tacita.errors import ConfigError

Backend = Literal["auto", "torch", "numba", "triton"]
BACKENDS = ("auto", "torch", "numba", "triton")


def choose(backend: str, *tensors: Tensor | None) -> Literal["torch", "numba", "triton"]:
    """The implementation to run for these tensors, which must lie on one device.

    `auto` is numba on a CPU, triton on a CUDA device that has it, and torch anywhere else: other
    devices, tensors without data, tracing and compiling. Raises `ConfigError` for an unknown name,
    tensors on several devices, or an implementation that cannot run on this one.

    >>> choose("auto", torch.zeros(2))
    'numba'
    """
    if backend not in BACKENDS:
        raise ConfigError(
            f"backend={backend!r} is unknown.", remedy=f"Known: {', '.join(BACKENDS)}."
        )
    devices = {tensor.device for tensor in tensors if tensor is not None}
    if len(devices) != 1:
        names = ", ".join(sorted(str(device) for device in devices))
        raise ConfigError(
            f"the tensors of one kernel lie on several devices: {names}.",
            remedy="Move them to one with .to(device).",
        )
    (device,) = devices
    if backend == "torch" or torch.compiler.is_compiling() or traced():
        return "torch"
    if backend == "auto":
        if device.type == "cpu":
            return "numba"
        return "triton" if device.type == "cuda" and find_spec("triton") else "torch"
    if backend == "numba" and device.type != "cpu":
        raise ConfigError(f"backend='numba' runs on a CPU and the tensors are on {device}.")
    if backend == "triton" and not (
        find_spec("triton") and (device.type == "cuda" or _interpreted())
    ):
        raise ConfigError(
            f"backend='triton' runs on a GPU with triton installed; the tensors are on {device}.",
            remedy="Leave the backend out, and the fastest that can run is taken.",
        )
    return "numba" if backend == "numba" else "triton"


def traced() -> bool:
    """Whether `torch.jit.trace` is watching, which sees nothing of what numba or triton do."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing


def _interpreted() -> bool:
    """Whether triton interprets its programs on the CPU, as its tests do (TRITON_INTERPRET=1)."""
    import triton

    return bool(triton.knobs.runtime.interpret)
