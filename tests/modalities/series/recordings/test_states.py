"""What could go wrong: a threshold on the wrong side, a short handling taken for wearing, a turn of the
arm missed or made up, and windows over a change of state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.modalities.series.recordings.recording import Seconds
from tacita.modalities.series.recordings.states import (
    ASLEEP,
    AWAKE,
    UNUSED,
    arm_angle,
    asleep,
    on_body,
    runs,
    states_of,
    without_short_runs,
)


@pytest.mark.parametrize(
    "eda, temp, worn",
    [
        (0.05, 30.0, True),
        (0.0499, 33.0, False),
        (100.0, 40.0, True),
        (100.1, 33.0, False),
        (2.0, 29.99, False),
        (2.0, 40.01, False),
        (np.nan, 33.0, False),
    ],
)
def test_a_wrist_conducts_and_is_warm(eda, temp, worn):
    level = np.full((1, 4), eda, np.float64)
    assert on_body(level, np.full((1, 4), temp, np.float64)).tolist() == [worn]


@pytest.mark.parametrize("tilt", [-90.0, -30.0, 0.0, 45.0, 90.0])
def test_the_angle_is_the_tilt_of_the_device_whatever_its_turn_around_the_arm(tilt):
    turn = np.linspace(0, 2 * np.pi, 10)
    flat = np.cos(np.radians(tilt))
    level = np.stack(
        [flat * np.cos(turn), flat * np.sin(turn), np.full(10, np.sin(np.radians(tilt)))]
    )
    acceleration = np.repeat(np.repeat(level.T[:, :, None], 8, 2), 5, 0)  # ten epochs
    assert np.allclose(arm_angle(acceleration), tilt)
    assert np.allclose(arm_angle(64 * acceleration), tilt)


def test_the_angle_is_of_medians_so_a_knock_is_no_move():
    acceleration = np.zeros((5, 3, 4))
    acceleration[:, 2] = 1
    acceleration[2, :, 1] = 50
    assert arm_angle(acceleration).tolist() == [90.0]


def arm(angles, seconds_each):
    """`(S, 3, 4)` acceleration of an arm held at each of these angles for so long."""
    radians = np.radians(np.repeat(angles, seconds_each))
    xyz = np.stack([np.cos(radians), np.zeros_like(radians), np.sin(radians)], 1)
    return np.repeat(xyz[:, :, None], 4, 2)


def test_five_minutes_at_one_angle_are_sleep_and_less_is_not():
    assert asleep(arm([10], 300)).all()
    assert not asleep(arm([10], 295)).any()
    held = asleep(arm([10, 20, 30], [295, 300, 295]))
    assert held.tolist() == [False] * 295 + [True] * 300 + [False] * 295


def test_small_turns_are_no_change_of_posture():
    drift = np.arange(60) % 2 * 4.9
    assert asleep(arm(drift, 5)).all()
    assert not asleep(arm(drift * 5.1 / 4.9, 5)).any()


def test_the_seconds_after_the_last_epoch_go_with_it_and_missing_samples_are_moves():
    assert asleep(arm([10], 303)).tolist() == [True] * 303
    assert asleep(arm([10], 3)).tolist() == [False] * 3
    broken = arm([10], 600)
    broken[290:310] = np.nan
    assert not asleep(broken)[300:310].any()
    assert asleep(broken)[310:].tolist() == [False] * 290


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_short_runs_are_those_that_counting_finds(flags, shortest):
    expected = []
    for begin, end in zip(*runs(np.array(flags, bool)), strict=True):
        assert len(set(flags[begin:end])) == 1
        expected += [flags[begin] and end - begin >= shortest] * (end - begin)
    assert without_short_runs(np.array(flags, bool), shortest).tolist() == expected


def test_states_come_from_the_channels_that_there_are():
    seconds = 1300
    eda = np.full((seconds, 4), 2.0, np.float32)
    temp = np.full((seconds, 2), 33.0, np.float32)
    eda[600:650] = 0  # taken off for a moment
    temp[900:950] = 22
    acc = arm(np.r_[np.arange(60) % 2 * 40, 20], np.r_[np.full(60, 10), 700])
    rows = np.concatenate([acc.reshape(seconds, 12), eda, temp], 1).astype(np.float32)
    channels = ("acc_x", "acc_y", "acc_z", "eda", "temp")
    state = states_of(Seconds(rows, 0.0, channels, (4, 4, 4, 4, 2)))
    expected = np.full(seconds, ASLEEP)
    expected[:590] = AWAKE  # its last turn, at 590, begins no run of five minutes apart
    expected[600:950] = UNUSED  # between two absences 250 seconds are too few
    assert state[:590].tolist() == expected[:590].tolist()
    assert state[600:].tolist() == expected[600:].tolist()
    alone = states_of(Seconds(rows[:, 12:16], 0.0, ("eda",), (4,)))
    assert (alone == AWAKE).all()


def test_a_second_with_a_missing_sample_is_not_used():
    rows = np.zeros((10, 3), np.float32)
    rows[4, 1] = np.nan
    state = states_of(Seconds(rows, 0.0, ("bvp",), (3,)))
    assert (state == UNUSED).nonzero()[0].tolist() == [4]
