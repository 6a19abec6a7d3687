"""What could go wrong: a window over a gap or a change of state, samples in the wrong second, seconds
shared by two parts of a split, and statistics that have seen the test part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.dataset import Dataset
from tacita.data.splits import hold_out
from tacita.errors import ConfigError, DataError
from tacita.modalities.series.recordings import (
    Limits,
    Recording,
    Signal,
    time_split,
    window_starts,
    windows,
)
from tacita.modalities.series.recordings.windows import channel_names, column_names
from tacita.tasks import Classification
from tests.helpers import samples_of


def counting(name: str, seconds: int, subject: str = "", start: float = 100.0) -> Recording:
    """Two channels whose samples tell their own number."""
    fast = Signal(np.arange(4 * seconds, dtype=np.float32), 4, start)
    slow = Signal(np.arange(seconds, dtype=np.float32), 1, start)
    return Recording(name, {"fast": fast, "slow": slow}, subject)


def test_a_row_holds_the_samples_of_its_second_channel_after_channel():
    found = windows([counting("r", 20)], length=6, step=3)
    assert found.start.tolist() == [0, 3, 6, 9, 12]
    assert found.time.tolist() == [100.0, 103.0, 106.0, 109.0, 112.0]
    assert found.data.meta.rates == (4, 1)
    assert found.data.spec.shape == (6, 5)
    assert found.data.meta.columns == ("fast[0]", "fast[1]", "fast[2]", "fast[3]", "slow[0]")
    for begin, x in zip(found.start.tolist(), found.data.x, strict=True):
        assert x[:, :4].flatten().tolist() == list(range(4 * begin, 4 * begin + 24))
        assert x[:, 4].tolist() == list(range(begin, begin + 6))
    assert found.data.ids == ("r@0", "r@3", "r@6", "r@9", "r@12")


def test_channels_are_taken_in_the_order_asked_for():
    found = windows([counting("r", 9)], length=3, channels=("slow", "fast"))
    assert found.data.meta.rates == (1, 4)
    assert channel_names(found.data.meta.columns) == ("slow", "fast")
    assert channel_names(column_names(("a[b]", "c"), (2, 1))) == ("a[b]", "c")


@given(st.lists(st.integers(0, 2), min_size=1, max_size=80), st.integers(1, 12), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_windows_lie_in_one_used_state_and_none_is_left_out(states, length, step):
    state = np.array(states, np.int8)
    starts = window_starts(state, length, step)
    for start in starts:
        inside = set(states[start : start + length])
        assert len(states[start : start + length]) == length
        assert len(inside) == 1
        assert inside != {0}
    if step == 1:
        fits = [
            at
            for at in range(len(states) - length + 1)
            if states[at] and len(set(states[at : at + length])) == 1
        ]
        assert starts.tolist() == fits


def test_a_gap_is_never_inside_a_window():
    recording = counting("r", 40)
    recording.signals["fast"].values[4 * 17 + 2] = np.nan
    found = windows([recording], length=8, step=4)
    assert found.start.tolist() == [0, 4, 8, 18, 22, 26, 30]
    assert not found.data.x.isnan().any()


def test_recordings_without_a_window_are_skipped_by_name_with_the_reason():
    short = counting("short", 5)
    found = windows([short, counting("long", 20)], length=10)
    assert found.recordings == ("short", "long")
    assert set(found.recording.tolist()) == {1}
    assert "5 seconds, 0 of them off" in found.skipped["short"]
    with pytest.raises(DataError, match=r"no recording gives a window; short: 5 seconds"):
        windows([short], length=10)


def test_labels_and_subjects_go_to_every_window_of_a_recording():
    three = [counting(f"r{i}", 20, subject) for i, subject in enumerate(("anna", "bert", "anna"))]
    found = windows(three, length=10, step=5, labels={"r0": "ill", "r1": "well"})
    assert found.data.task.classes == ("ill", "well")
    assert found.data.y.tolist() == [0] * 3 + [1] * 3 + [-1] * 3
    assert found.data.groups.tolist() == [0] * 3 + [1] * 3 + [0] * 3
    with pytest.raises(DataError, match="'r9' is no recording"):
        windows(three, length=10, labels={"r9": "ill"})


def test_missing_channels_and_other_rates_are_refused_by_name():
    other = Recording("r2", {"fast": Signal(np.zeros(40, np.float32), 2)})
    with pytest.raises(DataError, match="r2: there is no channel 'slow'"):
        windows([counting("r1", 20), other], length=5)
    with pytest.raises(DataError, match=r"r2: its rates are \(2,\), not \(4,\)"):
        windows([counting("r1", 20), other], length=5, channels=("fast",))
    apart = {"a": Signal(np.zeros(4, np.float32), 1), "b": Signal(np.zeros(4, np.float32), 1, 9.0)}
    with pytest.raises(DataError, match="no second in common"):
        windows([Recording("r", apart)], length=2)
    with pytest.raises(DataError, match="rate of 0"):
        Signal(np.zeros(4, np.float32), 0)
    with pytest.raises(ConfigError, match="length=0"):
        windows([counting("r", 9)], length=0)


@given(
    st.lists(st.integers(30, 400), min_size=1, max_size=4), st.integers(2, 30), st.integers(1, 30)
)
@settings(max_examples=60, deadline=None)
def test_no_second_is_in_two_parts_of_a_time_split(seconds, length, step):
    found = windows([counting(f"r{i}", n) for i, n in enumerate(seconds)], length=length, step=step)
    parts = time_split(found, (0.5, 0.3, 0.2))
    seen: list[set[tuple[int, int]]] = []
    for part in parts:
        touched = {
            (int(found.recording[i]), int(found.start[i]) + second)
            for i in part
            for second in range(length)
        }
        assert all(touched.isdisjoint(other) for other in seen)
        seen.append(touched)
    starts = [found.start[part].max() for part in parts[:2] if len(part) and len(seconds) == 1]
    for before, after in zip(starts, parts[1:], strict=False):
        assert all(found.start[after] - before >= length)


def test_a_time_split_keeps_all_but_the_windows_across_a_border():
    found = windows([counting("r", 100)], length=10, step=1)
    train, test = time_split(found, (0.7, 0.3))
    assert found.start[train].tolist() == list(range(61))
    assert found.start[test].tolist() == list(range(70, 91))
    with pytest.raises(ConfigError, match="sum to 1"):
        time_split(found, (0.7, 0.2))


def test_subjects_are_never_split():
    subjects = ("anna", "bert", "carl", "dora", "emil", "fred")
    people = [counting(f"r{i}", 60, name) for i, name in enumerate(subjects * 2)]
    labels = {f"r{i}": ("ill", "well")[i % 2] for i in range(12)}
    data = windows(people, length=10, labels=labels).data
    kept, held = hold_out(data, 0.3, seed=0)
    assert len(kept)
    assert len(held)
    assert set(data.groups[kept].tolist()).isdisjoint(data.groups[held].tolist())


def test_limits_are_percentiles_of_a_channel_over_all_its_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 30, 5)).astype(np.float32)
    data = Dataset.of("series", torch.from_numpy(x), torch.zeros(20).long(), Classification(("a",)))
    limits = Limits.fit(Dataset.of("series", data.x, data.y, data.task, rates=(4, 1)), percent=2.0)
    expected = [np.percentile(x[:, :, :4], [2, 98]), np.percentile(x[:, :, 4], [2, 98])]
    for column, (low, high) in enumerate([expected[0]] * 4 + [expected[1]]):
        assert limits.low[column].item() == pytest.approx(low, rel=1e-5)
        assert limits.high[column].item() == pytest.approx(high, rel=1e-5)
    clipped = limits(data).x.numpy()
    assert np.array_equal(clipped, np.clip(x, limits.low.numpy(), limits.high.numpy()))
    assert not torch.equal(limits(data).x, data.x)


def test_limits_do_not_look_at_padding_and_leave_it_zero():
    x = torch.full((2, 10, 1), 99.0)
    x[:, :5] = torch.arange(5.0)[:, None] + 3
    y, lengths = torch.zeros(2).long(), torch.tensor([5, 5])
    data = Dataset.of("series", samples_of(x, lengths), y, Classification(("a",)))
    limits = Limits.fit(data, percent=0.0)
    assert (limits.low.item(), limits.high.item()) == (3.0, 7.0)
    assert limits(data).x[:, 5:].abs().max() == 0
    with pytest.raises(ConfigError, match="percent=50"):
        Limits.fit(data, percent=50.0)
