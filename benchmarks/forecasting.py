"""Forecasts on six real sets: what each candidate is worth beside the seasonal naive forecast.

    python -m benchmarks.forecasting [--fetch] [--seeds 3] [SOURCE ...]

Every candidate learns from the earlier windows and is scored on the last quarter of the time, on windows
that do not overlap: what `fit` holds out. Writes `docs/forecasting.md`, and what `fit` begins from in
`priors.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.forecast_sources import fetch, sources
from benchmarks.timing import machine
from tacita.catalog.recipe import Recipe, Section
from tacita.data.dataset import Dataset
from tacita.data.splits import HELD_OUT, hold_out
from tacita.files import write_text
from tacita.learner import Learner
from tacita.modalities.memory import as_dataset
from tacita.model.build import encoder_for, is_baseline, learner_for, needs_encoder
from tacita.verbs import prior

BASELINES = ("seasonal-naive", "auto-ets", "auto-theta", "lag-ridge", "lag-boosting")
NETWORKS = ("direct-forecast",)
PAGE = Path(__file__).parents[1] / "docs" / "forecasting.md"
RESULTS = PAGE.with_suffix(".jsonl")
FIGURES = ("skill", "mase", "owa", "coverage_80", "coverage_95")
Line = dict[str, Any]


def main() -> None:
    """Measure what is not yet in the file of results, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    fetch()
    if asked.fetch:
        return
    torch.set_num_threads(1)
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    lines: list[Line] = [json.loads(line) for line in text.splitlines()]
    done = {(line["source"], line["candidate"], line["seed"]) for line in lines}
    for name, source in sources().items():
        if asked.sources and name not in asked.sources:
            continue
        data = as_dataset(source.table, **source.options)
        for candidate in (*BASELINES, *NETWORKS):
            recipe = _recipe(candidate)
            for seed in range(1 if is_baseline(recipe) else asked.seeds):
                if (name, candidate, seed) not in done:
                    lines.append({"source": name, "candidate": candidate, "seed": seed})
                    lines[-1] |= measured(data, recipe, seed)
                    print(json.dumps(lines[-1]), flush=True)
                    write_text(RESULTS, "".join(json.dumps(line) + "\n" for line in lines))
    write_text(PAGE, page(lines))
    write_priors(lines)


def measured(data: Dataset, recipe: Recipe, seed: int) -> Line:
    """The figures of one candidate on the windows that are held out."""
    kept, held = hold_out(data, HELD_OUT, seed)
    pool = data.subset(kept).normalised()
    test = data.subset(held).normalised(pool.normaliser)
    began = time.perf_counter()
    learner = made(recipe, pool, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.fit(pool, seed=seed)
        logits = learner.logits(test)
    seconds = time.perf_counter() - began
    scores = learner.task_.scores(logits, test.y)
    kept_scores = {figure: round(scores[figure], 4) for figure in FIGURES}
    return {**kept_scores, "seconds": round(seconds, 1), "windows": len(held), "on": machine()}


def made(recipe: Recipe, data: Dataset, seed: int) -> Learner:
    """The recipe's learner, its encoder drawn by the seed."""
    if not needs_encoder(recipe):
        return learner_for(recipe, None)
    torch.manual_seed(seed)
    return learner_for(recipe, encoder_for(recipe.model_copy(update={"seed": seed}), data.spec))


def _recipe(name: str) -> Recipe:
    recipe = Recipe(name=name, learn=Section(method=name))
    if needs_encoder(recipe):
        # As `fit` chooses it where none is named.
        return recipe.model_copy(update={"encoder": Section(method="sequence-model")})
    return recipe


def means(lines: list[Line], figure: str) -> dict[str, dict[str, float]]:
    """By source and candidate, over seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        of = found.setdefault(line["source"], {}).setdefault(line["candidate"], [])
        of.append(line[figure])
    return {s: {c: statistics.mean(v) for c, v in each.items()} for s, each in found.items()}


def page(lines: list[Line]) -> str:
    """The tables."""
    candidates = (*BASELINES, *NETWORKS)
    out = [
        "# Forecasts on real series",
        "",
        "Written by `python -m benchmarks.forecasting`. Six sets that the R packages fpp2, fpp3 and",
        "datasets ship. Every candidate learns from the earlier windows and is scored on the last quarter of",
        "the time; windows that are scored do not overlap. Networks are means over three seeds, with their",
        "spread. OWA is relative to the seasonal naive forecast, so its own is 1 by definition; bold is the",
        "best of a row. One cut a set: what is within a few hundredths is a tie.",
        "",
    ]
    for figure, title in (("mase", "MASE"), ("owa", "OWA, relative to seasonal naive")):
        found = means(lines, figure)
        out += [
            f"## {title}",
            "",
            "| set | " + " | ".join(candidates) + " |",
            "|---" * (len(candidates) + 1) + "|",
        ]
        for source, values in found.items():
            best = min(values.values())
            cells = [
                _cell(lines, source, c, figure, best) if c in values else "" for c in candidates
            ]
            out.append(f"| {source} | " + " | ".join(cells) + " |")
        out.append("")
    out += ["## Coverage of the 80% and 95% intervals, and seconds", ""]
    out += ["| set | " + " | ".join(candidates) + " |", "|---" * (len(candidates) + 1) + "|"]
    figures = [means(lines, name) for name in ("coverage_80", "coverage_95", "seconds")]
    for source in figures[0]:
        cells = []
        for c in candidates:
            low, high, took = (each[source].get(c, float("nan")) for each in figures)
            cells.append(f"{low:.0%}, {high:.0%}, {took:.1f} s" if low == low else "")
        out.append(f"| {source} | " + " | ".join(cells) + " |")
    return "\n".join([*out, "", f"Measured on {lines[-1]['on']}, beside other work.", ""])


def _cell(lines: list[Line], source: str, candidate: str, figure: str, best: float) -> str:
    values = [x[figure] for x in lines if (x["source"], x["candidate"]) == (source, candidate)]
    mean = statistics.mean(values)
    text = f"{mean:.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
    return f"**{text}**" if mean == best else text


def write_priors(lines: list[Line]) -> None:
    """The points of skill by which each candidate was above the median of all, on average over the sets.

    No set counts for more than 20 points, or one on which all are bad would outweigh the others.
    """
    gaps: dict[str, list[float]] = {}
    for values in means(lines, "skill").values():
        middle = statistics.median(values.values())
        for candidate, value in values.items():
            gaps.setdefault(candidate, []).append(max(-20.0, min(20.0, 100 * (value - middle))))
    path = Path(prior.__file__).with_name("priors.json")
    known = json.loads(path.read_text(encoding="utf-8"))
    known["forecast"] = {
        name: round(statistics.mean(each), 1) for name, each in sorted(gaps.items())
    }
    write_text(path, json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
