"""One long recording as consecutive blocks with gaps between them, and the times of steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import torch

from tacita.data.dataset import Dataset, joined
from tacita.data.notes import Note
from tacita.errors import DataError
from tacita.modalities.series.meta import SeriesMeta
from tacita.tasks import require_steps
from tacita.values import Ragged, as_tensor

BLOCKS = 10
"""So many that each of five folds is scored on two stretches and learns from the eight others."""
GAP = 0.05
"""Share of a block that is left out at its end: steps that are scored are not next to learnt ones."""
FEWEST = 8
"""Steps of a block below which there is nothing to learn."""


def in_blocks(data: Dataset) -> Dataset:
    """The one labelled series of a data set as up to ten blocks, and behind them the others as they are.

    Each block has as many known labels as the next. Raises `DataError` for a series that is too short.
    """
    blocks = _blocks_of(data.subset(data.labelled))
    if len(data) == 1:
        return blocks
    both = joined([blocks, replace(data.subset(~data.labelled), weights=None)])
    return replace(both, index=torch.arange(len(both)))


def _blocks_of(data: Dataset) -> Dataset:
    x = as_tensor(data.samples)[0, : int(data.lengths[0]) if data.lengths is not None else None]
    y = data.y[:, : len(x)]
    task = require_steps(data.task)
    known = task.known_steps(y)[0].numpy()
    count = min(BLOCKS, len(x) // FEWEST, int(known.sum()) // 2)
    if count < 2:
        raise DataError(
            f"{data.source}: one series of {len(x)} steps, too few to learn from some and be scored on"
            " others.",
            remedy="Give a longer one, or several series (--series-id).",
        )
    # Where the known labels are parted evenly; the rest goes with those before.
    parts = np.cumsum(known) * count / known.sum()
    edges = [0, *np.searchsorted(parts, np.arange(1, count) + 1e-9).tolist(), len(x)]
    starts = torch.tensor(edges[:-1])
    sizes = torch.tensor(edges).diff()
    gaps = (sizes * GAP).long().clamp_min(1)
    gaps[-1] = 0
    lengths = sizes - gaps
    longest = int(lengths.max())
    at = (starts[:, None] + torch.arange(longest)).clamp_max(len(x) - 1)
    inside = torch.arange(longest) < lengths[:, None]
    blocks = x[at] * inside[:, :, None]
    targets = y[0][at]
    targets[~inside] = task.missing
    meta = data.meta
    assert isinstance(meta, SeriesMeta)
    begins = None
    if data.starts is not None and meta.step is not None:
        begins = data.starts[0] + starts.double() * meta.step
    samples = Ragged.of(blocks, lengths)
    said = Note(
        f"one series of {len(x)} steps was cut into {count} consecutive blocks, the last"
        f" {GAP:.0%} of each left out, so that some are learnt from and others scored"
    )
    name = data.ids[0] if data.ids else "series"
    return replace(
        data,
        samples=samples,
        targets=targets,
        meta=meta.like(samples),
        index=torch.arange(count),
        groups=None,
        weights=None,
        ids=tuple(f"{name} from step {start}" for start in edges[:-1]),
        starts=begins,
        notes=(*data.notes, said),
    )


def step_times(start: float, count: int, meta: SeriesMeta) -> list[str]:
    """The times of so many steps as text: numbers, or dates in ISO 8601.

    >>> step_times(0.5, 2, SeriesMeta(shape=(2, 1), step=0.25)), step_times(
    ...     86400.0, 1, SeriesMeta(shape=(1, 1), step=1.0, dated=True))
    (['0.5', '0.75'], ['1970-01-02T00:00:00'])
    """
    assert meta.step is not None
    times = start + meta.step * np.arange(count)
    if not meta.dated:
        return [f"{time:.12g}" for time in times.tolist()]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    dates = (epoch + timedelta(microseconds=round(time * 1e6)) for time in times.tolist())
    return [date.replace(tzinfo=None).isoformat() for date in dates]
