"""Where a run computes: its device and processes, their random numbers, and memory that ran out."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric

from tacita.engine.precision import Precision
from tacita.errors import ConfigError


def make_fabric(device: str, precision: Precision) -> Fabric:
    """One process on one device; or, under torchrun, this process's share of several."""
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(),
             "mps": torch.backends.mps.is_available()}  # fmt: skip
    if not there.get(device, False):
        raise ConfigError(
            f"device={device!r}: {'it is not there' if device in there else 'unknown'}.",
            remedy=f"Here there are: {', '.join(name for name in there if there[name])}.",
        )
    on_cpu = device == "cpu" or (device == "auto" and not (there["cuda"] or there["mps"]))
    if precision == "16-mixed" and on_cpu:
        raise ConfigError(
            "precision='16-mixed' needs a GPU.", remedy="Take bf16-mixed or 32-true on a CPU."
        )
    if not under_torchrun():
        return Fabric(accelerator=device, devices=1, precision=precision)
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return Fabric(
        accelerator=device,
        strategy="ddp",
        devices=local,
        num_nodes=world // local,
        precision=precision,
    )


def under_torchrun() -> bool:
    """Whether this is one of the processes that torchrun has started."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def seed_step(device: torch.device, seed: int) -> None:
    """Seed the generators that a step draws from.

    `torch.manual_seed` does it for every device that there might be, and while CUDA is not in use it
    notes down where it was called from: several times what a small network's step may cost beyond
    the network itself.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def cuda_devices(fabric: Fabric) -> list[int]:
    """The CUDA devices of this process, for `torch.random.fork_rng`."""
    return [fabric.device.index or 0] if fabric.device.type == "cuda" else []


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in words
        or "not enough memory" in words
        or "out of memory" in words
    )


logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
