"""Rows that leave a training: each once, whole, and in its own place."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tacita.engine.history import Progress
from tacita.engine.loggers import CsvRows, JsonLines, TensorBoard, WeightsAndBiases
from tacita.engine.train import train
from tacita.errors import MissingExtraError
from tests.engine.runs import digits_data, plain

DATA = digits_data()


def test_a_resumed_run_writes_no_row_twice(tmp_path: Path) -> None:
    log, options = tmp_path / "log.jsonl", {"steps": 12, "batch_size": 16, "log_every": 2}
    history = train(plain(DATA), DATA, callbacks=[JsonLines(log)], **options)  # type: ignore[arg-type]
    whole = log.read_text()
    log.write_text(whole[:-5])
    row = history.rows[3]
    JsonLines(log)(Progress(int(row["step"]), 12, row, 0.0))
    assert log.read_text() == "".join(whole.splitlines(keepends=True)[:4])


def test_runs_that_share_a_file_lose_no_row_of_each_other(tmp_path: Path) -> None:
    log, options = tmp_path / "log.jsonl", {"steps": 4, "batch_size": 16, "log_every": 2}
    for name in ("a", "b"):
        train(plain(DATA), DATA, callbacks=[JsonLines(log, candidate=name)], **options)  # type: ignore[arg-type]
    whole = log.read_text()
    JsonLines(log, candidate="a")(Progress(4, 4, json.loads(whole.splitlines()[1]), 0.0))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted((row["candidate"], row["step"]) for row in rows) == [
        ("a", 2), ("a", 4), ("b", 2), ("b", 4),
    ]  # fmt: skip
    assert sorted(log.read_text().splitlines()) == sorted(whole.splitlines())


def test_without_tensorboard_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"tacita\[tensorboard\]"):
        TensorBoard(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_every_row(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(
        plain(DATA),
        DATA,
        steps=4,
        batch_size=16,
        log_every=2,
        callbacks=[TensorBoard(tmp_path)],
    )
    found = EventAccumulator(str(tmp_path)).Reload()
    assert set(found.Tags()["scalars"]) == set(history.final) - {"step"}
    totals = [(point.step, point.value) for point in found.Scalars("total")]
    assert totals == [(row["step"], pytest.approx(row["total"])) for row in history.rows]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_column_a_figure_and_a_line_a_row(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    history = train(
        plain(DATA), DATA, steps=6, batch_size=16, log_every=2, callbacks=[CsvRows(log)]
    )
    found = [{name: float(value) for name, value in row.items()} for row in table(log)]
    assert found == history.rows


def test_a_figure_that_comes_later_gets_a_column_too(tmp_path: Path) -> None:
    log = CsvRows(tmp_path / "log.csv")
    log(Progress(1, 3, {"step": 1, "total": 0.5}, 0.0))
    log(Progress(2, 3, {"step": 2, "total": 0.25, "score": 1.0}, 0.0))
    log(Progress(3, 3, {"step": 3, "total": 0.125}, 0.0))
    assert table(log.path) == [
        {"step": "1", "total": "0.5", "score": ""},
        {"step": "2", "total": "0.25", "score": "1.0"},
        {"step": "3", "total": "0.125", "score": ""},
    ]


def test_a_resumed_table_keeps_what_came_before_and_no_row_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    first = CsvRows(path)
    for step in (1, 2, 3):
        first(Progress(step, 4, {"step": step, "total": step / 2, "score": 1.0}, 0.0))
    again = CsvRows(path)
    for step in (3, 4):
        again(Progress(step, 4, {"step": step, "total": 9.0}, 0.0))
    assert [(row["step"], row["total"], row["score"]) for row in table(path)] == [
        ("1", "0.5", "1.0"), ("2", "1.0", "1.0"), ("3", "9.0", ""), ("4", "9.0", ""),
    ]  # fmt: skip


def test_without_wandb_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"tacita\[wandb\]"):
        WeightsAndBiases("digits")


def test_weights_and_biases_is_begun_once_told_every_row_and_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    run = SimpleNamespace(
        log=lambda row, step: told.append((step, row)), finish=lambda: told.append("end")
    )
    begin = SimpleNamespace(init=lambda **settings: told.append(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", begin)
    logger = WeightsAndBiases("digits", mode="offline")
    history = train(plain(DATA), DATA, steps=4, batch_size=16, log_every=2, callbacks=[logger])
    rows = [
        (row["step"], {name: value for name, value in row.items() if name != "step"})
        for row in history.rows
    ]
    assert told == [{"project": "digits", "mode": "offline"}, *rows, "end"]
