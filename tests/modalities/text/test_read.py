"""Texts from columns, files and lists: read at first and later, whole and in pieces; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tacita
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.data.modality import find
from tacita.errors import ConfigError, DataError, TacitaError
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.text import read as text_read
from tacita.modalities.text.meta import TextMeta
from tacita.values import Ragged

TEXTS = ["a good film", "a bad film !", "good fun", "bad, very bad", "what a film"]
LABELS = ["yes", "no", "yes", "no", ""]


def shown(data: Dataset) -> list[str]:
    return [str(data.kind.show(data, i)) for i in range(len(data))]


def spoken(texts: list[str]) -> list[str]:
    return shown(as_dataset(texts))


def table(path: Path) -> Path:
    columns = {"review": TEXTS, "stars": LABELS, "id": [f"r{i}" for i in range(5)]}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        pd.DataFrame(columns).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_a_column_of_any_table_is_read_with_labels_and_ids(tmp_path: Path, ending: str) -> None:
    data = tacita.load(table(tmp_path / f"reviews{ending}"), text="review", labels="stars")
    assert data.modality == "text"
    assert shown(data) == spoken(TEXTS)
    assert data.task.answers == ("no", "yes")
    assert data.y.tolist() == [1, 0, 1, 0, -1]
    assert data.ids == ("r0", "r1", "r2", "r3", "r4")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_later_texts_are_read_the_same_whole_and_in_pieces(
    tmp_path: Path, ending: str, chunk: int
) -> None:
    path = table(tmp_path / f"reviews{ending}")
    data = tacita.load(path, text="review", labels="stars")
    again = joined(list(read_like(path, data.schema, chunk=chunk)))
    assert torch.equal(again.x, data.x)
    assert torch.equal(again.y, data.y)
    assert again.ids == data.ids
    assert again.index.tolist() == list(range(5))


def test_folders_are_classes_and_files_texts(tmp_path: Path) -> None:
    for text, label, name in zip(TEXTS, LABELS, "abcde", strict=True):
        file = tmp_path / "all" / (label or "unlabelled") / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8-sig")
    data = tacita.load(tmp_path / "all")
    assert data.ids == ("no/b.txt", "no/d.txt", "unlabelled/e.txt", "yes/a.txt", "yes/c.txt")
    assert data.y.tolist() == [0, 0, -1, 1, 1]
    assert shown(data)[3] == "a good film"
    later = joined(list(read_like(tmp_path / "all", data.schema, chunk=2)))
    assert torch.equal(later.x, data.x)


def test_a_label_file_beside_the_texts_is_found(tmp_path: Path) -> None:
    for name, text in zip("abcde", TEXTS, strict=True):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "labels.csv").write_text("id,label\na,yes\nb.txt,no\n", encoding="utf-8")
    assert tacita.load(tmp_path).y.tolist() == [1, 0, -1, -1, -1]


def test_lists_and_frames_are_read_like_files(tmp_path: Path) -> None:
    from_list = as_dataset(TEXTS, LABELS)
    frame = pd.DataFrame({"review": TEXTS, "stars": LABELS})
    from_frame = as_dataset(frame, labels="stars", text="review")
    from_file = tacita.load(table(tmp_path / "x.csv"), text="review", labels="stars")
    for data in (from_frame, from_file):
        assert torch.equal(data.x, from_list.x)
        assert torch.equal(data.y, from_list.y)
    later = joined(list(read_like(TEXTS, from_frame.schema)))
    assert torch.equal(later.x, from_list.x)
    # A model of a list finds the texts in a table where there is nothing else.
    alone = joined(list(read_like(frame[["review"]], from_list.schema)))
    assert torch.equal(alone.x, from_list.x)
    with pytest.raises(DataError, match="2 columns"):
        list(read_like(frame, as_dataset(TEXTS).schema))


def test_words_that_are_not_known_become_the_unknown_one() -> None:
    data = as_dataset(TEXTS, LABELS)
    (later,) = read_like(["a splendid film"], data.schema)
    assert shown(later) == ["a [UNK] film"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"1 empty text, the first at row 1"),
        (" \t\n", r"1 empty text, the first at row 1"),
        ("a\0b", "row 1 has a NUL character at 1"),
        ("a\ud800", "row 1 has half a character at 1"),
    ],
)
def test_texts_that_cannot_be_learnt_from_are_refused_with_their_place(
    text: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        as_dataset(["fine", text])
    schema = as_dataset(["fine"]).schema
    with pytest.raises(DataError, match=said):
        list(read_like(["fine", text], schema))


def test_a_cell_is_named_as_a_spreadsheet_and_a_line_as_an_editor_counts(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\nfine,1\n,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"column 'a': 1 empty text, the first at row 3"):
        tacita.load(tmp_path / "x.csv", text="a")
    (tmp_path / "x.jsonl").write_text('{"a": "fine"}\n{"a": null}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"the first at line 2"):
        tacita.load(tmp_path / "x.jsonl", text="a")


def test_empty_texts_are_kept_as_one_token_where_they_may_be() -> None:
    data = as_dataset(["fine", "", " "], missing="impute")
    assert data.lengths.tolist() == [1, 1, 1]
    assert shown(data) == ["fine", "", ""]
    assert "2 texts without any token" in data.kind.suspicions(data)
    (later,) = read_like([""], data.schema)
    assert later.lengths.tolist() == [1]


def test_bytes_that_are_not_utf8_name_the_file_and_the_place(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9 latin")
    with pytest.raises(DataError, match=r"bad\.txt: byte 3 is not UTF-8"):
        tacita.load(tmp_path)


def test_texts_larger_than_ten_megabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text_read.LARGEST == 10 * 2**20
    monkeypatch.setattr(text_read, "LARGEST", 100)
    with pytest.raises(DataError, match=r"row 1 has .* MiB"):
        as_dataset(["fine", "é" * 60])
    (tmp_path / "long.txt").write_text("x" * 101, encoding="utf-8")
    with pytest.raises(DataError, match=r"long\.txt has .* MiB"):
        tacita.load(tmp_path)


def test_a_text_of_megabytes_is_cut_at_once() -> None:
    data = as_dataset(["word " * 1_000_000, "short"])
    assert data.lengths.tolist() == [256, 1]
    assert "1 text cut to 256" in dict(data.kind.facts(data))["tokens"]


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="Did you mean 'review'"):
        tacita.load(path, text="revew")
    with pytest.raises(ConfigError, match="which column"):
        tacita.load(path, modality="text")
    with pytest.raises(ConfigError, match="both the text and its label"):
        tacita.load(path, text="review", labels="review")
    with pytest.raises(ConfigError, match="neither a tokeniser nor a folder"):
        tacita.load(path, text="review", tokeniser="wrods")
    with pytest.raises(ConfigError, match="tokeniser='words'"):
        tacita.load(path, tokeniser="words")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match="no table"):
        tacita.load(tmp_path / "texts", text="review")
    pq.write_table(pa.table({"a": [[1], [2]]}), tmp_path / "lists.parquet")
    with pytest.raises(DataError, match="not text"):
        tacita.load(tmp_path / "lists.parquet", text="a")


def test_tokens_of_another_tokeniser_or_beyond_the_vocabulary_are_refused() -> None:
    data, other = as_dataset(TEXTS), as_dataset(["other words"] * 3)
    with pytest.raises(DataError, match="another tokeniser or vocabulary"):
        check_alike(data, other)
    with pytest.raises(DataError, match="another tokeniser or vocabulary"):
        list(read_like(other, data.schema))
    wild = Ragged(torch.tensor([3, 999]), torch.tensor([2]), 256)
    beyond = Dataset(wild, torch.tensor([-1]), data.meta)
    with pytest.raises(DataError, match=r"999, and the vocabulary has"):
        list(read_like(beyond, data.schema))
    numbers = Dataset.of("text", torch.tensor([[1, 2]]), torch.tensor([-1]))
    with pytest.raises(DataError, match="learnt from token numbers"):
        list(read_like(["a text"], numbers.schema))


@pytest.mark.parametrize("tokeniser", ["words", "bytes", "bpe"])
def test_the_facts_survive_being_written_down(tokeniser: str) -> None:
    data = as_dataset(TEXTS, tokeniser=tokeniser)
    again = TextMeta.model_validate_json(data.meta.model_dump_json())
    assert again == data.meta
    assert again.spec == data.spec


@pytest.mark.parametrize(
    "damage",
    [
        {"vocabulary": 0}, {"hidden_token": 10**6}, {"specials": [10**6]}, {"words": ["a", "a"]},
        {"words": ["x" * 1000]}, {"definition": "{}"}, {"tokeniser": "bpe"}, {"surprise": 1},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_facts_are_refused(damage: dict[str, object]) -> None:
    facts = as_dataset(TEXTS).meta.model_dump(mode="json")
    with pytest.raises(ValueError, match="TextMeta"):
        TextMeta.model_validate_json(json.dumps({**facts, **damage}))


hostile = st.text(max_size=40) | st.text(
    st.characters(codec=None, categories=["Cs", "Cc", "Cf", "Mn", "So", "Zs"]), max_size=20
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(hostile, min_size=1, max_size=5),
    st.lists(hostile, min_size=1, max_size=3),
    st.sampled_from(["words", "bytes", "bpe"]),
    st.sampled_from(["refuse", "impute"]),
)
def test_hostile_texts_are_read_or_refused_by_our_errors(
    first: list[str], later: list[str], tokeniser: str, missing: str
) -> None:
    try:
        data = as_dataset(first, tokeniser=tokeniser, missing=missing)
    except TacitaError:
        return
    assert bool((data.lengths >= 1).all())
    assert int(data.samples.flat.max()) < data.spec.vocabulary
    assert all(isinstance(text, str) for text in shown(data))
    try:
        (again,) = read_like(later, data.schema)
    except TacitaError:
        return
    assert int(again.samples.flat.max()) < data.spec.vocabulary
    (same,) = read_like(first, data.schema)
    assert torch.equal(same.x, data.x)


def test_the_example_is_real_small_and_the_same_each_time() -> None:
    one, two = find("text").example(), find("text").example()
    assert torch.equal(one.x, two.x)
    assert 100 <= len(one) <= 250
    assert min(one.y.bincount().tolist()) >= 20
