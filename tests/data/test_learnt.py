"""Samples that were learnt from are known again, in whatever form they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tacita
from tacita.data import learnt
from tacita.data.learnt import Learnt, fingerprints, told
from tacita.data.notes import LearntWarning
from tacita.model.model import Model
from tacita.values import Graphs, Ragged


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4))))
def test_equal_samples_have_equal_marks_and_others_not(x: np.ndarray) -> None:
    marks = fingerprints(torch.from_numpy(x))
    plain = np.where(np.isnan(x), np.nan, x + np.float32(0))
    for a in range(len(x)):
        for b in range(len(x)):
            assert (marks[a] == marks[b]) == np.array_equal(plain[a], plain[b], equal_nan=True)
    assert (fingerprints(torch.from_numpy(x.astype(np.float64))) == marks).all()


def test_ragged_samples_and_graphs_have_marks_of_their_own_values() -> None:
    flat, lengths = torch.randn(9, 2), torch.tensor([2, 4, 3])
    ragged = Ragged(flat, lengths)
    padded = Ragged.of(ragged.padded, lengths).widened(7)
    assert (fingerprints(ragged) == fingerprints(padded)).all()
    assert len(set(fingerprints(ragged))) == 3
    order = torch.tensor([2, 0])
    assert (fingerprints(ragged[order]) == fingerprints(ragged)[order]).all()
    counts = torch.tensor([2, 2])
    nodes, ends = torch.zeros(4, 1), torch.tensor([[0, 1], [1, 0]])
    graphs = Graphs(nodes, ends, counts, torch.tensor([1, 1]))
    assert len(set(fingerprints(graphs))) == 2  # of the same nodes, but not of the same edges


def test_of_many_a_draw_by_content_tells_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learnt, "MOST", 400)
    x = torch.arange(8000.0)[:, None]
    kept = Learnt.of(x[:4000])
    assert len(kept.marks) == 400
    assert (np.diff(kept.marks.astype(object)) > 0).all()
    known, of = kept.among(x[2000:6000])
    assert of > 300
    assert known / of == pytest.approx(0.5, abs=0.1)
    assert kept.among(x[4000:])[0] == 0
    assert "about 50% of 4000 samples" in told(1, 2, 4000)


def model_and_table(folder: Path) -> tuple[Model, Path]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 3))
    kinds = np.where(x[:, 0] > 0, "up", "down")
    lines = [f"{a!r},{b!r},{c!r},{k}" for (a, b, c), k in zip(x.tolist(), kinds, strict=True)]
    (folder / "all.csv").write_text("\n".join(["a,b,c,kind", *lines]) + "\n")
    few = [line if i < 20 else line.rpartition(",")[0] + "," for i, line in enumerate(lines)]
    (folder / "few.csv").write_text("\n".join(["a,b,c,kind", *few]) + "\n")
    model = tacita.fit(
        folder / "few.csv", labels="kind", recipe="random-forest", out=folder / "run", quiet=True
    )
    return model, folder / "all.csv"


def test_a_score_on_what_was_learnt_says_so_and_one_on_others_does_not(tmp_path: Path) -> None:
    model, table = model_and_table(tmp_path)
    loaded = Model.load(tmp_path / "run")
    assert loaded.learner.learnt_ == model.learner.learnt_
    assert len(model.learner.learnt_.marks) == 20  # not those without a label
    data = tacita.load(table, labels="kind")
    for each in (model, loaded):
        with pytest.warns(LearntWarning, match=r"all\.csv: 20 of 60 samples were"):
            each.evaluate(data)
        with pytest.warns(LearntWarning, match=r"all\.csv: 20 of 60 samples were learnt from"):
            each.evaluate_file(table)
        with pytest.warns(LearntWarning, match="these are the samples that it was trained on"):
            each.evaluate_file(tmp_path / "few.csv")
        each.evaluate(data.subset(torch.arange(20, 60)))


def test_one_that_was_only_pretrained_has_learnt_no_label(tmp_path: Path) -> None:
    encoder = tacita.pretrain("barlow-twins", "wine", steps=1, quiet=True)
    assert encoder.learner.learnt_ == Learnt()
