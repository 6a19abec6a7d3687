"""Which samples a step sees: all of them equally often, and whatever step is asked first."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.engine.passes import Passes, mix

sizes = st.integers(1, 30)


@settings(deadline=None, max_examples=50)
@given(count=sizes, batch=st.integers(1, 70), seed=st.integers(0, 2**40), rounds=st.integers(1, 3))
def test_every_pass_is_a_permutation(count: int, batch: int, seed: int, rounds: int) -> None:
    positions = torch.arange(count) * 3 + 1
    passes = Passes(positions, batch, seed)
    steps = -(-count * rounds // batch)
    seen = torch.cat([passes.at(step) for step in range(steps)])
    assert len(seen) == steps * batch
    for each in seen[: count * rounds].view(rounds, count):
        assert torch.equal(each.sort().values, positions)


@settings(deadline=None, max_examples=50)
@given(count=sizes, batch=st.integers(1, 70), seed=st.integers(0, 2**40), data=st.data())
def test_any_step_can_be_asked_for_first(
    count: int, batch: int, seed: int, data: st.DataObject
) -> None:
    positions = torch.arange(count)
    one = Passes(positions, batch, seed)
    in_order = [one.at(step) for step in range(12)]
    other = Passes(positions, batch, seed)
    for step in data.draw(st.permutations(range(12))):
        assert torch.equal(other.at(step), in_order[step])


def test_passes_and_seeds_differ() -> None:
    passes = Passes(torch.arange(50), 50, 0)
    assert not torch.equal(passes.at(0), passes.at(1))
    assert not torch.equal(passes.at(0), Passes(torch.arange(50), 50, 1).at(0))


@given(a=st.integers(0, 2**63), b=st.integers(0, 2**63))
def test_seeds_are_in_range_and_their_order_matters(a: int, b: int) -> None:
    assert 0 <= mix(a, b) < 2**63
    if a != b:
        assert mix(a, b) != mix(b, a)


def test_neighbouring_steps_share_no_seed() -> None:
    assert (
        len({mix(seed, step, rank) for seed in range(20) for step in range(50) for rank in (0, 1)})
        == 2000
    )
