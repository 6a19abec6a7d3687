"""Texts through the whole house: described, fitted, saved, predicted, embedded, exported, reported."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import tacita
from tacita.catalog.discover import cards, reads
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.errors import ConfigError, DataError
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tacita.report.content import ReportContent, SampleError
from tacita.report.describe import describe
from tacita.report.page import render

RECIPE = {"steps": 100, "encoder": "text-transformer"}


def example() -> tuple[Dataset, torch.Tensor, torch.Tensor]:
    """The documentation's descriptions, 60 labels, and what is left."""
    data = find("text").example()
    known = torch.arange(0, len(data), 3)
    rest = torch.ones(len(data), dtype=torch.bool)
    rest[known] = False
    return data, known, rest.nonzero().squeeze(1)


def written(folder: Path) -> tuple[Path, Dataset]:
    """A CSV of the texts in which two thirds have no label."""
    data, known, _ = example()
    labels = data.task.decode(data.y)
    with (folder / "docs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["said", "kind"])
        for i in range(len(data)):
            rows.writerow([data.kind.show(data, i), labels[i] if i in known else ""])
    return folder / "docs.csv", data


@pytest.mark.long
def test_a_network_learns_from_a_file_and_is_the_same_once_saved(tmp_path: Path) -> None:
    path, truth = written(tmp_path)
    data = tacita.load(path, text="said", labels="kind")
    model = tacita.adapt("supervised", data, out=tmp_path / "run", quiet=True, **RECIPE)
    again = Model.load(tmp_path / "run")
    texts = [str(truth.kind.show(truth, i)) for i in range(len(truth))]
    right = np.mean(again.predict(texts) == np.array(truth.task.decode(truth.y)))
    assert right > 0.6  # of four kinds, where guessing the commonest gives 0.25
    assert np.array_equal(again.predict_proba(texts), model.predict_proba(texts))
    assert np.array_equal(again.embed(texts), model.embed(texts))
    assert again.schema == model.schema
    # In pieces from the file as well, and each text by itself.
    out = tmp_path / "predicted.csv"
    assert again.predict_file(path, out) == len(texts)
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == list(model.predict(texts))
    alone = np.concatenate([again.predict_proba([text]) for text in texts[:5]])
    assert np.allclose(alone, again.predict_proba(texts[:5]), atol=1e-5)
    assert again.predict(["a word nobody ever wrote: zyzzyx"]).shape == (1,)


@pytest.mark.parametrize("tokeniser", ["bytes", "bpe"])
def test_other_tokenisers_travel_with_the_model(tokeniser: str, tmp_path: Path) -> None:
    data, known, _ = example()
    texts = [str(data.kind.show(data, i)) for i in known]
    few = as_dataset(texts, data.task.decode(data.y[known]), tokeniser=tokeniser)
    model = tacita.adapt("supervised", few, out=tmp_path / "run", quiet=True, steps=3)
    again = Model.load(tmp_path / "run")
    assert again.schema == model.schema
    assert np.array_equal(again.predict_proba(texts), model.predict_proba(texts))


def test_fit_compares_networks_with_the_baselines_of_texts() -> None:
    card = find("text").card
    assert card.usual == ("supervised", "masked-language-modelling-fine-tune")
    baselines = [c.slug for c in cards().values() if c.family == "baseline" and "text" in reads(c)]
    of_classes = ["tfidf-label-spreading", "tfidf-logistic-regression", "tfidf-svm"]
    assert sorted(baselines) == sorted([*of_classes, "tfidf-ridge"])


def test_what_cannot_work_on_tokens_is_not_offered() -> None:
    offered = {card.slug for card in cards().values() if "text" in reads(card)}
    assert {"simclr", "vicreg", "fixmatch", "self-pretraining", "simcse"} <= offered
    never = {"mae", "mixmatch", "semixup", "saa", "dino", "random-forest", "minirocket", "t-jepa"}
    assert never.isdisjoint(offered)
    data, known, _ = example()
    with pytest.raises(ConfigError, match="have no average"):
        tacita.adapt("supervised", data.hide_labels(known), mixup=0.5, quiet=True)


def test_pretraining_and_adapting_go_the_way_of_all_modalities(tmp_path: Path) -> None:
    data, known, _ = example()
    start = tacita.pretrain(
        "masked-language-modelling", data, steps=5, out=tmp_path / "pre", quiet=True
    )
    assert start.embed(["a text"]).shape == (1, 64)
    model = tacita.adapt(
        "fine-tune", data.hide_labels(known), start=tmp_path / "pre", steps=5, quiet=True
    )
    assert model.recipe.pretrain is not None
    for method, encoder in (("self-pretraining", "sequence-model"), ("simclr", "text-transformer"),
                            ("causal-language-modelling", "sequence-model")):  # fmt: skip
        tacita.pretrain(method, data, encoder=encoder, steps=2, batch_size=16, quiet=True)


def test_a_model_is_adapted_to_texts_that_are_read_as_it_reads(tmp_path: Path) -> None:
    data, known, rest = example()
    texts = [str(data.kind.show(data, i)) for i in range(len(data))]
    labels = data.task.decode(data.y)
    without = as_dataset([texts[i] for i in rest])
    tacita.pretrain("masked-language-modelling", without, steps=3, out=tmp_path / "pre", quiet=True)
    few = ([texts[i] for i in known], [labels[i] for i in known])
    with pytest.raises(DataError, match="tokeniser=FOLDER"):
        tacita.adapt("linear-probe", as_dataset(*few), start=tmp_path / "pre", quiet=True)
    read = as_dataset(*few, tokeniser=str(tmp_path / "pre"))
    assert read.meta.reading == without.meta.reading  # type: ignore[attr-defined]
    model = tacita.adapt("linear-probe", read, start=tmp_path / "pre", quiet=True)
    assert model.predict(texts[:2]).shape == (2,)
    tables = tacita.fit("wine", recipe="logistic-regression", out=tmp_path / "wine", quiet=True)
    assert tables.folder is not None
    with pytest.raises(DataError, match="not trained on texts"):
        as_dataset(*few, tokeniser=str(tables.folder))


def test_a_description_says_what_texts_are() -> None:
    data = as_dataset(["one two three", "one", "one", ""], ["a", "b", "b", ""], missing="impute")
    said = str(describe(data))
    assert "4 texts of 1-3 (median 1) tokens" in said
    assert "words, 6 in the vocabulary, 0.0% unknown" in said
    assert "1 text without any token" in said
    assert "1 exact duplicate of an earlier sample" in said


def test_unknown_words_are_told() -> None:
    schema = as_dataset(["known words"]).schema
    from tacita.modalities.load import read_like

    (later,) = read_like(["altogether other words", "known"], schema)
    assert "50.0% unknown" in dict(later.kind.facts(later))["tokens"]
    assert any("a fifth of the tokens are unknown" in said for said in later.kind.suspicions(later))


def test_rows_for_the_map_are_directions_not_token_numbers() -> None:
    data, _, _ = example()
    rows, y = data.normalised().arrays()
    assert rows.shape == (len(data), 50)
    assert np.isfinite(rows).all()
    near = ((rows[:, None] - rows[None]) ** 2).sum(2)
    np.fill_diagonal(near, np.inf)
    assert (y[near.argmin(1)] == y).mean() > 0.6


def test_the_words_that_tell_the_classes_apart_are_found() -> None:
    data, _, _ = example()
    marks = data.kind.marks(data)
    assert list(marks) == list(data.task.answers)
    assert "distribution" in marks["distribution"]
    assert "matrix" in marks["linear algebra"]
    few = data.hide_labels(torch.empty(0, dtype=torch.int64))
    assert data.kind.marks(few) == {}


def test_the_report_shows_texts_as_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> & \u202e" + "x" * 5000
    error = SampleError("a", "yes", "no", 0.9, hostile)
    page = render(ReportContent("t", errors=[error], marks={"<b>": ["<i>", "word"]}))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "x" * 300 not in page
    assert "&lt;b&gt;" in page
    data, _, _ = example()
    tacita.fit(data, recipe="tfidf-svm", out=tmp_path / "run", quiet=True)
    assert "What tells the classes apart" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_network_is_exported(format: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data, known, _ = example()
    model = tacita.adapt("supervised", data.hide_labels(known), steps=2, quiet=True)
    out = model.export(tmp_path / f"model{'.onnx' if format == 'onnx' else '.pt2'}", format)
    assert out.is_file()
