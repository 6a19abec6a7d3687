"""Every implementation against a loop over time in float64, written from the equations alone; what
goes wrong in practice is a border: of chunks, of resets, of blocks of channels, of an exponential."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tacita.errors import ConfigError
from tacita.kernels.exponentials import exp2_32, sigmoid_32, softplus_32
from tacita.kernels.lanes import LANES
from tacita.kernels.selective.function import selective_scan
from tacita.kernels.selective.loops import CHUNK
from tests.helpers import assert_close

BACKENDS = ("torch", "numba")
OPTIONAL = ("D", "z", "delta_bias", "state")
Arguments = dict[str, Tensor]


def arguments(
    batch: int = 2,
    length: int = 7,
    width: int = 3,
    d_state: int = 4,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Arguments:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tensors = {
        "u": normal(batch, length, width),
        "delta": normal(batch, length, width) - 1,
        "A": -2 * torch.rand(width, d_state, generator=generator, dtype=torch.float64),
        "B": normal(batch, length, d_state),
        "C": normal(batch, length, d_state),
        "D": normal(width),
        "z": normal(batch, length, width),
        "delta_bias": normal(width) / 2,
        "state": normal(batch, width, d_state),
    }
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in tensors.items()}


def loop(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    state: Tensor | None = None,
    delta_softplus: bool = False,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step after another."""
    x = torch.zeros(len(u), *A.shape, dtype=u.dtype) if state is None else state
    outputs = []
    for t in range(u.shape[1]):
        step = delta[:, t] if delta_bias is None else delta[:, t] + delta_bias
        step = F.softplus(step) if delta_softplus else step
        if resets is not None:
            x = torch.where(resets[:, t, None, None], 0.0, x)
        x = torch.exp(torch.einsum("bd,dn->bdn", step, A)) * x
        x = x + torch.einsum("bd,bd,bn->bdn", step, u[:, t], B[:, t])
        y = torch.einsum("bdn,bn->bd", x, C[:, t])
        y = y if D is None else y + D * u[:, t]
        outputs.append(y if z is None else y * F.silu(z[:, t]))
    return torch.stack(outputs, 1), x


def gradients(
    function: Callable[..., tuple[Tensor, Tensor]], tensors: Arguments, **options: object
) -> dict[str, Tensor]:
    """Of a weighted sum of the outputs and the last state, which gives each entry its own weight."""
    y, last = function(**tensors, **options)
    weights = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).view(y.shape).to(y.dtype)
    more = torch.linspace(3, -1, last.numel(), dtype=torch.float64).view(last.shape).to(y.dtype)
    total = (y * weights).sum() + (last * more).sum()
    found = torch.autograd.grad(total, list(tensors.values()))
    return dict(zip(tensors, found, strict=True))


def scan(backend: str) -> Callable[..., tuple[Tensor, Tensor]]:
    def function(**given: object) -> tuple[Tensor, Tensor]:
        return selective_scan(**given, return_state=True, backend=backend)

    return function


@settings(max_examples=40, deadline=None)
@given(
    backend=st.sampled_from(BACKENDS),
    absent=st.sets(st.sampled_from(OPTIONAL)),
    delta_softplus=st.booleans(),
    resetting=st.booleans(),
    batch=st.integers(1, 3),
    length=st.integers(1, 70),
    width=st.integers(1, 20),
    d_state=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_outputs_state_and_gradients_are_those_of_the_loop(
    backend, absent, delta_softplus, resetting, batch, length, width, d_state, seed
):
    tensors = arguments(batch, length, width, d_state, seed=seed)
    if not delta_softplus:  # step sizes as a softplus gives them, without one
        tensors["delta"] = (tensors["delta"].detach().exp() / 4).requires_grad_()
        tensors["delta_bias"] = (tensors["delta_bias"].detach().abs() / 4).requires_grad_()
    tensors = {name: tensor for name, tensor in tensors.items() if name not in absent}
    resets = None
    if resetting:
        resets = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.2
    options = {"delta_softplus": delta_softplus, "resets": resets}
    for actual, expected in zip(
        scan(backend)(**tensors, **options), loop(**tensors, **options), strict=True
    ):
        assert_close(actual, expected)
    expected_gradients = gradients(loop, tensors, **options)
    for name, actual in gradients(scan(backend), tensors, **options).items():
        assert_close(actual, expected_gradients[name], name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "length, width",
    [(1, 1), (CHUNK - 1, 5), (CHUNK, LANES), (2 * CHUNK + 1, LANES + 1), (64, 17), (65, 200)],
)
def test_float32_is_right_at_the_borders_of_chunks_and_blocks(backend, length, width):
    single = arguments(2, length, width, 16, torch.float32)
    double = {name: tensor.detach().double().requires_grad_() for name, tensor in single.items()}
    y, last = scan(backend)(**single, delta_softplus=True)
    expected_y, expected_last = loop(**double, delta_softplus=True)
    assert_close(y, expected_y.float())
    assert_close(last, expected_last.float())
    expected = gradients(loop, double, delta_softplus=True)
    for name, actual in gradients(scan(backend), single, delta_softplus=True).items():
        # Sums over time, batch and channels: to a millionth or so of the largest entry.
        error = (actual.double() - expected[name]).abs().max() / expected[name].abs().max()
        assert error < 5e-6, name


@pytest.mark.parametrize("resetting", (False, True))
def test_gradcheck_of_all_arguments(resetting):
    tensors = arguments(2, 5, 2, 3)
    resets = torch.zeros(2, 5, dtype=torch.bool)
    resets[0, 2] = resets[1, 0] = resetting

    def function(*given: Tensor) -> tuple[Tensor, Tensor]:
        u, delta, A, B, C, D, z, delta_bias, state = given
        return selective_scan(
            u, delta, A, B, C, D, z, delta_bias, True, state, True, "numba", resets
        )

    assert torch.autograd.gradcheck(function, tuple(tensors.values()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("split", (1, 2, 31, 32, 33, 69))
def test_a_sequence_in_two_parts_is_the_whole(backend, split):
    tensors = arguments(2, 70, 5, 3)
    whole, last = scan(backend)(**tensors, delta_softplus=True)
    timed = ("u", "delta", "B", "C", "z")
    before = {name: t[:, :split] if name in timed else t for name, t in tensors.items()}
    after = {name: t[:, split:] if name in timed else t for name, t in tensors.items()}
    first, between = scan(backend)(**before, delta_softplus=True)
    second, end = scan(backend)(**{**after, "state": between}, delta_softplus=True)
    assert_close(torch.cat([first, second], 1), whole)
    assert_close(end, last)


@pytest.mark.parametrize("backend", BACKENDS)
def test_resets_are_pieces_run_apart(backend):
    tensors = arguments(1, 50, 4, 3)
    resets = torch.zeros(1, 50, dtype=torch.bool)
    resets[0, [20, 33]] = True

    def pieces(**given: Tensor) -> tuple[Tensor, Tensor]:
        outputs, state = [], given["state"]
        for part in (slice(0, 20), slice(20, 33), slice(33, 50)):
            timed = {name: given[name][:, part] for name in ("u", "delta", "B", "C", "z")}
            y, last = loop(**{**given, **timed, "state": state}, delta_softplus=True)
            outputs.append(y)
            state = torch.zeros_like(state)
        return torch.cat(outputs, 1), last

    y, last = scan(backend)(**tensors, delta_softplus=True, resets=resets)
    expected_y, expected_last = pieces(**tensors)
    assert_close(y, expected_y)
    assert_close(last, expected_last)
    expected = gradients(pieces, tensors)
    found = gradients(scan(backend), tensors, delta_softplus=True, resets=resets)
    for name, actual in found.items():
        assert_close(actual, expected[name], name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reset_stops_a_nan_and_the_gradient(backend):
    tensors = arguments(1, 6, 2, 3)
    with torch.no_grad():
        tensors["u"][0, 1] = torch.nan
    resets = torch.arange(6)[None] == 3
    y, last = scan(backend)(**tensors, delta_softplus=True, resets=resets)
    assert y[0, 1:3].isnan().all()
    assert y[0, 3:].isfinite().all()
    assert last.isfinite().all()
    (state_gradient,) = torch.autograd.grad(y[:, 3:].sum(), [tensors["state"]])
    assert (state_gradient == 0).all()


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_nan_in_its_own_sequence(backend, dtype):
    for name in ("u", "delta", "B", "state"):
        tensors = {k: t.detach().clone() for k, t in arguments(3, 5, 20, 3, dtype).items()}
        tensors[name][1, 0] = torch.nan
        y, last = scan(backend)(**tensors, delta_softplus=True)
        assert y[1].isnan().any(), name
        assert last[1].isnan().any(), name
        assert y[[0, 2]].isfinite().all(), name
        assert last[[0, 2]].isfinite().all(), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_values_of_a_scalar_system(backend):
    one = torch.ones(1, 60, 1, dtype=torch.float64)
    y = selective_scan(one, one / 2, -one[0, :1], one, one, backend=backend).flatten()
    expected = torch.tensor([0.5, 0.803265, 0.987205, 1.098770], dtype=torch.float64)
    assert (y[:4] - expected).abs().max() < 1e-6
    assert y[-1].item() == pytest.approx(0.5 / (1 - torch.tensor(-0.5).double().exp().item()))


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_of_size_zero_changes_nothing(backend, dtype):
    tensors = arguments(2, 9, 20, 3, dtype)
    for name in ("delta", "delta_bias"):
        tensors[name] = torch.zeros_like(tensors[name])
    del tensors["z"]
    without_state = {name: t for name, t in tensors.items() if name != "state"}
    y, _ = scan(backend)(**without_state)
    assert torch.equal(y, tensors["D"] * tensors["u"])
    _, last = scan(backend)(**tensors)
    assert torch.equal(last, tensors["state"])  # to the last bit, however many steps


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_c_only_the_skip_is_left(backend):
    tensors = arguments(2, 9, 5, 3)
    tensors["C"] = torch.zeros_like(tensors["C"])
    del tensors["z"]
    y, _ = scan(backend)(**tensors, delta_softplus=True)
    assert torch.equal(y, tensors["D"] * tensors["u"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_decay_the_state_is_a_cumulative_sum(backend):
    tensors = arguments(2, 40, 5, 3)
    u, delta, B, C = (tensors[name] for name in ("u", "delta", "B", "C"))
    y = selective_scan(u, delta, torch.zeros(5, 3).double(), B, C, backend=backend)
    sums = ((delta * u)[..., None] * B[:, :, None]).cumsum(1)
    assert_close(y, (sums * C[:, :, None]).sum(-1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_huge_step_forgets_and_nothing_overflows(backend):
    tensors = {name: t.detach() for name, t in arguments(1, 4, 20, 3, torch.float32).items()}
    tensors["delta"] = torch.full_like(tensors["delta"], 500.0)
    tensors["A"] = torch.full_like(tensors["A"], -1.0)
    y, last = scan(backend)(**tensors, delta_softplus=True)
    assert y.isfinite().all()
    step = (500 + tensors["delta_bias"]) * tensors["u"][:, -1]  # linear that far above 20
    assert_close(last, step[..., None] * tensors["B"][:, -1, None])


def test_exponentials_of_float32_are_accurate_to_two_units():
    def worst(function: Callable[[float], float], exact: Tensor, points: Tensor) -> float:
        found = torch.tensor([function(v) for v in points.numpy()], dtype=torch.float64)
        return ((found - exact) / exact).abs().max().item() / torch.finfo(torch.float32).eps

    near = torch.cat([torch.linspace(-125, 127, 5001), torch.linspace(-1, 1, 2001)])
    assert worst(exp2_32, near.double().exp2(), near) <= 2
    middle = torch.linspace(-80, 80, 5001)
    log1p = middle.double().clamp(min=0) + (-middle.double().abs()).exp().log1p()
    assert worst(softplus_32, log1p, middle) <= 4
    assert worst(sigmoid_32, middle.double().sigmoid(), middle) <= 4


def test_exponentials_of_float32_end_in_zero_infinity_and_nan():
    single = torch.tensor([-1e9, -127.0, 0.0, 128.0, 1e9, torch.nan, torch.inf, -torch.inf])
    found = torch.tensor([exp2_32(v) for v in single.numpy()])
    assert found[:5].tolist() == [0.0, 0.0, 1.0, torch.inf, torch.inf]
    assert found[5].isnan()
    assert found[6:].tolist() == [torch.inf, 0.0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision_is_computed_in_float32(backend, dtype):
    half = arguments(2, 40, 20, 4, dtype)
    single = {name: t.detach().float().requires_grad_() for name, t in half.items()}
    y, last = scan(backend)(**half, delta_softplus=True)
    expected_y, expected_last = scan(backend)(**single, delta_softplus=True)
    assert torch.equal(y, expected_y.to(dtype))
    assert torch.equal(last, expected_last)
    y.sum().backward()
    expected_y.sum().backward()
    for name, tensor in half.items():
        assert_close(tensor.grad, single[name].grad.to(dtype), name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_leaves_the_computation_in_float32(backend):
    tensors = arguments(2, 20, 5, 4, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y, last = scan(backend)(**tensors, delta_softplus=True)
    expected_y, expected_last = scan(backend)(**tensors, delta_softplus=True)
    assert torch.equal(y, expected_y)
    assert torch.equal(last, expected_last)


def test_arguments_may_lie_anywhere():
    tensors = arguments(2, 40, 6, 4)
    parts = torch.randn(2, 40, 14, dtype=torch.float64, requires_grad=True)
    delta, B, C = parts.split([6, 4, 4], 2)  # as a projection is split
    turned = {
        **tensors,
        "delta": delta,
        "B": B,
        "C": C,
        "u": tensors["u"].transpose(1, 2).contiguous().transpose(1, 2),
        "A": tensors["A"].T.contiguous().T,
        "state": tensors["state"].transpose(0, 2).contiguous().transpose(0, 2),
        "z": tensors["z"][:, :1].expand(2, 40, 6),
    }
    straight = {name: t.contiguous() for name, t in turned.items()}
    expected, found = gradients(loop, straight), gradients(scan("numba"), turned)
    for name, actual in found.items():
        assert_close(actual, expected[name], name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch_is_empty(backend):
    tensors = arguments(0, 5, 3, 4)
    y, last = scan(backend)(**tensors, delta_softplus=True)
    assert y.shape == (0, 5, 3)
    assert last.shape == (0, 3, 4)
    y.sum().backward()
    assert (tensors["A"].grad == 0).all()


def test_threads_do_not_change_which_numbers_come_out_twice():
    tensors = arguments(3, 70, 150, 4, torch.float32)
    before = torch.get_num_threads()
    results = {}
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found = gradients(scan("numba"), tensors, delta_softplus=True)
            for name, gradient in found.items():
                assert_close(gradient, results.setdefault((1, name), gradient), name)
                assert torch.equal(gradient, results.setdefault((threads, name), gradient)), name
    finally:
        torch.set_num_threads(before)


def test_only_one_of_two_results_may_go_on():
    tensors = arguments(2, 40, 5, 3)
    for index in (0, 1):
        found = torch.autograd.grad(
            scan("numba")(**tensors)[index].square().sum(),
            list(tensors.values()),
            allow_unused=True,
        )
        expected = torch.autograd.grad(
            loop(**tensors)[index].square().sum(), list(tensors.values()), allow_unused=True
        )
        for name, actual, wanted in zip(tensors, found, expected, strict=True):
            assert_close(actual, torch.zeros_like(actual) if wanted is None else wanted, name)


def test_what_is_saved_for_the_backward_is_small():
    tensors = arguments(2, 1024, 32, 16, torch.float32)
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        selective_scan(**tensors, delta_softplus=True, backend="numba")
    inputs = sum(tensor.numel() for tensor in tensors.values())
    assert sum(saved.values()) <= inputs + 2 * 32 * 16 * 1024 // CHUNK
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        saved.clear()
        selective_scan(**tensors, delta_softplus=True, backend="numba")
    assert not saved


def test_the_order_of_states_does_not_matter():
    tensors = arguments(2, 30, 5, 4)
    turned = {**tensors, "A": tensors["A"].flip(1), "state": tensors["state"].flip(2)}
    turned |= {name: tensors[name].flip(2) for name in ("B", "C")}
    assert_close(scan("numba")(**turned)[0], scan("numba")(**tensors)[0])


@pytest.mark.parametrize(
    "name", ("delta", "A", "B", "C", "D", "z", "delta_bias", "state", "resets")
)
def test_a_wrong_shape_is_named(name):
    tensors = {**arguments(), "resets": torch.zeros(2, 7, dtype=torch.bool)}
    tensors[name] = tensors[name][:-1] if name == "A" else tensors[name][..., :-1]
    with pytest.raises(ConfigError, match=rf"^{name} has shape"):
        selective_scan(**tensors)


def test_other_mistakes_are_named():
    tensors = arguments()
    with pytest.raises(ConfigError, match="length 0"):
        selective_scan(
            **{**tensors, **{k: tensors[k][:, :0] for k in ("u", "delta", "B", "C", "z")}}
        )
    with pytest.raises(ConfigError, match="u has shape"):
        selective_scan(**{**tensors, "u": tensors["u"][0]})
    with pytest.raises(ConfigError, match="resets has dtype"):
        selective_scan(**tensors, resets=torch.zeros(2, 7))
    with pytest.raises(ConfigError, match="A has dtype"):
        selective_scan(**{**tensors, "A": tensors["A"].to(torch.complex64)})
    with pytest.raises(ConfigError, match="backend='fast'"):
        selective_scan(**tensors, backend="fast")


def test_importing_the_function_imports_no_compiler():
    code = (
        "import sys, tacita.kernels.selective.function; "
        "assert not {'numba', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_exports_and_gives_the_same():
    class Scan(torch.nn.Module):
        def forward(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
            return selective_scan(u, delta, A, B, C, delta_softplus=True)

    tensors = arguments(2, 70, 3, 4, torch.float32)
    given = tuple(tensors[name].detach() for name in ("u", "delta", "A", "B", "C"))
    program = torch.export.export(Scan(), given)
    assert_close(program.module()(*given), Scan()(*given))
