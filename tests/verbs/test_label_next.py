"""What to label next: uncertain, unlike each other, and ready to be filled in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import tacita
from tacita.errors import ConfigError, DataError
from tacita.model.model import Model
from tacita.verbs.label_next import diverse


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds that meet at x = 0, a label for each tenth row; the last rows are copies."""
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, 200)
    path = tmp_path_factory.mktemp("next") / "t.csv"
    lines = [f"r{i},{v:.4f},{'ab'[int(v > 0)] if i % 10 == 0 else ''}" for i, v in enumerate(x)]
    lines += [f"c{i},0.0001," for i in range(50)]
    path.write_text("\n".join(["id,x,kind", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(table: Path) -> Model:
    data = tacita.load(table, labels="kind")
    return tacita.fit(data, recipe=["logistic-regression"], quiet=True)


def test_uncertain_samples_without_a_label_are_chosen_and_no_two_are_the_same(
    table: Path, model: Model, tmp_path: Path
) -> None:
    picks = tacita.label_next(model, table, count=6, out=tmp_path / "next.csv")
    rows = {row["id"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert len(picks) == len({pick.id for pick in picks}) == 6
    assert all(rows[pick.id]["kind"] == "" for pick in picks)
    values = [float(rows[pick.id]["x"]) for pick in picks]
    assert max(map(abs, values)) < 0.5  # near the border
    assert len(set(values)) == 6  # though fifty copies lie on it
    assert [p.uncertainty for p in picks] == sorted((p.uncertainty for p in picks), reverse=True)
    written = list(csv.DictReader((tmp_path / "next.csv").read_text().splitlines()))
    assert [row["id"] for row in written] == [pick.id for pick in picks]
    assert list(written[0]) == ["id", "label", "predicted", "uncertainty"]
    assert {row["label"] for row in written} == {""}
    assert {row["predicted"] for row in written} <= {"a", "b"}


def test_filled_in_it_is_a_label_file(table: Path, model: Model, tmp_path: Path) -> None:
    tacita.label_next(model, table, count=4, out=tmp_path / "next.csv")
    lines = (tmp_path / "next.csv").read_text().splitlines()
    filled = [lines[0], *(line.replace(",,", ",b,", 1) for line in lines[1:])]
    (tmp_path / "next.csv").write_text("\n".join(filled) + "\n")
    unlabelled = tmp_path / "t.csv"
    rows = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    unlabelled.write_text("\n".join(rows) + "\n")
    assert int(tacita.load(unlabelled, labels=tmp_path / "next.csv").labelled.sum()) == 4


def test_ids_that_are_formulas_are_escaped_and_understood_as_labels(
    table: Path, model: Model, tmp_path: Path
) -> None:
    rows = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    pool, out = tmp_path / "pool.csv", tmp_path / "next.csv"
    pool.write_text("\n".join([rows[0], *(f"={row}" for row in rows[1:])]) + "\n")
    for escaped in (True, False):
        picks = tacita.label_next(model, pool, count=4, out=out, escape_formulas=escaped)
        asked = out.read_text().splitlines()
        mark = "'" if escaped else ""
        assert [row.split(",")[0] for row in asked[1:]] == [f"{mark}{pick.id}" for pick in picks]
        assert all(pick.id.startswith("=") for pick in picks)
        filled = [asked[0], *(row.replace(",,", ",b,", 1) for row in asked[1:])]
        out.write_text("\n".join(filled) + "\n")
        assert int(tacita.load(pool, labels=out).labelled.sum()) == 4


def test_a_regression_has_samples_that_stand_for_all(table: Path) -> None:
    x = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 9.0)]) + np.arange(100)[:, None] / 1e3
    y = np.where(np.arange(100) % 10 == 0, x[:, 0], np.nan)
    model = tacita.fit(x, y, task="regression", recipe=["knn"], quiet=True)
    picks = tacita.label_next(model, x, count=2)
    assert {pick.uncertainty for pick in picks} == {None}
    places = sorted(int(pick.id.removeprefix("#")) for pick in picks)
    assert places[0] < 50 <= places[1]


def test_what_cannot_be_chosen_from_is_refused(table: Path, model: Model) -> None:
    with pytest.raises(ConfigError, match="count=0"):
        tacita.label_next(model, table, count=0)
    data = tacita.load(table, labels="kind")
    known = data.subset(data.labelled)
    with pytest.raises(DataError, match="every sample has a label"):
        tacita.label_next(model, known)


def test_fewer_distinct_samples_than_wanted_are_all_of_them() -> None:
    rows = np.array([[0.0], [0.0], [1.0]])
    assert diverse(rows, np.ones(3), 5).tolist() == [0, 2]
