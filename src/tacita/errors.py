"""The errors that tacita raises for its users: what is wrong, where, and what to do about it.

Every one of them is a `TacitaError`, so a caller can catch the family; each is also the built-in
error that a reader would expect (`ValueError`, `ImportError`), so code that knows nothing of
tacita behaves too. The command line prints them without a traceback and exits with 2.
"""

from __future__ import annotations

from typing import Any

from tacita.words import printable


class TacitaError(Exception):
    """A mistake that the user can mend: `message` says what is wrong, `remedy` what to do.

    What is shown of it has escapes for control characters, since it quotes what strangers wrote.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(printable(f"{message}\n       {remedy}" if remedy else message))

    def __reduce__(self) -> tuple[Any, ...]:
        # It may come from another process, and the errors below are made of other arguments.
        return _restored, (type(self), self.args, dict(self.__dict__))


class DataError(TacitaError, ValueError):
    """The data cannot be used as they are: names the file, row, column or array."""


class ConfigError(TacitaError, ValueError):
    """An option or a recipe is wrong: names the argument, the value and the nearest valid one."""


class CheckpointError(TacitaError, ValueError):
    """A model folder or a checkpoint is damaged, incomplete or of another recipe or version."""


class MissingExtraError(TacitaError, ImportError):
    """An optional dependency is not installed: names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed.", remedy=f"Run: pip install 'tacita[{extra}]'"
        )


class DivergedError(TacitaError, ArithmeticError):
    """Training went astray: names what became NaN or infinite, and where it is known, the step."""


class OutOfMemoryError(TacitaError, MemoryError):
    """A step did not fit into memory: names the batch size that was tried and the next to try."""


class CandidateError(TacitaError, RuntimeError):
    """One of several candidates stopped at an error that is none of ours; the run goes on without it."""


class DryRun(TacitaError):
    """Not a mistake: how a run that was only to be planned stops, with its `plan`."""

    def __init__(self, plan: object) -> None:
        self.plan = plan
        super().__init__("This was a dry run: nothing was trained or written.")


def _restored(cls: type[TacitaError], args: tuple[Any, ...], facts: dict[str, Any]) -> TacitaError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error
