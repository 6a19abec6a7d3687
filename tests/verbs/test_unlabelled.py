"""Unlabelled samples of another source: read like the labelled ones, learnt from, never looked up.

What could go wrong: labels of the other source that count, samples of two sources under one number,
groups that meet by accident, columns in another order, and pixels on another scale.
"""

from __future__ import annotations

import html
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import tacita
from tacita import cli
from tacita.data.dataset import Dataset
from tacita.errors import DataError
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tacita.verbs.common import with_unlabelled
from tacita.verbs.screen import Screen

QUIET = Screen(quiet=True)


def together(data: Dataset, unlabelled: Any) -> Dataset:
    return with_unlabelled(data, unlabelled, QUIET)


def table(path: Path, rows: range, *, columns: str = "size,colour,kind", kind: str = "ab") -> Path:
    """Rows whose values follow from their number, the columns in the order asked for."""
    lines = [columns]
    for i in rows:
        cells = {
            "size": f"{i % 2 + i / 100:.2f}",
            "colour": ["red", "blue"][i % 2],
            "kind": kind[i % 2],
        }
        lines.append(",".join(cells.get(name, "0") for name in columns.split(",")))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_they_stand_behind_the_labelled_ones_without_a_label(tmp_path: Path) -> None:
    data = load(table(tmp_path / "few.csv", range(10)), labels="kind")
    # The columns lie otherwise, and the label is of classes that there are not.
    pool = table(tmp_path / "pool.csv", range(6), columns="kind,colour,size", kind="xy")
    both = together(data, pool)
    assert len(both) == 16
    assert both.y.tolist() == [*data.y.tolist(), *[-1] * 6]
    assert torch.equal(both.x[10:], data.x[:6])
    assert both.index.tolist() == list(range(16))
    assert both.task == data.task
    assert both.schema == data.schema
    assert both.name_of(3) == data.name_of(3)
    assert both.name_of(12) == f"{pool}: #2"
    assert together(data, None) is data


def test_numbers_go_on_after_the_highest_and_groups_after_the_last() -> None:
    x = torch.arange(12.0).view(6, 2)
    data = as_dataset(x, [0, 1, 0, 1, -1, -1], groups=["a", "a", "b", "b", "c", "c"])
    some = data.subset(torch.tensor([5, 0, 3]))
    both = together(some, x[:2])
    assert both.index.tolist() == [5, 0, 3, 6, 7]
    assert both.groups is not None
    assert both.groups.tolist() == [2, 0, 1, 3, 4]


def test_longer_series_and_images_of_another_size_are_brought_together() -> None:
    series = [np.ones((length, 2)) for length in (3, 5, 4)]
    both = together(as_dataset(series, [0, 1, 0]), [np.ones((7, 2)), np.ones((2, 2))])
    assert both.lengths is not None
    assert both.lengths.tolist() == [3, 5, 4, 7, 2]
    assert both.x.shape == (5, 7, 2)
    images = np.full((2, 1, 8, 8), 9, np.uint8)
    both = together(as_dataset(images, [0, 1]), np.full((3, 1, 16, 16), 9, np.uint8))
    assert both.x.shape == (5, 1, 8, 8)
    assert bool((both.x == 9).all())


@pytest.mark.parametrize(
    "known, pool, said",
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), "array: 2 columns, but the model was trained with 3"),
        (np.zeros((4, 5, 3)), np.zeros((4, 5, 2)), "array: 2 channels"),
        (np.zeros((4, 8, 8), "uint8"), np.zeros((4, 3, 8, 8), "uint8"), "array: 3 channels"),
        (np.zeros((4, 1, 8, 8)), np.zeros((4, 8, 8), "uint8"), "uint8, but the model learnt from"),
        (np.zeros((4, 8, 8), "uint8"), np.zeros((4, 1, 8, 8)), "torch.float64"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "missing"),
        (np.zeros((4, 3)), "nowhere.csv", "nowhere.csv"),
    ],
)
def test_samples_of_another_kind_are_refused(known: Any, pool: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        tacita.adapt("knn", known, [0, 0, 1, 1], unlabelled=pool, quiet=True)
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "verb", [partial(tacita.fit, recipe="knn"), partial(tacita.compare, methods="knn")]
)
def test_a_file_that_lacks_a_column_is_named(verb: Any, tmp_path: Path) -> None:
    few = table(tmp_path / "few.csv", range(10))
    pool = table(tmp_path / "pool.csv", range(6), columns="colour,kind")
    with pytest.raises(DataError, match=r"pool\.csv.*'size'"):
        verb(few, labels="kind", unlabelled=pool, quiet=True)


def test_what_they_show_is_learnt_from() -> None:
    digits = load_digits()
    x, y = digits.data.astype(np.float32), digits.target
    few, pool, rest = slice(0, 40), slice(40, 1200), slice(1200, None)
    options = {"quiet": True, "neighbours": 7}
    alone = tacita.adapt("label-spreading", x[few], y[few], **options)
    model = tacita.adapt("label-spreading", x[few], y[few], unlabelled=x[pool], **options)
    before, after = (m.evaluate(x[rest], y[rest])["accuracy"] for m in (alone, model))
    assert after > before + 0.1
    # Not by their labels: with wrong ones the model is the same.
    wrong = as_dataset(x[pool], (y[pool] + 1) % 10)
    again = tacita.adapt("label-spreading", x[few], y[few], unlabelled=wrong, **options)
    np.testing.assert_array_equal(again.predict(x[rest]), model.predict(x[rest]))


def test_a_run_says_so_and_its_command_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = table(tmp_path / "few.csv", range(20))
    pool = table(tmp_path / "pool.csv", range(20, 50), columns="colour,size")
    run = ["compare", str(few), "--labels", "kind", "--unlabelled", str(pool)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*run, "--methods", "knn,random-forest", "--out", str(tmp_path / "run")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"pool      30 unlabelled samples of {pool}" in said
    assert "20 labelled of 50" in said
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    command = html.unescape(re.search(r'id="command">(.*?)</pre>', page, re.S)[1])  # type: ignore[index]
    assert f"--unlabelled {pool}" in command
    words = shlex.split(command.replace("AGAIN", str(tmp_path / "again")))
    with pytest.raises(SystemExit) as ended:
        cli.main([*words[1:], "--quiet"])
    assert ended.value.code == 0
    first, again = Model.load(tmp_path / "run"), Model.load(tmp_path / "again")
    assert [row.folds for row in first.metrics.leaderboard] == [
        row.folds for row in again.metrics.leaderboard
    ]
