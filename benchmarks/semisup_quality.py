"""Nine tasks with few labels, five draws of the labels: `python -m benchmarks.semisup_quality`.

Our method, named before the draws reported are looked at, beside label spreading, self-training, the
network that learns from the labels alone, by weak and by strong views, and semilearn's FixMatch. Every
result is a line of `docs/semi-supervised-quality.jsonl` as soon as it is there, so that a kill loses one;
what stands there is not measured again. The page `docs/semi-supervised-quality.md` is written from that file.

`--draws 100 101 --methods fixmatch flexmatch` tries methods on draws that are not reported;
`--tasks`, `--minutes` run a part; `--page` writes the page alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier
from torch import nn

from benchmarks.semilearn_fixmatch import SemilearnFixMatch, semilearn
from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.baselines.base import Baseline
from tacita.baselines.label_spreading import LabelSpreading
from tacita.catalog.discover import load_class
from tacita.claim.data import fashion_mnist
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views
from tacita.data.splits import draw_labels, hold_out
from tacita.encoder import Encoder
from tacita.encoders import build, default_encoder
from tacita.files import write_text
from tacita.learner import Learner
from tacita.modalities.builtin import load_builtin
from tacita.modalities.images.views import ImageViews
from tacita.modalities.load import load
from tacita.modalities.series.views import SeriesViews
from tacita.tasks import Task

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "semi-supervised-quality.md"
RECORD = PAGE.with_suffix(".jsonl")

OURS = "flexmatch"
"""The one method that stands for us on all tasks."""
PEERS = ("label-spreading", "self-training", "supervised-weak", "supervised", "semilearn")
NETWORKS = {"supervised-weak": "weak", "supervised": "strong"}
"""Those that learn from the labels alone, and by which views; our method has weak views of the labels."""
DRAWS = range(5)
STEPS, BATCH = 400, 16
"""Of every network: with 112 unlabelled samples a step, a training takes half a minute on a core."""
TO_REACH = 7
ENOUGH = 100
"""Samples that a published training part must have to be the pool."""


@dataclass(frozen=True)
class Few:
    """One task: which data, how many labels a class, and the width of the encoder."""

    name: str
    labels: int
    split: Callable[[str, int], tuple[Dataset, Dataset]]
    options: Mapping[str, int]

    @property
    def key(self) -> str:
        """As it is called in the record and on the command line."""
        return f"{self.name}-{self.labels}"


def split_digits(name: str, draw: int) -> tuple[Dataset, Dataset]:
    """A pool of 70%, and 30% held out."""
    whole = load(name)
    kept, held = hold_out(whole, 0.3, draw)
    return whole.subset(kept), whole.subset(held)


def split_fashion(name: str, draw: int) -> tuple[Dataset, Dataset]:
    """A pool of 10,000 training images, and the test images."""
    whole, test = _fashion()
    drawn = torch.randperm(len(whole), generator=torch.Generator().manual_seed(draw))[:10_000]
    return whole.subset(drawn.sort().values), test


@cache
def _fashion() -> tuple[Dataset, Dataset]:
    return fashion_mnist(28), fashion_mnist(28, "test")


def split_series(name: str, draw: int) -> tuple[Dataset, Dataset]:
    """The published parts; where the training part is small, halves of both together."""
    whole, test = load_builtin(name)
    assert test is not None
    if len(whole) - len(test) < ENOUGH:
        kept, held = hold_out(whole, 0.5, draw)
        return whole.subset(kept), whole.subset(held)
    train = torch.ones(len(whole), dtype=torch.bool)
    train[test] = False
    return whole.subset(train), whole.subset(test)


TASKS = (
    *(Few("digits", labels, split_digits, {"width": 32}) for labels in (2, 4, 10)),
    *(Few("fashion-mnist", labels, split_fashion, {"width": 16}) for labels in (4, 10, 25)),
    Few("italy-power-demand", 5, split_series, {"width": 16}),
    Few("japanese-vowels", 5, split_series, {"width": 16}),
    Few("gunpoint", 5, split_series, {"width": 16}),
)
"""The series sets are the three largest that aeon ships with series of 200 steps at most."""


class SelfTraining(Baseline):
    """scikit-learn's self-training with its defaults, over logistic regression."""

    transductive = True

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        return SelfTrainingClassifier(LogisticRegression(max_iter=300))


def learner(method: str, task: Few, encoder: Encoder) -> Learner:
    """What is trained under this name."""
    if method == "label-spreading":
        return LabelSpreading()
    if method == "self-training":
        return SelfTraining()
    if method == "semilearn":
        flip = task.name == "fashion-mnist"  # mirrored digits are others
        return SemilearnFixMatch(
            encoder, steps=STEPS, batch_size=BATCH, flip=flip, options=SEMILEARN
        )
    weak, strong = views(task, encoder.spec)
    engine = {"steps": STEPS, "batch_size": BATCH}
    if method in NETWORKS:
        shown = {"weak": weak, "strong": strong}[NETWORKS[method]]
        return Trained(encoder, Supervised, options={"views": shown}, engine=engine)
    options = {"weak": weak, "strong": strong}
    return Trained(encoder, load_class(method), options=options, engine=engine)


def views(task: Few, spec: InputSpec) -> tuple[nn.Module, nn.Module]:
    """The weak and strong views of all networks of ours: the defaults, with what is known of the data.

    Clothes may be mirrored. The series stand at fixed times: no view moves, bends or hides time.
    """
    weak, strong = default_views(spec, "weak"), default_views(spec, "strong")
    for made in (weak, strong):
        if isinstance(made, SeriesViews):
            made.warp = made.crop = made.erase = 0.0
        elif isinstance(made, ImageViews):
            made.flip = task.name == "fashion-mnist"
    return weak, strong


SEMILEARN: dict[str, Any] = {"ema_m": 0.99}
"""Semilearn's defaults, but weights averaged over fewer steps, as there are fewer."""


def measure(task: Few, draw: int, method: str) -> float:
    """Accuracy on what was held out."""
    pool, test = task.split(task.name, draw)
    pool = pool.normalised()
    few = pool.hide_labels(draw_labels(pool, task.labels, draw))
    torch.manual_seed(draw)
    encoder = build(default_encoder(pool.spec), pool.spec, **task.options)
    return learner(method, task, encoder).fit(few, seed=draw).score(test)


def possible(task: Few, method: str) -> bool:
    """Whether the method is for these data: semilearn has no views of series."""
    return method != "semilearn" or task.split is not split_series


Record = dict[tuple[str, int, str], float]
"""Accuracy by task, draw and method."""


def read_record() -> Record:
    """What was measured; a line that a kill left half written is left out."""
    found: Record = {}
    for line in RECORD.read_text(encoding="utf-8").splitlines() if RECORD.is_file() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[entry["task"], entry["draw"], entry["method"]] = entry["accuracy"]
    return found


def add(task: Few, draw: int, method: str) -> None:
    """Measure one, and append it."""
    began = time.monotonic()
    accuracy = measure(task, draw, method)
    entry = {
        "task": task.key,
        "draw": draw,
        "method": method,
        "accuracy": round(accuracy, 4),
        "seconds": round(time.monotonic() - began, 1),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    print(json.dumps(entry), flush=True)
    # One write in append mode: processes that measure different parts share the file.
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


NAMES = {
    "label-spreading": "label spreading",
    "self-training": "self-training",
    "supervised-weak": "supervised network, weak views",
    "supervised": "supervised network, strong views",
    "semilearn": "semilearn's FixMatch",
}


def column(record: Record, task: Few, method: str, draws: Sequence[int] = DRAWS) -> list[float]:
    """The accuracies of a method on a task, if all draws are there."""
    found = [record.get((task.key, draw, method)) for draw in draws]
    return [value for value in found if value is not None] if None not in found else []


def verdict(record: Record) -> list[str]:
    """What was to be reached, and whether it is, over the tasks of which every draw is there."""
    whole, missed, below = [], [], []
    for task in TASKS:
        ours = column(record, task, OURS)
        peers = {m: column(record, task, m) for m in PEERS if possible(task, m)}
        if not ours or not all(peers.values()):
            continue
        whole.append(task.key)
        if not all(mean(ours) > mean(peer) for peer in peers.values()):
            missed.append(task.key)
        if any(min(ours) < min(peers[name]) for name in NETWORKS):
            below.append(task.key)
    better, complete = len(whole) - len(missed), len(whole) == len(TASKS)
    judged = "Reached." if better >= TO_REACH and not below else "Not reached."
    judged = judged if complete else "Not all is measured yet."
    return [
        f"To reach: a better mean than every other column on {TO_REACH} of the {len(TASKS)} tasks or more, "
        "and in no task a worst draw below that of a network of the labels alone.",
        "",
        f"**{judged}** The mean is the best of all on {better} of {len(whole)} tasks{but(missed)}; "
        f"the worst draw is not below those of both networks of the labels alone on "
        f"{len(whole) - len(below)} of {len(whole)}{but(below)}.",
    ]


def but(tasks: Sequence[str]) -> str:
    """Which are left out."""
    return f" (not on {', '.join(tasks)})" if tasks else ""


def page(record: Record) -> str:
    """The page, from what was measured."""
    methods = [OURS, *PEERS]
    names = [f"tacita, `{OURS}`", *(NAMES[method] for method in PEERS)]
    lines = [
        "# Few labels: accuracy beside others",
        "",
        "Written by `python -m benchmarks.semisup_quality` from `semi-supervised-quality.jsonl`, which has",
        "every result. Accuracy in percent on samples held out: the mean of five draws of the labels, and",
        "the worst of them. The speed of the same methods is in [benchmarks.md](benchmarks.md).",
        "",
        "| data, labels a class | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(methods),
    ]
    for task in TASKS:
        columns = [column(record, task, method) for method in methods]
        best = max((mean(values) for values in columns if values), default=0.0)
        cells = [cell(values, best) for values in columns]
        lines.append(f"| {task.name}, {task.labels} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *verdict(record), "", HOW, *tried(record), ""])


def cell(values: Sequence[float], best: float) -> str:
    """Mean and worst; the best mean of a row is bold."""
    if not values:
        return ""
    shown = f"{100 * mean(values):.1f}"
    return f"{f'**{shown}**' if mean(values) == best else shown} ({100 * min(values):.1f})"


def tried(record: Record) -> list[str]:
    """What was measured on draws that are not reported, to choose by."""
    trials = sorted({(draw, method) for _, draw, method in record if draw not in DRAWS})
    if not trials:
        return []
    methods = sorted({method for _, method in trials})
    draws = sorted({draw for draw, _ in trials})
    shown = [task for task in TASKS if any((task.key, d, m) in record for d, m in trials)]
    lines = [
        "",
        f"Mean accuracy on the draws {', '.join(map(str, draws))}, as far as they were measured:",
        "",
        "| data, labels a class | " + " | ".join(NAMES.get(m, f"`{m}`") for m in methods) + " |",
        "|---|" + "---|" * len(methods),
    ]
    for task in shown:
        cells = []
        for method in methods:
            values = [record[key] for d in draws if (key := (task.key, d, method)) in record]
            cells.append(f"{100 * mean(values):.1f}" if values else "")
        lines.append(f"| {task.name}, {task.labels} | " + " | ".join(cells) + " |")
    return lines


HOW = f"""\
## How it was measured

- **Data.** Digits of scikit-learn (8x8; 70% are the pool, 30% held out, anew for each draw);
  Fashion-MNIST (28x28; 10,000 of the training images are the pool, the 10,000 test images held out); of
  the series that aeon ships the three largest sets of 200 steps at most, chosen by that before any
  result. The pool of a series set is its training part; where that has less than {ENOUGH} series (all
  but japanese-vowels), hardly any would be unlabelled, so both parts are joined and halved anew for
  each draw.
- **Networks.** The default encoder, 16 channels wide (32 for digits), the same start, {STEPS} steps,
  and up to {BATCH} labelled and {7 * BATCH} unlabelled samples a step for all of them. Ours and the
  supervised one: AdamW at 3e-3, the default views, mirrored for clothes; for series without those that
  move, bend or hide time, since these stand at fixed times. Ours learns the labels from weak views, so the
  supervised network is shown with these as well as with strong ones.
- **Semilearn** 0.3.2, on images, which are what it has views for: its defaults (SGD at 0.03,
  RandAugment), but weights averaged over 100 steps, as 1,000 are more than there are; digits are not
  mirrored. AdamW at 3e-3 in place of its SGD changed little (0.4 points on two labels of digits a
  class, draw 100). It is run as `benchmarks/semilearn_fixmatch.py` says.
- **Label spreading** over 10 nearest neighbours, and **self-training** over logistic regression at
  scikit-learn's defaults, both on normalised pixels or values.
- **Ours** is one method for all tasks, `{OURS}` with guesses aligned to equal classes. It was chosen
  over `fixmatch` on draws that are not reported: there clothes were told better with thresholds a
  class, as in so few steps only two guesses in five came to FixMatch's threshold. On these draws too
  the views of series were chosen: with those that move time, 5 points and more of italy-power-demand
  were lost.

**Where it falls short.** Networks are small and see 400 batches of 16 labelled samples, half a minute
on a core. With 25 labels a class of clothes logistic regression on guesses of its own is then ahead of
every network, and the supervised network with our weak views of the labels, 73.0%, is ahead of ours: the pool
brings nothing there, and three points over strong views were the views'. On gunpoint it is ahead too.
Series have encoders of half the default width, to save time. The default width was tried once these
figures were known: on draw 100 `flexmatch` rose from 94.1 to 96.8% on japanese-vowels, but on draws 0
and 1 it had 94.6 and 93.5% there against 91.6 and 94.3% of the supervised network, and on gunpoint's
draw 0 51% against 61%. So it was left. Ten labels are few where guesses can settle on the wrong class."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=[task.key for task in TASKS])
    parser.add_argument("--methods", nargs="+", default=[*PEERS, OURS])
    parser.add_argument("--draws", nargs="+", type=int, default=list(DRAWS))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    torch.set_num_threads(1)
    wanted = [
        (task, draw, method)
        for draw in options.draws
        for task in TASKS
        if task.key in options.tasks
        for method in options.methods
        if possible(task, method)
    ]
    for task, draw, method in [] if options.page else wanted:
        if time.monotonic() - began > 60 * options.minutes:
            break
        if (task.key, draw, method) in read_record():
            continue
        if method == "semilearn" and semilearn() is None:
            print("semilearn is not installed, so its column stays as it is: see `make bench`")
            continue
        add(task, draw, method)
    write_text(PAGE, page(read_record()))


if __name__ == "__main__":
    main()
