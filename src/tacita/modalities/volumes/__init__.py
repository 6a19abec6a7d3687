"""Volumes: stacks of slices, from NIfTI files and arrays, with labels a volume or a voxel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import modality
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Modality, Strength
from tacita.data.normalise import Normaliser, Standardiser
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import unreadable
from tacita.modalities.pixels import about_channels, as_learnt, check_channels
from tacita.modalities.readers.files import NIFTI_FILES, Entry, scan
from tacita.modalities.readers.sources import ArraySource, FileSource, FolderSource
from tacita.modalities.volumes.labels import with_labels
from tacita.modalities.volumes.meta import VolumesMeta
from tacita.modalities.volumes.nifti import bare_name, scans
from tacita.modalities.volumes.read import volume_array
from tacita.modalities.volumes.views import VolumeViews
from tacita.modalities.volumes.write import write_volumes
from tacita.values import Values, cat, shape_of
from tacita.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray


@modality(
    "volumes",
    title="Volumes",
    encoder="unet",
    gives=("views", "slices", "numbers"),
)
class Volumes(Modality):
    """Volumes `(C, D, H, W)`, the slices along `D`; those of files are brought to one spacing."""

    meta = VolumesMeta
    formats = NIFTI_FILES
    dense_labels = True
    options = ("resample_labels",)
    wants = "Volumes come as a folder of NIfTI files, or as an array in a .npz."

    def claims(self, source: Source, reading: Reading) -> int:
        if isinstance(source, FolderSource):
            return 3 * source.has(NIFTI_FILES)
        if isinstance(source, FileSource):
            return 3 * source.name.lower().endswith(NIFTI_FILES)
        return 3 * (isinstance(source, ArraySource) and len(source.shape) == 5)

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        if isinstance(source, ArraySource):
            for piece in source.pieces(chunk):
                yield volume_array(piece.x, source=source.name, start=piece.start)
        elif isinstance(source, FolderSource):
            folder = source.label_folder(reading.labels)
            yield from self._scans(source, folder, like, reading.resample_labels)
        elif isinstance(source, FileSource) and source.name.lower().endswith(NIFTI_FILES):
            if (reading.labels, reading.group, reading.weight) != (None, None, None):
                raise ConfigError(
                    f"{source.name}: one volume, without labels, groups or weights.",
                    remedy="Put volumes into a folder, and their labels into another.",
                )
            entry = Entry(source.path, source.path.name, None)
            yield scans([entry], source.name, spacing=_spacing(like))
        else:
            raise self.cannot(source, like)

    def _scans(
        self, source: FolderSource, folder: Path | None, like: Schema | None, elsewhere: bool
    ) -> Iterator[Samples]:
        """All scans on one grid; a model's one at a time and each of its own size, at its spacing."""
        entries = source.files(NIFTI_FILES)
        if not entries:
            raise unreadable(source)
        labels: list[Entry] = []
        if folder is not None:
            home = folder.resolve()
            entries = [e for e in entries if not e.path.resolve().is_relative_to(home)]
            labels = [e for e in scan(folder) if e.path.name.lower().endswith(NIFTI_FILES)]
        if not entries:
            raise DataError(
                f"{source.name}: all of its volumes are labels, in {folder}.",
                remedy="Give the folder of the volumes, and that of their labels with --labels.",
            )
        if like is None:
            samples = scans(entries, source.name)
            if folder is not None:
                samples = with_labels(samples, entries, labels, elsewhere=elsewhere)
            meta = samples.meta.model_copy(update={"resample_labels": elsewhere})
            yield replace(samples, meta=meta)
            return
        known = like.meta
        assert isinstance(known, VolumesMeta)
        for entry in entries:
            samples = scans([entry], source.name, spacing=known.spacing)
            if folder is not None:
                own = [label for label in labels if bare_name(label.name) == bare_name(entry.name)]
                again = elsewhere or known.resample_labels
                samples = with_labels(samples, [entry], own, elsewhere=again)
            yield samples

    def conform(self, samples: Samples, like: Schema) -> Samples:
        assert isinstance(like.meta, VolumesMeta)
        check_channels(samples, like)
        return as_learnt(samples, like.meta)

    def at_once(self, spec: InputSpec, size: int) -> int:
        """A volume counts as eight samples a slice."""
        return max(1, size // (8 * spec.shape[1]))

    def join(self, parts: Sequence[Values], source: str) -> Values:
        if len({shape_of(part) for part in parts}) > 1:
            raise DataError(
                f"{source}: volumes of different sizes cannot stand in one array.",
                remedy="Write predictions of files with predict_file (tacita predict).",
            )
        return cat(parts)

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return Standardiser(spec, axis=1)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        return VolumeViews.weak(spec) if strength == "weak" else VolumeViews.strong(spec)

    def words(self, data: Dataset) -> str:
        channels, depth, height, width = data.meta.shape
        size = f"{depth} slices of {height} x {width}"
        return f"{len(data)} volumes, {size}, {plural(channels, 'channel')}"

    def suspicions(self, data: Dataset) -> list[str]:
        return about_channels(data, 1)

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """The rows of a volume's slices as those of one image, of 8 x 8 cells."""
        x = data.x.double()
        planes = x.flatten(2, 3)
        cells = (min(8, planes.shape[2]), min(8, planes.shape[3]))
        steps = x.diff(dim=-1).abs().flatten(1).mean(1)
        texture = torch.stack([steps, x.flatten(1).std(1)], 1)
        return functional.adaptive_avg_pool2d(planes, cells).flatten(1), texture

    def show(self, data: Dataset, position: int) -> NDArray[Any]:
        return data.x[position].numpy()

    def write(
        self, parts: Iterable[tuple[Sequence[str], Sequence[Any]]], source: Path, out: Path | None
    ) -> int:
        return write_volumes(parts, source, out)

    def example(self) -> Dataset:
        """Handwritten digits as stacks: the digit in the middle slice, fainter beside it."""
        from tacita.modalities.builtin import load_builtin

        digits = load_builtin("digits")[0].subset(torch.arange(40))
        faint = digits.x // 2
        slices = torch.stack([faint, digits.x, digits.x, faint], 2)
        return Dataset.of("volumes", slices, digits.targets, digits.task, source="stacked digits")


def _spacing(like: Schema | None) -> tuple[float, float, float] | None:
    return like.meta.spacing if like is not None and isinstance(like.meta, VolumesMeta) else None
