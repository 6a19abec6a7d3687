"""Windows: what they show and know, against loops; series of any unit; nothing of the future is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.errors import DataError
from tacita.values import Ragged, cat
from tacita.windows import Course, Windows, at_the_end, level_and_spread, stamps


def course_of(
    lengths: list[int],
    *,
    horizon: int,
    context: int,
    season: int,
    ahead: int = 0,
    scale: float = 1.0,
) -> Course:
    """Random series of two channels, the first forecast, each with its horizon behind it."""
    generator = torch.Generator().manual_seed(sum(lengths))
    size = sum(lengths) + horizon * len(lengths)
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths) + horizon)
    steps = scale * torch.randn(size, 2, generator=generator, dtype=torch.float64)
    seen = torch.cat([torch.arange(n + horizon) < n for n in lengths])[:, None]
    times = torch.cat([torch.arange(float(n + horizon)) for n in lengths]).double()
    return Course(steps, seen, owner, times, horizon, context, season, ahead=ahead)


def all_windows(course: Course, lengths: list[int]) -> Windows:
    places, begin = [], 0
    for length in lengths:
        places += [(begin, begin + end, begin + length) for end in range(1, length + 1)]
        begin += length + course.horizon
    begins, ends, stops = torch.tensor(places).T
    return Windows(course, begins, ends, stops)


SIZES = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 6),
    st.integers(1, 5), st.integers(0, 1),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(SIZES)
def test_windows_are_what_a_loop_cuts_out(sizes: tuple[list[int], int, int, int, int]) -> None:
    lengths, horizon, context, season, ahead = sizes
    course = course_of(lengths, horizon=horizon, context=context, season=season, ahead=ahead)
    windows = all_windows(course, lengths)
    assert windows.inner == (2 + bool(ahead),)
    for place in range(len(windows)):
        begin, end = int(windows.begins[place]), int(windows.ends[place])
        past = course.steps[max(begin, end - context) : end]
        shown = windows.padded[place, : int(windows.lengths[place])]
        assert torch.equal(shown[: len(past), :2], past)
        if ahead:
            to_come = shown[len(past) :]
            assert torch.equal(to_come[:, 1], course.steps[end : end + horizon, 1])
            assert not to_come[:, 0].any()
            assert shown[:, 2].tolist() == [0.0] * len(past) + [1.0] * horizon
        assert not windows.padded[place, int(windows.lengths[place]) :].any()
        y = course.steps[begin:, 0]
        known = int(windows.stops[place]) - begin
        for step in range(horizon):
            at = end - begin + step
            value = windows.future()[place, step, 0]
            assert torch.equal(value, y[at]) if at < known else value.isnan()
            back = at
            while back >= end - begin:
                back -= season
            wanted = y[back] if end - begin >= season else y[end - begin - 1]
            assert torch.equal(windows.naive()[place, step, 0], wanted)
        history = y[: end - begin]
        lag = season if len(history) > season else 1
        scale = (history[lag:] - history[:-lag]).abs().mean()
        torch.testing.assert_close(
            windows.scale()[place, 0], scale, equal_nan=True, rtol=1e-9, atol=0
        )


@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_a_series_of_another_unit_beside_it_costs_a_scale_nothing(unit: float) -> None:
    alone = course_of([30], horizon=2, context=4, season=3)
    steps = torch.cat([unit * alone.steps, alone.steps])
    both = Course(
        steps, alone.seen.repeat(2, 1), torch.arange(2).repeat_interleave(32), alone.times.repeat(2),
        2, 4, 3,
    )  # fmt: skip
    places = torch.tensor([20, 30])
    first = Windows(alone, torch.zeros(2).long(), places, torch.full((2,), 30)).scale()
    for begin, factor in ((0, unit), (32, 1.0)):
        begins = torch.full((2,), begin)
        found = Windows(both, begins, begins + places, begins + 30).scale()
        torch.testing.assert_close(found, factor * first, rtol=1e-9, atol=0)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 10**6))
def test_what_comes_later_changes_nothing_that_is_seen(
    sizes: tuple[list[int], int, int, int, int], seed: int
) -> None:
    lengths, horizon, context, season, _ = sizes
    course = course_of(lengths, horizon=horizon, context=context, season=season)
    windows = all_windows(course, lengths)
    place = seed % len(windows)
    one = windows[torch.tensor([place])]
    changed = course.steps.clone()
    changed[int(one.ends[0]) :] = 1e6
    other = Course(changed, course.seen, course.owner, course.times, horizon, context, season)
    again = Windows(other, one.begins, one.ends, one.stops)
    assert torch.equal(again.padded, one.padded)
    assert torch.equal(again.naive(), one.naive())
    torch.testing.assert_close(again.scale(), one.scale(), equal_nan=True, rtol=1e-6, atol=0)


def test_windows_are_taken_joined_and_kept_without_their_steps() -> None:
    course = course_of([6, 5], horizon=2, context=3, season=2)
    windows = all_windows(course, [6, 5])
    some = windows[torch.tensor([3, 1])]
    assert torch.equal(some.padded, windows.padded[[3, 1]])
    joined = Windows.end_to_end([windows[:4], windows[4:]])
    assert joined.course is course
    other = course_of([4], horizon=2, context=3, season=2)
    both = Windows.end_to_end([windows, all_windows(other, [4])])
    assert torch.equal(both.padded, torch.cat([windows.padded, all_windows(other, [4]).padded]))
    torch.testing.assert_close(
        both.scale(), torch.cat([windows.scale(), all_windows(other, [4]).scale()]), equal_nan=True
    )
    with pytest.raises(DataError, match="other lengths"):
        Windows.end_to_end(
            [windows, all_windows(course_of([4], horizon=1, context=3, season=2), [4])]
        )
    none = windows[torch.empty(0, dtype=torch.int64)]
    assert none.course.steps.numel() == 0
    assert len(none.scale()) == 0
    assert isinstance(cat([windows, some]), Ragged)


def test_a_window_knows_its_level_and_its_spread_alone() -> None:
    x = torch.tensor([[[1.0, 9], [3, 9], [0, 9]], [[5, 9], [5, 9], [5, 9]]])
    level, spread = level_and_spread(x, torch.tensor([2, 3]), 0, 1)
    assert level[:, 0].tolist() == [2, 5]
    assert spread[:, 0].tolist() == [1, 0]
    level, _ = level_and_spread(x, torch.tensor([3, 3]), 1, 1)
    assert level[:, 0].tolist() == [2, 5]


def test_the_last_known_step_stands_at_the_end() -> None:
    course = course_of([5], horizon=2, context=4, season=1, ahead=1)
    windows = Windows(course, torch.zeros(2).long(), torch.tensor([2, 5]), torch.tensor([5, 5]))

    found = at_the_end(windows)
    assert torch.equal(found[0, 2:, 0], torch.cat([course.steps[:2, 0], torch.zeros(2)]))
    assert not found[0, :2].any()
    assert torch.equal(found[1, :4, 0], course.steps[1:5, 0])
    assert torch.equal(found[:, 4:, 1], course.steps[windows.ahead, 1])


def test_moments_are_dates_or_numbers() -> None:
    assert stamps(np.array([0.0, 3600.0]), dated=True) == [
        "1970-01-01 00:00:00",
        "1970-01-01 01:00:00",
    ]
    assert stamps(np.array([0.5]), dated=True) == ["1970-01-01 00:00:00.500"]
    assert stamps(np.array([2.5, np.nan]), dated=False) == ["2.5", ""]
