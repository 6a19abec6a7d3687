"""A training run on disk: one safetensors file that a kill at any instant cannot spoil.

It holds the objective's tensors, the optimiser's, and the step reached. Random numbers need no
place in it: the engine seeds every step from (seed, step), so a resumed run draws the same ones.
"""

from __future__ import annotations

import hashlib
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
ANOTHER_RUN = "Delete it, or start anew in another folder without --resume."


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    step: int
    fingerprint: str
    """Names the run's options, networks and data: a checkpoint of another run is refused."""
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
    metadata["digest"] = _digest(tensors, metadata)
    write_tensors(path, tensors, metadata)


def load_checkpoint(
    path: Path, fingerprint: str, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> Checkpoint:
    """Put a saved run's state back; raises `CheckpointError` and changes nothing if it does not fit."""
    tensors, metadata = read_tensors(path, remedy=ANOTHER_RUN)
    if metadata.get("format") != FORMAT or metadata.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{path}: belongs to another run: its options, data or networks differ.",
            remedy="Resume with the options it was started with, or start anew in another folder.",
        )
    networks = {
        key.removeprefix("objective/"): value
        for key, value in tensors.items()
        if key.startswith("objective/")
    }
    check_tensors(path, networks, objective.state_dict())
    if metadata.pop("digest", "") != _digest(tensors, metadata):
        raise CheckpointError(f"{path}: is damaged (its digest differs).", remedy=ANOTHER_RUN)
    saved = Checkpoint(int(metadata["step"]), fingerprint, json.loads(metadata["rows"]))
    state = optimizer.state_dict()
    moments = _moments(path, tensors, optimizer)
    objective.load_state_dict(networks)
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    return saved


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Replace a safetensors file, whole or not at all; raises `WriteError` when the disk is full."""
    with replacing(path) as temporary:
        # Tied weights share storage, which the format refuses: every entry gets its own.
        own = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        try:
            save_file(own, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its metadata; raises `CheckpointError` for any damage."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except Exception as error:
        # A damaged header can fail anywhere inside safetensors or torch.
        raise CheckpointError(
            f"{path}: not a readable file of tensors ({error}).", remedy=remedy
        ) from error


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


def add_to_digest(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    """Take in every tensor's name, type, shape and bytes, so that one flipped bit is noticed."""
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    add_to_digest(digest, tensors)
    return digest.hexdigest()


def _moments(
    path: Path, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The optimiser's tensors by parameter: each a scalar or of its parameter's shape."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("objective/"):
            continue
        kind, number, name = [*key.split("/"), "", ""][:3]
        known = kind == "optimizer" and number.isdecimal() and int(number) < len(parameters)
        if not known or value.shape not in ((), parameters[int(number)].shape):
            raise CheckpointError(
                f"{path}: {key} does not belong to the optimiser.", remedy=ANOTHER_RUN
            )
        if value.ndim:
            # Fused optimisers walk through memory: moments must lie in it as their parameter does
            # (channels last, for convolutions), or each number would meet another one's moment.
            value = torch.empty_like(parameters[int(number)], requires_grad=False).copy_(value)
        moments.setdefault(int(number), {})[name] = value
    return moments
