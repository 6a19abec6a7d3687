"""Texts to token numbers and back: by bytes, by words, or by a tokeniser of the `tokenizers` package.

Whatever a tokeniser has learnt stands in the facts of the data set (`TextMeta`), so that a saved model
tokenises later texts the same. A file of another's tokeniser is data only: no code comes with it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacita.errors import ConfigError, DataError, MissingExtraError
from tacita.modalities.readers.values import damaged
from tacita.modalities.text.meta import LARGEST_DEFINITION, LONGEST_WORD, TextMeta

LONGEST = 256
"""Tokens of a text; the rest is cut off."""
LONGEST_BYTES = 1024
SEEN = 64
"""Characters a token that are looked at, so that a text of millions costs no more than another."""
MOST_WORDS = 20_000
BPE_TOKENS = 8_000
HIDDEN, UNKNOWN, EMPTY = 0, 1, 2
FIRST = 3
"""The first token that stands for a part of a text."""
SPECIAL_WORDS = ("[MASK]", "[UNK]", "[EMPTY]")
WORD = re.compile(r"\w+|[^\w\s]")
NAMES = ("words", "bytes", "bpe")
MODEL = "labels.json"
"""By which the folder of a saved model is known."""
TOLD = ("shape", "vocabulary", "tokeniser", "words", "definition", "hidden_token", "unknown_token",
        "empty_token", "specials")  # fmt: skip
"""The facts that are of the tokeniser."""

Tokens = NDArray[np.int64]


class Tokenised(NamedTuple):
    """`flat` tokens end to end, the `lengths (N,)` of the texts, and how many of them were cut."""

    flat: Tensor
    lengths: Tensor
    cut: int


class Tokeniser(ABC):
    """Texts to tokens by what a data set knows of it, at most `longest` a text."""

    empty: int
    """What stands alone for a text without any token."""

    def __init__(self, longest: int) -> None:
        self.longest = longest

    def __call__(self, texts: Sequence[str]) -> Tokenised:
        """The tokens of texts, none of which has no token."""
        seen = SEEN * self.longest
        encoded = self.encode([text[:seen] for text in texts])
        cut = [
            len(tokens) > self.longest or len(text) > seen
            for tokens, text in zip(encoded, texts, strict=True)
        ]
        kept = [tokens[: self.longest] if len(tokens) else [self.empty] for tokens in encoded]
        lengths = torch.tensor([len(tokens) for tokens in kept], dtype=torch.int64)
        flat = np.concatenate([np.asarray(tokens, np.int64) for tokens in kept])
        return Tokenised(torch.from_numpy(flat), lengths, sum(cut))

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[int] | Tokens]:
        """The tokens of each text; of one that is too long, more than `longest` or marked by it."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as a text to be read by people."""


class ByteTokeniser(Tokeniser):
    """The bytes of the text as UTF-8."""

    empty = EMPTY

    def encode(self, texts: Sequence[str]) -> Sequence[Tokens]:
        most = self.longest + 1
        encoded = (text[:most].encode()[:most] for text in texts)
        return [np.frombuffer(each, np.uint8).astype(np.int64) + FIRST for each in encoded]

    def text(self, tokens: Sequence[int]) -> str:
        return bytes(token - FIRST for token in tokens if token >= FIRST).decode(errors="replace")


class WordTokeniser(Tokeniser):
    """Words and marks in lower case, by their place in the vocabulary."""

    empty = EMPTY

    def __init__(self, longest: int, words: Sequence[str]) -> None:
        super().__init__(longest)
        self.words = words
        self.numbers = {word: number for number, word in enumerate(words, FIRST)}

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        find = self.numbers.get
        return [[find(word, UNKNOWN) for word in words_of(t, self.longest + 1)] for t in texts]

    def text(self, tokens: Sequence[int]) -> str:
        known = (*SPECIAL_WORDS, *self.words)
        return " ".join(known[token] for token in tokens if token != EMPTY)


class LibraryTokeniser(Tokeniser):
    """A tokeniser of the `tokenizers` package, from its definition alone.

    Raises `DataError` for a definition that is none, or of more tokens than `vocabulary`.
    """

    def __init__(self, longest: int, definition: str, empty: int, vocabulary: int) -> None:
        super().__init__(longest)
        self.empty = empty
        made = library().Tokenizer
        try:
            self.made = made.from_str(definition)
            self.made.no_padding()
            # It keeps the special tokens that it puts around a text.
            self.made.enable_truncation(longest)
        except Exception as error:  # Whatever the library finds wrong comes as a bare Exception.
            raise DataError(
                f"the tokeniser cannot be read ({str(error)[:200]}).",
                remedy="Give a folder with the tokenizer.json of a fast transformers tokeniser.",
            ) from error
        if size_of(self.made) > vocabulary:
            raise DataError(
                f"the tokeniser has {size_of(self.made)} tokens, and the vocabulary {vocabulary}."
            )

    def __call__(self, texts: Sequence[str]) -> Tokenised:
        seen = SEEN * self.longest
        encodings = self.made.encode_batch([text[:seen] for text in texts])
        cut = [
            bool(each.overflowing) or len(text) > seen
            for each, text in zip(encodings, texts, strict=True)
        ]
        kept = [np.asarray(each.ids or [self.empty], np.int64) for each in encodings]
        lengths = torch.tensor([len(tokens) for tokens in kept], dtype=torch.int64)
        return Tokenised(torch.from_numpy(np.concatenate(kept)), lengths, sum(cut))

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return [each.ids for each in self.made.encode_batch(list(texts))]

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.made.decode(list(tokens), skip_special_tokens=True))


def words_of(text: str, most: int) -> list[str]:
    """The first words and marks of a text, in lower case.

    >>> words_of("Don't stop!", 10)
    ['don', "'", 't', 'stop', '!']
    """
    plain = unicodedata.normalize("NFC", text).lower()
    return [found[0][: LONGEST_WORD + 1] for found in islice(WORD.finditer(plain), most)]


def tokeniser_of(meta: TextMeta) -> Tokeniser:
    """The tokeniser of a data set or a model. Raises `DataError` for one that has none."""
    longest = meta.shape[0]
    if meta.tokeniser == "bytes":
        return ByteTokeniser(longest)
    if meta.tokeniser == "words":
        return _word_tokeniser(longest, meta.words)
    if meta.definition:
        return _library_tokeniser(longest, meta.definition, meta.empty_token or 0, meta.vocabulary)
    raise DataError(
        "the model learnt from token numbers, so texts cannot be turned into its tokens.",
        remedy="Give token numbers, as a data set made with Dataset.of.",
    )


# Made once for all chunks of a file: a vocabulary takes a while to be looked through.
_word_tokeniser = lru_cache(4)(WordTokeniser)
_library_tokeniser = lru_cache(4)(LibraryTokeniser)


def learnt(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """The facts of a tokeniser, learnt from these texts where it learns; see `tacita.load` for the name.

    Raises `ConfigError` for a name that is neither a tokeniser nor a folder, `DataError` for a folder
    without a tokeniser.
    """
    own = {"hidden_token": HIDDEN, "unknown_token": UNKNOWN, "empty_token": EMPTY,
           "specials": (HIDDEN, EMPTY)}  # fmt: skip
    if name == "bytes":
        return {**own, "tokeniser": name, "shape": (LONGEST_BYTES,), "vocabulary": FIRST + 256,
                "unknown_token": None}  # fmt: skip
    if name == "words":
        words = frequent_words(texts)
        return {**own, "tokeniser": name, "shape": (LONGEST,), "vocabulary": FIRST + len(words),
                "words": words}  # fmt: skip
    if name == "bpe":
        return {**_from_definition(trained_bpe(texts)), "tokeniser": name}
    if (Path(name) / MODEL).is_file():
        return _of_model(Path(name) / MODEL)
    return {**_from_definition(definition_in(name)), "tokeniser": "file"}


def _of_model(path: Path) -> dict[str, Any]:
    """The facts of the tokeniser that a saved model of texts reads with."""
    with damaged(path, "a model of texts"):
        if path.stat().st_size > 2 * LARGEST_DEFINITION:
            raise DataError(f"{path}: larger than {2 * LARGEST_DEFINITION // 2**20} MiB.")
        known = json.loads(path.read_bytes())
        if known.get("modality") != TextMeta.modality:
            raise DataError(
                f"{path}: the model was not trained on texts, so it has no tokeniser.",
                remedy="Give the folder of a model of texts.",
            )
        meta = TextMeta.model_validate_json(json.dumps(known["meta"]))
    tokeniser_of(meta)
    return {name: getattr(meta, name) for name in TOLD}


def frequent_words(texts: Iterable[str]) -> tuple[str, ...]:
    """The most frequent words of the texts' beginnings, in the order of the alphabet where they tie."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text[: SEEN * LONGEST], LONGEST))
    known = [pair for pair in counts.items() if len(pair[0]) <= LONGEST_WORD]
    known.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple(word for word, _ in known[:MOST_WORDS])


def trained_bpe(texts: Sequence[str]) -> str:
    """The definition of pairs of bytes joined by how often they occur (Sennrich et al., 2016)."""
    made = library()
    tokeniser = made.Tokenizer(made.models.BPE())
    tokeniser.normalizer = made.normalizers.NFC()
    tokeniser.pre_tokenizer = made.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = made.decoders.ByteLevel()
    trainer = made.trainers.BpeTrainer(
        vocab_size=BPE_TOKENS,
        min_frequency=2,
        show_progress=False,
        special_tokens=["[MASK]", "[EMPTY]"],
        initial_alphabet=made.pre_tokenizers.ByteLevel.alphabet(),
    )
    beginnings = (text[: SEEN * LONGEST] for text in texts)
    tokeniser.train_from_iterator(beginnings, trainer, length=len(texts))
    return str(tokeniser.to_str())


def definition_in(folder: str) -> str:
    """The `tokenizer.json` in a folder.

    Raises `ConfigError` for a name that is no folder, `DataError` for a folder without one.
    """
    if not Path(folder).is_dir():
        raise ConfigError(
            f"tokeniser={folder!r} is neither a tokeniser nor a folder.",
            remedy=f"Known: {', '.join(NAMES)}; or give a folder with a tokenizer.json, or a model's.",
        )
    path = Path(folder) / "tokenizer.json"
    with damaged(path, "a tokeniser"):
        if path.stat().st_size > LARGEST_DEFINITION:
            raise DataError(f"{path}: larger than {LARGEST_DEFINITION // 2**20} MiB.")
        return path.read_text(encoding="utf-8")


def _from_definition(definition: str) -> dict[str, Any]:
    """The facts of a tokeniser of the library: its size, and which of its tokens are special."""
    made = LibraryTokeniser(LONGEST, definition, 0, 2**24).made
    listed = json.loads(definition)
    specials = {
        each["content"]: int(each["id"])
        for each in listed.get("added_tokens") or ()
        if each.get("special")
    }
    hidden = next((specials[word] for word in ("[MASK]", "<mask>") if word in specials), None)
    unknown = _unknown(listed["model"], made)
    fallbacks = (specials.get("[EMPTY]"), hidden, unknown)
    empty = next((token for token in fallbacks if token is not None), 0)
    return {
        "shape": (LONGEST,),
        "vocabulary": size_of(made),
        "definition": definition,
        "hidden_token": hidden,
        "unknown_token": unknown,
        "empty_token": empty,
        "specials": tuple(sorted(token for token in specials.values() if token != unknown)),
    }


def _unknown(model: dict[str, Any], made: Any) -> int | None:
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    word = model.get("unk_token")
    return None if not isinstance(word, str) else made.token_to_id(word)


def size_of(made: Any) -> int:
    """How many token numbers there are: one more than the largest, for some have gaps."""
    return max(made.get_vocab(with_added_tokens=True).values(), default=0) + 1


def library() -> Any:
    """The `tokenizers` package. Raises `MissingExtraError` where it is not installed."""
    try:
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("tokenizers", "text") from error
    return tokenizers
