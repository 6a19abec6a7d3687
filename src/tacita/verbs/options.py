"""What all verbs are told beside their data: declared here once, for Python and for the command line.

How data are read is told by `ReadingOptions`. Importing this brings no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict, get_args

from tacita.catalog.durations import parse_duration
from tacita.catalog.plain import plain
from tacita.data.reading import ReadingOptions
from tacita.engine.precision import Precision
from tacita.errors import ConfigError

UNLIMITED = "none"
"""A budget that is none, where one would be taken by default."""
LARGEST_SEED = 2**32 - 1


class RunningOptions(TypedDict, total=False):
    """How a verb runs; `Running` says what each is."""

    budget: float | str | None
    seed: int
    out: str | Path | None
    resume: bool
    overwrite: bool
    dry_run: bool
    quiet: bool | int
    device: str
    precision: Precision


class VerbOptions(ReadingOptions, RunningOptions, total=False):
    """What every verb that trains takes."""


@dataclass(frozen=True)
class Running:
    """How a verb runs; the fields are those of `RunningOptions`.

    budget: seconds, or "90s", "5m", "2h", that the whole may take; training is stretched or cut to fill
        it. A comparison that is given none takes 10 minutes at most, "none" lifts that.
    seed: governs everything random.
    out: the run's folder; by default `runs/NAME` for data from a path, and none for data in memory
        (then nothing is written and `model.save` is yours to call).
    resume: go on with an interrupted run; `overwrite`: replace the folder of a run.
    dry_run: print the resolved plan and raise `DryRun` before anything is written or trained.
    quiet: whether nothing is said; 1 (`-q`) leaves the lines of the result, 2 (`-qq`) none.
    device: "auto", "cpu", "cuda" or "mps"; `precision`: of the arithmetic.

    Raises `ConfigError` for a budget that is none, a seed out of range, or an unknown precision.
    """

    budget: float | str | None = None
    seed: int = 0
    out: str | Path | None = None
    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False
    quiet: bool | int = False
    device: str = "auto"
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, plain(getattr(self, each.name)))
        if self.budget not in (None, UNLIMITED):
            parse_duration(self.budget)
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(
                f"seed={self.seed} is not from 0 to {LARGEST_SEED}.", remedy="Give another number."
            )
        if self.quiet not in (0, 1, 2):
            raise ConfigError(
                f"quiet={self.quiet!r} is no level.", remedy="Give True, or 1 for the result alone."
            )
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f"precision={self.precision!r} is unknown.",
                remedy=f"Known: {', '.join(get_args(Precision))}.",
            )

    @property
    def seconds(self) -> float | None:
        """The budget in seconds, if there is one."""
        return None if self.budget in (None, UNLIMITED) else parse_duration(self.budget)

    @property
    def engine(self) -> dict[str, Any]:
        """What every training is told."""
        return {"device": self.device, "precision": self.precision}
