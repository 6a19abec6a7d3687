"""A training run on disk: one safetensors file that a kill at any instant cannot spoil.

It holds the objective's tensors, the optimiser's, and the step reached. Random numbers need no
place in it: the engine seeds every step from (seed, step), so a resumed run draws the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tacita.errors import CheckpointError
from tacita.files import replacing

FORMAT = "1"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    step: int
    fingerprint: str
    """Names the run's options and networks: a checkpoint of another run is refused."""
    rows: list[dict[str, float]]
    """The history so far."""


def save_checkpoint(
    path: Path, checkpoint: Checkpoint, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a run; the file before it stays until the new one is whole."""
    tensors = {f"objective/{k}": v for k, v in objective.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer/{number}/{key}"] = torch.as_tensor(value)
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.step),
        "fingerprint": checkpoint.fingerprint,
        "rows": json.dumps(checkpoint.rows),
    }
    with replacing(path) as temporary:
        # Tied weights share storage, which the format refuses: every entry gets its own.
        save_file(
            {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()},
            temporary,
            metadata,
        )


def load_checkpoint(
    path: Path, fingerprint: str, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> Checkpoint:
    """Put a saved run's state back; raises `CheckpointError` and changes nothing if it does not fit."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({error}).",
            remedy="Delete it and run again without --resume.",
        ) from error
    if metadata.get("format") != FORMAT or metadata.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{path}: belongs to another run: its options, data or networks differ.",
            remedy="Resume with the options it was started with, or start anew in another folder.",
        )
    networks = {
        k.removeprefix("objective/"): v for k, v in tensors.items() if k.startswith("objective/")
    }
    check_tensors(path, networks, objective.state_dict())
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            moments.setdefault(int(number), {})[name] = value
    objective.load_state_dict(networks)
    state = optimizer.state_dict()
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    return Checkpoint(int(metadata["step"]), fingerprint, json.loads(metadata["rows"]))


def check_tensors(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names, shapes, types or values are not those of the networks."""
    remedy = "The file is damaged or of another recipe; use the folder as it was saved."
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    if missing or extra:
        what = f"lacks {missing[:3]}" if missing else f"has unknown {extra[:3]}"
        raise CheckpointError(f"{path}: {what}.", remedy=remedy)
    for name, tensor in found.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise CheckpointError(
                f"{path}: {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"but the recipe needs {want.dtype} {tuple(want.shape)}.",
                remedy=remedy,
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite values.", remedy=remedy)
