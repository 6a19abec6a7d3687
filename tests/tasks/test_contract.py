"""What must hold for every task: labels come back as they were written, hidden ones are missing, a
saved one is the same, classes that are added move none."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tacita.catalog import tasks as catalog
from tacita.errors import ConfigError, DataError
from tacita.tasks import (
    UNLABELLED,
    Classification,
    OpenSet,
    Ordinal,
    Regression,
    Segmentation,
    Task,
    encode,
    kinds,
    task_of,
)
from tacita.values import as_tensor, shape_of
from tacita.windows import Course, Windows

VOXELS = np.array([[[0, 7], [2, -1]], [[-1, -1], [-1, -1]], [[7, 7], [0, 0]]])[:, None]
STEPS = torch.tensor([1.0, 3, 2, 5, 4, 6, 0, 0])[:, None]
COURSE = Course(
    STEPS,
    STEPS > 0,
    torch.zeros(8, dtype=torch.int64),
    torch.arange(8.0).double(),
    horizon=2,
    context=2,
)
WINDOWS = Windows(
    COURSE, torch.zeros(3, dtype=torch.int64), torch.tensor([2, 6, 4]), torch.full((3,), 6)
)
LABELS: dict[str, Any] = {
    "classification": ["b", None, "a"],
    "open-set": ["b", None, "unknown"],
    "ordinal": [3, None, 1],
    "regression": [0.5, None, -1],
    "segmentation": VOXELS,
    "forecast": [np.array([2.0, 5]), None, np.array([4.0, 6])],
    "sequence-labels": [["b", "a"], None, ["b", None]],
    "sequence-regression": [[0.5, 2.0], None, [4.0, 1.0]],
}
SAMPLES = {name: torch.zeros(3, 4) for name in LABELS} | {
    "segmentation": torch.zeros(3, 1, 1, 2, 2),
    "forecast": WINDOWS,
    "sequence-labels": torch.zeros(3, 2, 1),
    "sequence-regression": torch.zeros(3, 2, 1),
}


def encoded(name: str) -> tuple[Tensor, Task]:
    y, task = encode(LABELS[name], name, SAMPLES[name], "test")
    return as_tensor(y), task


def test_every_task_is_looked_at() -> None:
    assert LABELS.keys() == {n for n, k in kinds().items() if k.__module__.startswith("tacita.")}


@pytest.mark.parametrize("name", LABELS)
def test_labels_come_back_as_they_were_written(name: str) -> None:
    y, task = encoded(name)
    assert task.name == name
    assert task.known(y).tolist() == [True, False, True]
    found = task.decode(y[task.known(y)])
    for label, raw in zip(found, [LABELS[name][0], LABELS[name][2]], strict=True):
        if isinstance(raw, list):
            assert label.tolist() == raw
            continue
        assert np.array_equal(label, raw if isinstance(raw, float | np.ndarray) else str(raw)) or (
            float(label) == raw
        )
    again = task.encode_like(LABELS[name], SAMPLES[name], "test", str)
    assert torch.equal(as_tensor(again).nan_to_num(9), y.nan_to_num(9))


@pytest.mark.parametrize("name", LABELS)
def test_hidden_labels_are_missing_and_the_others_stay(name: str) -> None:
    y, task = encoded(name)
    hidden = as_tensor(task.hide(y, torch.tensor([2])))
    assert task.known(hidden).tolist() == [False, False, True]
    assert torch.equal(hidden[2].nan_to_num(9), y[2].nan_to_num(9))
    none = as_tensor(task.unlabelled(SAMPLES[name]))
    assert not task.known(none).any()
    assert (none.shape, none.dtype) == (y.shape, y.dtype)


@pytest.mark.parametrize("name", LABELS)
def test_a_saved_task_is_the_same_and_its_own_targets_stay(name: str) -> None:
    y, task = encoded(name)
    saved = task_of(name, asdict(task))
    assert saved == task
    assert saved.recode(y, task, SAMPLES[name], "test") is y


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_task_are_recoded_by_what_they_say_or_refused(name: str) -> None:
    y, task = encoded(name)
    for other in LABELS:
        _, target = encoded(other)
        empty = task.hide(y, torch.empty(0, dtype=torch.int64))
        none = as_tensor(target.recode(empty, task, SAMPLES[other], "test"))
        assert not target.known(none).any()
        assert none.dtype == as_tensor(target.unlabelled(SAMPLES[other])).dtype
        ours, theirs = SAMPLES[name], SAMPLES[other]
        if type(ours) is type(theirs) and shape_of(ours) == shape_of(theirs):
            try:
                found = target.recode(y, task, SAMPLES[other], "test")
            except (ConfigError, DataError):
                continue
            known = target.known(found)
            assert known.tolist() == task.known(y).tolist()
            words = [target.decode(as_tensor(found)[known]), task.decode(y[known])]
            assert [str(a) == str(b) or float(a) == float(b) for a, b in zip(*words, strict=True)]


def test_grades_are_numbers_and_words_are_none() -> None:
    y, task = encoded("ordinal")
    assert as_tensor(Regression().recode(y, task, SAMPLES["ordinal"], "test"))[0] == 3
    y, task = encoded("classification")
    with pytest.raises(DataError, match="'b' of sample 0 is not a number"):
        Regression().recode(y, task, SAMPLES["ordinal"], "test")
    with pytest.raises(ConfigError, match="a label a voxel"):
        Segmentation(("0", "1")).recode(y, task, torch.zeros(3, 4), "test")


# Growing


@pytest.mark.parametrize("kind", [Classification, OpenSet, Ordinal])
def test_a_grown_task_keeps_the_codes_and_the_kind(kind: type[Task]) -> None:
    task = kind(classes=("a", "b"))
    grown = task.grown(["d", "c"])
    assert type(grown) is kind
    assert grown.classes == ("a", "b", "d", "c")
    assert grown.answers[4:] == task.further
    y = torch.tensor([0, 1, UNLABELLED])
    assert as_tensor(grown.recode(y, task, torch.zeros(3, 1), "test")).tolist() == y.tolist()
    assert grown.out_dim == task.out_dim + 2
    assert task.classes == ("a", "b")


def test_the_unknown_of_an_open_set_stays_the_last() -> None:
    task = OpenSet(("a", "b"))
    y = task.grown(["c"]).recode(torch.tensor([2, 0]), task, torch.zeros(2, 1), "test")
    assert as_tensor(y).tolist() == [3, 0]


def test_grown_label_volumes_keep_their_numbers_in_any_order() -> None:
    task = Segmentation(("0", "7")).grown(["2"])
    raw = np.array([[[[0, 7], [2, -1]]]])
    y = as_tensor(task.encode_like(raw, torch.zeros(1, 1, 1, 2, 2), "test", str))
    assert y.flatten().tolist() == [0, 1, 2, -1]
    assert np.array_equal(task.decode(y)[0], raw[0])
    with pytest.raises(ConfigError, match="numbers of voxels"):
        task.grown(["liver"])


@pytest.mark.parametrize(
    ("task", "classes", "said"),
    [
        (Classification(("a", "b")), ["a"], "'a' already"),
        (Classification(("a", "b")), ["c", "c"], "'c' already"),
        (Classification(("a", "b")), [], "no names"),
        (Classification(("a", "b")), [""], "no names"),
        (OpenSet(("a", "b")), ["unknown"], "'unknown' already"),
        (Ordinal(("1", "3")), ["2"], "above '3'"),
        (Regression(), ["a"], "regression task has no classes"),
    ],
)
def test_classes_that_cannot_be_are_refused(task: Task, classes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        task.grown(classes)


# What a task is not made for


def test_what_has_no_classes_or_no_neighbours_says_so() -> None:
    voxels = Segmentation(("0", "1"))
    y = torch.zeros(2, 1, 4, 4, dtype=torch.int64)
    with pytest.raises(ConfigError, match="segmentation is not predicted by neighbours"):
        voxels.votes(y)
    with pytest.raises(ConfigError, match="not learnt by scikit-learn"):
        voxels.estimator(int, float)
    with pytest.raises(ConfigError, match=r"logits of shape \(2, 2\)"):
        voxels.loss(torch.zeros(2, 2), y)
    with pytest.raises(ConfigError, match="no classes"):
        Regression().probabilities(torch.zeros(2, 1))


def test_a_name_belongs_to_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "TASKS", dict(catalog.TASKS))
    mine = type("Mine", (), {})
    assert catalog.task("mine", learnt_as="ordinal")(mine).name == "mine"  # type: ignore[attr-defined]
    catalog.task("mine")(type("Mine", (), {}))
    with pytest.raises(ConfigError, match="'mine' is the name of both"):
        catalog.task("mine")(type("Other", (), {}))
    with pytest.raises(ConfigError, match="'ordinal' is the name of both"):
        catalog.task("ordinal")(mine)
