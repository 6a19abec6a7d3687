"""What goes wrong with segments: a gap in the labels joins what it parts, one segment is claimed twice."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.measures.segments import segment_f1


def segments(row: list[int]) -> list[tuple[int, int, int]]:
    """Class, begin and end of every run."""
    found, at = [], 0
    for code, run in groupby(row):
        size = len(list(run))
        found.append((code, at, at + size))
        at += size
    return found


def by_hand(predicted: list[int], true: list[int], overlap: float) -> float:
    """The definition of Lea et al.: each predicted segment takes the best true one that is still free."""
    mine, others = segments(predicted), segments(true)
    taken, hits = set(), 0
    for code, begin, end in mine:
        shares = {}
        for place, (other, first, last) in enumerate(others):
            both = max(0, min(end, last) - max(begin, first))
            if other == code and both:
                shares[place] = both / (end - begin + last - first - both)
        best = max(shares, key=lambda place: shares[place], default=None)
        if best is not None and shares[best] >= overlap and best not in taken:
            taken.add(best)
            hits += 1
    return 2 * hits / (len(mine) + len(others))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30),
    st.sampled_from([0.5, 0.75]),
)
def test_it_is_the_definition(steps: list[tuple[int, int]], overlap: float) -> None:
    predicted, true = [list(each) for each in zip(*steps, strict=True)]
    found = segment_f1(np.array([predicted]), np.array([true]), overlap)
    assert found == pytest.approx(by_hand(predicted, true, overlap))


def test_steps_that_are_not_known_part_segments_and_count_for_nothing() -> None:
    y = np.array([[0, 0, -1, 0, 0], [1, 1, -1, -1, -1]])
    assert segment_f1(np.zeros((2, 5), int), y) == pytest.approx(2 * 2 / 6)
    assert segment_f1(np.where(y < 0, 2, y), y) == 1
    assert np.isnan(segment_f1(np.zeros((1, 2), int), np.full((1, 2), -1)))
