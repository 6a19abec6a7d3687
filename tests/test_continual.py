"""A ledger never loses a sample, names what it does not know, and is read as carefully as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.continual import Ledger
from tacita.errors import CheckpointError, DataError


def ledger() -> Ledger:
    return Ledger().added("first", torch.tensor([5, 3, 9])).added("next", torch.tensor([3, 4]))


def test_places_follow_what_is_kept() -> None:
    known = ledger()
    assert known.places([9, 5]).tolist() == [0, 2]
    assert known.places([4], session=1).tolist() == [4]
    left = known.without([3])
    assert left.kept(0).tolist() == [5, 9]
    assert left.places(torch.tensor([3, 4]), session=1).tolist() == [2, 3]
    assert len(known) == 5  # The old one is as it was.
    assert len(left) == 4


@pytest.mark.parametrize(
    ("index", "session", "message"),
    [
        ([7], 0, "sample 7 of session 0 was never learnt"),
        ([9], 1, "sample 9 of session 1 was never learnt"),
        ([3], 0, "sample 3 of session 0 was forgotten already"),
        ([5, 5], 0, "named twice"),
        ([], 0, "no sample is named"),
        ([5], 2, "session=2: there were 2"),
        ([5], -1, "session=-1: there were 2"),
    ],
)
def test_what_it_does_not_know_is_named(index: list[int], session: int, message: str) -> None:
    known = ledger().without([3])
    with pytest.raises(DataError, match=message):
        known.places(index, session=session)
    with pytest.raises(DataError, match=message):
        known.without(index, session=session)


def test_two_samples_of_one_number_cannot_be_named() -> None:
    twice = Ledger().added("joined", torch.tensor([1, 2, 1]))
    with pytest.raises(DataError, match="two have one number"):
        twice.places([1])
    assert twice.places([2]).tolist() == [1]


@given(
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=6), max_size=4),
    st.data(),
)
def test_saved_and_read_it_is_the_same(sessions: list[list[int]], data: st.DataObject) -> None:
    import tempfile

    known = Ledger()
    for number, index in enumerate(sessions):
        known = known.added(f"source {number}", torch.tensor(index, dtype=torch.int64))
        if index:
            known = known.without([data.draw(st.sampled_from(index))], session=number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.json"
        known.save(path)
        assert Ledger.load(path) == known
    assert len(known) == sum(max(0, len(index) - 1) for index in sessions)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"sessions": [{"source": "a", "index": [1.5]}]}',
        '{"sessions": [{"source": "a", "index": [9223372036854775808]}]}',
        '{"sessions": [{"source": "a", "index": [1], "forgotten": [2]}]}',
        '{"sessions": [], "more": 1}',
    ],
)
def test_a_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"ledger\.json"):
        Ledger.load(path)


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Ledger.load(tmp_path / "none.json")
