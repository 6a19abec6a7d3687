"""What a run keeps of each training: results on disk, names of files, errors that end a candidate alone."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from tacita.catalog.recipe import Recipe, Section
from tacita.encoder import Encoder
from tacita.errors import CandidateError, CheckpointError, TacitaError
from tacita.objective import Objective

Rows = list[dict[str, float]]
"""Of a history: a step and named values each."""
SPARED: tuple[type[Exception], ...] = (Exception,)
"""What ends a candidate and not the run."""


@contextmanager
def spared(alone: bool) -> Iterator[None]:
    """Within the block an error that is none of ours becomes one, unless the candidate is alone."""
    try:
        yield
    except TacitaError:
        raise
    except SPARED as error:
        if alone:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = next(iter(str(error).splitlines()), "")[:200]
        raise CandidateError(
            f"{type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno}).",
            remedy="Run it alone with --recipe to see the whole of the error.",
        ) from error


class Pretrained(NamedTuple):
    """An encoder, what it was trained by, and the seconds that it took."""

    encoder: Encoder
    objective: Objective[Any]
    seconds: float


def pretraining_key(recipe: Recipe) -> str:
    """A file name for "the same pretraining": candidates that share it train it once."""
    assert recipe.pretrain is not None
    text = f"{recipe.encoder} {recipe.pretrain} {recipe.seed}"
    return f"{recipe.pretrain.method}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class FoldResult(BaseModel):
    """What a fold came to, kept in `work` for a resumed run."""

    model_config = ConfigDict(extra="forbid")

    scores: dict[str, float]
    seconds: float
    peak_mb: float
    ended: str = ""
    rows: Rows
    pretraining: Rows


def read_result(path: Path) -> FoldResult:
    """A fold's result; raises `CheckpointError` with what to do for a file that is damaged."""
    try:
        return FoldResult.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: is damaged or was changed.",
            remedy="Delete it and run again with --resume: its fold is then trained anew.",
        ) from error


def pretraining_name(section: Section) -> str:
    """What a pretraining is called on the screen and in the history."""
    return f"{section.method} (pretraining)"


def file_name(recipe: Recipe) -> str:
    """A recipe's name as that of a file."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in recipe.name)[:80]
