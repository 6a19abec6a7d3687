"""A plan at work: what each training leaves on disk, and that a repeated one leaves it once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.data.splits import Fold
from tacita.errors import CheckpointError
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
    return Run(DATA, DATA, folds, work, engine={"device": "cpu"})


def test_every_training_leaves_its_rows_once(tmp_path: Path) -> None:
    first = run_in(tmp_path).row(SUPERVISED)
    # As if a kill had come between the training of the first fold and its result.
    (tmp_path / "my_own.0.json").unlink()
    again = run_in(tmp_path).row(SUPERVISED)
    assert first.folds == again.folds
    for fold in (0, 1):
        rows = (tmp_path / f"my_own.{fold}.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [20, 40]


def test_every_label_has_a_prediction_by_a_model_that_never_saw_it(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    row = run.row(SUPERVISED)
    at, logits = run.out_of_fold(SUPERVISED)  # type: ignore[misc]
    assert at.tolist() == list(range(178))
    folds = torch.cat([fold.score for fold in run.folds])
    scores = DATA.task.scores(logits, DATA.y[at])
    assert scores["accuracy"] == pytest.approx(row.scores["accuracy"])
    assert sorted(folds.tolist()) == at.tolist()
    # The learner of a fold, fitted once more, says the same.
    again = run_in(tmp_path)
    second = again.learner(SUPERVISED, 1).logits(DATA.subset(run.folds[1].score))
    assert torch.equal(logits[::2], second)
    # What was resumed has them from the folder, and one that was cut off is refused.
    assert again.row(SUPERVISED) == row.model_copy(
        update={"peak_mb": again.row(SUPERVISED).peak_mb}
    )
    assert row.interval is not None
    assert row.interval[0] < row.mean < row.interval[1]  # type: ignore[operator]
    path = tmp_path / "my_own.1.predicted.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"my_own\.1\.predicted"):
        again.out_of_fold(SUPERVISED)


def test_regression_out_of_fold_is_in_the_units_of_all_labels(tmp_path: Path) -> None:
    data = load("diabetes").normalised()
    forest = resolved(Recipe(name="forest", learn=Section(method="knn")), data)
    half = torch.arange(442) < 221
    # The targets of each fold have another mean, by which its learner scales them.
    order = data.y.argsort()
    folds = [Fold(order[~half], order[half]), Fold(order[half], order[~half])]
    run = Run(data, data, folds, tmp_path, engine={"device": "cpu"})
    run.row(forest)
    at, logits = run.out_of_fold(forest)  # type: ignore[misc]
    expected = run.learner(forest, 0).predict(data.subset(order[half]))
    found = data.task.predict(logits)[torch.isin(at, order[half])]
    assert torch.allclose(found.sort().values.double(), torch.tensor(sorted(expected)), rtol=1e-4)


def test_no_checkpoint_stays_behind_a_fold(tmp_path: Path) -> None:
    run_in(tmp_path).row(SUPERVISED)
    assert {path.name for path in tmp_path.iterdir()} == {
        "my_own.0.json", "my_own.1.json", "my_own.0.jsonl", "my_own.1.jsonl",
        "my_own.0.predicted.safetensors", "my_own.1.predicted.safetensors",
    }  # fmt: skip


def test_what_learns_from_unlabelled_samples_is_known() -> None:
    for name, expected in {"fixmatch": True, "supervised": False, "label-spreading": False}.items():
        assert uses_unlabelled(Recipe(name=name, learn=Section(method=name))) is expected
    pretrained = Recipe(name="x", pretrain=Section(method="mae"), learn=Section(method="knn"))
    assert uses_unlabelled(pretrained)
    assert uses_unlabelled(pretrained.model_copy(update={"learn": None}))
