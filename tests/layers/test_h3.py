"""With gates of 1 it is a state space of a shifted input; with heads, the products are written out."""

from __future__ import annotations

import pytest
import torch

from tacita.errors import ConfigError
from tacita.layers.h3 import H3, ShiftSSM
from tests.helpers import assert_close


def layer(d_head: int = 1) -> H3:
    torch.manual_seed(0)
    return H3(6, d_state=4, d_head=d_head).double()


def test_with_queries_and_keys_of_one_it_is_s4d_of_the_values() -> None:
    one, x = layer(), torch.randn(2, 13, 6, dtype=torch.float64)
    with torch.no_grad():
        for gate in (one.query, one.key):
            gate.weight.zero_()
            gate.bias.fill_(1.0)
    ones = torch.ones(2, 13, 6, dtype=torch.float64)
    # A key of 1 at every step is what the shift system makes of it: all 1 once its kernel sums to that.
    assert_close(one(x), one.out(one.diagonal(one.shift(ones) * one.value(x))))
    with torch.no_grad():
        one.shift.C.zero_()
        one.shift.D.fill_(1.0)
    assert_close(one(x), one.out(one.diagonal(one.value(x))))


def test_a_shift_of_the_keys_pairs_a_value_with_the_key_before_it() -> None:
    one, x = layer(), torch.randn(2, 13, 6, dtype=torch.float64)
    with torch.no_grad():
        one.shift.C.zero_()
        one.shift.C[:, 1] = 1.0
        one.shift.D.zero_()
    earlier = torch.cat([torch.zeros(2, 1, 6, dtype=torch.float64), one.key(x)[:, :-1]], 1)
    assert_close(one(x), one.out(one.query(x) * one.diagonal(earlier * one.value(x))))


@pytest.mark.parametrize("d_head", [2, 3])
def test_heads_keep_outer_products_with_one_kernel_each(d_head: int) -> None:
    one, x = layer(d_head), torch.randn(2, 13, 6, dtype=torch.float64)
    q, k, v = one.query(x), one.shift(one.key(x)), one.value(x)
    kernel, skip = one.diagonal.kernel(13), one.diagonal.D
    read = torch.zeros_like(x)
    for head in range(6 // d_head):
        for i in range(d_head):
            for j in range(d_head):
                a, b = head * d_head + i, head * d_head + j
                pair = k[..., a] * v[..., b]
                kept = torch.stack(
                    [(pair[:, : t + 1] * kernel[head, : t + 1].flip(0)).sum(1) for t in range(13)],
                    1,
                )
                read[..., b] += q[..., a] * (kept + skip[head] * pair)
    assert_close(one(x), one.out(read))


def test_heads_stream_cut_and_reset_as_they_run_in_parallel() -> None:
    one, x = layer(2), torch.randn(2, 13, 6, dtype=torch.float64)
    resets = torch.zeros(2, 13, dtype=torch.bool)
    resets[0, [4, 5]] = resets[1, 9] = True
    y, last = one(x, resets=resets, return_state=True)
    state, columns = one.initial_state(2), []
    for t in range(13):
        out, state = one.step(x[:, t], state, reset=resets[:, t])
        columns.append(out)
    assert_close(torch.stack(columns, 1), y)
    for name, value in state.items():
        assert_close(last[name], value, name)
    _, half = one(x[:, :5], return_state=True)
    assert_close(one(x[:, 5:], state=half), one(x)[:, 5:])
    lengths = torch.tensor([5, 13])
    padded, after = one(x, lengths=lengths, return_state=True)
    assert_close(padded[0, :5], one(x)[0, :5])
    for name, value in half.items():
        assert_close(after[name][0], value[0], name)


def test_the_shift_system_is_a_short_convolution() -> None:
    torch.manual_seed(0)
    shift, x = ShiftSSM(3, 4).double(), torch.randn(2, 9, 3, dtype=torch.float64)
    expected = shift.D * x
    for t in range(9):
        for tap in range(min(4, t + 1)):
            expected[:, t] += shift.C[:, tap] * x[:, t - tap]
    assert_close(shift(x), expected)


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple"):
        layer(4)
