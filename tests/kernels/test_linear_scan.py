"""Every form of the recurrence is compared with a loop over time that knows nothing of scans; what
goes wrong elsewhere is the first step, resets next to each other, and sums over broadcast axes."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import linear_scan
from tests.helpers import assert_close

BACKENDS = ("torch", "numba")
EXACT = (torch.float64, torch.complex128)
A_SHAPES = ("D", "LD", "BLD", "1LD", "B1D", "11D", "BL1", "B11", "1", "")
"""Every axis is there, is 1, or is left out."""


def loop(
    a: Tensor,
    b: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
) -> Tensor:
    """The definition, one step after another."""
    a = a.expand(b.shape)
    x = b.new_zeros(b[:, 0].shape) if state is None else state
    states = {}
    for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
        kept = x if resets is None else x * ~resets[:, t, None]
        states[t] = x = a[:, t] * kept + b[:, t]
    return torch.stack([states[t] for t in range(b.shape[1])], 1)


def triples(a: Tensor, b: Tensor, resets: Tensor, state: Tensor) -> Tensor:
    """The resettable operator of Lu et al. (2023), folded from the left over one row of one channel.

    `(a, b, c)` with `c` the flag; the carried state is the first element, `(1, state, false)`.
    """
    total = (torch.ones_like(state), state, False)
    found = []
    for a_j, b_j, c_j in zip(a, b, resets.tolist(), strict=True):
        a_i, b_i, c_i = total
        total = (a_j if c_j else a_j * a_i, b_j if c_j else a_j * b_i + b_j, c_i or c_j)
        found.append(total[1])
    return torch.stack(found)


def problem(
    dtype: torch.dtype, a_shape: str = "BLD", batch: int = 3, length: int = 7, channels: int = 5
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, state and resets, the numbers drawn so that nothing vanishes within the length."""
    generator = torch.Generator().manual_seed(length)
    sizes = {"B": batch, "L": length, "D": channels, "1": 1}
    shapes = [sizes[axis] for axis in a_shape], (batch, length, channels), (batch, channels)
    a, b, state = (torch.randn(each, dtype=dtype, generator=generator) for each in shapes)
    resets = torch.rand(batch, length, generator=generator) < 0.3
    return a * 0.7, b, state, resets


def gradients(x: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    slope = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    return list(torch.autograd.grad(x, inputs, slope))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("a_shape", A_SHAPES)
@pytest.mark.parametrize("reverse", (False, True))
def test_states_and_gradients_are_those_of_a_loop(backend, dtype, a_shape, reverse):
    for length in (1, 2, 3, 7, 16):
        a, b, state, resets = problem(dtype, a_shape, length=length)
        for given_state, given_resets in ((None, None), (state, None), (state, resets)):
            inputs = [each.requires_grad_() for each in (a, b, given_state) if each is not None]
            options = {"resets": given_resets, "reverse": reverse}
            x = linear_scan(a, b, given_state, **options, backend=backend)
            expected = loop(a, b, given_state, **options)
            assert_close(x, expected)
            if length > 1 or given_state is not None:  # a does nothing to a first step from zero
                for ours, slow in zip(
                    gradients(x, inputs), gradients(expected, inputs), strict=True
                ):
                    assert_close(ours, slow, f"{a_shape}, length {length}")


@pytest.mark.parametrize("backend", BACKENDS)
@given(length=st.integers(1, 40), flags=st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=30, deadline=None)
def test_resets_are_those_of_the_triple_operator(backend, length, flags):
    a, b, state, _ = problem(torch.complex128, "LD", batch=1, length=length, channels=1)
    resets = torch.tensor([flags[:length]])
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    assert_close(x[0, :, 0], triples(a[:, 0], b[0, :, 0], resets[0], state[0, 0]))


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("a_shape", ("D", "LD", "BLD"))
@pytest.mark.parametrize("reverse", (False, True))
def test_gradients_are_finite_differences(dtype, a_shape, reverse):
    a, b, state, resets = problem(dtype, a_shape, batch=2, length=4, channels=2)
    assert torch.autograd.gradcheck(
        lambda a, b, state: linear_scan(a, b, state, resets=resets, reverse=reverse),
        [each.requires_grad_() for each in (a, b, state)],
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_worked_example(backend):
    a, b = torch.tensor([0.5]), torch.ones(1, 4, 1)
    flags = torch.tensor([[False, False, True, False]])
    x = linear_scan(a, b, torch.tensor([[4.0]]), resets=flags, backend=backend)
    assert x.flatten().tolist() == [3, 2.5, 1, 1.5]
    x = linear_scan(a, b, resets=torch.zeros_like(flags), backend=backend)
    assert x.flatten().tolist() == [1, 1.5, 1.75, 1.875]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cuts", ((2, 5), (1, 2, 3), (0, 4), (0, 1)))
def test_resets_separate_pieces(backend, cuts):
    a, b, state, _ = problem(torch.complex128, "D")
    inputs = [each.requires_grad_() for each in (a, b, state)]
    resets = torch.zeros(3, 7, dtype=torch.bool)
    resets[:, list(cuts)] = True
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    borders = [0, *(cut for cut in cuts if cut), 7]
    pieces = [
        linear_scan(a, b[:, start:stop], state if start == 0 and cuts[0] else None, backend=backend)
        for start, stop in pairwise(borders)
    ]
    together = torch.cat(pieces, 1)
    assert_close(x, together)
    slope = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    ours = torch.autograd.grad(x, inputs, slope)
    apart = torch.autograd.grad(together, inputs, slope, allow_unused=True, materialize_grads=True)
    for one, other in zip(ours, apart, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reset_at_the_first_step_erases_the_state(backend):
    a, b, state, _ = problem(torch.float64)
    resets = torch.zeros(3, 7, dtype=torch.bool)
    resets[1, 0] = True
    state.requires_grad_()
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    assert_close(x[1], linear_scan(a[1:2], b[1:2], backend=backend)[0])
    x.sum().backward()
    assert (state.grad[1] == 0).all()
    assert (state.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_resets_at_every_step_leave_the_inputs(backend):
    a, b, state, _ = problem(torch.float64)
    resets = torch.ones(3, 7, dtype=torch.bool)
    assert torch.equal(linear_scan(a, b, state, resets=resets, backend=backend), b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", (1, 3, 6))
def test_a_scan_may_be_cut_and_carried_on(backend, cut):
    a, b, state, resets = problem(torch.complex128)
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    first = linear_scan(a[:, :cut], b[:, :cut], state, resets=resets[:, :cut], backend=backend)
    second = linear_scan(
        a[:, cut:], b[:, cut:], first[:, -1], resets=resets[:, cut:], backend=backend
    )
    assert_close(torch.cat([first, second], 1), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reverse_is_the_scan_of_the_flipped(backend):
    a, b, state, resets = problem(torch.complex128)
    x = linear_scan(a, b, state, resets=resets, reverse=True, backend=backend)
    flipped = linear_scan(a.flip(1), b.flip(1), state, resets=resets.flip(1), backend=backend)
    assert_close(x, flipped.flip(1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_factor_gives_geometric_sums(backend):
    a = torch.tensor([complex(0.3, 0.9)], dtype=torch.complex128)
    x = linear_scan(a, torch.ones(1, 200, 1, dtype=a.dtype), backend=backend)
    steps = torch.arange(1, 201, dtype=torch.float64)
    assert_close(x[0, :, 0], (1 - a**steps) / (1 - a))


@pytest.mark.parametrize("backend", BACKENDS)
def test_strong_decay_over_a_long_line_stays_exact(backend):
    # 0.01 to the power of 3000 underflows in double precision, and 1 over it is infinite.
    b = torch.randn(1, 3000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.tensor([0.01, 0.0], dtype=torch.float64).requires_grad_()
    x = linear_scan(a, b, backend=backend)
    assert_close(x, loop(a, b))
    x.sum().backward()
    assert_close(a.grad, torch.autograd.grad(loop(a, b).sum(), a)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "single, double", ((torch.float32, torch.float64), (torch.complex64, torch.complex128))
)
def test_single_precision_is_near_double_precision(backend, single, double):
    a, b, state, resets = problem(single, "D", length=300, channels=33)
    inputs = [each.requires_grad_() for each in (a, b, state)]
    wide = [each.detach().to(double).requires_grad_() for each in inputs]
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    assert x.dtype == single
    expected = loop(*wide, resets)
    torch.testing.assert_close(x.to(double), expected, rtol=1e-5, atol=1e-4)
    slope = torch.randn(x.shape, dtype=single, generator=torch.Generator().manual_seed(1))
    exact = torch.autograd.grad(expected, wide, slope.to(double))
    for ours, slow in zip(torch.autograd.grad(x, inputs, slope), exact, strict=True):
        assert ours.dtype == single
        torch.testing.assert_close(ours.to(double), slow, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision_is_rounded_once(backend, dtype):
    inputs = [each.to(dtype).requires_grad_() for each in problem(torch.float32, "D")[:3]]
    x = linear_scan(*inputs, backend=backend)
    wide = [each.detach().float().requires_grad_() for each in inputs]
    expected = loop(*wide)
    assert_close(x, expected.to(dtype))
    x.float().sum().backward()
    expected.sum().backward()
    for ours, slow in zip(inputs, wide, strict=True):
        assert_close(ours.grad, slow.grad.to(dtype))


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing(backend):
    a, b, state, _ = problem(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = linear_scan(a, b, state, backend=backend)
    assert torch.equal(inside, linear_scan(a, b, state, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_real_factors_drive_complex_numbers(backend):
    a = problem(torch.float64)[0].requires_grad_()
    b = problem(torch.complex128)[1]
    x = linear_scan(a, b, backend=backend)
    expected = loop(a, b)
    assert_close(x, expected)
    assert_close(gradients(x, [a])[0], gradients(expected, [a])[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_may_lie_in_memory_as_they_like(backend):
    a, b, state, resets = problem(torch.complex128)
    scattered = [each.mT.contiguous().mT for each in (a, b, state, resets)]
    assert not any(each.is_contiguous() for each in scattered)
    expected = linear_scan(a, b, state, resets=resets, backend=backend)
    x = linear_scan(*scattered[:3], resets=scattered[3], backend=backend)
    assert_close(x, expected)
    # A conjugate is a view that only says so.
    x = linear_scan(a.conj(), b.conj(), state.conj(), resets=resets, backend=backend)
    assert_close(x, expected.conj())
    b.requires_grad_()
    slope = linear_scan(a, b, backend=backend).mean()  # its gradient is one number, expanded
    expected = loop(a, b).mean()
    assert_close(
        *(torch.autograd.grad(each, b, torch.ones_like(each))[0] for each in (slope, expected))
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("empty", ("batch", "channels"))
def test_nothing_in_nothing_out(backend, empty):
    a, b, state, resets = problem(torch.float32, "D", **{empty: 0})
    inputs = [each.requires_grad_() for each in (a, b, state)]
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    assert x.shape == b.shape
    for gradient, each in zip(torch.autograd.grad(x.sum(), inputs), inputs, strict=True):
        assert torch.equal(gradient, torch.zeros_like(each))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", (float("nan"), float("inf")))
def test_what_is_not_a_number_stays_in_its_row_and_is_not_hidden(backend, wrong):
    a, b, _, _ = problem(torch.float32)
    b[1, 3, 2] = wrong
    x = linear_scan(a, b, backend=backend)
    broken = ~x.isfinite()
    assert broken[1, 3:, 2].all()
    assert broken.sum() == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_a_number_ends_at_a_reset(backend):
    a, b, state, _ = problem(torch.float32)
    state[0] = float("nan")
    resets = torch.zeros(3, 7, dtype=torch.bool)
    resets[0, 4] = True
    inputs = [each.requires_grad_() for each in (b, state)]
    x = linear_scan(a, b, state, resets=resets, backend=backend)
    assert x[0, :4].isnan().all()
    assert x[0, 4:].isfinite().all()
    assert x[1:].isfinite().all()
    after = torch.autograd.grad(x[0, 4:].sum(), inputs)
    assert all(gradient[0].isfinite().all() for gradient in after)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_gradients_asked_for_are_there(backend):
    for wanted in range(3):
        inputs = list(problem(torch.float64, "D")[:3])
        inputs[wanted].requires_grad_()
        x = linear_scan(*inputs, backend=backend)
        assert_close(
            gradients(x, inputs[wanted : wanted + 1])[0],
            gradients(loop(*inputs), [inputs[wanted]])[0],
        )


def test_only_the_factors_and_the_states_are_kept():
    a, b, _, _ = problem(torch.complex64, "D", length=100)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        linear_scan(a.requires_grad_(), b.requires_grad_(), backend="numba")
    assert sum(each.numel() for each in kept) == b.numel() + a.numel()


def test_threads_share_the_rows_and_change_nothing():
    a, b, state, resets = problem(torch.complex64, batch=5, channels=40)
    inputs = [each.requires_grad_() for each in (a, b, state)]
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            x = linear_scan(a, b, state, resets=resets, backend="numba")
            found.append([x, *gradients(x, inputs)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_it_can_be_exported_for_any_batch():
    class Layer(torch.nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return linear_scan(a, b)

    a, b, _, _ = problem(torch.float32, "D", batch=4)
    shapes = {"a": None, "b": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(Layer(), (a, b), dynamic_shapes=shapes)
    assert_close(program.module()(a, b[:2]), linear_scan(a, b[:2]))


def test_importing_it_imports_neither_numba_nor_triton():
    code = (
        "import sys; from tacita.kernels import linear_scan; "
        "assert not {'numba', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "changes, message",
    (
        ({"b": torch.ones(2, 3)}, "b is"),
        ({"b": torch.ones(2, 0, 4)}, "no steps"),
        ({"b": torch.ones(2, 3, 4, dtype=torch.int64)}, "b is of torch.int64"),
        ({"a": torch.ones(3)}, "a is"),
        ({"a": torch.ones(1, 2, 3, 4)}, "a is"),
        ({"a": torch.ones(4, dtype=torch.bool)}, "a is of torch.bool"),
        ({"state": torch.ones(4)}, "state is"),
        ({"state": torch.ones(2, 4, dtype=torch.complex64)}, "state is complex"),
        ({"resets": torch.ones(2, 3)}, "resets is"),
        ({"resets": torch.ones(3, dtype=torch.bool)}, "resets is"),
        ({"backend": "cuda"}, "backend='cuda'"),
    ),
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"a": torch.ones(4), "b": torch.ones(2, 3, 4)} | changes
    with pytest.raises(ConfigError, match=message):
        linear_scan(**arguments)
