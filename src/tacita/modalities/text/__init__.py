"""Texts: token numbers of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field

from tacita.catalog.cards import modality
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Meta, Modality
from tacita.data.reading import Reading, Samples, Source
from tacita.values import Ragged, Values


class TextMeta(Meta):
    """`shape (L,)`, the longest length; vocabulary: how many tokens there are."""

    modality = "text"
    rank = 1

    vocabulary: int = Field(ge=1, le=2**24)

    @property
    def spec(self) -> InputSpec:
        return InputSpec(self.modality, tuple(self.shape), vocabulary=self.vocabulary)

    def empty(self) -> Values:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Ragged(nothing, nothing, self.shape[0])


@modality(
    "text",
    title="Texts",
    encoder="sequence-model",
    encoders={"steps": "sequence-model"},
    gives=("steps", "tokens"),
    hidden_share=0.15,
    extra="text",
)
class Text(Modality):
    """Token numbers `(L,)`. `hidden_share` is usual for masked language models."""

    meta = TextMeta

    def claims(self, source: Source, reading: Reading) -> int:
        return 0

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        raise self.cannot(source, like)

    def words(self, data: Dataset) -> str:
        return f"{len(data)} texts"

    def show(self, data: Dataset, position: int) -> str:
        return ""

    def example(self) -> Dataset:
        raise NotImplementedError
