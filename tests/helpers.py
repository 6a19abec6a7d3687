"""What several test files share: one comparison of tensors, and tiny batches of real data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor

from tacita.catalog.discover import modalities
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.modalities.memory import as_dataset
from tacita.values import Graphs, Ragged, Values

TOLERANCES = {
    torch.float64: (1e-7, 1e-9),
    torch.float32: (1e-4, 1e-5),
    torch.complex128: (1e-7, 1e-9),
    torch.complex64: (1e-4, 1e-5),
    torch.float16: (1e-2, 1e-3),
    torch.bfloat16: (2e-2, 1e-2),
}
"""Relative and absolute, by dtype: those of the same sum in another order, with some room."""


def assert_close(actual: Tensor, expected: Tensor, message: str = "") -> None:
    """Equal in shape and dtype, and in value to the tolerance of the dtype; NaN is never equal."""
    relative, absolute = TOLERANCES.get(actual.dtype, (0.0, 0.0))
    torch.testing.assert_close(
        actual,
        expected,
        rtol=relative,
        atol=absolute,
        msg=(lambda text: f"{message}: {text}") if message else None,
    )


def same_values(actual: Values | None, expected: Values | None, message: str = "") -> None:
    """Samples or targets of one kind, bit for bit the same, NaN as itself."""
    assert type(actual) is type(expected), message
    for one, other in zip(_tensors(actual), _tensors(expected), strict=True):
        assert one.shape == other.shape, message
        assert one.dtype == other.dtype, message
        assert torch.equal(one.isnan(), other.isnan()), message
        assert torch.equal(one.nan_to_num(0.0), other.nan_to_num(0.0)), message


def _tensors(values: Values | None) -> list[Tensor]:
    if isinstance(values, Ragged):
        return [values.padded, values.lengths]
    if isinstance(values, Graphs):
        edges = [] if values.edges is None else [values.edges]
        return [values.nodes, values.ends, values.node_counts, values.edge_counts, *edges]
    return [] if values is None else [values]


@cache
def digits() -> tuple[Tensor, Tensor]:
    """`(1797, 1, 8, 8)` normalised images of digits, shuffled, and `(1797,)` their classes."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images[order], dtype=torch.float32).view(-1, 1, 8, 8)
    return (x - x.mean()) / x.std(), torch.tensor(classes[order])


@cache
def example(modality: str) -> Dataset:
    """A variant of samples, or the fullest of a modality: all labelled, and in normalised batches."""
    name = FULLEST.get(modality, modality)
    data = VARIANTS[name]() if name in VARIANTS else find(name).example()
    return data.subset(data.labelled).normalised()


def with_examples() -> list[str]:
    """Every modality of the catalog whose example there is."""
    found = []
    for name in modalities():
        with suppress(NotImplementedError):
            found.append(example(name).modality)
    return found


def example_batch(modality: str, size: int = 16) -> tuple[InputSpec, Batch]:
    """The first samples of a modality's example, normalised, with the spec that an encoder needs."""
    data = example(modality)
    return data.spec, data.take(torch.arange(min(size, len(data))))


def mixed_tables() -> Dataset:
    """Wines with a category and another of blanks, and numbers of which some are not known."""
    rows, classes = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(rows))[:60]
    frame = pd.DataFrame(rows[order, :4], columns=["alcohol", "acid", "ash", "lime"])
    frame["strength"] = np.where(frame["alcohol"] > 13, "strong", "light")
    frame["ashes"] = np.where(frame["ash"] > 2.4, "much", "little").astype(object)
    frame.loc[frame.index % 7 == 3, ["ashes", "acid"]] = None
    frame["grower"] = np.array(["anna", "berta", "carla"])[classes[order]]
    return as_dataset(frame, labels="grower", missing="impute")


def long_series() -> Dataset:
    """Two digits one after the other, from 1 to 16 rows of them; the class is that of the first."""
    _, batch = series_batch(60)
    return Dataset.of("series", batch.samples, batch.targets, find("series").example().task)


def voxel_volumes() -> Dataset:
    """Stacked digits with a class for each voxel: ink or paper."""
    data = find("volumes").example().subset(torch.arange(12))
    return as_dataset(data.x.numpy(), (data.x[:, 0] > 100).long().numpy(), modality="volumes")


def example_windows(unit: float = 1.0, offset: float = 0.0) -> Dataset:
    """Two short series with a season of four, a trend and some noise, in a unit, to be forecast."""
    rng = np.random.default_rng(0)
    steps = np.arange(48)
    x = np.stack([np.sin(steps * np.pi / 2) * (1 + i) + 0.05 * steps for i in range(2)])
    x = (x + 0.1 * rng.normal(size=x.shape))[:, :, None]
    return as_dataset(unit * x + offset, horizon=4, season=4)


def labelled_steps() -> Dataset:
    """The rows of digits as series, some cut short, and of each row whether most of it is ink; or nothing."""
    series = find("series").example()
    ink = (series.x.mean(2) > series.x.mean()).numpy()
    y = np.where(ink, "ink", "paper").astype(object)
    y[1::3, ::2] = None
    return as_dataset(series.x, y, lengths=series.lengths, task="sequence-labels")


def equal_series() -> Dataset:
    """The rows of digits, none of them cut short."""
    data = find("series").example()
    return data.with_samples(data.x)


def sensor_series() -> Dataset:
    """Digits as two channels, of six samples a row and of two."""
    data = equal_series()
    return Dataset.of("series", data.x, data.targets, data.task, rates=(6, 2))


def colour_images() -> Dataset:
    """Digits in three colours that are not 8-bit ones."""
    data = find("images").example()
    x = torch.cat([data.x, data.x.flip(2), data.x.flip(3)], 1).float() / 7
    return data.with_samples(x)


VARIANTS: dict[str, Callable[[], Dataset]] = {
    "mixed tables": mixed_tables,
    "long series": long_series,
    "equal series": equal_series,
    "sensor series": sensor_series,
    "colour images": colour_images,
}
"""Samples that a modality takes besides those of its example."""
FULLEST = {"tables": "mixed tables", "series": "long series"}
"""Where a variant has more to learn from than the example of its modality."""


def samples_of(x: torch.Tensor, lengths: torch.Tensor | None = None) -> Values:
    """Samples as a batch holds them: ragged where there are lengths."""
    return x if lengths is None else Ragged.of(x, lengths)


def image_batch(size: int = 16) -> tuple[InputSpec, Batch]:
    """Digits, 8x8 pixels."""
    x, y = digits()
    return InputSpec("images", (1, 8, 8)), Batch(x[:size], y[:size], torch.arange(size))


def volume_batch(size: int = 16) -> tuple[InputSpec, Batch]:
    """Digits as volumes: four slices, each of four digits; the class is that of the first."""
    x, y = digits()
    cells = x[: 16 * size].reshape(size, 4, 2, 2, 8, 8)
    volumes = cells.permute(0, 1, 2, 4, 3, 5).reshape(size, 1, 4, 16, 16)
    return InputSpec("volumes", (1, 4, 16, 16)), Batch(
        volumes, y[: 16 * size : 16], torch.arange(size)
    )


def series_batch(size: int = 16, *, unequal: bool = True) -> tuple[InputSpec, Batch]:
    """Digits read as series: 8 pixel rows are 8 channels over 16 steps (a digit and the next one).

    With `unequal`, lengths from 1 to 16, zeros beyond.
    """
    x, y = digits()
    series = x[: 2 * size, 0].reshape(size, 16, 8).clone()
    lengths = None
    if unequal:
        lengths = torch.arange(size) * 5 % 16 + 1
        series[torch.arange(16) >= lengths[:, None]] = 0.0
    return InputSpec("series", (16, 8)), Batch(
        samples_of(series, lengths), y[:size], torch.arange(size)
    )


def table_batch(size: int = 16) -> tuple[InputSpec, Batch]:
    """Wines: 13 standardised measurements, and the tercile of the first as a category of three."""
    rows, classes = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(rows))
    x = torch.tensor(rows[order], dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    tercile = torch.bucketize(
        x[:, 0].contiguous(), x[:, 0].contiguous().quantile(torch.tensor([1 / 3, 2 / 3]))
    )
    x = torch.cat([x, tercile[:, None].float()], 1)
    spec = InputSpec("tables", (14,), cardinalities=(0,) * 13 + (3,))
    return spec, Batch(x[:size], torch.tensor(classes[order])[:size], torch.arange(size))


def text_batch(size: int = 16) -> tuple[InputSpec, Batch]:
    """Digits read as text: 16 steps (two pixels of each row), whose letters are four grey levels."""
    x, y = digits()
    levels = torch.bucketize(x[:size, 0, :, 2:6:2].flatten(1), torch.tensor([-0.8, 0.0, 0.9]))
    spec = InputSpec("text", (16,), vocabulary=5, hidden_token=4, specials=(4,))
    return spec, Batch(levels, y[:size], torch.arange(size))


BATCHES = {
    "images": image_batch,
    "volumes": volume_batch,
    "series": series_batch,
    "tables": table_batch,
    "text": text_batch,
}
"""A tiny batch of real data by modality, with the spec that an encoder of it needs."""
