"""The facts of series, and samples of them."""

from __future__ import annotations

from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tacita.data.batch import InputSpec
from tacita.data.modality import Meta
from tacita.data.reading import Samples
from tacita.values import Ragged, Values

_MOST_COLUMNS = 1_000_000
_MOST_CHANNELS = 100_000


class SeriesMeta(Meta):
    """`shape (L, C)`, with `L` the longest length.

    columns: the names of the channels, where they have names.
    aside: of a table of one series a row, the columns that are no steps of it.
    series_id, time: the columns, or the array, that say which series a value belongs to and when it was.
    step: the time from one value to the next, where times are known; dates are in seconds.
    dated: whether the times are dates.
    resampled, gaps: how many series were irregular and were interpolated at every step, and how many
        gaps of more than ten steps were bridged by that.
    rates: of channels with rates of their own, as in `InputSpec`.
    unequal: whether the series come with their lengths.
    """

    modality = "series"
    rank = 2

    columns: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    aside: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    series_id: str | None = None
    time: str | None = None
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    dated: bool = False
    resampled: int = Field(default=0, ge=0)
    gaps: int = Field(default=0, ge=0)
    rates: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(), max_length=_MOST_CHANNELS)
    unequal: bool = False

    @model_validator(mode="after")
    def _rates_share_the_columns(self) -> Self:
        if self.rates and sum(self.rates) != self.shape[-1]:
            raise ValueError(
                f"rates of {sum(self.rates)} samples a row, but rows of {self.shape[-1]}"
            )
        return self

    @classmethod
    def seen(cls, samples: Values) -> dict[str, Any]:
        return {**super().seen(samples), "unequal": isinstance(samples, Ragged)}

    @property
    def spec(self) -> InputSpec:
        return InputSpec(self.modality, tuple(self.shape), rates=tuple(self.rates))

    def empty(self) -> Values:
        x = super().empty()
        assert isinstance(x, Tensor)
        return Ragged.of(x, torch.zeros(0, dtype=torch.int64)) if self.unequal else x


def series_samples(
    x: Tensor,
    lengths: Tensor | None,
    source: str,
    *,
    labels: Any = None,
    groups: Any = None,
    ids: tuple[str, ...] = (),
    **facts: Any,
) -> Samples:
    """Series `(N, L, C)`, padded with zeros beyond `lengths (N,)` where these differ."""
    values = x if lengths is None else Ragged.of(x, lengths)
    return Samples(values, SeriesMeta.of(values, **facts), source, labels, groups, ids)
