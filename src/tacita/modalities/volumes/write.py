"""Segmentations of files: label volumes on the scans' own grids, and scores over scans of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.files import replacing
from tacita.modalities.load import read_like
from tacita.modalities.readers.files import is_nifti
from tacita.modalities.volumes.nifti import write_labels
from tacita.tasks import UNLABELLED

if TYPE_CHECKING:
    from tacita.model.model import Model


def predict_volumes(
    model: Model, source: str | Path, out: str | Path | None, proba: bool = False
) -> int:
    """Write a label volume for every scan of `source`; gives their number.

    Raises `ConfigError` where `out` is not given, lies in the scans' own folder, or does not fit them.
    """
    path = Path(source)
    scans = path.is_dir() or is_nifti(path)
    if out is None or proba:
        raise ConfigError(
            "A segmentation is written as label volumes, without probabilities.",
            remedy=f"Give --out {'FOLDER' if scans else 'FILE.npz'} and leave --proba out.",
        )
    target, count = Path(out), 0
    home = path if path.is_dir() else path.parent
    inside = path.is_dir() and target.resolve().is_relative_to(home.resolve())
    if scans and (inside or target.resolve() == home.resolve()):
        raise ConfigError(
            f"--out {out}: the scans or their labels are there, and might be replaced.",
            remedy="Name a folder outside of theirs.",
        )
    if not scans and target.suffix != ".npz":
        raise ConfigError(
            f"--out {out}: volumes of an array are written as .npz.", remedy="Name it so."
        )
    found = []
    for part in read_like(source, model.schema):
        volumes = model.task.decode(model.task.predict(model.learner.logits(part)))
        if not scans:
            found += volumes
        for name, volume in zip(part.ids, volumes, strict=False):
            write_labels(volume, home / name, target / name)
        count += len(volumes)
    if not scans:
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, predicted=np.stack(found))
    return count


def of_one_size(logits: Sequence[Tensor], y: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Logits `(N, K, D, H, W)` and labels `(N, D, H, W)` padded to the largest; padding is unlabelled."""
    largest = torch.tensor([part.shape[1:] for part in y]).amax(0).tolist() if y else []

    def pads(part: Tensor) -> list[int]:
        shape = part.shape[:-4:-1]
        return [
            n for have, want in zip(shape, largest[::-1], strict=True) for n in (0, want - have)
        ]

    return (
        [functional.pad(part, pads(part)) for part in logits],
        [functional.pad(part, pads(part), value=UNLABELLED) for part in y],
    )
