"""The facts of series, and samples of them."""

from __future__ import annotations

from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tacita.data.batch import InputSpec
from tacita.data.modality import Meta
from tacita.data.reading import Samples
from tacita.modalities.series.calendar import Kind
from tacita.values import Ragged, Values

_MOST_COLUMNS = 1_000_000
_MOST_CHANNELS = 100_000
_MOST_STEPS = 1_000_000


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
    horizon: of series that are forecast, the steps to come; 0 for all others. They are windows then: the
        first `targets` channels are forecast, from at most `context` steps, and repeat themselves after a
        `season`. known_ahead, static: the columns known for the steps to come, and those that never change
        within a series. calendar, step, last_day, dated: how one moment follows another.
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
    horizon: int = Field(default=0, ge=0, le=_MOST_STEPS)
    targets: int = Field(default=0, ge=0, le=_MOST_CHANNELS)
    context: int = Field(default=0, ge=0, le=_MOST_STEPS)
    season: int = Field(default=1, ge=1, le=_MOST_STEPS)
    known_ahead: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    static: tuple[str, ...] = Field(default=(), max_length=_MOST_COLUMNS)
    calendar: Kind = "rows"
    last_day: bool = False

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
        return InputSpec(
            self.modality,
            tuple(self.shape),
            rates=tuple(self.rates),
            targets=self.targets,
            ahead=self.horizon if self.known_ahead else 0,
            known_ahead=len(self.known_ahead),
        )

    def empty(self) -> Values:
        x = super().empty()
        assert isinstance(x, Tensor)
        return Ragged.of(x, torch.zeros(0, dtype=torch.int64)) if self.unequal else x


def without_horizon(meta: Meta) -> Meta:
    """The facts of whole series that windows are cut from."""
    assert isinstance(meta, SeriesMeta)
    shape = (meta.shape[0], meta.targets or meta.shape[1])
    return meta.model_copy(update={"horizon": 0, "targets": 0, "shape": shape})


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
