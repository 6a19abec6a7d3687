"""A training run on disk: safetensors files that a kill at any instant cannot spoil.

A checkpoint holds the objective's tensors, the optimiser's, the best weights of a run that stops
early, and the step reached. Random numbers need no place in it: the engine seeds every step from
(seed, step), so a resumed run draws the same ones. The checkpoint before the newest is kept as
`NAME.previous.safetensors`, for the day when the disk damages the newest.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tacita.engine.history import Best
from tacita.errors import CheckpointError
from tacita.files import check_plain, remove_leftovers, replacing

FORMAT = "2"
ANOTHER_RUN = "Delete it, or start anew in another folder without --resume."


class DamagedError(CheckpointError):
    """The file is not what was written; another copy may be."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    step: int
    fingerprint: str
    """Names the run's options, networks and data: a checkpoint of another run is refused."""
    rows: list[dict[str, float]]
    """The history so far."""
    seconds: float = 0.0
    """Time spent so far."""
    best: Best | None = None
    best_weights: Mapping[str, Tensor] = field(default_factory=dict, compare=False)
    """The objective's tensors at the best step, in a run that stops early."""


def save_checkpoint(
    path: Path, checkpoint: Checkpoint, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a run; the one before it stays, as `previous_of(path)`."""
    remove_leftovers(path)
    tensors = {f"objective/{k}": v for k, v in objective.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in checkpoint.best_weights.items()}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer/{number}/{key}"] = torch.as_tensor(value)
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.step),
        "fingerprint": checkpoint.fingerprint,
        "rows": json.dumps(checkpoint.rows),
        "seconds": repr(checkpoint.seconds),
        "best": json.dumps(checkpoint.best),
    }
    metadata["digest"] = digest_of(tensors, metadata)
    write_tensors(path, tensors, metadata, previous=previous_of(path))


def load_newest(
    path: Path, fingerprint: str, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Checkpoint, Path] | None:
    """Put back the state of a run from its newest whole checkpoint, and say which file that is.

    None where there is no checkpoint. A damaged one is passed over, with a warning, for the one
    before it. Raises `CheckpointError` as `load_checkpoint` does.
    """
    previous = previous_of(path)
    if not path.exists() and not previous.exists():
        return None
    try:
        # Without hard links there is an instant at which only the previous one is there.
        newest = path if path.exists() else previous
        return load_checkpoint(newest, fingerprint, objective, optimizer), newest
    except DamagedError as error:
        if newest == previous or not previous.exists():
            raise
        try:
            saved = load_checkpoint(previous, fingerprint, objective, optimizer)
        except DamagedError:
            raise error from None
        logging.getLogger("tacita").warning(
            "%s The run goes on from the checkpoint before it, at step %d.",
            error.message,
            saved.step,
        )
        return saved, previous


def load_checkpoint(
    path: Path, fingerprint: str, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> Checkpoint:
    """Put a saved run's state back; raises `CheckpointError` and changes nothing if it does not fit."""
    try:
        tensors, metadata = read_tensors(path, remedy=ANOTHER_RUN)
    except CheckpointError as error:
        raise DamagedError(error.message, remedy=error.remedy) from error
    if metadata.pop("digest", "") != digest_of(tensors, metadata):
        raise DamagedError(f"{path}: is damaged (its digest differs).", remedy=ANOTHER_RUN)
    if metadata.get("format") != FORMAT or metadata.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{path}: belongs to another run: its options, data or networks differ.",
            remedy="Resume with the options it was started with, or start anew in another folder.",
        )
    expected = objective.state_dict()
    networks, best_weights = under("objective/", tensors), under("best/", tensors)
    check_tensors(path, networks, expected)
    if best_weights:
        check_tensors(path, best_weights, expected)
    best = json.loads(metadata["best"])
    saved = Checkpoint(
        int(metadata["step"]),
        fingerprint,
        json.loads(metadata["rows"]),
        float(metadata["seconds"]),
        None if best is None else Best(*best),
        best_weights,
    )
    state = optimizer.state_dict()
    moments = moments_of(path, under("optimizer/", tensors), optimizer)
    objective.load_state_dict(networks)
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    return saved


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the newest is kept.

    >>> previous_of(Path("work/run.safetensors")).as_posix()
    'work/run.previous.safetensors'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def remove_checkpoint(path: Path) -> None:
    """Remove a run's checkpoints, the previous one and what killed processes left of others too."""
    remove_leftovers(path)
    previous_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str],
    previous: Path | None = None,
) -> None:
    """Replace a safetensors file, whole or not at all; what it replaces is kept as `previous`.

    Raises `WriteError` when the disk is full.
    """
    with replacing(path) as temporary:
        # Tied weights share storage, which the format refuses: every entry gets its own.
        own = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        try:
            # One entry, since the format keeps several in no certain order.
            save_file(own, temporary, {"tacita": json.dumps(metadata, sort_keys=True)})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        if previous is not None and path.exists():
            _keep(path, previous)


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its metadata; raises `CheckpointError` for any damage."""
    check_plain(path, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(json.loads((file.metadata() or {}).get("tacita", "{}")))
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


def digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A digest over everything in a checkpoint but itself."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    add_to_digest(digest, tensors)
    return digest.hexdigest()


def moments_of(
    path: Path, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The optimiser's tensors by parameter: each a scalar or of its parameter's shape."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        known = number.isdecimal() and int(number) < len(parameters)
        if not known or value.shape not in ((), parameters[int(number)].shape):
            raise CheckpointError(
                f"{path}: optimizer/{key} does not belong to the optimiser.", remedy=ANOTHER_RUN
            )
        if value.ndim:
            # Fused optimisers walk through memory: moments must lie in it as their parameter does
            # (channels last, for convolutions), or each number would meet another one's moment.
            value = torch.empty_like(parameters[int(number)], requires_grad=False).copy_(value)
        moments.setdefault(int(number), {})[name] = value
    return moments


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _keep(path: Path, previous: Path) -> None:
    """Let a second name point to a file that is about to be replaced; `path` is there all the while."""
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(path)
    except OSError:
        # A file system without hard links: for an instant there is only the second name.
        path.replace(previous)
