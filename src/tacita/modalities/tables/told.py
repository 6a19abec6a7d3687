"""What was said of a table's columns: to be left out, categories, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tacita.data.reading import Reading
from tacita.errors import ConfigError
from tacita.modalities.readers.columns import strings
from tacita.words import nearest

OPTIONS = ("ignore", "categorical", "numeric")


@dataclass(frozen=True)
class Told:
    """The names of columns under each option of reading.

    >>> Told(ignore=("name",)).kept(pa.table({"name": ["a"], "age": [1]}), "people.csv").column_names
    ['age']
    """

    ignore: Sequence[str] = ()
    categorical: Sequence[str] = ()
    numeric: Sequence[str] = ()

    @classmethod
    def of(cls, reading: Reading) -> Told:
        """As a reading has it."""
        return cls(*(getattr(reading, option) or () for option in OPTIONS))

    def kept(self, table: pa.Table, source: str) -> pa.Table:
        """The table without what is to be left out.

        Raises `ConfigError` for a column that there is not, or that two things are said of.
        """
        said: dict[str, str] = {}
        for option in OPTIONS:
            for name in getattr(self, option):
                if name not in table.column_names:
                    near = nearest(name, table.column_names)
                    raise ConfigError(
                        f"{option}={name!r} is no column of {source} that could be learnt from.",
                        remedy=f"Did you mean {near!r}?"
                        if near
                        else f"Columns: {', '.join(table.column_names[:10])}.",
                    )
                if said.setdefault(name, option) != option:
                    raise ConfigError(
                        f"column {name!r} is named in {said[name]} and in {option}.",
                        remedy="Name it in one of them.",
                    )
        return table.drop_columns(list(dict.fromkeys(self.ignore)))

    def refuse(self, source: str) -> None:
        """Raises `ConfigError` where something was said of the columns of what has no names."""
        for option in OPTIONS:
            if getattr(self, option):
                raise ConfigError(
                    f"{option}={list(getattr(self, option))}, but the columns of {source} have no names.",
                    remedy="Give a file or a data frame whose columns have names, or leave it out.",
                )


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose values are to be numbers: codes as what they stand for, False and True as 0 and 1."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.cast(column, pa.int8()) if pa.types.is_boolean(column.type) else column


def as_words(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column whose values are to be categories, as text: a whole number has no decimals.

    >>> as_words(pa.chunked_array([[1.0, None, 2.0]]), "zip").to_pylist()
    ['1', None, '2']
    """
    if pa.types.is_floating(column.type):
        filled = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        try:
            column = pc.cast(filled, pa.int64())
        except pa.ArrowInvalid:
            column = filled
    return strings(column, name)
