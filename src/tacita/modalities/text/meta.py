"""The facts of texts: the whole tokeniser, from the file that it was learnt from to the saved model."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator

from tacita.data.batch import InputSpec
from tacita.data.modality import Meta
from tacita.values import Ragged, Values, as_tensor

TokeniserName = Literal["numbers", "bytes", "words", "bpe", "file"]
MOST_WORDS = 2**17
LONGEST_WORD = 64
LARGEST_DEFINITION = 32 * 2**20

Token = Annotated[int, Field(ge=0, lt=2**24)]


class TextMeta(Meta):
    """`shape (L,)`: how many tokens a text may have; longer ones are cut.

    vocabulary: how many tokens there are.
    tokeniser: how texts become tokens; "numbers" where they came as token numbers.
    words: of the tokeniser "words", those it knows, in the order of their numbers.
    definition: of "bpe" and "file", the text of its `tokenizer.json`.
    hidden_token, unknown_token, empty_token: what stands for a hidden one, for what is not in the
        vocabulary, and alone for a text without any.
    specials: the tokens that are no part of a text.
    text: the column that the texts came from.
    cut: how many of the texts that the vocabulary was learnt from were too long.
    """

    modality = "text"
    rank = 1

    vocabulary: int = Field(ge=1, le=2**24)
    tokeniser: TokeniserName = "numbers"
    words: tuple[Annotated[str, Field(min_length=1, max_length=LONGEST_WORD)], ...] = Field(
        default=(), max_length=MOST_WORDS
    )
    definition: str = Field(default="", max_length=LARGEST_DEFINITION)
    hidden_token: Token | None = None
    unknown_token: Token | None = None
    empty_token: Token | None = None
    specials: tuple[Token, ...] = Field(default=(), max_length=2**16)
    text: str | None = None
    cut: int = Field(default=0, ge=0)

    @classmethod
    def of(cls, samples: Values, **facts: Any) -> Self:
        """The facts of these samples; of token numbers alone, with the vocabulary that they need."""
        if "vocabulary" not in facts:
            tokens = samples.flat if isinstance(samples, Ragged) else as_tensor(samples)
            facts["vocabulary"] = int(tokens.max()) + 1 if tokens.numel() else 1
        return super().of(samples, **facts)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        tokens = (self.hidden_token, self.unknown_token, self.empty_token, *self.specials)
        if any(token is not None and token >= self.vocabulary for token in tokens):
            raise ValueError(f"a special token beyond the vocabulary of {self.vocabulary}")
        if bool(self.definition) != (self.tokeniser in ("bpe", "file")):
            raise ValueError(f"a tokeniser of {self.tokeniser!r} and a definition do not agree")
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word stands twice in the vocabulary")
        return self

    @property
    def spec(self) -> InputSpec:
        return InputSpec(
            self.modality,
            tuple(self.shape),
            vocabulary=self.vocabulary,
            hidden_token=self.hidden_token,
            specials=self.specials,
        )

    @property
    def reading(self) -> tuple[object, ...]:
        """What decides which tokens a text becomes."""
        return self.tokeniser, self.vocabulary, tuple(self.shape), self.words, self.definition

    def empty(self) -> Values:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Ragged(nothing, nothing, self.shape[0])
