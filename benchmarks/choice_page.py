"""The page `docs/choice.md`, from the record alone."""

from __future__ import annotations

from collections import Counter
from statistics import mean
from typing import NamedTuple

from benchmarks.choice_peers import WIDE
from benchmarks.choice_sums import (
    PAGE,
    RECORD,
    Column,
    Record,
    Verdict,
    by_score,
    column,
    oracle,
    read_record,
    regrets,
    singles,
    verdict,
)
from benchmarks.few_label_tasks import (
    DEVELOPMENT,
    DRAWS,
    ENOUGH,
    LABELS,
    MOST,
    TASKS,
    WINDOW,
    FewLabelTask,
)
from tacita.catalog.durations import parse_duration

MODALITIES = ("images", "series", "tables")
NAMES = {
    "logistic-regression": "logistic regression",
    "rbf-svm": "RBF SVM",
    "random-forest": "random forest",
    "extra-trees": "extra trees",
    "shrinkage-lda": "LDA with shrinkage",
    "neighbours": "nearest neighbours",
    "hist-gradient-boosting": "gradient boosting",
    "label-spreading": "label spreading",
    "minirocket": "MiniRocket",
    "multirocket-hydra": "MultiRocket-Hydra",
    "quant": "QUANT",
    "autogluon": "AutoGluon",
    "semilearn": "semilearn's FixMatch",
}


class Group(NamedTuple):
    """The tasks of one modality with so many labels a class, and what stands beside `fit` there.

    single: the name of scikit-learn's best single. columns: by title, then task. others: the titles of
    rivals beside it.
    """

    modality: str
    labels: int
    budget: str
    tasks: list[FewLabelTask]
    single: str
    sklearn: dict[str, dict[str, Column]]
    others: dict[str, dict[str, Column]]

    def verdict(self, record: Record, task: str) -> Verdict:
        """How `fit` does on a task."""
        ours = column(record, task, self.labels, "fit", "fit", self.budget)
        failed = sum(
            "accuracy"
            not in record.get((task, self.labels, d, "fit", self.budget), {"accuracy": 0})
            for d in DRAWS
        )
        single = self.sklearn.get(self.single, {}).get(task, {})
        rivals = [single, *(each.get(task, {}) for each in self.others.values())]
        return verdict(ours, failed, single, [each for each in rivals if each])


def group(record: Record, modality: str, labels: int, budget: str) -> Group:
    """What was measured of one modality."""
    tasks = [
        task
        for task in TASKS
        if task.modality == modality and not impossible(record, task.name, labels)
    ]
    methods = {
        what: sorted(
            {
                (method, entry.get("budget", ""))
                for (task, n, draw, kind, _), entry in record.items()
                if n == labels and kind == what and draw in DRAWS
                for method in {**entry.get("accuracy", {}), **entry.get("errors", {})}
                if method in NAMES and task in {each.name for each in tasks}
            }
        )
        for what in ("scikit-learn", "aeon", "autogluon", "semilearn")
    }

    def columns(what: str, method: str, limit: str) -> dict[str, Column]:
        found = {t.name: column(record, t.name, labels, what, method, limit) for t in tasks}
        return {task: each for task, each in found.items() if each}

    sklearn = {m: columns("scikit-learn", m, limit) for m, limit in methods["scikit-learn"]}
    others = {
        NAMES[method] + (f", {limit}" if limit else ""): columns(what, method, limit)
        for what in ("aeon", "autogluon", "semilearn")
        for method, limit in methods[what]
    }
    single = next(iter(singles(sklearn)), "")
    return Group(modality, labels, budget, tasks, single, sklearn, others)


def impossible(record: Record, task: str, labels: int) -> bool:
    """Whether a class has fewer samples than labels are asked for."""
    of_it = (entry for key, entry in record.items() if key[:2] == (task, labels))
    return any("impossible" in entry for entry in of_it)


def page(record: Record) -> str:
    """The page."""
    budgets = sorted(
        {key[4] for key in record if key[3] == "fit" and key[2] in DRAWS}, key=parse_duration
    )
    lines = [*HEAD.splitlines(), ""]
    if not budgets:
        lines += ["**`fit` is not measured yet on the draws that are reported.**", ""]
    for budget in budgets:
        lines += summary(record, budget)
    for budget in budgets or [""]:
        for labels in sorted({key[1] for key in record} | set(LABELS)):
            groups = [group(record, modality, labels, budget) for modality in MODALITIES]
            said = f", `fit` in {budget}" if budget else ""
            lines += [f"## {labels} label{'s' * (labels > 1)} a class{said}", ""]
            for each in groups:
                lines += table(record, each)
    return "\n".join(
        [*lines, *HOW.splitlines(), "", *list_of_tasks(record), "", *measured(record), ""]
    )


def summary(record: Record, budget: str) -> list[str]:
    """A row for each number of labels."""
    lines = [
        f"## In short, `fit` in {budget}",
        "",
        "| labels a class | tasks | best or tied | worst deficit | mean regret | budget used | no model |",
        "|---|---|---|---|---|---|---|",
    ]
    for labels in LABELS:
        groups = [group(record, modality, labels, budget) for modality in MODALITIES]
        found = {t.name: g.verdict(record, t.name) for g in groups for t in g.tasks}
        tried = {task: each for task, each in found.items() if each.ours or each.failed}
        judged = [each for each in tried.values() if each.won is not None]
        deficits = {t: each.deficit for t, each in tried.items() if each.deficit is not None}
        worst = max(deficits, key=lambda task: deficits[task], default="")
        regret = [mean(r.values()) for t in tried if (r := regrets(record, t, labels, budget))]
        used = [
            record[t, labels, d, "fit", budget]["seconds"] / parse_duration(budget)
            for t, each in tried.items()
            for d in each.ours
        ]
        won = sum(bool(each.won) for each in judged)
        cells = [
            str(labels),
            f"{len(tried)} of {len(found)}",
            f"{won} of {len(judged)} ({won / len(judged):.0%})" if judged else "",
            f"{100 * deficits[worst]:.1f} ({worst})" if worst else "",
            f"{100 * mean(regret):.1f} ({len(regret)} tasks)" if regret else "",
            f"{mean(used):.0%}" if used else "",
            f"{sum(each.failed for each in tried.values())} draws",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *SHORT.splitlines(), ""]


def table(record: Record, group: Group) -> list[str]:
    """A modality's tasks: mean accuracies in percent."""
    if not any(group.sklearn.values()) and not any(group.others.values()):
        return [f"No peer is measured on {group.modality} with so many labels.", ""]
    single = NAMES.get(group.single, "none is everywhere")
    titles = ["`fit`", f"scikit-learn's best single: {single}", *group.others]
    titles += ["oracle: scikit-learn's best of this task", "candidate of the best score", "regret"]
    lines = [
        f"| {group.modality} | " + " | ".join(titles) + " |",
        "|---|" + "---|" * len(titles),
    ]
    means: list[list[float]] = [[] for _ in titles]
    for task in group.tasks:
        each = group.verdict(record, task.name)
        best_of = oracle([found.get(task.name, {}) for found in group.sklearn.values()])
        columns = [
            each.ours,
            group.sklearn.get(group.single, {}).get(task.name, {}),
            *(found.get(task.name, {}) for found in group.others.values()),
            best_of,
            by_score(record, task.name, group.labels, group.budget),
        ]
        regret = regrets(record, task.name, group.labels, group.budget)
        for into, found in zip(means, [*columns, regret], strict=True):
            into += [mean(found.values())] if found else []
        cells = [cell(found) for found in columns] + [cell(regret)]
        if each.failed:
            cells[0] = f"{cells[0]} no model on {each.failed}".strip()
        if each.won:
            cells[0] = f"**{cells[0]}**"
        lines.append(f"| {task.name} | " + " | ".join(cells) + " |")
    whole = [
        f"{100 * mean(found):.1f}" if len(found) == len(group.tasks) else "" for found in means
    ]
    lines.append("| mean of all | " + " | ".join(whole) + " |")
    ranked = singles(group.sklearn)
    named = ", ".join(f"{NAMES[method]} {100 * value:.1f}" for method, value in ranked.items())
    return [*lines, "", f"Means of scikit-learn's over what is there: {named}.", ""]


def cell(found: Column) -> str:
    """The mean in percent; and of how many draws, if of less than all."""
    if not found:
        return ""
    shown = f"{100 * mean(found.values()):.1f}"
    return shown if len(found) == len(DRAWS) else f"{shown} ({len(found)})"


def measured(record: Record) -> list[str]:
    """Which cells are there, on which machine, and when."""
    kinds = {
        what: Counter(key[2] in DRAWS for key in record if key[3] == what)
        for what in ("fit", "candidates", "scikit-learn", "aeon", "autogluon", "semilearn")
    }
    whole = len(DRAWS) * len(LABELS)
    of = {"aeon": "series", "autogluon": "tables", "semilearn": "images"}
    said = []
    for what, counts in kinds.items():
        tasks = [t for t in TASKS if of.get(what, t.modality) == t.modality]
        budgets = len({key[4] for key in record if key[3] == what}) or 1
        said.append(f"{what} {counts[True]} of {whole * len(tasks) * budgets}")
    tried = sorted({key[2] for key in record if key[2] not in DRAWS})
    few = sorted({(key[0], key[1]) for key in record if impossible(record, key[0], key[1])})
    lines = ["## What is there"]
    lines.append(f"Cells measured, of all tasks, labels and reported draws: {', '.join(said)}.")
    lines.append(
        "An empty cell is not measured; a number in brackets is of how many draws a mean is."
    )
    if few:
        named = ", ".join(f"{task} with {labels}" for task, labels in few)
        lines.append(f"Left out, as a class has fewer samples than labels: {named}.")
    for what in ("scikit-learn", "aeon", "autogluon"):
        without = Counter(
            method
            for key, entry in record.items()
            if key[3] == what and key[2] in DRAWS
            for method in entry.get("errors", {})
        )
        if without:
            named = ", ".join(f"{NAMES.get(m, m)} on {n}" for m, n in sorted(without.items()))
            lines.append(f"Cells in which {what} raised an error: {named}.")
    reasons = Counter(
        text
        for key, entry in record.items()
        if key[3] == "fit" and key[2] in DRAWS
        for text in entry.get("errors", {}).values()
    )
    lines += [f"No model, {count} times: {text}" for text, count in reasons.most_common(5)]
    if tried:
        names = ", ".join(map(str, tried))
        lines.append(f"Draws that are in the record and not on this page: {names}.")
    noted: dict[str, list[str]] = {}
    for key, entry in record.items():
        if key[2] in DRAWS and "note" in entry:
            noted.setdefault(f"{key[3]} measured {entry['note']}", []).append(key[0])
    lines += [f"{said}: {', '.join(tasks)}." for said, tasks in sorted(noted.items())]
    versions = {e["version"] for k, e in record.items() if k[3] == "autogluon" and "version" in e}
    lines += [f"AutoGluon is version {version}." for version in sorted(versions)]
    dates = sorted({entry["date"] for entry in record.values()})
    machines = sorted({entry["machine"] for entry in record.values()})
    if dates:
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        lines.append(f"Measured {when} on {'; '.join(machines)}.")
    return [part for line in lines for part in ((line, "") if line else ("",))]


def list_of_tasks(record: Record) -> list[str]:
    """Each task with its sizes, as far as they were measured, and how its test part is had."""
    sizes = {key[0]: entry for key, entry in record.items() if "classes" in entry}
    lines = ["| task | of | classes | pool | test | test part |", "|---|---|---|---|---|---|"]
    for task in TASKS:
        numbers = [
            str(sizes.get(task.name, {}).get(name, "")) for name in ("classes", "pool", "test")
        ]
        lines.append(f"| {task.name} | {task.modality} | {' | '.join(numbers)} | {task.how} |")
    return lines


HEAD = f"""\
# The model that `fit` chooses, beside others

Written by `python -m benchmarks.choice` from `choice.jsonl`, which has every result. Accuracy in percent
on a test part that nothing was learnt or chosen by: means over {len(DRAWS)} draws of the labels, on
{len(TASKS)} tasks. A bold `fit` is best or tied."""

SHORT = """\
Best or tied: a model on every draw, and none of the other columns, the oracle aside, is ahead of it by
more than half a point or one standard error of the paired difference over the draws, whichever is more.
Deficit: points of the mean behind scikit-learn's best single. Regret: points by which the best candidate
of the same run, fitted on all labels, is ahead on the test part of what was returned. The candidate of the
best score is the one that would be returned if the leaderboard alone decided."""

HOW = f"""\
## How it was measured

- **Tasks** are listed below. What is held out is held out anew for each draw, stratified by class; pools
  and test parts have {MOST} samples at most. Published training parts of less than {ENOUGH} series would
  leave hardly any unlabelled, so both parts are joined and halved. digits are the test part of optdigits,
  so these two are not independent. Patches of textures are of one picture a class, learnt from one part
  and tested on the other. A window of the watch is {WINDOW} steps long, and nobody is told its subject.
  Emoji have many near-copies, on both sides.
- **Nothing is tuned on the draws reported** (0 to {len(DRAWS) - 1}); those from {DEVELOPMENT} on are to
  look at. Every method sees the same labels of a draw.
- **`fit`** is called as `tacita.fit(pool, budget=..., seed=draw)` in a process of its own. Its accuracy is
  that of the model that it returns. Its candidates, also those that had no time for a score, are then
  fitted once more on all labels by the recipes of its plan, for the regret.
- **scikit-learn**: its estimators one by one, with usual settings: defaults, logistic regression with
  1,000 iterations, LDA with automatic shrinkage (of more than {WIDE} columns, on the principal components
  of the labelled rows), as many neighbours as labels a class but 5 at most,
  label spreading over 10 neighbours with the whole pool. Pixels are from 0 to 1; columns of tables and
  channels of series are scaled by the pool, labelled or not. "Best single" is the one with the best mean
  over the tasks of the modality at so many labels, which favours it: it is known only afterwards. The
  oracle is chosen for each task, and is nobody's method. Gradient boosting wants 20 samples a leaf by
  default, so that with few labels it learns nothing.
- **aeon**: its classifiers with defaults, on the labelled series, scaled; unequal lengths end in zeros.
- **AutoGluon** has the labelled rows, its default preset, a limit of seconds as named, and two cores."""

__all__ = ["PAGE", "RECORD", "page", "read_record"]
