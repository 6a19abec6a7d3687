"""Tables: rows of numbers and categories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tacita.catalog.cards import modality
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Fact, Meta, Modality, Strength, unlike
from tacita.data.normalise import Normaliser, Standardiser
from tacita.data.notes import Doubt
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import DataError
from tacita.modalities.crops import Crops
from tacita.modalities.pixels import check_channels
from tacita.modalities.readers.sources import ArraySource, TableSource
from tacita.modalities.tables.crops import crop_rows
from tacita.modalities.tables.normalise import RowNormaliser
from tacita.modalities.tables.read import TablesMeta, row_array, table_like, table_samples
from tacita.modalities.tables.steps import steps_in
from tacita.modalities.tables.suspicions import about_columns, column_name
from tacita.modalities.tables.told import OPTIONS, Told
from tacita.modalities.tables.views import TableViews
from tacita.values import Values
from tacita.words import SHOWN, plural


@modality(
    "tables",
    title="Tables",
    encoder="feature-tokens",
    encoders={"patches": "feature-tokens", "columns": "ft-transformer"},
    gives=("views", "crops", "halves", "rows", "numbers", "patches", "columns"),
    usual=("supervised", "mae-linear-probe", "mae-fine-tune", "fixmatch"),
    hidden_share=0.5,
)
class Tables(Modality):
    """Rows `(F,)`, a category as its code. `hidden_share` is ReMasker's: columns are less redundant."""

    meta = TablesMeta
    options = OPTIONS
    wants = "Give one .csv or .parquet file, or an array (rows, columns)."

    def claims(self, source: Source, reading: Reading) -> int:
        if isinstance(source, ArraySource):
            return int(len(source.shape) <= 2)
        return int(isinstance(source, TableSource))

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        known = like.meta if like is not None and isinstance(like.meta, TablesMeta) else None
        told = Told.of(reading)
        if isinstance(source, ArraySource):
            told.refuse(source.name)
            for piece in source.pieces(chunk):
                yield row_array(
                    piece.x, missing=reading.missing, source=source.name, start=piece.start
                )
        elif isinstance(source, TableSource):
            start = 0
            for table in source.pieces(chunk):
                if not len(table):
                    continue
                how: dict[str, Any] = {
                    "missing": reading.missing,
                    "source": source.name,
                    "row_name": source.row_name(start),
                }
                if known is None:
                    labels = None if reading.labels is None else str(reading.labels)
                    yield table_samples(
                        table,
                        labels=labels,
                        group=reading.group,
                        weight=reading.weight,
                        told=told,
                        decimal=reading.decimal,
                        ids_in=reading.id_column,
                        **how,
                    )
                else:
                    yield table_like(table, known, **how)
                start += len(table)
        else:
            raise self.cannot(source, like)

    def doubt(self, source: Source, samples: Samples, reading: Reading) -> Doubt | None:
        """Whether rows are time steps, unless it was said what they are or what keeps them together."""
        told = reading.modality is not None or samples.groups is not None
        if told or not isinstance(source, TableSource):
            return None
        others = (reading.labels, reading.group, reading.weight)
        aside = [name for name in others if name in source.whole.column_names]
        return steps_in(source.whole.drop_columns(aside), samples.labels)

    def conform(self, samples: Samples, like: Schema) -> Samples:
        known, meta = like.meta, samples.meta
        assert isinstance(known, TablesMeta)
        assert isinstance(meta, TablesMeta)
        named = (meta.columns, meta.categories, meta.dates)
        if (
            meta.columns
            and known.columns
            and named != (known.columns, known.categories, known.dates)
        ):
            raise DataError(
                f"{samples.source}: the columns, categories or dates are not those of the model.",
                remedy="Give the file or the frame itself, so that its columns are matched by name.",
            )
        check_channels(samples, like, "columns")
        if any(known.categories) and not meta.columns:
            raise DataError(
                f"{samples.source}: the model knows its columns by name, and an array has no names.",
                remedy="Give a .csv, a .parquet or a data frame.",
            )
        return replace(samples, meta=known.like(samples.values))

    def check_alike(self, data: Dataset, other: Dataset) -> None:
        a, b = data.meta, other.meta
        assert isinstance(a, TablesMeta)
        assert isinstance(b, TablesMeta)
        if data.spec != other.spec:
            raise unlike(data, other)
        if (any(a.categories) and a.categories != b.categories) or a.dates != b.dates:
            raise DataError(
                f"{other.source}: its columns have other categories or dates than those of {data.source}.",
                remedy="Read both in one file, so that a category has one code and days one beginning.",
            )

    def check_terms(self, data: Dataset, like: Schema) -> None:
        a, b = data.meta, like.meta
        if not isinstance(a, TablesMeta) or not isinstance(b, TablesMeta):
            return
        if (any(b.categories) and a.categories != b.categories) or a.dates != b.dates:
            raise DataError(
                f"{data.source}: its columns have other categories or dates than those of the model, so"
                " that its codes stand for others.",
                remedy="Give the model the file or the frame itself, to be read as it knows them.",
            )

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return RowNormaliser(spec)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        return TableViews.weak(spec) if strength == "weak" else TableViews.strong(spec)

    def crops(self, spec: InputSpec, *, scale: tuple[float, float], size: float = 1.0) -> nn.Module:
        return Crops(crop_rows, scale=scale, size=size)

    def first_half(self, batch: Batch, spec: InputSpec, other: Tensor) -> Tensor:
        """The first half of the columns."""
        width = batch.x.shape[1]
        return torch.arange(width, device=batch.x.device) < width // 2

    def words(self, data: Dataset) -> str:
        return f"{len(data)} rows, {plural(data.meta.shape[0], 'column')}"

    def facts(self, data: Dataset) -> list[Fact]:
        sizes = data.spec.cardinalities
        named = [
            f"{column_name(data, i)} ({size} categories)" for i, size in enumerate(sizes) if size
        ]
        meta = data.meta
        assert isinstance(meta, TablesMeta)
        said = [("dates", str(date)) for date in meta.dates]
        if not named:
            return said
        more = ", ..." * (len(named) > SHOWN)
        numbers = len(sizes) - len(named)
        first = ("columns", f"{plural(numbers, 'number')}; {', '.join(named[:SHOWN])}{more}")
        return [first, *said]

    def suspicions(self, data: Dataset) -> list[str]:
        return about_columns(data)

    def features(self, data: Dataset) -> tuple[str, ...]:
        """The columns."""
        return tuple(self.show(data, 0)) if len(data) else ()

    def shuffled(self, data: Dataset, feature: int, order: Tensor) -> Dataset:
        x = data.x.clone()
        x[:, feature] = x[order, feature]
        return data.with_samples(x)

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """The numbers, and a column of 0 and 1 for each category; without texture."""
        columns = []
        for position, size in enumerate(data.spec.cardinalities):
            column = data.x[:, position : position + 1]
            columns.append((column == torch.arange(size)).float() if size else column)
        return torch.cat(columns, 1), torch.empty(len(data), 0)

    def show(self, data: Dataset, position: int) -> dict[str, object]:
        meta = data.meta
        assert isinstance(meta, TablesMeta)
        row = data.x[position].tolist()
        columns = meta.columns or tuple(f"column {i}" for i in range(len(row)))
        categories = meta.categories or ((),) * len(row)
        return {
            column: _cell(value, names)
            for column, value, names in zip(columns, row, categories, strict=True)
        }

    def example_inputs(self, normaliser: Normaliser, meta: Meta, size: int) -> Values:
        assert isinstance(normaliser, Standardiser)
        generator = torch.Generator().manual_seed(size)
        x = torch.randn(size, *meta.shape, generator=generator) * normaliser.std + normaliser.mean
        x = x.to(meta.floats)
        for column, count in enumerate(meta.spec.cardinalities):
            if count:
                x[:, column] = torch.randint(count, (size,), generator=generator).float()
        x[torch.rand(x.shape, generator=generator) < 0.1] = torch.nan
        return x

    def example(self) -> Dataset:
        """Thirteen measurements of 178 wines of three growers."""
        from tacita.modalities.builtin import load_builtin

        return load_builtin("wine")[0]


def _cell(value: float, names: tuple[str, ...]) -> object:
    if not names or value != value:
        return value
    return names[int(value)] if 0 <= value < len(names) else f"category {value:g}"
