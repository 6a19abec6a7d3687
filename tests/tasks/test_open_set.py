"""A prediction may be "unknown": what then is counted, learnt from, written, shown and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import tacita
from tacita.adapt.trained import Trained
from tacita.baselines.logistic_regression import LogisticRegression
from tacita.catalog import discover
from tacita.catalog.tasks import task_cards
from tacita.data.dataset import Dataset
from tacita.data.splits import cross_validation, draw_labels, hold_out
from tacita.encoders import build
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tacita.report.describe import describe
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import UNKNOWN, Classification, OpenSet, kind_of

TASK = OpenSet(("a", "b", "c", "d"))


def drawn(width: int, count: int = 60, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(count, width, generator=generator)
    return logits, torch.randint(0, 5, (count,), generator=generator)


def open_digits(count: int = 400) -> Dataset:
    """Digits of which 0 to 5 are known and the others labelled as unknown."""
    digits = tacita.load("digits").subset(torch.arange(count))
    words = [str(code) if code < 6 else UNKNOWN for code in digits.y.tolist()]
    return as_dataset(digits.x.numpy(), words, task="open-set", modality="images")


# The rule


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_closed_logits_are_unknown_where_the_largest_softmax_is_below_the_threshold(
    classes: int,
) -> None:
    task = OpenSet(tuple(map(str, range(classes))))
    logits, _ = drawn(classes, count=500, scale=1.5)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    threshold = (1 + 1 / classes) / 2
    expected = np.where(p.max(1) < threshold, classes, p.argmax(1))
    assert 0.1 < (expected == classes).mean() < 0.9
    assert task.predict(logits).tolist() == expected.tolist()


def test_open_logits_are_taken_as_they_are() -> None:
    logits, _ = drawn(5)
    assert torch.equal(TASK.predict(logits), logits.argmax(1))
    assert torch.equal(TASK.probabilities(logits), logits.softmax(1))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=4), min_size=1))
def test_probabilities_are_probabilities_and_say_what_is_predicted(
    rows: list[list[float]],
) -> None:
    logits = torch.tensor(rows)
    found = TASK.probabilities(logits)
    assert found.shape == (len(rows), 5)
    assert (found >= 0).all()
    assert found.sum(1).numpy() == pytest.approx(np.ones(len(rows)), abs=1e-5)
    largest = found.gather(1, TASK.predict(logits)[:, None])[:, 0]
    torch.testing.assert_close(largest, found.amax(1))


def test_the_unknowns_probability_falls_as_the_largest_softmax_grows() -> None:
    logits, _ = drawn(4, count=300)
    order = logits.softmax(1).amax(1).argsort()
    unknown = TASK.probabilities(logits)[order, -1]
    assert (unknown.diff() <= 1e-6).all()
    assert unknown[0] > 0.3 > unknown[-1]


def test_probabilities_of_another_model_keep_their_shares() -> None:
    wanted = drawn(4)[0].softmax(1)
    found = TASK.probabilities(TASK.logits_from(wanted))
    known = found[:, :-1] / found[:, :-1].sum(1, keepdim=True)
    torch.testing.assert_close(known, wanted, rtol=1e-4, atol=1e-5)


# Scores


@pytest.mark.parametrize("width", [4, 5])
def test_scores_are_scikit_learns(width: int) -> None:
    logits, y = drawn(width)
    scores, predicted = TASK.scores(logits, y), TASK.predict(logits)
    known = y < 4
    assert scores[TASK.metric] == pytest.approx(metrics.balanced_accuracy_score(y, predicted))
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    closed = logits[known][:, :4].argmax(1)
    assert scores["closed_set_accuracy"] == pytest.approx(metrics.accuracy_score(y[known], closed))
    p = logits.double().softmax(1)
    how_unknown = -p.amax(1) if width == 4 else p[:, -1]
    assert scores["unknown_auroc"] == pytest.approx(metrics.roc_auc_score(~known, how_unknown))


def test_what_has_no_samples_is_not_scored() -> None:
    logits, y = drawn(5)
    known, unknown = TASK.scores(logits, y.clamp_max(3)), TASK.scores(logits, torch.full_like(y, 4))
    assert set(known) == {"balanced_accuracy", "accuracy", "closed_set_accuracy"}
    assert set(unknown) == {"balanced_accuracy", "accuracy"}
    assert unknown["balanced_accuracy"] == pytest.approx(
        float((logits.argmax(1) == 4).float().mean())
    )


def test_sure_classifiers_are_ranked_beyond_the_digits_of_float32() -> None:
    # All softmaxes round to 1 in float32; the log of what is missing still tells them apart.
    logits = torch.tensor([[20.0, 0, 0, 0], [40.0, 0, 0, 0]])
    assert TASK.scores(logits, torch.tensor([4, 0]))["unknown_auroc"] == 1.0


# Labels


def test_unknown_is_a_label_after_the_classes_and_never_one_of_them() -> None:
    data = as_dataset(np.zeros((6, 2)), ["10", UNKNOWN, "9", None, 10, "9"], task="open-set")
    assert data.task == OpenSet(("9", "10"))
    assert data.y.tolist() == [1, 2, 0, -1, 1, 0]
    assert data.learnable().y.tolist() == [1, -1, 0, -1, 1, 0]
    assert data.task.decode(data.y[data.labelled])[1] == UNKNOWN
    as_classes = as_dataset(np.zeros((3, 2)), ["10", UNKNOWN, "9"])
    assert as_classes.task.classes == ("10", "9", UNKNOWN)
    again = as_dataset(as_classes, task="open-set")
    assert (again.task, again.y.tolist()) == (OpenSet(("9", "10")), [1, 2, 0])


def test_labels_to_learn_are_told_by_name_between_tasks() -> None:
    closed = as_dataset(np.zeros((3, 2)), ["b", UNKNOWN, "a"])
    assert closed.recoded(OpenSet(("a", "b", "c"))).y.tolist() == [1, 3, 0]
    with pytest.raises(DataError, match="'unknown' was not among"):
        as_dataset(closed, task="open-set").recoded(Classification(("a", "b")))


def test_splits_are_stratified_over_the_unknown_too() -> None:
    data = open_digits()
    share = float((data.y == 6).float().mean())
    kept, held = hold_out(data, 0.25, 0)
    for part in (kept, held):
        assert float((data.y[part] == 6).float().mean()) == pytest.approx(share, abs=0.02)
    for fold in cross_validation(data, 0):
        assert float((data.y[fold.score] == 6).float().mean()) == pytest.approx(share, abs=0.02)
    assert torch.bincount(data.y[draw_labels(data, 2, 0)]).tolist() == [2] * 6


def test_only_the_known_have_to_be_there_to_learn_from() -> None:
    known = open_digits().hide_labels((open_digits().y < 6).nonzero().squeeze(1))
    assert "unknown" not in describe(known).classes
    assert not any("class" in text for text in describe(known).warnings)
    assert describe(open_digits()).classes["unknown"] > 100
    with pytest.raises(DataError, match="none of the 2 samples has a label"):
        tacita.fit(np.eye(2), [UNKNOWN, UNKNOWN], task="open-set", quiet=True)


def test_nothing_is_learnt_from_the_label_unknown() -> None:
    data = open_digits(120)
    hidden = data.with_labels(data.task.learnable(data.y))
    assert (data.y == 6).any()
    assert (hidden.y != data.y).any()
    a, b = (LogisticRegression().fit(each).logits(data) for each in (data, hidden))
    assert torch.equal(a, b)
    torch.manual_seed(0)
    encoder = build("residual-cnn", data.spec, width=4)
    few = {"engine": {"steps": 3, "batch_size": 8}}
    a, b = (Trained(encoder, FixMatch, **few).fit(each).logits(data) for each in (data, hidden))
    assert a.shape == (120, 6)
    assert torch.equal(a, b)


# From data to files


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_a_model_says_unknown_in_memory_in_files_and_in_its_report(tmp_path: Path) -> None:
    data = open_digits()
    model = tacita.fit(data, recipe="knn", out=tmp_path / "run", quiet=True)
    held = model.metrics.held_out
    assert held is not None
    assert held["balanced_accuracy"] > 0.6 > 3 / 7
    assert held["unknown_auroc"] > 0.8
    loaded = Model.load(tmp_path / "run")
    assert loaded.task == OpenSet(tuple("012345"))
    predicted = loaded.predict(data)
    assert {"0", UNKNOWN} <= set(predicted)
    assert loaded.predict_proba(data).shape == (400, 7)
    names = np.array([*"012345", UNKNOWN])
    assert (names[loaded.predict_proba(data).argmax(1)] == predicted).all()

    np.savez(tmp_path / "new.npz", x=data.x.numpy(), y=names[data.y.numpy()])
    loaded.predict_file(tmp_path / "new.npz", tmp_path / "p.csv", proba=True)
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert list(rows[0]) == ["id", "predicted", *names]
    assert [row["predicted"] for row in rows] == predicted.tolist()
    in_memory = loaded.evaluate(data)
    assert loaded.evaluate_file(tmp_path / "new.npz") == pytest.approx(in_memory)
    assert loaded.evaluate(data.x.numpy(), names[data.y.numpy()]) == pytest.approx(in_memory)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "closed set accuracy" in page
    assert page.count(UNKNOWN) > 10
    np.savez(tmp_path / "other.npz", x=data.x[:2].numpy(), y=["9", "0"])
    with pytest.raises(DataError, match="'9', which the model does not know"):
        loaded.evaluate_file(tmp_path / "other.npz")


def test_a_folder_called_unknown_is_scored_on(tmp_path: Path) -> None:
    from PIL import Image

    data = open_digits(60)
    for position, name in enumerate(data.task.decode(data.y)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        picture = data.x[position, 0].numpy()
        Image.fromarray(picture).save(folder / f"{position}.png")
    read = tacita.load(tmp_path / "photos", task="open-set")
    assert read.task == OpenSet(tuple("012345"))
    assert int((read.y == 6).sum()) == int((data.y == 6).sum())
    model = tacita.fit(read, recipe="logistic-regression", quiet=True)
    (tmp_path / "only").mkdir()
    (tmp_path / "photos" / UNKNOWN).rename(tmp_path / "only" / UNKNOWN)
    scores = model.evaluate_file(tmp_path / "only")
    assert set(scores) == {"balanced_accuracy", "accuracy"}


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "torch"])
def test_an_exported_model_gives_the_unknowns_column_too(format: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = open_digits(60)
    model = tacita.adapt("knn", data, out=tmp_path / "run", quiet=True)
    out = tmp_path / ("a.onnx" if format == "onnx" else "a.pt2")
    model.export(out, format)  # It is compared with the model before it is kept.
    x = data.x[:5].float() / 255
    if format == "onnx":
        import onnxruntime

        found = onnxruntime.InferenceSession(out).run(None, {"x": x.numpy()})[0]
    else:
        found = torch.export.load(out).module()(x).detach().numpy()
    np.testing.assert_allclose(found, model.predict_proba(data)[:5], rtol=1e-4, atol=1e-5)


def test_test_samples_may_be_unknown_though_none_to_learn_from_is(tmp_path: Path) -> None:
    data = open_digits()
    known = (data.y < 6).nonzero().squeeze(1)
    model = tacita.fit(
        data.subset(known), recipe="logistic-regression", test=data.subset(data.y == 6), quiet=True
    )
    assert model.metrics.held_out is not None
    assert set(model.metrics.held_out) == {"balanced_accuracy", "accuracy"}
    assert model.metrics.leaderboard[0].mean is not None


# Who learns it


def test_what_learns_classes_learns_an_open_set() -> None:
    for card in task_cards().values():
        if card.learnt_as:
            assert issubclass(kind_of(card.name), kind_of(card.learnt_as))
    assert discover.get("fixmatch").learns("open-set")
    assert not discover.get("segmentation").learns("open-set")
    assert not discover.get("fixmatch").learns("ordinal")
    assert "fixmatch" in {card.slug for card in discover.search(task="open-set")}
