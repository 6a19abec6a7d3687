"""What `tacita.load` and the verbs on a model make of a folder of recordings: windows with labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tacita.data.dataset import Schema
from tacita.data.notes import ReadingWarning
from tacita.data.reading import Samples
from tacita.errors import DataError
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.recordings.device import (
    CHANNELS,
    SENSORS,
    Session,
    read_session,
    sessions,
)
from tacita.modalities.series.recordings.windows import channel_names, window_samples

_NAMED = 3


class SkippedRecording(ReadingWarning):
    """A recording gave no window: it is too short, or was hardly worn."""


def recorded_samples(path: Path, like: Schema | None) -> Iterator[Samples]:
    """The windows of all sessions; as a model's were cut, of one session after the other.

    The subject is the folder above a session, or the session itself. Windows of one subject share a
    group, since they overlap. Raises `DataError` for a session without a sensor that others have.
    """
    found = sessions(path)
    if like is None:
        channels = common_channels(found)
        recordings = [read_session(session, channels) for session in found]
        samples, (owner, *_), skipped = window_samples(recordings, channels, source=str(path))
        _warn(skipped)
        owners = tuple(recordings[i].name for i in owner)
        yield replace(samples, owners=owners, skipped=tuple(skipped))
        return
    spec = like.spec
    if not isinstance(like.meta, SeriesMeta) or not spec.rates:
        raise DataError(
            f"{path}: these are recordings, but the model was trained on {spec.modality} of one rate.",
            remedy="Give the same kind of data.",
        )
    channels = channel_names(like.meta.columns) or CHANNELS[: len(spec.rates)]
    for session in found:
        recording = read_session(session, channels)
        samples, (owner, *_), skipped = window_samples(
            [recording],
            channels,
            length=spec.shape[0],
            rates=spec.rates,
            source=str(path),
            empty=True,
        )
        _warn(skipped)
        if len(owner):
            yield replace(samples, owners=(recording.name,) * len(owner))


def common_channels(found: list[Session]) -> tuple[str, ...]:
    """The channels of `CHANNELS` whose files are there, which they must be in all sessions or in none.

    Raises `DataError` naming the session that lacks one.
    """
    kept: list[str] = []
    for file, names in SENSORS.items():
        having = [file in session.files for session in found]
        if not set(names) <= set(CHANNELS) or not any(having):
            continue
        if not all(having):
            lacking = found[having.index(False)].name
            raise DataError(
                f"{lacking}: there is no {file}, which {sum(having)} of {len(found)} sessions have.",
                remedy="Take the session away, or choose channels: windows(read_recordings(path),"
                " channels=('bvp', 'temp')) of tacita.modalities.series.recordings.",
            )
        kept += names
    return tuple(kept)


def _warn(skipped: Mapping[str, str]) -> None:
    if not skipped:
        return
    few = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:_NAMED])
    more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    warnings.warn(f"skipped {few}{more}", SkippedRecording, stacklevel=3)
