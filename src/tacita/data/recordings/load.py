"""What `tacita.load` and the verbs on a model make of a folder of recordings: windows with labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tacita.data.batch import Modality
from tacita.data.dataset import Schema
from tacita.data.readers.build import Source
from tacita.data.readers.files import existing
from tacita.data.readers.folders import label_path
from tacita.data.readers.labels import LabelFile, with_labels_from
from tacita.data.readers.samples import Samples
from tacita.data.recordings.device import CHANNELS, SENSORS, Session, read_session, sessions
from tacita.data.recordings.windows import channel_names, window_samples
from tacita.errors import ConfigError, DataError

_NAMED = 3


class SkippedRecording(UserWarning):
    """A recording gave no window: it is too short, or was hardly worn."""


def recordings_with_labels(
    path: Path, labels: Source | None, group: str | None, modality: Modality | None
) -> Samples:
    """Windows of all sessions, with labels (and groups) from a file by the session's name.

    Without a `group` the subject is the folder above a session, or the session itself. Windows of one
    subject share a group, since they overlap. Raises `DataError` for a session without a sensor that
    others have.
    """
    if modality not in (None, "series"):
        raise ConfigError(f"{path}: recordings are series.", remedy="Leave modality out.")
    found = sessions(path)
    channels = common_channels(found)
    recordings = [read_session(session, channels) for session in found]
    samples, (owner, *_), skipped = window_samples(recordings, channels, source=str(path))
    _warn(skipped)
    samples = replace(samples, recordings=tuple(recordings[i].name for i in owner))
    at = label_path(path, labels) if path.is_dir() else _existing(labels)
    if at is None:
        if group is not None:
            raise ConfigError(
                f"group={group!r} without a label file.",
                remedy="Leave it out: subjects are told by their folders.",
            )
        return samples
    label_file = LabelFile.read(at, group)
    if group is not None and label_file.group is None:
        raise ConfigError(
            f"group={group!r} is not a column of {at}.",
            remedy="Name a column of the label file.",
        )
    known = replace(label_file, labels=_without(label_file.labels, skipped))
    return with_labels_from(known, samples, samples.recordings, files=True)


def recordings_like(path: Path, schema: Schema) -> Iterator[Samples]:
    """The windows of one session after the other, as a model's were cut."""
    spec = schema.spec
    if spec.modality != "series" or not spec.rates:
        raise DataError(
            f"{path}: these are recordings, but the model was trained on {spec.modality} of one rate.",
            remedy="Give the same kind of data.",
        )
    channels = channel_names(schema.columns) or CHANNELS[: len(spec.rates)]
    for session in sessions(path):
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
            yield replace(samples, recordings=(recording.name,) * len(owner))


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
                remedy="Take the session away, or choose channels: tacita.data.recordings.windows("
                "read_recordings(path), channels=('bvp', 'temp')).",
            )
        kept += names
    return tuple(kept)


def _existing(labels: Source | None) -> Path | None:
    return None if labels is None else existing(labels)


def _without(labels: Mapping[str, str | None], skipped: Mapping[str, str]) -> dict[str, str | None]:
    """The label file's lines without those of skipped recordings, which no window would match."""
    return {key: value for key, value in labels.items() if key not in _aliases(skipped)}


def _aliases(names: Mapping[str, str]) -> set[str]:
    return {*names, *(name.rpartition("/")[2] for name in names)}


def _warn(skipped: Mapping[str, str]) -> None:
    if not skipped:
        return
    few = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:_NAMED])
    more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    warnings.warn(f"skipped {few}{more}", SkippedRecording, stacklevel=3)
