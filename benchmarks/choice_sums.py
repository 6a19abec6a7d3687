"""The arithmetic of the page: who is best or tied, by how much `fit` falls short, and its regret.

Everything is over draws that two columns share, so that a draw which is missing counts for neither.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from benchmarks.few_label_tasks import DRAWS

PAGE = Path(__file__).parents[1] / "docs" / "choice.md"
RECORD = PAGE.with_suffix(".jsonl")
NEAR = 0.005
"""Half a point of accuracy: nearer ones are tied."""

Key = tuple[str, int, int, str, str]
Record = dict[Key, dict[str, Any]]
"""What was measured, by task, labels a class, draw, what, and budget (`""` for what has none)."""
Column = dict[int, float]
"""Accuracies by draw."""


def read_record(path: Path = RECORD) -> Record:
    """What was measured; a line that a kill left half written is left out."""
    found: Record = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        where = (entry["task"], entry["labels"], entry["draw"], entry["what"])
        found[*where, entry.get("budget", "")] = entry
    return found


def column(
    record: Record, task: str, labels: int, what: str, method: str, budget: str = ""
) -> Column:
    """A method's accuracies on the draws that are reported."""
    entries = ((draw, record.get((task, labels, draw, what, budget), {})) for draw in DRAWS)
    found = ((draw, entry.get("accuracy", {}).get(method)) for draw, entry in entries)
    return {draw: value for draw, value in found if value is not None}


def ahead(theirs: Column, ours: Column) -> list[float]:
    """By how much they are ahead of ours, on the draws that both have.

    >>> ahead({0: 0.75, 1: 0.5}, {0: 0.5, 2: 0.5})
    [0.25]
    """
    return [theirs[draw] - ours[draw] for draw in sorted(theirs.keys() & ours.keys())]


def not_behind(ours: Column, theirs: Column) -> bool:
    """Whether ours is better, or behind by no more than `NEAR` or one standard error of the mean difference.

    >>> not_behind({0: 0.900, 1: 0.900}, {0: 0.904, 1: 0.904})
    True
    >>> not_behind({0: 0.900, 1: 0.900}, {0: 0.910, 1: 0.911})
    False
    """
    gaps = ahead(theirs, ours)
    error = stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
    # A rounding error must not undo what the four written digits say.
    return mean(gaps) <= max(NEAR, error) + 1e-9


def singles(columns: Mapping[str, Mapping[str, Column]]) -> dict[str, float]:
    """Means over tasks, the best first, of the methods with a result on every draw of every task.

    columns: by method, then by task.
    """
    draws = {
        task: set().union(*(each.get(task, {}) for each in columns.values()))
        for task in set().union(*columns.values())
    }
    whole = {
        method: mean(mean(each[task].values()) for task in draws)
        for method, each in columns.items()
        if draws and all(draws[task] and set(each.get(task, {})) == draws[task] for task in draws)
    }
    return dict(sorted(whole.items(), key=lambda pair: pair[1], reverse=True))


def oracle(columns: Sequence[Column]) -> Column:
    """The column with the best mean, which is known only afterwards."""
    return max((each for each in columns if each), key=lambda c: mean(c.values()), default={})


def regrets(record: Record, task: str, labels: int, budget: str) -> Column:
    """By draw, how much better on the test part the best of `fit`'s candidates was than what it returned.

    It is below 0 where the returned model beats what its recipe comes to once more.
    """
    returned = column(record, task, labels, "fit", "fit", budget)
    found = {}
    for draw, value in returned.items():
        every = record.get((task, labels, draw, "candidates", budget), {}).get("accuracy", {})
        if every:
            found[draw] = max(every.values()) - value
    return found


def by_score(record: Record, task: str, labels: int, budget: str) -> Column:
    """By draw, the test accuracy of the single candidate that had the best score in the run of `fit`.

    Of equal scores the one that the leaderboard has first. Candidates are only known by what ranked them.
    """
    found = {}
    for draw in DRAWS:
        run = record.get((task, labels, draw, "fit", budget), {})
        every = record.get((task, labels, draw, "candidates", budget), {}).get("accuracy", {})
        scored = {name: value for name, value in run.get("validated", {}).items() if name in every}
        if scored:
            found[draw] = every[max(scored, key=lambda name: scored[name])]
    return found


class Verdict(NamedTuple):
    """On one task with so many labels a class.

    ours: of `fit`. failed: draws on which `fit` gave no model. won: whether it gave one on every draw that
    was tried and no rival is ahead; None where nothing can be compared. deficit: of its mean against
    scikit-learn's best single; None as before.
    """

    ours: Column
    failed: int
    won: bool | None
    deficit: float | None


def verdict(ours: Column, failed: int, single: Column, rivals: Sequence[Column]) -> Verdict:
    """`rivals`: all columns that count, scikit-learn's best single among them, but not the oracle."""
    compared = [rival for rival in rivals if ahead(rival, ours)]
    won = None if not compared else all(not_behind(ours, rival) for rival in compared)
    if failed and rivals:
        won = False
    gaps = ahead(single, ours)
    return Verdict(ours, failed, won, mean(gaps) if gaps else None)
