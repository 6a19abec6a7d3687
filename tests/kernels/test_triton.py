"""The triton kernels against plain torch, in value and all gradients, without a GPU: triton's
interpreter runs them on the CPU where TRITON_INTERPRET=1 was set before triton was imported, so one
test runs the others in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tacita.kernels import lif, linear_scan, selective_scan, selective_scan_2d
from tests.helpers import assert_close

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own, see below"
)


@pytest.mark.long
def test_under_the_interpreter():
    pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("this is that process")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", __file__]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed, 1 skipped" in done.stdout


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def both_agree(function, inputs: dict[str, Tensor | None], **options) -> None:
    """Outputs and the gradients of all inputs, for an arbitrary gradient of every output."""
    found = {}
    for backend in ("triton", "torch"):
        leaves = {
            name: None if each is None else each.detach().clone().requires_grad_()
            for name, each in inputs.items()
        }
        outputs = function(**leaves, **options, backend=backend)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        slopes = [draw(*each.shape, dtype=each.dtype, seed=9) for each in outputs]
        present = [each for each in leaves.values() if each is not None]
        found[backend] = [*outputs, *torch.autograd.grad(outputs, present, slopes)]
    names = [f"output {i}" for i in range(len(outputs))]
    names += [f"gradient of {name}" for name, each in inputs.items() if each is not None]
    for name, ours, expected in zip(names, found["triton"], found["torch"], strict=True):
        assert_close(ours, expected, name)


@interpreted
@pytest.mark.parametrize("dtype", (torch.float32, torch.complex128))
@pytest.mark.parametrize("reverse", (False, True))
@pytest.mark.parametrize("a_shape", ((67,), (5, 67), (2, 5, 67), (2, 1, 67)))
def test_linear_scan(dtype, reverse, a_shape):
    a, b = 0.7 * draw(*a_shape, dtype=dtype), draw(2, 5, 67, dtype=dtype, seed=1)
    state = draw(2, 67, dtype=dtype, seed=2)
    resets = torch.tensor([[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]], dtype=torch.bool)
    both_agree(linear_scan, {"a": a, "b": b}, reverse=reverse)
    both_agree(linear_scan, {"a": a, "b": b, "state": state}, reverse=reverse, resets=resets)


@interpreted
def test_linear_scan_of_one_step_and_one_channel():
    both_agree(linear_scan, {"a": draw(1), "b": draw(3, 1, 1), "state": draw(3, 1, seed=1)})


@interpreted
@pytest.mark.parametrize(
    "softplus, absent",
    (
        (True, ()),
        (False, ("D",)),
        (True, ("z",)),
        (False, ("delta_bias", "state")),
        (True, ("D", "z")),
    ),
)
def test_selective_scan(softplus, absent):
    batch, length, width, d_state = 2, 35, 33, 3  # a chunk and a rest, a block and a rest
    inputs = {
        "u": draw(batch, length, width),
        "delta": 0.3 * draw(batch, length, width, seed=1).abs(),
        "A": -draw(width, d_state, seed=2).abs(),
        "B": draw(batch, length, d_state, seed=3),
        "C": draw(batch, length, d_state, seed=4),
        "D": draw(width, seed=5),
        "z": draw(batch, length, width, seed=6),
        "delta_bias": 0.1 * draw(width, seed=7),
        "state": draw(batch, width, d_state, seed=8),
    }
    inputs |= dict.fromkeys(absent)
    resets = draw(batch, length, seed=10) > 1 if softplus else None
    both_agree(selective_scan, inputs, delta_softplus=softplus, resets=resets, return_state=True)


def grid_inputs(variates: int, length: int, width: int, d_state: int) -> dict[str, Tensor | None]:
    """Of `selective_scan_2d`, by the names of its arguments and the axis."""
    cells, states = (2, variates, length), (2, variates, width, d_state)
    shapes = {
        "steps": (*cells, width), "A": (width, d_state), "rho": (width, d_state),
        "B": (*cells, d_state), "C": (*cells, d_state), "states": states,
    }  # fmt: skip
    found: dict[str, Tensor | None] = {"u": draw(*cells, width)}
    for seed, (name, shape) in enumerate(shapes.items()):
        for axis in range(2):
            found[f"{name}_{axis}"] = draw(*shape, seed=2 * seed + axis + 1)
    for axis in range(2):
        found[f"steps_{axis}"] = 0.3 * found[f"steps_{axis}"].abs()
        found[f"A_{axis}"] = -found[f"A_{axis}"].abs()
        found[f"rho_{axis}"] = found[f"rho_{axis}"].sigmoid()
    return found


def over_grid(
    u: Tensor, *, reverse: bool, backend: str, **pairs: Tensor | None
) -> tuple[Tensor, ...]:
    """`selective_scan_2d` of what `grid_inputs` gives."""
    names = "steps", "A", "rho", "B", "C"
    given = [(pairs[f"{name}_0"], pairs[f"{name}_1"]) for name in names]
    states = None if pairs["states_0"] is None else (pairs["states_0"], pairs["states_1"])
    y, last = selective_scan_2d(u, *given, states, reverse=reverse, backend=backend)
    return y, *last


@interpreted
def test_selective_scan_2d():
    both_agree(
        over_grid, grid_inputs(2, 17, 33, 3), reverse=True
    )  # a chunk, a block, and a rest of each
    both_agree(over_grid, grid_inputs(3, 2, 5, 2), reverse=False)
    begun = {**grid_inputs(1, 3, 5, 2), "states_0": None, "states_1": None}
    both_agree(over_grid, begun, reverse=False)


@interpreted
def test_a_small_step_keeps_its_digits():
    one = torch.ones(1, 1, 1)
    y = selective_scan(one, -12 * one, -one[0], one, one, delta_softplus=True, backend="triton")
    assert y.item() == pytest.approx(torch.tensor(-12.0).exp().log1p().item(), rel=1e-5)


@interpreted
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("cut", (None, (7, 3), (0, 9)))
def test_lif(dtype, cut):
    inputs = {"current": draw(2, 7, 67, dtype=dtype), "state": draw(2, 67, dtype=dtype, seed=1)}
    lengths = None if cut is None else torch.tensor(cut)
    options = {"decay": 0.7, "threshold": 0.8, "alpha": 3.0, "lengths": lengths}
    both_agree(lif, inputs, **options)
    both_agree(lif, {**inputs, "state": None}, **options)


@interpreted
@pytest.mark.parametrize("heard", (0, 1))
def test_lif_where_one_output_is_heard(heard):
    both_agree(lambda **given: lif(decay=0.7, **given)[heard], {"current": draw(2, 7, 33)})


FAR = 2**30
"""A row so far that no place in it fits into 32 bits."""


def far_away(near: Tensor) -> Tensor:
    """A tensor whose row `FAR` is `near`, one row,, and that has no other memory.

    A place that was computed in 32 bits is none, and reading there ends the process.
    """
    row = near.numel() * near.element_size()
    array = (ctypes.c_char * row).from_address(near.data_ptr() - FAR * row)
    return torch.frombuffer(array, dtype=near.dtype)


def far_and_near_agree(kernel, arrays: dict[str, Tensor], by_row: set[str], *sizes, **options):
    """One program of a kernel, of row 0 and of row `FAR`, on the same numbers, into the same ones."""
    outcomes = []
    for far in (False, True):
        own = {name: array.clone() for name, array in arrays.items()}
        given = [far_away(a) if far and name in by_row else a for name, a in own.items()]
        with pytest.MonkeyPatch.context() as patch:
            if far:
                shift_programs(patch)
            kernel[(1, 1, 1)](*given, *sizes, **options)
        outcomes.append(own)
    for name in arrays:
        assert torch.equal(outcomes[1][name], outcomes[0][name]), name
    return outcomes[0]


def shift_programs(patch: pytest.MonkeyPatch) -> None:
    """The interpreter's programs run as those of row `FAR`."""
    from triton.runtime.interpreter import interpreter_builder

    def set_grid_idx(x: int, y: int, z: int) -> None:
        interpreter_builder.grid_idx = (x + FAR, y, z)

    patch.setattr(interpreter_builder, "set_grid_idx", set_grid_idx)


def named(names: str, arrays) -> dict[str, Tensor]:
    return dict(zip(names.split(), arrays, strict=True))


@interpreted
def test_rows_of_the_linear_scan_lie_beyond_32_bits():
    from tacita.kernels.linear import gpu

    a, b, before = (draw(1, 5, 32), draw(1, 5, 32, seed=1), draw(1, 32, seed=2))
    resets = torch.tensor([[0, 0, 1, 0, 0]], dtype=torch.uint8)
    options = {"REVERSE": False, "STATE": True, "RESETS": True, "COMPLEX": False}
    options |= {"BLOCK": 32, "AHEAD": 1}
    arrays = named("a b before resets x", (a, b, before, resets, torch.zeros_like(b)))
    sizes = 5, 32, 5 * 32, 32
    found = far_and_near_agree(gpu._forward, arrays, set(arrays), *sizes, **options)
    assert found["x"].all()
    results = (torch.zeros_like(b), torch.zeros_like(before), torch.zeros_like(a))
    names = "a x before resets grad grad_b grad_state grad_a"
    arrays = named(names, (a, found["x"], before, resets, b, *results))
    found = far_and_near_agree(gpu._backward, arrays, set(arrays), *sizes, **options, WANT_A=True)
    assert found["grad_b"].all()


@interpreted
def test_rows_of_lif_lie_beyond_32_bits():
    from tacita.kernels.spiking import gpu

    current, before = draw(1, 5, 32), draw(1, 32, seed=1)
    ends, numbers = torch.tensor([4]), torch.tensor([0.7, 1.0, 2.5, 7.8], dtype=torch.float64)
    sizes, options = (5, 32, numbers), {"LENGTHS": True, "BLOCK": 32, "AHEAD": 1}
    results = [torch.zeros_like(current) for _ in range(2)]
    arrays = named("current before ends spikes potential", (current, before, ends, *results))
    found = far_and_near_agree(gpu._forward, arrays, set(arrays), *sizes, **options, STATE=True)
    assert found["potential"][:, :4].all()
    names = "grad_spikes grad_potential potential ends grad grad_state"
    given = current, current, found["potential"], ends, *results[:1], torch.zeros_like(before)
    arrays, heard = named(names, given), {"SPIKES": True, "POTENTIAL": True}
    found = far_and_near_agree(gpu._backward, arrays, set(arrays), *sizes, **options, **heard)
    assert found["grad"][:, :4].all()


@interpreted
def test_rows_of_the_selective_scan_lie_beyond_32_bits():
    from tacita.kernels.selective import gpu

    length, width, wide = 3, 4, 2
    steps = [draw(1, length, width, seed=seed) for seed in range(4)]
    small = [draw(1, length, wide, seed=seed) for seed in (5, 6)]
    states = [draw(1, width, wide, seed=seed) for seed in (7, 8)]
    A, D, bias = -draw(width, wide, seed=9).abs(), draw(width, seed=10), draw(width, seed=11)
    resets = torch.tensor([[0, 1, 0]], dtype=torch.uint8)
    u, delta, z, grad = steps
    given = (u, delta, A, *small, D, z, bias, states[0], resets)
    on = dict.fromkeys(("SKIP", "GATE", "BIAS", "STATE", "RESETS", "SOFTPLUS"), True)
    options = {**on, "BLOCK": 4, "WIDE": 2, "CHUNK": 32, "AHEAD": 1}
    results = (
        torch.zeros_like(u),
        torch.zeros_like(states[0]),
        torch.zeros_like(states[0])[:, None],
    )
    names = "u delta A B C D z bias state resets"
    arrays = named(f"{names} y last kept", (*given, *results))
    far = set(arrays) - {"A", "D", "bias"}
    sizes = length, width, wide
    found = far_and_near_agree(gpu._forward, arrays, far, *sizes, **options, KEEP=True)
    assert found["y"].all()
    empty = [
        torch.zeros_like(each)
        for each in (u, delta, states[0], *small, u[:, 0], z, u[:, 0], A[None])
    ]
    come_in = grad, states[1], found["kept"].contiguous(), torch.zeros(1, 32, width, wide)
    arrays = named(
        f"{names} grad_y grad_last kept scratch du ddelta dA dB dC dD dz dbias dstate",
        (*given, *(each.double() for each in come_in), *empty),
    )
    found = far_and_near_agree(
        gpu._backward, arrays, set(arrays) - {"A", "D", "bias"}, FAR + 1, *sizes, **options
    )
    assert found["du"].all()
    assert found["dB"].all()


@interpreted
def test_rows_of_the_scan_over_a_grid_lie_beyond_32_bits():
    from tacita.kernels.selective_2d import gpu

    variates, length, width, wide = 2, 3, 4, 2
    cells, states = (1, variates, length), (1, variates, width, wide)
    u, *steps = (draw(*cells, width, seed=seed).abs() for seed in range(3))
    constants = [draw(width, wide, seed=seed) for seed in (3, 4, 5, 6)]
    maps = [draw(*cells, wide, seed=seed) for seed in (7, 8, 9, 10)]
    names = "u step_1 step_2 A_1 A_2 rho_1 rho_2 B_1 B_2 C_1 C_2"
    shared = {"A_1", "A_2", "rho_1", "rho_2"}
    given, sizes = (u, *steps, *constants, *maps), (variates, length, width, wide)
    options = {"REVERSE": False, "BLOCK": 4, "WIDE": 2, "CHUNK": 16}
    last = [torch.zeros(states, dtype=u.dtype) for _ in range(2)]
    kept = torch.zeros(1, 1, 2, variates, width, wide, dtype=u.dtype)
    arrays = named(f"{names} y last_1 last_2 kept", (*given, torch.zeros_like(u), *last, kept))
    found = far_and_near_agree(
        gpu._forward, arrays, set(arrays) - shared, *sizes, **options, KEEP=True
    )
    assert found["y"].all()
    scratch = torch.zeros(1, 17, 2, variates, width, wide, dtype=u.dtype)
    results = [torch.zeros_like(each) for each in (u, *steps)]
    results += [torch.zeros(1, width, wide, dtype=u.dtype) for _ in constants]
    results += [torch.zeros(1, *each.shape, dtype=u.dtype) for each in maps] + last
    rest = (
        "grad_y kept scratch du ds_1 ds_2 dA_1 dA_2 dr_1 dr_2 dB_1 dB_2 dC_1 dC_2 later_1 later_2"
    )
    arrays = named(f"{names} {rest}", (*given, u, found["kept"], scratch, *results))
    found = far_and_near_agree(
        gpu._backward, arrays, set(arrays) - shared, FAR + 1, *sizes, **options
    )
    assert found["du"].all()
    assert found["dB_2"].all()


@interpreted
def test_rows_of_the_cauchy_product_lie_beyond_32_bits():
    from tacita.kernels.cauchy import gpu

    sums, poles, count = 2, 1, 5
    weights = [draw(1, sums, poles, seed=seed) for seed in (0, 1)]
    at = [draw(1, poles, seed=seed) for seed in (2, 3)]
    nodes, out = draw(count, seed=4), draw(1, sums, count, 2, seed=5)
    sizes, options = (sums, poles, count), {"WIDE": 2, "BLOCK": 8}
    arrays = named("alpha beta decay frequency nodes out", (*weights, *at, nodes, 0 * out))
    far = set(arrays) - {"nodes"}
    found = far_and_near_agree(gpu.forward_kernel, arrays, far, *sizes, **options)
    assert found["out"].all()
    names = "grad alpha beta decay frequency nodes d_alpha d_beta d_decay d_frequency"
    results = [torch.zeros_like(each) for each in (*weights, *at)]
    arrays = named(names, (out, *weights, *at, nodes, *results))
    far = set(arrays) - {"nodes"}
    found = far_and_near_agree(gpu.backward_kernel, arrays, far, *sizes, **options)
    assert found["d_alpha"].all()
