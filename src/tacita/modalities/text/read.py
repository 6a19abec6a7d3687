"""Texts from the columns of tables, from files and from memory, and what is refused in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tacita.data.reading import Missing
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.columns import kind_of
from tacita.modalities.readers.files import Entry
from tacita.modalities.readers.values import damaged
from tacita.words import nearest

LARGEST = 10 * 2**20
"""Bytes of one text: what is longer is no text but a file that has gone astray."""
_BOM = b"\xef\xbb\xbf"


def text_column(table: pa.Table, name: str | None, source: str) -> pa.ChunkedArray:
    """The column of texts. Raises `ConfigError` where it is not named or not there."""
    if name is None:
        raise ConfigError(
            f"{source}: which column holds the texts?",
            remedy=f"Name it with text= (--text); columns: {', '.join(table.column_names[:10])}.",
        )
    if name not in table.column_names:
        near = nearest(name, table.column_names)
        raise ConfigError(
            f"text={name!r} is no column of {source}.",
            remedy=f"Did you mean {near!r}?"
            if near
            else f"Columns: {', '.join(table.column_names[:10])}.",
        )
    return table[name]


def column_texts(column: pa.ChunkedArray, name: str, source: str) -> list[str | None]:
    """The cells of a column as they are; numbers as they are written."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    written = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    written = written or pa.types.is_string_view(kind) or pa.types.is_null(kind)
    if not written and not pa.types.is_integer(kind) and not pa.types.is_floating(kind):
        raise DataError(
            f"{source}: column {name!r} is of {kind_of(column)}, not text.",
            remedy="Name a column of texts.",
        )
    return list(pc.cast(column, pa.large_string()).to_pylist())


def file_text(entry: Entry) -> str:
    """The text of a file. Raises `DataError` naming the file, and the byte that is not UTF-8."""
    path = entry.path
    with damaged(path, "a text"):
        if path.stat().st_size > LARGEST:
            raise _too_long(str(path), path.stat().st_size)
        raw = path.read_bytes()
        try:
            return raw.removeprefix(_BOM).decode()
        except UnicodeDecodeError as error:
            at = error.start + len(raw) - len(raw.removeprefix(_BOM))
            raise DataError(
                f"{path}: byte {at} is not UTF-8.",
                remedy=f"Save it as UTF-8, for example: iconv -f latin1 -t utf-8 {path.name} > new",
            ) from error


def checked(
    texts: Sequence[str | None], missing: Missing, source: str, place: Callable[[int], str]
) -> list[str]:
    """Texts that can be learnt from; an empty one, of spaces or nothing, is `""` where it may be.

    Raises `DataError` naming the place of a text that is empty while `missing` is "refuse", that has a NUL
    or half a character, or is larger than 10 MiB.
    """
    found = []
    for position, text in enumerate(texts):
        if text is None or not text or text.isspace():
            if missing == "refuse":
                count = sum(t is None or not t or t.isspace() for t in texts[position:])
                raise DataError(
                    f"{source}: {count} empty text{'s' * (count > 1)}, the first at"
                    f" {place(position)}.",
                    remedy="Leave it out, or pass missing='impute' (--missing impute) to keep it.",
                )
            found.append("")
            continue
        if "\0" in text:
            raise DataError(
                f"{source}: the text at {place(position)} has a NUL character at"
                f" {text.index(chr(0))}.",
                remedy="It is no text, or damaged: take it out.",
            )
        found.append(_encodable(text, source, place(position)))
    return found


def _encodable(text: str, source: str, place: str) -> str:
    """A text that has UTF-8 of a size that can be taken; a character has at most four bytes."""
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise DataError(
            f"{source}: the text at {place} has half a character at {error.start}.",
            remedy="It was cut or decoded wrongly: write it again.",
        ) from error
    if size > LARGEST:
        raise _too_long(f"{source}: the text at {place}", size)
    return text


def _too_long(what: str, size: int) -> DataError:
    return DataError(
        f"{what} has {size / 2**20:.0f} MiB, and a text may have {LARGEST // 2**20} MiB.",
        remedy="Cut it into several texts, or leave it out.",
    )
