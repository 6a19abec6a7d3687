"""The contract of a learner that keeps learning: new samples, new classes, and samples to be forgotten.

What it learns comes in sessions, of which 0 is the first `fit`. Its ledger knows which sample went into
which session, by the stable number that the sample has in its own data set; so a sample can be named
later, when nobody has it at hand any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from tacita.errors import ConfigError, DataError
from tacita.files import read_json, write_text

Number = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]
LARGEST = 2**28
"""Bytes of a ledger's file: some ten million samples."""
NAMES = "The ledger has the numbers: ledger.kept(session)."


class Session(BaseModel):
    """What one session learnt from: where the samples came from, their numbers in order, and who is gone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(max_length=4096)
    index: tuple[Number, ...]
    forgotten: tuple[Number, ...] = ()

    @model_validator(mode="after")
    def _were_there(self) -> Self:
        if self.forgotten and not set(self.forgotten) <= set(self.index):
            raise ValueError("a sample is forgotten that was never learnt")
        return self


class Ledger(BaseModel):
    """Which sample went where. Every change gives a new ledger, so that one can be kept or dropped whole.

    >>> ledger = Ledger().added("first.csv", torch.tensor([3, 4])).added("next.csv", torch.tensor([3]))
    >>> ledger = ledger.without([4])
    >>> ledger.kept(0).tolist(), len(ledger), ledger.places([3], session=1).tolist()
    ([3], 2, [1])
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions: tuple[Session, ...] = Field(default=(), max_length=2**16)

    def __len__(self) -> int:
        """How many samples are kept, over all sessions."""
        return sum(len(each.index) - len(each.forgotten) for each in self.sessions)

    def added(self, source: str, index: Tensor) -> Ledger:
        """With one more session of samples `index (n,)`, in the order in which they were learnt."""
        return Ledger(
            sessions=(*self.sessions, Session(source=source[:4096], index=tuple(index.tolist())))
        )

    def kept(self, session: int = 0) -> Tensor:
        """`(n,)`: the numbers of a session's samples that are not forgotten, in their order.

        Raises `DataError` for a session that there was not.
        """
        if not 0 <= session < len(self.sessions):
            raise DataError(
                f"session={session}: there were {len(self.sessions)}, numbered from 0.",
                remedy="Name the one that the samples were learnt in.",
            )
        index = torch.tensor(self.sessions[session].index, dtype=torch.int64)
        gone = torch.tensor(self.sessions[session].forgotten, dtype=torch.int64)
        return index[~torch.isin(index, gone)]

    def places(self, index: Sequence[int] | Tensor, *, session: int = 0) -> Tensor:
        """`(n,)`: where samples are among all that are kept, session after session.

        Raises `DataError` for a sample that was not learnt in the session, is forgotten already, is
        named twice, or shares its number with another.
        """
        kept = self.kept(session)
        wanted = torch.as_tensor(index, dtype=torch.int64).flatten()
        if not len(wanted):
            raise DataError("no sample is named.", remedy=NAMES)
        missing = wanted[~torch.isin(wanted, kept)]
        if len(missing):
            name = int(missing[0])
            before = name in self.sessions[session].forgotten
            raise DataError(
                f"sample {name} of session {session} "
                + ("was forgotten already." if before else "was never learnt."),
                remedy=NAMES,
            )
        places = torch.isin(kept, wanted).nonzero().squeeze(1)
        if len(places) != len(wanted) or len(torch.unique(wanted)) != len(wanted):
            raise DataError(
                f"samples of session {session} are named twice, or two have one number.",
                remedy="Name each once; give data sets an index of their own before they are learnt.",
            )
        return places + sum(len(self.kept(before)) for before in range(session))

    def without(self, index: Sequence[int] | Tensor, *, session: int = 0) -> Ledger:
        """With these samples forgotten; raises as `places` does."""
        self.places(index, session=session)
        old = self.sessions[session]
        gone = (*old.forgotten, *torch.as_tensor(index).flatten().tolist())
        new = Session(source=old.source, index=old.index, forgotten=gone)
        sessions = list(self.sessions)
        sessions[session] = new
        return Ledger(sessions=tuple(sessions))

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_text(path, self.model_dump_json())

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read it; raises `CheckpointError` for a file that is damaged, or larger than `LARGEST`."""
        return read_json(cls, path, LARGEST)


@dataclass(frozen=True)
class Receipt:
    """What was forgotten, and how exactly.

    index, session: the samples, as the ledger names them.
    exact: the parts of the model that are, bit for bit, as if it had never learnt the samples.
    unchanged: the parts that were not touched: what they had from the samples, if anything, they have.
    left: how many samples the model still stands on.
    """

    index: tuple[int, ...]
    session: int
    exact: tuple[str, ...]
    unchanged: tuple[str, ...]
    left: int


class Continual(ABC):
    """Learns on from where it is. After `fit` and every `extend`, `ledger_` knows every sample."""

    ledger_: Ledger

    @abstractmethod
    def extend(self, data: Any) -> Self:
        """Learn further samples, of classes that are known or new, as the next session.

        Raises `ConfigError` where it cannot, `DataError` for samples that do not go with those before;
        then nothing is changed.
        """

    @abstractmethod
    def forget(self, index: Sequence[int] | Tensor, *, session: int = 0) -> Receipt:
        """Forget samples of a session by their numbers, and say how exactly that was done.

        Raises `ConfigError` where it cannot, `DataError` for samples that it does not know; then
        nothing is changed.
        """

    def learnt(self) -> Ledger:
        """`ledger_`. Raises `ConfigError` before `fit`."""
        if not hasattr(self, "ledger_"):
            raise ConfigError(
                f"This {type(self).__name__} has learnt nothing yet.", remedy="Call fit first."
            )
        return self.ledger_
