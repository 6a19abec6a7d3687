"""What a page comes to, as Markdown: for a pull request, a notebook or a mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tacita.model.metrics import Metrics
from tacita.report.content import ReportContent
from tacita.report.words import UNKNOWN, between, duration, metric_name, number, score, shorten

CLASSES: Final = 30
SUSPECTS: Final = 10
COLUMNS: Final = 10


def summary(content: ReportContent) -> str:
    """The page's figures as Markdown tables and lists; names from strangers' files stay text.

    >>> print(summary(ReportContent("wine <b>", verdict="knn wins.")))
    # wine \\<b\\>
    <BLANKLINE>
    knn wins.
    <BLANKLINE>
    """
    parts = [f"# {inert(content.title)}", inert(content.created), inert(content.verdict)]
    parts += _list("Please note", content.warnings)
    parts += _leaderboard(content.metrics)
    parts += _scores(
        "On held-out samples", content.metrics.held_out, content.metrics.held_out_intervals
    )
    parts += _scores(
        "Out of fold", content.metrics.out_of_fold, content.metrics.out_of_fold_intervals
    )
    if content.per_class:
        parts += ["## Class by class", inert(content.judged), _classes(content)]
    if content.groups:
        head = ("group", "samples", metric_name(content.group_metric))
        cells = (
            (row.name, row.samples, score(content.group_metric, row.score))
            for row in content.groups[:CLASSES]
        )
        parts += ["## Group by group", _table(head, cells)]
    if content.suspects:
        found = ((each.name, each.true, each.predicted) for each in content.suspects[:SUSPECTS])
        parts += ["## Labels to look at again", inert(content.suspected)]
        parts += [_table(("sample", "labelled", "probably"), found)]
    if content.importance:
        worth = ((each.name, number(each.fall)) for each in content.importance[:COLUMNS])
        figure = f"{metric_name(content.importance_metric)}, how much worse"
        parts += ["## What the columns are worth", _table(("column", figure), worth)]
    parts += _list("Data", content.description)
    if content.health is not None:
        parts += _list("Health of the features", content.health.warnings)
    if content.command:
        parts += ["## Reproduce", "    " + " ".join(content.command.split())]
    return "\n\n".join(part for part in parts if part) + "\n"


def inert(text: str) -> str:
    """Text in which nothing is Markdown or HTML, on one line.

    >>> inert("a|b *c*")
    'a\\\\|b \\\\*c\\\\*'
    """
    whole = text.encode("utf-8", "replace").decode()
    return re.sub(r"([\\`*_{}\[\]<>#|&~])", r"\\\1", " ".join(whole.split()))


def _leaderboard(metrics: Metrics) -> list[str]:
    if not metrics.leaderboard:
        return []
    metric = metrics.leaderboard[0].metric
    rows = [
        (
            row.name + (" (kept)" if row.name == metrics.winner else ""),
            UNKNOWN if row.mean is None else score(metric, row.mean),
            between(metric, row.interval) or UNKNOWN,
            UNKNOWN if row.std is None else score(metric, row.std),
            duration(row.seconds),
        )
        for row in metrics.leaderboard
    ]
    free = [
        f"{name}: {score(metric, value)}."
        for name, value in (
            ("Knowing only how common the answers are", (metrics.majority or {}).get(metric)),
            ("Guessing blindly", metrics.chance.get(metric)),
        )
        if value is not None
    ]
    head = ("candidate", metric_name(metric), "95% interval", "spread", "time a fold")
    said = " ".join([f"{inert(metrics.protocol)}.", inert(metrics.spread), *free])
    ranked_by = f"{inert(metrics.ranked_by)}." if metrics.ranked_by else ""
    return ["## Leaderboard", said, ranked_by, _table(head, rows)]


def _classes(content: ReportContent) -> str:
    rows = content.per_class[:CLASSES]
    cells = (
        (row.name, *(score("f1", v) for v in (row.precision, row.recall, row.f1)), row.support)
        for row in rows
    )
    return _table(("class", "precision", "recall", "F1", "samples"), cells)


def _scores(
    title: str, scores: dict[str, float] | None, intervals: dict[str, tuple[float, float]]
) -> list[str]:
    if not scores:
        return []
    rows = [
        (metric_name(name), score(name, value), between(name, intervals.get(name)))
        for name, value in scores.items()
    ]
    return [f"## {title}", _table(("figure", "value", "95% interval"), rows)]


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {inert(line)}" for line in lines)] if lines else []


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(map(inert, head)) + " |", "|" + "---|" * len(head)]
    cells = ([inert(shorten(str(cell), 60)) for cell in row] for row in rows)
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(lines)
