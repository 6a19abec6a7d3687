"""Series: numbers over time, of equal or unequal lengths, at one rate or a rate a channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tacita.catalog.cards import modality
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Fact, Meta, Modality, Strength, unlike
from tacita.data.normalise import Normaliser, Standardiser
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import DataError
from tacita.modalities.crops import Crops
from tacita.modalities.pixels import about_channels, check_channels
from tacita.modalities.readers.files import SERIES_FILES
from tacita.modalities.readers.sources import (
    ArraySource,
    FileSource,
    FolderSource,
    ListSource,
    TableSource,
)
from tacita.modalities.series.blocks import in_blocks, step_times
from tacita.modalities.series.crops import crop_series
from tacita.modalities.series.forecast import rows_to_come
from tacita.modalities.series.forecast_words import forecast_facts, forecast_in_words
from tacita.modalities.series.layout import about_layout
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.normalise import WindowStandardiser
from tacita.modalities.series.rates import channel_rates
from tacita.modalities.series.read import fit_to
from tacita.modalities.series.recordings.device import is_device
from tacita.modalities.series.sensor_views import SensorViews
from tacita.modalities.series.sources import TEXT_SERIES, is_text_series, meta_of, samples_of
from tacita.modalities.series.views import SeriesViews
from tacita.tasks import is_stepwise
from tacita.values import Ragged, Values, full, length_mask
from tacita.windows import Windows
from tacita.words import SHOWN, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARCHIVE = ".zip"
POINTS = 16
"""Of a series that is looked at coarsely."""
_UNEVEN_LENGTHS = 10


@modality(
    "series",
    title="Series",
    encoder="residual-conv",
    encoders={"patches": "series-transformer", "steps": "sequence-model", "sensors": "e4mer"},
    gives=(
        "views", "crops", "halves", "rows", "numbers", "patches", "neighbours", "steps", "sensors",
    ),
    usual=(
        "supervised", "barlow-linear-probe", "barlow-fine-tune", "fixmatch", "per-step", "per-step-conv",
        "direct-forecast",
    ),
    hidden_share=0.5,
)  # fmt: skip
class Series(Modality):
    """Series `(L, C)`. `hidden_share` lies between PatchTST's 0.4 and the 0.6 of TimeMAE."""

    meta = SeriesMeta
    formats = (TEXT_SERIES, ARCHIVE)
    options = ("series_id", "time", "horizon", "season", "context", "known_ahead", "calendar")
    wants = "Series come as arrays, a folder of files, a .ts file, or a table with --series-id."

    def claims(self, source: Source, reading: Reading) -> int:
        if isinstance(source, FolderSource):
            return 5 if is_device(source.path) else int(source.has(SERIES_FILES))
        if isinstance(source, FileSource):
            return 3 * (is_text_series(source.path) or is_device(source.path))
        if isinstance(source, ArraySource):
            timed = source.ragged or source.lengths is not None
            return 3 * (timed or (len(source.shape) == 3 and source.dtype != "u1"))
        if isinstance(source, TableSource):
            told = (reading.series_id, reading.time, reading.horizon)
            asked = any(each is not None for each in told)
            return 3 * (asked or is_stepwise(reading.task))
        return 3 * (isinstance(source, ListSource) and not isinstance(source.items[0], str))

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        found = samples_of(source, reading, like, chunk)
        if found is None:
            raise self.cannot(source, like)
        yield from found

    def divided(self, data: Dataset) -> Dataset:
        """Of the only series that has labels, where these are of steps, consecutive blocks."""
        return in_blocks(data) if data.task.stepwise and int(data.labelled.sum()) == 1 else data

    def times(self, data: Dataset) -> list[list[str]] | None:
        meta = data.meta
        assert isinstance(meta, SeriesMeta)
        if data.starts is None or meta.step is None:
            return None
        lengths = data.lengths
        counts = [data.meta.shape[0]] * len(data) if lengths is None else lengths.tolist()
        starts = data.starts.tolist()
        return [step_times(*each, meta) for each in zip(starts, counts, strict=True)]

    def conform(self, samples: Samples, like: Schema) -> Samples:
        known, meta = meta_of(like), samples.meta
        assert known is not None
        assert isinstance(meta, SeriesMeta)
        if meta.rates and meta.rates != known.rates:
            raise DataError(
                f"{samples.source}: the channels have rates {meta.rates}, those of the model"
                f" {known.rates or 'one rate'}.",
                remedy="Give the same channels in the same order, at the same rates.",
            )
        if meta.columns and known.columns and meta.columns != known.columns:
            raise DataError(
                f"{samples.source}: the columns or categories are not those of the model.",
                remedy="Give the file or the frame itself, so that its columns are matched by name.",
            )
        check_channels(samples, like)
        if known.horizon:
            return replace(samples, meta=known.like(samples.values))
        values = fit_to(samples.values, known.shape[0])
        return replace(samples, values=values, meta=known.like(values))

    def join(self, parts: Sequence[Values], source: str) -> Values:
        windows = [part for part in parts if isinstance(part, Windows)]
        if len(windows) == len(parts):
            return Windows.end_to_end(windows)
        lengths = {part.shape[1] for part in parts if isinstance(part, Tensor)}
        equal = all(isinstance(part, Tensor) for part in parts) and len(lengths) == 1
        return super().join(parts if equal else [_ragged(part) for part in parts], source)

    def check_alike(self, data: Dataset, other: Dataset) -> None:
        a, b = data.spec, other.spec
        if (a.channels, a.rates) != (b.channels, b.rates):
            raise unlike(data, other)

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return WindowStandardiser(spec) if spec.targets else Standardiser(spec, axis=2)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        # Where rows are seconds, views of rows would tear the signals apart.
        views = SensorViews if spec.rates else SeriesViews
        return views.weak(spec) if strength == "weak" else views.strong(spec)

    def crops(self, spec: InputSpec, *, scale: tuple[float, float], size: float = 1.0) -> nn.Module:
        return Crops(crop_series, scale=scale, size=size)

    def sides(self, spec: InputSpec) -> tuple[int, ...]:
        return spec.shape[:1]

    def first_half(self, batch: Batch, spec: InputSpec, other: Tensor) -> Tensor:
        """The first half of its own length, or where `other` of its channels if there are several."""
        x = batch.x
        rates = channel_rates(spec)
        middle = sum(rates[: len(rates) // 2])
        place = torch.arange(x.shape[1], device=x.device)[:, None]
        half = x.shape[1] // 2 if batch.lengths is None else batch.lengths[:, None, None] // 2
        in_time, in_channels = place < half, torch.arange(x.shape[2], device=x.device) < middle
        return torch.where(other, in_channels, in_time) if middle else in_time

    def words(self, data: Dataset) -> str:
        if data.spec.targets:
            return forecast_in_words(data)
        low, median, high = _lengths(data)
        length = f"{high}" if low == high else f"{low}-{high} (median {median:g})"
        rates = data.spec.rates
        if rates:
            shown = ", ".join(str(rate) for rate in rates[:SHOWN]) + ", ..." * (len(rates) > SHOWN)
            sensors = plural(len(rates), "channel")
            return f"{len(data)} windows of {length} s, {sensors} at {shown} a second"
        return f"{len(data)} series, {plural(data.spec.channels, 'channel')}, length {length}"

    def facts(self, data: Dataset) -> list[Fact]:
        meta = data.meta
        assert isinstance(meta, SeriesMeta)
        if meta.horizon:
            return forecast_facts(meta)
        if meta.step is None:
            return []
        done = f"; {meta.resampled} irregular series interpolated" if meta.resampled else ""
        return [("time", f"from {meta.time!r}, a step of {meta.step:g}{done}")]

    def suspicions(self, data: Dataset) -> list[str]:
        meta = data.meta
        assert isinstance(meta, SeriesMeta)
        layout = [] if meta.horizon else about_layout(data)
        names = (*meta.columns, "to come") if meta.columns else ()
        said = [*about_channels(data, 2, names), *layout]
        if data.spec.targets:
            return said
        low, median, high = _lengths(data)
        if high > _UNEVEN_LENGTHS * median or median > _UNEVEN_LENGTHS * low:
            said.append(
                f"lengths are very unequal ({low} to {high}, median {median:g}):"
                " most of a batch is padding"
            )
        if meta.gaps:
            said.append(
                f"{plural(meta.gaps, 'gap')} of more than 10 steps bridged by straight lines"
            )
        return said

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """Evenly spaced points of the valid part; how much neighbours differ and values spread."""
        x, longest = data.x, data.x.shape[1]
        lengths = torch.full((len(x),), longest) if data.lengths is None else data.lengths
        share = (torch.arange(POINTS) + 0.5) / POINTS
        at = (lengths[:, None] * share).long().clamp_max(longest - 1)
        coarse = x.gather(1, at[:, :, None].expand(-1, -1, x.shape[2]))
        valid = length_mask(lengths, longest)[:, :, None]
        count = lengths.clamp_min(1)[:, None].double() * x.shape[2]
        x = torch.where(valid, x, 0.0)
        steps = (x.diff(dim=1).abs() * valid[:, 1:]).flatten(1).sum(1, keepdim=True) / count
        mean = x.flatten(1).sum(1, keepdim=True) / count
        spread = (x.square().flatten(1).sum(1, keepdim=True) / count - mean.square()).clamp_min(0)
        return coarse.flatten(1), torch.cat([steps, spread.sqrt()], 1)

    def show(self, data: Dataset, position: int) -> NDArray[Any]:
        x = data.x[position]
        if data.spec.targets:
            x = x[:, : data.spec.targets]
        shown: NDArray[Any] = (
            x if data.lengths is None else x[: int(data.lengths[position]) - data.spec.ahead]
        ).numpy()
        rates = data.spec.rates
        if rates:  # a second's samples of a channel become one point of its line
            begins = np.cumsum((0, *rates[:-1]))
            shown = np.add.reduceat(shown, begins, axis=1) / np.array(rates, shown.dtype)
        return shown

    def to_come(self, source: Source, like: Schema) -> tuple[list[str], list[list[Any]]]:
        known = meta_of(like)
        if known is None or not known.horizon or not isinstance(source, TableSource):
            return super().to_come(source, like)
        return rows_to_come(source.whole, known, source=source.name, row_name=source.row_name(0))

    def example_inputs(self, normaliser: Normaliser, meta: Meta, size: int) -> Values:
        assert isinstance(normaliser, Standardiser)
        assert isinstance(meta, SeriesMeta)
        generator = torch.Generator().manual_seed(size)
        x = torch.randn(size, *meta.shape, generator=generator) * normaliser.std + normaliser.mean
        x = x.to(meta.floats)
        if not meta.unequal:
            return x
        lengths = torch.randint(1, meta.shape[0] + 1, (size,), generator=generator)
        return Ragged.of(x * length_mask(lengths, meta.shape[0])[:, :, None], lengths)

    def example(self) -> Dataset:
        """The rows of handwritten digits, from top to bottom, some of them cut short."""
        from tacita.modalities.builtin import load_builtin

        digits = load_builtin("digits")[0].subset(torch.arange(200))
        rows = digits.x[:, 0].float() / 255
        lengths = torch.full((200,), 8)
        lengths[::5] = 6
        values = Ragged.of(rows * length_mask(lengths, 8)[:, :, None], lengths)
        return Dataset.of("series", values, digits.targets, digits.task, source="rows of digits")


def _ragged(part: Values) -> Values:
    return full(part) if isinstance(part, Tensor) else part


def _lengths(data: Dataset) -> tuple[int, float, int]:
    """The shortest, the median and the longest."""
    lengths = data.lengths
    if lengths is None or not len(lengths):
        return data.meta.shape[0], float(data.meta.shape[0]), data.meta.shape[0]
    known = lengths.numpy()
    return int(known.min()), float(np.median(known)), int(known.max())
