"""Tokenisers: what they give, that they are the same each time, and that what they know is bounded."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch

from tacita.errors import ConfigError, DataError, MissingExtraError
from tacita.modalities.load import read_like
from tacita.modalities.memory import as_dataset
from tacita.modalities.text import tokenisers
from tests.language import sentence_folder

TEXTS = ["The cat sat.", "the dog sat on the cat", "A dog! a dog?"]


def test_words_are_counted_in_lower_case_and_tie_by_the_alphabet() -> None:
    data = as_dataset(TEXTS)
    # dog 3 times, the 3 times, a, cat and sat twice, the rest once.
    assert data.meta.words == ("dog", "the", "a", "cat", "sat", "!", ".", "?", "on")
    assert data.samples[torch.tensor([0])].flat.tolist() == [4, 6, 7, 9]
    assert data.spec.vocabulary == 3 + 9


def test_no_more_words_are_kept_than_a_vocabulary_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenisers, "MOST_WORDS", 2)
    data = as_dataset(TEXTS)
    assert data.meta.words == ("dog", "the")
    assert data.kind.show(data, 0) == "the [UNK] [UNK] [UNK]"


def test_words_of_absurd_length_are_unknown() -> None:
    data = as_dataset(["x" * 100 + " short"])
    assert data.meta.words == ("short",)
    assert data.lengths.tolist() == [2]


def test_composed_and_decomposed_letters_are_one_word() -> None:
    data = as_dataset(["caf\u00e9", "cafe\u0301"])
    assert data.meta.words == ("caf\u00e9",)


def test_bytes_need_no_vocabulary_and_come_back() -> None:
    data = as_dataset(["na\u00efve", "b"], tokeniser="bytes")
    assert data.spec.vocabulary == 259
    assert data.samples[torch.tensor([0])].flat.tolist() == [b + 3 for b in "na\u00efve".encode()]
    assert data.kind.show(data, 0) == "na\u00efve"
    assert as_dataset(["x" * 5000], tokeniser="bytes").lengths.tolist() == [1024]


def test_pairs_are_learnt_the_same_each_time_and_know_every_byte() -> None:
    texts = [f"{a} {b}" for a in TEXTS for b in ("walking", "talking", "walked")] * 5
    one, two = (as_dataset(texts, tokeniser="bpe") for _ in range(2))
    assert one.meta.definition == two.meta.definition
    assert one.spec.vocabulary > 258
    assert one.meta.unknown_token is None
    (later,) = read_like(["\u6f22\u5b57 walking"], one.schema)
    assert later.kind.show(later, 0) == "\u6f22\u5b57 walking"
    assert int(one.lengths[0]) < len("The cat sat. walking")


def test_a_folder_gives_its_tokeniser_without_its_own_padding_and_cuts() -> None:
    folder = sentence_folder()
    data = as_dataset(["the cat", "the cat sat on " * 100], tokeniser=str(folder))
    assert data.meta.tokeniser == "file"
    assert data.lengths[1] == 256
    assert data.meta.cut == 1
    assert data.lengths[0] < 12
    first = data.samples[torch.tensor([0])].flat.tolist()
    assert (first[0], first[-1]) == (2, 3)  # [CLS] and [SEP]
    assert data.spec.hidden_token == 4
    assert data.spec.specials == (0, 2, 3, 4)
    assert data.kind.show(data, 0) == "the cat"
    (later,) = read_like(["the cat"], data.schema)
    assert later.samples.flat.tolist() == first


def test_a_folder_without_a_tokeniser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        as_dataset(TEXTS, tokeniser=str(tmp_path))
    for rubbish in ("", "{}", "[1]", "[" * 10_000, "\0"):
        (tmp_path / "tokenizer.json").write_text(rubbish, encoding="utf-8")
        with pytest.raises(DataError, match="tokeniser"):
            as_dataset(TEXTS, tokeniser=str(tmp_path))
    with pytest.raises(ConfigError, match="words, bytes, bpe"):
        as_dataset(TEXTS, tokeniser="sentencepiece")


def test_a_definition_that_promises_other_tokens_is_refused() -> None:
    meta = as_dataset(TEXTS, tokeniser="bpe").meta
    with pytest.raises(DataError, match="tokens, and the vocabulary 7"):
        tokenisers.tokeniser_of(
            meta.model_copy(
                update={"vocabulary": 7, "specials": (), "hidden_token": None, "empty_token": None}
            )
        )


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tokenizers"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="text"):
        as_dataset(TEXTS, tokeniser="bpe")
