"""What could go wrong: a state taken from the wrong neighbour, of the wrong kind or time, a gradient that
misses one of a state's three ways on, chunks that do not meet, and fields that grow."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import selective_scan, selective_scan_2d
from tests.helpers import assert_close

BACKENDS = ("torch", "numba")
PAIRS = ("steps", "A", "rho", "B", "C", "states")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def problem(batch=2, variates=3, length=5, width=2, d_state=3):
    """`u`, and pairs of steps, A, rho, B, C and states."""
    cells = batch, variates, length
    u = draw(*cells, width)
    steps = [0.5 * draw(*cells, width, seed=seed).exp() for seed in (1, 2)]
    A = [-draw(width, d_state, seed=seed).exp() for seed in (3, 4)]
    rho = [draw(width, d_state, seed=seed).sigmoid() for seed in (5, 6)]
    B, C = ([draw(*cells, d_state, seed=seed) for seed in seeds] for seeds in ((7, 8), (9, 10)))
    states = [draw(batch, variates, width, d_state, seed=seed) for seed in (11, 12)]
    return u, *(tuple(pair) for pair in (steps, A, rho, B, C, states))


def cell(v, t, u, steps, A, rho, B, C, earlier, below):
    """Both states of one cell, `(B, D, N)`, from those at the step before and of the variate before."""
    decay = [torch.exp(steps[k][:, v, t, :, None] * A[k]) for k in range(2)]
    drive = [(steps[k] * u)[:, v, t, :, None] * B[k][:, v, t, None] for k in range(2)]
    h1 = decay[0] * earlier[0] + rho[0] * (1 - decay[0]) * earlier[1] + drive[0]
    h2 = decay[1] * below[1] + rho[1] * (1 - decay[1]) * below[0] + drive[1]
    return h1, h2


def naive(u, steps, A, rho, B, C, states, reverse=False):
    """Cell by cell, variates first."""
    _, variates, length, _ = u.shape
    none = torch.zeros_like(states[0][:, 0])
    h, y = {}, {}
    order = list(range(variates))[:: -1 if reverse else 1]
    for before, v in zip([None, *order], order, strict=False):
        for t in range(length):
            earlier = h[v, t - 1] if t else (states[0][:, v], states[1][:, v])
            below = (none, none) if before is None else h[before, t]
            h[v, t] = cell(v, t, u, steps, A, rho, B, C, earlier, below)
            y[v, t] = sum((h[v, t][k] * C[k][:, v, t, None]).sum(-1) for k in range(2))
    outputs = torch.stack(
        [torch.stack([y[v, t] for t in range(length)], 1) for v in range(variates)], 1
    )
    last = [torch.stack([h[v, length - 1][k] for v in range(variates)], 1) for k in range(2)]
    return outputs, *last


def wavefront(u, steps, A, rho, B, C, states):
    """Diagonal by diagonal, all of whose cells depend on earlier ones alone."""
    _, variates, length, _ = u.shape
    none = torch.zeros_like(states[0][:, 0])
    h, y = {}, torch.zeros_like(u)
    for diagonal in range(variates + length - 1):
        found = {}
        for v in range(max(0, diagonal - length + 1), min(variates, diagonal + 1)):
            t = diagonal - v
            earlier = h[v, t - 1] if t else (states[0][:, v], states[1][:, v])
            found[v, t] = cell(
                v, t, u, steps, A, rho, B, C, earlier, h[v - 1, t] if v else (none, none)
            )
        h = {**{at: x for at, x in h.items() if sum(at) == diagonal - 1}, **found}
        for (v, t), x in found.items():
            y[:, v, t] = sum((x[k] * C[k][:, v, t, None]).sum(-1) for k in range(2))
    return y


def flat(u, *pairs):
    return [u, *(each for pair in pairs if pair is not None for each in pair)]


def scanned(backend, reverse=False):
    """`selective_scan_2d` of the tensors that `flat` gives."""

    def function(u, *tensors):
        pairs = [tuple(tensors[i : i + 2]) for i in range(0, len(tensors), 2)]
        y, last = selective_scan_2d(u, *pairs, reverse=reverse, backend=backend)
        return y, *last

    return function


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", (False, True))
def test_it_is_the_loop_over_cells_in_value_and_gradient(backend, reverse):
    given_ = problem(variates=3, length=9)
    slopes = [draw(*x.shape, seed=20 + i) for i, x in enumerate(naive(*given_))]
    found = []
    for function in (scanned(backend, reverse), None):
        leaves = [x.clone().requires_grad_() for x in flat(*given_)]
        if function is None:
            pairs = [tuple(leaves[i : i + 2]) for i in range(1, len(leaves), 2)]
            outputs = naive(leaves[0], *pairs, reverse=reverse)
        else:
            outputs = function(*leaves)
        found.append([*outputs, *torch.autograd.grad(outputs, leaves, slopes)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_wavefront_over_diagonals(backend):
    given_ = problem(variates=4, length=6)
    assert_close(selective_scan_2d(*given_, backend=backend)[0], wavefront(*given_))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("begun", (False, True))
def test_the_gradient_is_that_of_finite_differences(backend, begun):
    u, *pairs = problem(batch=1, variates=2, length=3, width=2, d_state=2)
    leaves = [x.requires_grad_() for x in flat(u, *(pairs if begun else pairs[:-1]))]
    assert torch.autograd.gradcheck(scanned(backend), leaves)


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 3),
        st.integers(1, 20),
        st.integers(1, 40),
        st.integers(1, 19),
        st.integers(1, 4),
    ),
    reverse=st.booleans(),
)
def test_numba_is_torch_at_any_size(sizes, reverse):
    found = []
    for backend in BACKENDS:
        leaves = [x.requires_grad_() for x in flat(*problem(*sizes))]
        outputs = scanned(backend, reverse)(*leaves)
        found.append(
            [*outputs, *torch.autograd.grad(sum(x.square().sum() for x in outputs), leaves)]
        )
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=1e-8, atol=1e-8 * expected.abs().max().item()
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variates", (1, 3))
def test_uncoupled_the_field_along_time_is_a_selective_scan_of_each_variate(backend, variates):
    u, steps, A, rho, B, C, states = problem(variates=variates, length=40)
    none = torch.zeros_like(rho[0])
    C = C[0], torch.zeros_like(C[1])
    y, last = selective_scan_2d(u, steps, A, (none, none), B, C, states, backend=backend)
    for v in range(variates):
        row, after = selective_scan(
            u[:, v], steps[0][:, v], A[0], B[0][:, v], C[0][:, v],
            state=states[0][:, v], return_state=True, backend=backend,
        )  # fmt: skip
        assert_close(y[:, v], row)
        assert_close(last[0][:, v], after)


@pytest.mark.parametrize("backend", BACKENDS)
def test_uncoupled_the_field_along_variates_is_a_selective_scan_of_each_step(backend):
    u, steps, A, rho, B, C, _ = problem(variates=7, length=4)
    none = torch.zeros_like(rho[0])
    C = torch.zeros_like(C[0]), C[1]
    y, _ = selective_scan_2d(u, steps, A, (none, none), B, C, backend=backend)
    for t in range(4):
        across = steps[1][:, :, t], A[1], B[1][:, :, t], C[1][:, :, t]
        assert_close(y[:, :, t], selective_scan(u[:, :, t], *across, backend=backend))


def test_one_decay_for_all_states_is_masked_attention_as_in_mamba_2():
    u, steps, A, rho, B, C, _ = problem(variates=1, length=12)
    A = tuple(each[:, :1].expand_as(each).contiguous() for each in A)
    none = torch.zeros_like(rho[0])
    C = C[0], torch.zeros_like(C[1])
    y, _ = selective_scan_2d(u, steps, A, (none, none), B, C)
    exponent = (steps[0][:, 0] * A[0][:, 0]).cumsum(1)
    mask = torch.ones(12, 12, dtype=torch.bool).tril()[:, :, None]
    decay = (exponent[:, :, None] - exponent[:, None]).exp() * mask  # (B, T, T, D)
    scores = C[0][:, 0] @ B[0][:, 0].mT
    assert_close(y[:, 0], torch.einsum("btsd,bts,bsd->btd", decay, scores, (steps[0] * u)[:, 0]))


def test_time_invariant_it_is_a_convolution_over_the_grid():
    batch, variates, length, width, d_state = 2, 4, 6, 2, 3
    u, steps, A, rho, B, C, _ = problem(1, 1, 1, width, d_state)
    grid = [
        tuple(each.expand(batch, variates, length, -1) for each in pair) for pair in (steps, B, C)
    ]
    u = draw(batch, variates, length, width)
    impulse = torch.zeros_like(u)
    impulse[:, 0, 0] = 1
    y, kernel = (selective_scan_2d(x, grid[0], A, rho, *grid[1:])[0] for x in (u, impulse))
    sizes = 2 * variates, 2 * length
    product = torch.fft.rfft2(u, sizes, (1, 2)) * torch.fft.rfft2(kernel, sizes, (1, 2))
    assert_close(y, torch.fft.irfft2(product, sizes, (1, 2))[:, :variates, :length])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", (False, True))
def test_a_cell_sees_no_later_step_and_no_later_variate(backend, reverse):
    u, *pairs = problem(variates=3, length=5)
    leaf = u.requires_grad_()
    y, _ = selective_scan_2d(leaf, *pairs, reverse=reverse, backend=backend)
    (slope,) = torch.autograd.grad(y[:, 1, 2].sum(), leaf)
    seen = slope.abs().amax((0, 3)) > 0
    first, last = (slice(1, 3), slice(0, 1)) if reverse else (slice(0, 2), slice(2, 3))
    assert seen[first, :3].all()
    assert not seen[:, 3:].any()
    assert not seen[last].any()


def test_an_impulse_reaches_the_other_field_a_cell_later():
    u, steps, A, rho, B, C, _ = problem(batch=1, variates=2, length=2)
    impulse = torch.zeros_like(u)
    impulse[:, 0, 0] = 1
    B = B[0], torch.zeros_like(B[1])  # it enters the field along time alone
    only_2 = torch.zeros_like(C[0]), torch.ones_like(C[1])
    y = selective_scan_2d(impulse, steps, A, rho, B, only_2)[0].abs().amax((0, 3)) > 0
    assert y.tolist() == [[False, False], [True, True]]
    B = torch.zeros_like(B[0]), torch.ones_like(B[1])
    only_1 = only_2[1], only_2[0]
    y = selective_scan_2d(impulse, steps, A, rho, B, only_1)[0].abs().amax((0, 3)) > 0
    assert y.tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_reverse_is_variates_reversed(backend):
    u, steps, A, rho, B, C, states = problem()

    def flipped(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.flip(1) for each in tensors)

    y, last = selective_scan_2d(u, steps, A, rho, B, C, states, reverse=True, backend=backend)
    other, after = selective_scan_2d(
        u.flip(1),
        flipped(*steps),
        A,
        rho,
        flipped(*B),
        flipped(*C),
        flipped(*states),
        backend=backend,
    )
    assert_close(y, other.flip(1))
    for ours, expected in zip(last, after, strict=True):
        assert_close(ours, expected.flip(1))


def test_fields_that_take_all_of_each_other_stay_bounded():
    batch, variates, length, width, d_state = 1, 3, 10_000, 1, 2
    torch.manual_seed(0)
    u = torch.rand(batch, variates, length, width)
    steps = torch.full_like(u, 0.01), torch.full_like(u, 0.01)
    A = -torch.ones(width, d_state), -torch.ones(width, d_state)
    rho = torch.full((width, d_state), 0.9), torch.full((width, d_state), 0.9)
    maps = [torch.ones(batch, variates, length, d_state)] * 2
    _, last = selective_scan_2d(u, steps, A, rho, tuple(maps), tuple(maps))
    # Each is at most 0.9 of the other, and what a step of 0.01 adds over the 0.01 that it loses.
    assert max(each.abs().max() for each in last) <= 1.01 / (1 - 0.9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", (1, 7, 39))
def test_a_series_may_be_cut_and_carried_on(backend, cut):
    u, steps, A, rho, B, C, states = problem(length=40)
    y, last = selective_scan_2d(u, steps, A, rho, B, C, states, backend=backend)
    parts = []
    for part in (slice(0, cut), slice(cut, 40)):
        now = [tuple(each[:, :, part] for each in pair) for pair in (steps, B, C)]
        found, states = selective_scan_2d(
            u[:, :, part], now[0], A, rho, *now[1:], states, backend=backend
        )
        parts.append(found)
    assert_close(torch.cat(parts, 2), y)
    for ours, expected in zip(states, last, strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
def test_the_dtype_stays_and_half_precision_is_rounded_once(backend, dtype):
    leaves = [x.to(dtype).requires_grad_() for x in flat(*problem())]
    y, *last = scanned(backend)(*leaves)
    assert y.dtype == dtype
    assert last[0].dtype == torch.float32
    wide = scanned("torch")(*(x.detach().float() for x in leaves))
    assert_close(y, wide[0].to(dtype))
    y.float().sum().backward()
    assert all(x.grad.dtype == dtype and x.grad.isfinite().all() for x in leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_may_lie_in_memory_as_they_like_and_stay_as_they_are(backend):
    expected = scanned(backend)(*flat(*problem()))
    scattered = [x.movedim(0, -1).contiguous().movedim(-1, 0) for x in flat(*problem())]
    scattered[7:9] = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in scattered[7:9]]
    before = [x.clone() for x in scattered]
    leaves = [x.requires_grad_() for x in scattered]
    found = scanned(backend)(*leaves)
    for ours, other in zip(found, expected, strict=True):
        assert_close(ours, other)
    found[0].sum().backward()  # a gradient that is one number, expanded
    assert all(torch.equal(x, other) for x, other in zip(leaves, before, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_last_states_may_go_on(backend):
    found = []
    for own in (backend, "torch"):
        leaves = [x.requires_grad_() for x in flat(*problem())]
        _, _, across = scanned(own)(*leaves)
        found.append(torch.autograd.grad(across.sum(), leaves, materialize_grads=True))
    for ours, expected in zip(*found, strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_a_number_is_not_hidden(backend):
    u, *pairs = problem()
    u[1, 1, 2, 0] = math.nan
    broken = ~selective_scan_2d(u, *pairs, backend=backend)[0].isfinite()
    assert broken[1, 1:, 2:, 0].all()
    assert broken.sum() == 2 * 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_in_nothing_out(backend):
    for sizes in ((0, 3, 5, 2, 3), (2, 3, 5, 0, 3), (2, 3, 5, 2, 0)):
        given_ = problem(*sizes)
        y, last = selective_scan_2d(*given_, backend=backend)
        assert y.shape == given_[0].shape
        assert last[0].shape == given_[-1][0].shape


def test_what_does_not_fit_is_refused():
    u, *pairs = problem()
    named = dict(zip(PAIRS, pairs, strict=True))
    with pytest.raises(ConfigError, match="u has shape"):
        selective_scan_2d(u[0], **named)
    for name in PAIRS:
        wrong = (named[name][0], named[name][1][:1, ..., :1])
        with pytest.raises(ConfigError, match=f"one of {name} has shape"):
            selective_scan_2d(u, **{**named, name: wrong})
    with pytest.raises(ConfigError, match="C has dtype"):
        selective_scan_2d(u, **{**named, "C": (named["C"][0], named["C"][1].long())})
    with pytest.raises(ConfigError, match="backend"):
        selective_scan_2d(u, **named, backend="cuda")
