"""Which modality the samples of a source are of, and whether what was asked goes with it."""

from __future__ import annotations

from tacita.catalog import discover
from tacita.data.modality import Modality, find
from tacita.data.reading import Reading, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.readers.files import READ, unknown_extension, unpacked_first
from tacita.modalities.readers.sources import ArraySource, FileSource, FolderSource, TableSource
from tacita.tasks import is_stepwise, kind_of


def chosen(source: Source, reading: Reading) -> Modality:
    """The modality of a source: the one that was named, or the one that claims it most surely.

    Raises `DataError` for a source that none can read, `ConfigError` for options that do not go with it.
    """
    if reading.modality is not None:
        best = find(reading.modality)
    else:
        known = [find(name) for name in discover.modalities()]
        best = max(known, key=lambda each: each.claims(source, reading))
        if not best.claims(source, reading):
            raise unreadable(source)
    check_options(source, best, reading)
    return best


def of_rows(shape: tuple[int, ...]) -> str:
    """The modality of flat rows that are reshaped to samples of this shape.

    Raises `ConfigError` for a shape that none has.

    >>> of_rows((1, 8, 8)), of_rows((100, 3))
    ('images', 'series')
    """
    known = {
        find(name).meta.rank: name
        for name, card in discover.modalities().items()
        if "rows" in card.gives
    }
    if len(shape) not in known:
        axes = ", ".join(f"{rank} of {name}" for rank, name in sorted(known.items()))
        raise ConfigError(
            f"shape={tuple(shape)} has {len(shape)} axes, but samples that come as rows have {axes}.",
            remedy="Give the shape of one sample, such as (C, H, W) or (L, C).",
        )
    return known[len(shape)]


def check_options(source: Source, modality: Modality, reading: Reading) -> None:
    """Raises `ConfigError` for options of reading that have no meaning for a source."""
    lengths = source.lengths if isinstance(source, ArraySource) else None
    if lengths is not None and "steps" not in modality.card.gives:
        raise DataError(
            f"{source.name}: lengths were given, but these are {modality.card.name}.",
            remedy="Leave lengths out, or pass modality='series'.",
        )
    for argument in ("series_id", "time"):
        name = getattr(reading, argument)
        table = isinstance(source, TableSource | ArraySource if argument == "time" else TableSource)
        if argument == "time" and is_stepwise(reading.task):
            table = table or isinstance(source, FolderSource)
        if name is not None and not table:
            raise ConfigError(
                f"{argument}={name!r}, but {source.name} is no table.",
                remedy="Leave it out: it names a column of a table with one row a time step.",
            )
    for argument in dict.fromkeys(o for name in discover.modalities() for o in find(name).options):
        value = getattr(reading, argument)
        if value is not None and value is not False and argument not in modality.options:
            raise ConfigError(
                f"{argument}={value!r}, but {source.name} holds {modality.card.name}.",
                remedy=f"Leave {argument} out.",
            )
    for argument in () if reading.task is None else kind_of(reading.task).asks:
        if getattr(reading, argument) is None:
            raise ConfigError(
                f"task={reading.task!r} needs a {argument}.",
                remedy=f"Give {argument} (--{argument}) too.",
            )


def unreadable(source: Source) -> DataError:
    """The error for a source in which no modality, or not the one that was named, finds samples."""
    if isinstance(source, FolderSource):
        if not source.entries:
            return DataError(f"{source.name}: the folder is empty.", remedy=READ)
        return DataError(
            f"{source.name}: none of its {len(source.entries)} files can be read"
            f" (the first is {source.entries[0].name}).",
            remedy=" ".join(filter(None, [unpacked_first(source.entries[0].path), READ])),
        )
    if isinstance(source, FileSource):
        return unknown_extension(source.path)
    return DataError(f"{source.name}: no modality reads it.", remedy=READ)
