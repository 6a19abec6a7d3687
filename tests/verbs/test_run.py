"""A plan at work: what each training leaves on disk, and that a repeated one leaves it once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.data.splits import Fold
from tacita.modalities.load import load
from tacita.model.build import uses_unlabelled
from tacita.verbs.plan import resolved
from tacita.verbs.run import Run

DATA = load("wine").normalised()
SUPERVISED = resolved(
    Recipe(name="my own", learn=Section(method="supervised", train={"steps": 40})), DATA
)


def run_in(work: Path) -> Run:
    folds = [Fold(torch.arange(0, 178, 2), torch.arange(1, 178, 2)),
             Fold(torch.arange(1, 178, 2), torch.arange(0, 178, 2))]  # fmt: skip
    return Run(DATA, DATA, folds, work, {"device": "cpu"})


def test_every_training_leaves_its_rows_once_with_the_candidates_name(tmp_path: Path) -> None:
    first = run_in(tmp_path).row(SUPERVISED)
    # As if a kill had come between the training of the first fold and its result.
    (tmp_path / "my_own.0.json").unlink()
    again = run_in(tmp_path).row(SUPERVISED)
    assert first.folds == again.folds
    rows = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    found = Counter((row["candidate"], row["training"], row["step"]) for row in rows)
    assert found == Counter(
        {("my own", f"my_own.{fold}", step): 1 for fold in (0, 1) for step in (20, 40)}
    )


def test_no_checkpoint_stays_behind_a_fold(tmp_path: Path) -> None:
    run_in(tmp_path).row(SUPERVISED)
    assert {path.name for path in tmp_path.iterdir()} == {
        "my_own.0.json", "my_own.1.json", "progress.jsonl",
    }  # fmt: skip


def test_what_learns_from_unlabelled_samples_is_known() -> None:
    for name, expected in {"fixmatch": True, "supervised": False, "label-spreading": False}.items():
        assert uses_unlabelled(Recipe(name=name, learn=Section(method=name))) is expected
    pretrained = Recipe(name="x", pretrain=Section(method="mae"), learn=Section(method="knn"))
    assert uses_unlabelled(pretrained)
    assert uses_unlabelled(pretrained.model_copy(update={"learn": None}))
