"""What the wearer of a device does, a second at a time: is it on the body, and does the body sleep.

The thresholds of Corponi et al., 2024, for skin conductance and temperature; sleep after van Hees et
al., "A Novel, Open Access Method to Assess Sleep Duration Using a Wrist-Worn Accelerometer", 2015: an
arm that keeps its angle for five minutes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacita.modalities.series.recordings.recording import Seconds

UNUSED, AWAKE, ASLEEP = 0, 1, 2
"""States of a second; unused is one off the body, or with a missing sample."""

_EPOCH = 5
"""Seconds over which the angle is taken."""
SHORTEST_ON_BODY = 300
"""Seconds: a shorter stay between two absences is handling, not wearing."""


def on_body(
    eda: NDArray[np.float32],
    temperature: NDArray[np.float32],
    *,
    conductance: tuple[float, float] = (0.05, 100.0),
    warmth: tuple[float, float] = (30.0, 40.0),
) -> NDArray[np.bool_]:
    """`(S,)`: whether the means of a second lie where those of a living wrist do, bounds included.

    eda: `(S, rate)` skin conductance in microsiemens.
    temperature: `(S, rate)` in degrees Celsius.

    >>> dry, warm = np.float32([[0.0], [2.0], [2.0]]), np.float32([[33.0], [33.0], [21.0]])
    >>> on_body(dry, warm).tolist()
    [False, True, False]
    """
    level, degrees = eda.mean(1), temperature.mean(1)
    conducts = (level >= conductance[0]) & (level <= conductance[1])
    return np.asarray(conducts & (degrees >= warmth[0]) & (degrees <= warmth[1]))


def arm_angle(acceleration: NDArray[np.float32]) -> NDArray[np.float64]:
    """`(S // 5,)` degrees between the device's plane and the ground, from medians over 5 seconds.

    acceleration: `(S, 3, rate)` in any unit. Seconds that do not fill an epoch are left out.

    >>> flat = np.zeros((5, 3, 4), np.float32); flat[:, 2] = 1
    >>> arm_angle(flat).tolist()
    [90.0]
    """
    epochs = len(acceleration) // _EPOCH
    axes = acceleration[: epochs * _EPOCH].astype(np.float64).swapaxes(0, 1)
    x, y, z = np.median(axes.reshape(3, epochs, _EPOCH * acceleration.shape[2]), 2)
    return np.degrees(np.arctan2(z, np.hypot(x, y)))


def asleep(
    acceleration: NDArray[np.float32], *, largest: float = 5.0, shortest: int = 300
) -> NDArray[np.bool_]:
    """`(S,)`: whether a second lies in a stretch in which the arm's angle does not change.

    largest: degrees from one 5 seconds to the next that are no change of posture.
    shortest: seconds that a stretch must last.

    Differs from the paper: medians over the 5 seconds themselves rather than rolling ones; no sleep
    diary, so lying awake without a move counts as sleep.

    >>> asleep(np.ones((400, 3, 1), np.float32)).all()
    np.True_
    """
    seconds = len(acceleration)
    angle = arm_angle(acceleration)
    if not len(angle):
        return np.zeros(seconds, bool)
    # Written so that a missing angle is a change.
    moved = np.concatenate([[False], ~(np.abs(np.diff(angle)) <= largest)])
    posture = np.cumsum(moved)
    still = np.bincount(posture)[posture] * _EPOCH >= shortest
    return np.pad(np.repeat(still, _EPOCH), (0, seconds - _EPOCH * len(still)), "edge")


def runs(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each stretch of one value in `(S,)` begins, and where it ends (one beyond the last).

    >>> [part.tolist() for part in runs(np.array([1, 1, 0, 2]))]
    [[0, 2, 3], [2, 3, 4]]
    """
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    change = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([[0], change]), np.concatenate([change, [len(values)]])


def without_short_runs(flags: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """`(S,)` flags with every stretch of True that is shorter than `shortest` seconds made False.

    >>> without_short_runs(np.array([True, False, True, True]), 2).tolist()
    [False, False, True, True]
    """
    start, end = runs(flags)
    long = flags[start] & (end - start >= shortest)
    return np.repeat(long, end - start)


def states_of(seconds: Seconds) -> NDArray[np.int8]:
    """`(S,)`: UNUSED, AWAKE or ASLEEP, as far as the channels tell.

    `eda` and `temp` say whether the device is on the body, `acc_x`, `acc_y`, `acc_z` whether the body
    sleeps; without them a second counts as worn and awake. A second with a missing sample is unused.
    """
    used = ~np.isnan(seconds.rows).any(1)
    if {"eda", "temp"} <= set(seconds.channels):
        worn = on_body(seconds.of("eda"), seconds.of("temp"))
        used &= without_short_runs(worn, SHORTEST_ON_BODY)
    state = np.where(used, AWAKE, UNUSED).astype(np.int8)
    axes = ("acc_x", "acc_y", "acc_z")
    if set(axes) <= set(seconds.channels):
        sleeps = asleep(np.stack([seconds.of(axis) for axis in axes], 1))
        state[used & sleeps] = ASLEEP
    return state
