"""The state that training on further data goes on from: networks, the optimiser's moments, schedule.

A run writes it where its main line ends: under the infinite schedule before the anneal, so that the
annealed model is a branch that nothing goes on from; else at its last step. The file is read and never
written by the run that goes on, and holds tensors and JSON only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tacita.engine.checkpoint import (
    check_tensors,
    digest_of,
    moments_of,
    read_tensors,
    under,
    write_tensors,
)
from tacita.engine.schedules import Infinite, Schedule, make_schedule
from tacita.errors import CheckpointError, ConfigError
from tacita.files import remove_leftovers

FORMAT = "1"
BEGIN_ANEW = "Pretrain the first data set again, or begin a new schedule from the model's encoder."


@dataclass(frozen=True)
class Carried:
    """What goes on from one data set to the next, beside the tensors."""

    step: int
    """The optimiser's steps so far, over all data sets."""
    optimizer: Literal["adamw", "sgd"]
    learning_rate: float
    """The largest."""
    schedule: Infinite | None
    """The schedule that goes on, without an anneal; None for one that ended."""

    def check(self, path: Path, optimizer: str, learning_rate: float, infinite: bool) -> None:
        """Raise `ConfigError` where a run cannot go on so.

        The infinite schedule must have begun at the same rate; one that ended starts anew at any.
        """
        if optimizer != self.optimizer:
            raise ConfigError(
                f"optimizer={optimizer}: {path} holds the moments of {self.optimizer}.",
                remedy=f"Choose optimizer={self.optimizer}.",
            )
        if infinite and self.schedule is None:
            raise ConfigError(
                f"{path}: its schedule ended, so that there is no constant rate to go on at.",
                remedy="Choose schedule=cosine to start once more, or pretrain with schedule=infinite.",
            )
        if infinite and learning_rate != self.learning_rate:
            raise ConfigError(
                f"learning_rate={learning_rate}: {path} goes on at a share of {self.learning_rate}.",
                remedy=f"Give learning_rate={self.learning_rate}.",
            )


def save_carried(
    path: Path, carried: Carried, objective: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a run, whole or not at all."""
    remove_leftovers(path)
    tensors = {f"objective/{k}": v for k, v in objective.state_dict().items()}
    # By name: how parameters are grouped, and so numbered, follows rates that may be others later.
    names = _names(objective, optimizer)
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer/{names[number]}/{key}"] = torch.as_tensor(value)
    schedule = None if carried.schedule is None else asdict(carried.schedule.endless())
    metadata = {
        "format": FORMAT,
        "step": str(carried.step),
        "optimizer": carried.optimizer,
        "learning_rate": repr(carried.learning_rate),
        "schedule": json.dumps(schedule),
    }
    metadata["digest"] = digest_of(tensors, metadata)
    write_tensors(path, tensors, metadata)


@dataclass(frozen=True)
class Kept:
    """A file that was read, to go on from."""

    path: Path
    carried: Carried
    tensors: dict[str, Tensor]
    digest: str


def load_carried(path: Path) -> Kept:
    """Read what a run kept; raises `CheckpointError` for a damaged file."""
    tensors, metadata = read_tensors(path, remedy=BEGIN_ANEW)
    digest = metadata.pop("digest", "")
    if digest != digest_of(tensors, metadata) or metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: is damaged or of another format (its digest differs).", remedy=BEGIN_ANEW
        )
    schedule = json.loads(metadata["schedule"])
    carried = Carried(
        int(metadata["step"]),
        "sgd" if metadata["optimizer"] == "sgd" else "adamw",
        float(metadata["learning_rate"]),
        None if schedule is None else Infinite(**schedule),
    )
    return Kept(path, carried, tensors, digest)


@dataclass(frozen=True)
class MainLine:
    """How a run goes from what it starts with to what it keeps."""

    begin: Carried
    rates: Callable[[int], float]
    """The share of the learning rate at a step over all data sets."""
    fork: int
    """The step of this run, from 0, before which its state is kept: there the anneal begins."""


def main_line(
    kept: Kept | None,
    schedule: Schedule | Callable[[int], float],
    steps: int,
    warmup: float,
    options: Mapping[str, float | str] | None,
    *,
    optimizer: Literal["adamw", "sgd"],
    learning_rate: float,
) -> MainLine:
    """Plan a run of some steps, from a file that another run kept or from nothing.

    Raises `ConfigError` where it cannot go on so, or for options that the schedule does not have.
    """
    if kept is not None:
        kept.carried.check(kept.path, optimizer, learning_rate, schedule == "infinite")
    done = 0 if kept is None else kept.carried.step
    if isinstance(schedule, str):
        after = None if kept is None else kept.carried.schedule
        rates: Callable[[int], float] = make_schedule(
            schedule, steps, warmup, options, after=after, begin=done
        )
    elif options:
        raise ConfigError(
            "schedule_options were given beside a schedule of your own.",
            remedy="Give them to the schedule.",
        )
    else:
        rates = schedule
    if not isinstance(rates, Infinite):
        return MainLine(Carried(done, optimizer, learning_rate, None), rates, steps)
    fork = steps if rates.anneal_at is None else min(steps, rates.anneal_at - done)
    return MainLine(Carried(done, optimizer, learning_rate, rates.endless()), rates, fork)


def restore_carried(kept: Kept, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the networks and the moments back.

    Raises `CheckpointError`, and changes nothing, where the networks are not those of the file.
    """
    networks = under("objective/", kept.tensors)
    check_tensors(kept.path, networks, objective.state_dict())
    numbers = {name: number for number, name in _names(objective, optimizer).items()}
    by_number = {}
    for key, value in under("optimizer/", kept.tensors).items():
        name, _, moment = key.rpartition("/")
        # A parameter that is frozen by now needs none.
        if name in numbers:
            by_number[f"{numbers[name]}/{moment}"] = value
    moments = moments_of(kept.path, by_number, optimizer)
    objective.load_state_dict(networks)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _names(objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    """The name of each of the optimiser's parameters, by its number there."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {number: names[id(parameter)] for number, parameter in enumerate(parameters)}
