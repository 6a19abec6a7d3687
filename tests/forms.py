"""A modality's example in every form that it can be read from: what a user would have on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

from tacita.data.dataset import Dataset
from tacita.values import Ragged

Write = Callable[[Dataset, Path], Path]


@dataclass(frozen=True)
class Form:
    """How an example is written, and the options that read it.

    exact: whether the samples come back bit for bit; labels: the label file among what is written.
    """

    write: Write
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = True
    labels: str | None = None


def labels_of(data: Dataset) -> list[str]:
    """The labels as a user writes them."""
    return [str(label) for label in data.task.decode(data.targets)]


def arrays(data: Dataset, folder: Path) -> Path:
    """`x` and `y`, and the samples end to end where their lengths differ."""
    samples = data.samples
    if isinstance(samples, Ragged):
        named = {"values": samples.flat.numpy(), "lengths": samples.lengths.numpy()}
    else:
        named = {"x": data.x.numpy()}
    np.savez(folder / "example.npz", **named, y=labels_of(data))
    return folder / "example.npz"


def padded(data: Dataset, folder: Path) -> Path:
    """Ragged samples as `x` with `lengths`, compressed."""
    assert data.lengths is not None
    named = {"x": data.x.numpy(), "lengths": data.lengths.numpy(), "y": labels_of(data)}
    np.savez_compressed(folder / "padded.npz", **named)
    return folder / "padded.npz"


def frame_of(data: Dataset) -> pd.DataFrame:
    """Cells by column as the modality shows them, and the label."""
    rows = [data.kind.show(data, position) for position in range(len(data))]
    return pd.DataFrame(rows).assign(label=labels_of(data))


def csv(data: Dataset, folder: Path) -> Path:
    frame_of(data).to_csv(folder / "example.csv", index=False)
    return folder / "example.csv"


def parquet(data: Dataset, folder: Path) -> Path:
    frame_of(data).to_parquet(folder / "example.parquet")
    return folder / "example.parquet"


def class_folders(data: Dataset, folder: Path, ending: str, save: Callable[..., object]) -> Path:
    """A file a sample, in a folder a class."""
    for position, label in enumerate(labels_of(data)):
        path = folder / "classes" / label / f"{position:04}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, data.kind.show(data, position))
    return folder / "classes"


def image_folders(data: Dataset, folder: Path) -> Path:
    return class_folders(data, folder, ".png", lambda path, x: Image.fromarray(x[0]).save(path))


def series_folders(data: Dataset, folder: Path) -> Path:
    def save(path: Path, x: Any) -> None:
        pd.DataFrame(x.astype(np.float64), columns=list("abcdefgh")).to_csv(path, index=False)

    return class_folders(data, folder, ".csv", save)


def text_folders(data: Dataset, folder: Path) -> Path:
    return class_folders(data, folder, ".txt", lambda path, text: path.write_text(text, "utf-8"))


def scans(data: Dataset, folder: Path) -> Path:
    """NIfTI files, whose first axis is the voxel's column and whose last is the slice, and a label file."""
    home, lines = folder / "scans", ["id,label"]
    home.mkdir()
    for position, label in enumerate(labels_of(data)):
        voxels = np.ascontiguousarray(data.kind.show(data, position)[0].transpose(2, 1, 0))
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), home / f"{position:04}.nii.gz")
        lines.append(f"{position:04}.nii.gz,{label}")
    (home / "labels.csv").write_text("\n".join(lines) + "\n")
    return home


def long_table(data: Dataset, folder: Path) -> Path:
    """One row a time step."""
    rows = []
    for position, label in enumerate(labels_of(data)):
        for time, step in enumerate(data.kind.show(data, position)):
            cells = {f"channel {i}": float(value) for i, value in enumerate(step)}
            rows.append({"series": f"s{position:04}", "time": time, **cells, "label": label})
    pd.DataFrame(rows).to_csv(folder / "long.csv", index=False)
    return folder / "long.csv"


def time_series_file(data: Dataset, folder: Path) -> Path:
    """The `.ts` format: dimensions joined by colons, then the label."""
    lines = [f"@classLabel true {' '.join(data.task.answers)}", "@data"]
    for position, label in enumerate(labels_of(data)):
        channels = data.kind.show(data, position).T.astype(float)
        lines.append(":".join([*(",".join(map(repr, map(float, c))) for c in channels), label]))
    (folder / "example.ts").write_text("\n".join(lines) + "\n")
    return folder / "example.ts"


def texts(data: Dataset, folder: Path) -> Path:
    shown = [data.kind.show(data, position) for position in range(len(data))]
    pd.DataFrame({"text": shown, "label": labels_of(data)}).to_csv(
        folder / "texts.csv", index=False
    )
    return folder / "texts.csv"


COLUMN = {"labels": "label"}
FORMS: dict[str, list[Form]] = {
    "images": [Form(arrays), Form(image_folders)],
    "volumes": [Form(arrays), Form(scans, exact=False, labels="labels.csv")],
    "series": [
        Form(arrays),
        Form(padded),
        Form(series_folders),
        Form(long_table, {**COLUMN, "series_id": "series", "time": "time"}),
        Form(time_series_file),
    ],
    "tables": [Form(csv, COLUMN), Form(parquet, COLUMN), Form(arrays)],
    "mixed tables": [
        Form(csv, {**COLUMN, "missing": "impute"}),
        Form(parquet, {**COLUMN, "missing": "impute"}),
    ],
    "sensor series": [],
    "text": [
        Form(texts, {**COLUMN, "text": "text"}, exact=False),
        Form(text_folders, exact=False),
    ],
}
"""By modality or variant; a modality that is not here is read from arrays."""


def forms_of(modality: str) -> list[Form]:
    return FORMS.get(modality, [Form(arrays)])
