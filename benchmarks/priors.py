"""How good each usual candidate is on average: `python -m benchmarks.priors`, which `fit` begins from.

Every candidate of `fit` learns once from five labels a class on the tasks of `benchmarks.choice`, on draws
that are not reported there, and is looked at on the test part. Networks take a quarter of their steps, and
none that would take more than `--longest` seconds. Each result is a line of `docs/priors.jsonl`; the means
over tasks of the points above the median candidate go into `src/tacita/verbs/priors.json`. `--table` only
makes that.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.choice_fit import accuracy
from benchmarks.few_label_sources import DATA, Absent
from benchmarks.few_label_tasks import DEVELOPMENT, TASKS, FewLabelTask
from tacita.errors import TacitaError
from tacita.files import write_text
from tacita.verbs.budget import SHORTEST, costs_of, fit_to_budget
from tacita.verbs.plan import candidates
from tacita.verbs.run import Run
from tacita.verbs.workers import one_thread

RECORD = Path(__file__).parents[1] / "docs" / "priors.jsonl"
TABLE = Path(__file__).parents[1] / "src" / "tacita" / "verbs" / "priors.json"
LABELS = 5
DRAWN = 2


def measure(task: FewLabelTask, draw: int, data: Path, longest: float) -> dict[str, float]:
    """By name, the test accuracy of the candidates that are there in time."""
    pool, test = task.drawn(data, LABELS, draw)
    pool = pool.normalised()
    recipes, _ = candidates(pool, "auto", draw)
    costs = costs_of(recipes, pool)
    few, _, _ = fit_to_budget(recipes, costs, 1, 1e9, longest=SHORTEST)
    dear = {n for n, c in costs.items() if SHORTEST * (c.pretrain + c.learn) > longest}
    found = {}
    with TemporaryDirectory() as work:
        run = Run(pool, pool, [], Path(work), warn=lambda _: None)
        for short, whole in zip(few, recipes, strict=True):
            if whole.name in dear:
                continue
            try:
                learner = run.fitted(short, pool, 0)
                found[whole.name] = accuracy(learner.predict(learner.like_training(test)), test)
            except TacitaError as error:
                print(f"{task.name}: {whole.name}: {error.message}", flush=True)
    return found


def table(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By modality and candidate, the mean over tasks of the points above the median candidate.

    It is drawn to 0, as if `DRAWN` more tasks had been there: some candidates were in time on few.
    """
    points: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for line in lines:
        middle = median(line["accuracy"].values())
        for name, value in line["accuracy"].items():
            points[line["modality"]][name][line["task"]].append(100 * (value - middle))
    return {
        modality: {
            name: round(sum(mean(each) for each in tasks.values()) / (len(tasks) + DRAWN), 1)
            for name, tasks in sorted(of.items())
        }
        for modality, of in sorted(points.items())
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--draws", nargs="+", type=int, default=[DEVELOPMENT, DEVELOPMENT + 1])
    parser.add_argument("--modalities", nargs="+", default=["images", "series", "tables"])
    parser.add_argument("--longest", type=float, default=40.0)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    for draw in options.draws if not options.table else ():
        for task in (each for each in TASKS if each.modality in options.modalities):
            if any((line["task"], line["draw"]) == (task.name, draw) for line in read()):
                continue
            try:
                with one_thread():
                    found = measure(task, draw, options.data, options.longest)
            except Absent as error:
                print(f"left out: {task.name}: {error}", flush=True)
                continue
            line = {"task": task.name, "modality": task.modality, "draw": draw, "accuracy": found}
            with RECORD.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    # What was measured of tasks without classes stays.
    known = json.loads(TABLE.read_text(encoding="utf-8"))
    write_text(TABLE, json.dumps(known | table(read()), indent=1) + "\n")


def read() -> list[dict[str, Any]]:
    """The lines of the record."""
    if not RECORD.is_file():
        return []
    return [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
