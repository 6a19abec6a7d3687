"""Splits in time: all that is scored comes later than all that was learnt from, for every series."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.data.splits import cross_validation, enough_to_hold_out, hold_out
from tacita.errors import DataError
from tacita.modalities.memory import as_dataset
from tacita.verbs.plan import Plan, make_splits, parts
from tacita.windows import Windows


def panel(begins: list[int], lengths: list[int], horizon: int, *, timed: bool = True) -> Dataset:
    """Random series, each from a day of its own on."""
    rng = np.random.default_rng(len(begins))
    tables = [
        pd.DataFrame(
            {
                "series": f"s{number}",
                "day": pd.date_range("2024-01-01", periods=length) + pd.Timedelta(days=begin),
                "y": rng.normal(size=length),
            }
        )
        for number, (begin, length) in enumerate(zip(begins, lengths, strict=True))
    ]
    table = pd.concat(tables)
    options: dict[str, Any] = {"time": "day"} if timed else {}
    if not timed:
        table = table.drop(columns="day")
    return as_dataset(table, labels="y", series_id="series", horizon=horizon, **options)


PANELS = st.lists(st.tuples(st.integers(0, 20), st.integers(8, 40)), min_size=1, max_size=4)


def check(data: Dataset, learnt: Tensor, scored: Tensor) -> None:
    windows = data.samples
    assert isinstance(windows, Windows)
    assert len(learnt)
    assert len(scored)
    assert bool(data.labelled[learnt].all())
    assert bool(data.labelled[scored].all())
    # No value that is asked for was learnt from as an answer, or stood in a window before its answer.
    assert windows.moments[learnt].max() < windows.moments[scored].min()
    rows = windows.ahead[scored].flatten()
    assert len(torch.unique(rows)) == len(rows)  # type: ignore[no-untyped-call]


@settings(deadline=None, max_examples=30)
@given(PANELS, st.integers(1, 5), st.booleans())
def test_nothing_is_learnt_from_a_time_that_is_scored(
    series: list[tuple[int, int]], horizon: int, timed: bool
) -> None:
    begins, lengths = zip(*series, strict=True)
    data = panel(list(begins), list(lengths), horizon, timed=timed)
    windows = data.samples
    assert isinstance(windows, Windows)
    try:
        kept, held = hold_out(data, 0.25, seed=0)
    except DataError:
        return
    check(data, kept, held)
    rest = data.hide_labels(kept)
    for seed in (0, 1):
        try:
            folds = cross_validation(rest, seed)
        except DataError:
            continue
        for fold in folds:
            check(data, fold.train, fold.score)
            assert not bool(torch.isin(fold.score, held).any())
        for one, other in itertools.pairwise(folds):
            assert set(one.train.tolist()) <= set(other.train.tolist())


def test_what_lies_across_the_cut_is_neither_learnt_from_nor_shown() -> None:
    data = panel([0, 0], [60, 60], 5)
    assert enough_to_hold_out(data)
    splits, _ = make_splits(data, None, None, None, 0)
    plan = Plan(protocol="", recipes=[], splits=splits)
    pool, held = parts(data, None, plan)
    assert held is not None
    assert bool(pool.labelled.all())
    a, b = pool.samples, held.samples
    assert isinstance(a, Windows)
    assert isinstance(b, Windows)
    assert a.moments.max() < b.moments.min()
    assert len(pool) + len(held) < len(data)


def test_a_series_that_is_too_short_says_so() -> None:
    data = panel([0], [9], 4)
    with pytest.raises(DataError, match="too short to learn from one part"):
        hold_out(data.hide_labels(torch.arange(1)), 0.25, seed=0)
    assert not enough_to_hold_out(data)
