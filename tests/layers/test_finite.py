"""The memory of the last inputs: what is remembered is what the next step may still see."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.layers.finite import remember


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_memory_is_the_last_inputs_since_the_last_reset(data: st.DataObject) -> None:
    size, length = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 6))
    memory = torch.arange(1.0, size + 1)[None, :, None]
    x = torch.arange(100.0, 100 + length)[None, :, None]
    ends = data.draw(st.integers(0, length))
    resets = torch.tensor([data.draw(st.lists(st.booleans(), min_size=length, max_size=length))])
    line = memory[0, :, 0].tolist()
    for step in range(ends):
        if resets[0, step]:
            line = [0.0] * len(line)
        line.append(float(x[0, step, 0]))
    expected = line[len(line) - size :]
    found = remember(memory, x, torch.tensor([ends]), resets)
    assert found[0, :, 0].tolist() == expected
    without = remember(memory, x, torch.tensor([ends]))
    assert torch.equal(without, remember(memory, x, torch.tensor([ends]), resets & False))
    whole = remember(memory, x, None, resets)
    assert torch.equal(whole, remember(memory, x, torch.tensor([length]), resets))
