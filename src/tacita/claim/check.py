"""How a claim is checked: the same figures for any seeds, a criterion stated before, a record after.

A claim script states its `Claim`, measures one seed at a time, and judges all of them at once. The
record is written whether the claim holds or not: in a clone to `claims/results/SLUG.json`, elsewhere
to `SLUG-claim.json` in the current folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from tacita.files import write_text
from tacita.model.metrics import versions

Figures = dict[str, float]
"""One seed's measurements by name."""


@dataclass(frozen=True)
class Claim:
    """What is claimed, against what, on which data, and when it counts as holding.

    slug: the method's name in the catalog.
    claim: the paper's central claim in one sentence.
    baseline: what it is compared with; it gets the same encoder, steps and tuning.
    data: which real data, how many samples and labels.
    criterion: in words, what `judge` computes.
    paper: the paper's own figure for it.
    differs: what is smaller or other than in the paper.
    """

    slug: str
    claim: str
    baseline: str
    data: str
    criterion: str
    paper: str
    differs: str


def check(
    claim: Claim,
    measure: Callable[[int], Figures],
    judge: Callable[[Sequence[Figures]], bool],
    arguments: Sequence[str] | None = None,
) -> int:
    """Measure every seed, record all figures, and say whether the claim holds: exit code 0 or 1.

    Seeds come from the command line (`--seeds 5`, `--first-seed 10`): any of them must do.
    """
    parser = argparse.ArgumentParser(description=claim.claim)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    print(f"{claim.slug}: {claim.claim}\n  against  {claim.baseline}\n  on       {claim.data}")
    began = time.monotonic()
    figures = []
    for seed in seeds:
        figures.append(measure(seed))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures[-1].items())
        print(f"  seed {seed:<4} {shown}", flush=True)
    holds = judge(figures)
    mean = {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
    deviation = {name: float(np.std([f[name] for f in figures])) for name in figures[0]}
    record = {
        **asdict(claim),
        "holds": holds,
        "mean": mean,
        "std": deviation,
        "seeds": list(seeds),
        "figures": figures,
        "seconds": round(time.monotonic() - began, 1),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": versions(),
    }
    path = record_path(claim.slug, options.out)
    before = seeds_in(path)
    if before > len(figures):
        kept = f"{path} stays: it has {before} seeds, and these are {len(figures)}"
    else:
        write_text(path, json.dumps(record, indent=1) + "\n")
        kept = f"recorded in {path}"
    print(f"  {'HOLDS' if holds else 'FAILS'}: {claim.criterion}\n  {kept}")
    return 0 if holds else 1


def run(
    claim: Claim,
    measure: Callable[[int], Figures],
    judge: Callable[[Sequence[Figures]], bool],
) -> None:
    """The body of a claim script."""
    sys.exit(check(claim, measure, judge))


def seeds_in(path: Path) -> int:
    """Over how many seeds the record at `path` goes; 0 where there is none."""
    try:
        return len(json.loads(path.read_text(encoding="utf-8"))["seeds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def record_path(slug: str, out: Path | None = None) -> Path:
    """Where the script that runs writes its record: `out`, or in a clone the results shipped with it."""
    if out is not None:
        return out
    script = Path(sys.argv[0]).resolve()
    if (script.parents[1] / "pyproject.toml").is_file():
        return script.parent / "results" / f"{slug}.json"
    return Path.cwd() / f"{slug}-claim.json"
