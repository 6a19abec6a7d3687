"""Numbers kept a sample: keyed by a stable index, in any order, and saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.errors import ConfigError
from tacita.parts.sample_state import SampleState


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30, unique=True), st.data())
def test_it_is_a_dictionary_with_a_default(known: list[int], data: st.DataObject) -> None:
    state = SampleState(0.5)
    state.prepare(torch.tensor(known))
    expected = dict.fromkeys(known, 0.5)
    anything = st.lists(st.integers(0, 10**9) | st.sampled_from(known), max_size=8, unique=True)
    for number in range(3):
        index = data.draw(anything)
        state.write(torch.tensor(index, dtype=torch.int64), torch.full((len(index),), number))
        expected |= {i: float(number) for i in index if i in expected}
        asked = data.draw(anything)
        found = state.read(torch.tensor(asked, dtype=torch.int64))
        assert found.tolist() == [expected.get(i, 0.5) for i in asked]
    assert state.values.tolist() == [expected[i] for i in sorted(known)]


@pytest.mark.parametrize("initial", [False, -1, 0.0])
def test_values_have_the_type_of_the_first_one(initial: float) -> None:
    state = SampleState(initial)
    state.prepare(torch.arange(3))
    assert state.values.dtype == torch.tensor(initial).dtype
    assert state.values.tolist() == [initial] * 3


def test_a_saved_state_comes_back() -> None:
    state, other = SampleState(0.0), SampleState(0.0)
    state.prepare(torch.tensor([4, 2]))
    other.prepare(torch.tensor([4, 2]))
    state.write(torch.tensor([4]), torch.tensor([3.0]))
    other.load_state_dict(state.state_dict())
    assert other.read(torch.tensor([4, 2])).tolist() == [3.0, 0.0]


def test_what_was_not_prepared_is_refused() -> None:
    with pytest.raises(ConfigError, match="prepare"):
        SampleState(0.0).read(torch.tensor([0]))


PROCESS = """
import sys, torch
from tacita.parts.sample_state import SampleState
from tacita.processes import sharing
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
kept = []
for initial in (0.0, -1, False):
    state = SampleState(initial)
    state.prepare(torch.arange(6))
    mine = torch.tensor([[4, 0, 9], [1, 5, 2]])[rank]
    with sharing():
        state.write(mine, torch.tensor([[1, 0, 1], [1, 1, 0]])[rank])
    kept.append(state.values.tolist())
    kept.append(state.read(torch.tensor([9])).tolist())
print(kept)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_several_processes_keep_what_all_of_them_saw(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    expected = [
        *([0.0, 1.0, 0.0, 0.0, 1.0, 1.0], [0.0]),
        *([0, 1, 0, -1, 1, 1], [-1]),
        *([False, True, False, False, True, True], [False]),
    ]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == [str(expected)] * 2
