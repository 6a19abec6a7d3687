"""S5: what could go wrong is the basis, the real products for complex ones, and a reset off by one."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch import Tensor

from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.kernels import linear_scan
from tacita.layers.hippo import hippo
from tacita.layers.s5 import S5
from tests.helpers import assert_close

Element = tuple[Tensor, Tensor, bool]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(d_model: int = 3, d_state: int = 8, **options: object) -> S5:
    torch.manual_seed(0)
    return S5(d_model, d_state=d_state, **options).double()  # type: ignore[arg-type]


def joined(first: Element, second: Element) -> Element:
    """The paper's associative operator on `(a, b, reset)`, the first one earlier."""
    (a1, b1, c1), (a2, b2, c2) = first, second
    return (a2, b2, c1 or c2) if c2 else (a2 * a1, a2 * b1 + b2, c1 or c2)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 10**6))
def test_the_paper_s_operator_is_associative(flags: list[bool], seed: int) -> None:
    values = torch.complex(noise(3, 2, seed=seed), noise(3, 2, seed=seed + 1))
    x, y, z = ((a, b, c) for (a, b), c in zip(values, flags, strict=True))
    left, right = joined(joined(x, y), z), joined(x, joined(y, z))
    assert_close(left[0], right[0])
    assert_close(left[1], right[1])
    assert left[2] == right[2]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_the_scan_has_the_states_of_the_paper_s_operator(flags: list[bool]) -> None:
    a = torch.complex(noise(4), noise(4, seed=2)) / 2
    b = torch.complex(noise(1, len(flags), 4, seed=3), noise(1, len(flags), 4, seed=4))
    begun = torch.complex(noise(1, 4, seed=5), noise(1, 4, seed=6))
    carried: Element = (torch.ones_like(a), begun[0], False)
    expected = []
    for t, flag in enumerate(flags):
        carried = joined(carried, (a, b[0, t], flag))
        expected.append(carried[1])
    actual = linear_scan(a, b, begun, resets=torch.tensor([flags]))
    assert_close(actual[0], torch.stack(expected))


def test_the_worked_example() -> None:
    layer = make(1, 2)
    with torch.no_grad():  # a = 1/2, b = 1, y = Re x
        layer.log_step.fill_(0.0)
        layer.modes.copy_(torch.tensor([[math.log(0.5), 0.0]]))
        layer.B.copy_(torch.tensor([[[math.log(2.0) / (1 - 0.5), 0.0]]]))
        layer.C.copy_(torch.tensor([[[0.5, 0.0]]]))
        layer.D.zero_()
    x = torch.ones(1, 4, 1, dtype=torch.float64)
    state = {"ssm": torch.tensor([[4.0 + 0j]], dtype=torch.complex128)}
    resets = torch.tensor([[False, False, True, False]])
    assert_close(layer(x, state=state, resets=resets).flatten(), x.new_tensor([3, 2.5, 1, 1.5]))
    assert_close(layer(x).flatten(), x.new_tensor([1, 1.5, 1.75, 1.875]))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_it_is_the_dense_system_in_its_eigenvectors(blocks: int, rule: str) -> None:
    """One step size, the weights drawn again: HiPPO's normal part, discretised as a dense matrix."""
    layer = make(3, 8, blocks=blocks, discretisation=rule, dt_min=0.02, dt_max=0.02)
    torch.manual_seed(0)
    size = 8 // blocks
    entering = (torch.randn(blocks, size, 3) / 8**0.5).reshape(8, 3).double().numpy()
    leaving = torch.view_as_complex(torch.randn(3, blocks, size, 2) / 8**0.5).reshape(3, 8)
    root = np.sqrt(np.arange(size) + 0.5)
    normal = np.kron(np.eye(blocks), hippo("legs", size)[0] + np.outer(root, root))
    one = np.eye(8)
    if rule == "zoh":
        a = expm(0.02 * normal)
        b = np.linalg.solve(normal, (a - one) @ entering)
    else:
        half = np.linalg.inv(one - 0.01 * normal)
        a, b = half @ (one + 0.01 * normal), 0.02 * half @ entering
    # One of each pair is kept: that is the projection onto positive frequencies.
    frequencies, basis = np.linalg.eigh(-1j * (normal + 0.5 * one))
    upper = basis[:, frequencies > 0]
    c = leaving.numpy().astype(np.complex128) @ upper @ upper.conj().T
    x = noise(1, 20, 3)
    state, expected = np.zeros(8), []
    for u in x[0].numpy():
        state = a @ state + b @ u
        expected.append(2 * (c @ state).real)
    y = torch.tensor(np.array(expected))[None] + layer.D * x
    torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)  # weights came as float32


def test_the_impulse_response_is_a_sum_of_exponentials() -> None:
    layer = make(2, 6)
    x = torch.zeros(1, 15, 2, dtype=torch.float64)
    x[0, 0, 1] = 1
    a, b = layer.discrete()
    powers = a[:, None] ** torch.arange(15)
    c = torch.view_as_complex(layer.C)
    expected = 2 * (c @ (b[:, 1, None] * powers)).real
    expected[1, 0] += layer.D[1]
    assert_close(layer(x)[0], expected.mT)


def test_with_a_reset_everywhere_an_output_depends_on_its_input_only() -> None:
    layer, x = make(), noise(2, 9, 3)
    y = layer(x, resets=torch.ones(2, 9, dtype=torch.bool))
    assert_close(y, layer(x.reshape(18, 1, 3)).reshape(2, 9, 3))


def test_no_gradient_passes_a_reset_to_the_state_before() -> None:
    layer, x = make(), noise(2, 6, 3)
    start = torch.randn(2, 4, dtype=torch.complex128, requires_grad=True)
    resets = torch.zeros(2, 6, dtype=torch.bool)
    resets[0, 2] = True
    y = layer(x, state={"ssm": start}, resets=resets)
    (after,) = torch.autograd.grad(y[:, 2:].sum(), start, retain_graph=True)
    (before,) = torch.autograd.grad(y[:, :2].sum(), start)
    assert (after[0] == 0).all()
    assert after[1].abs().max() > 0
    assert before[0].abs().max() > 0


def test_a_long_rollout_with_resets_is_its_episodes_with_all_gradients() -> None:
    layer, x = make(4, 8), noise(3, 200, 4).requires_grad_()
    resets = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)) < 0.05
    weights = noise(3, 200, 4, seed=2)
    inputs = [x, *layer.parameters()]
    whole = layer(x, resets=resets)
    pieces = []
    for row in range(3):
        starts = [0, *resets[row, 1:].nonzero().flatten().add(1).tolist(), 200]
        parts = [layer(x[row : row + 1, i:j]) for i, j in pairwise(starts)]
        pieces.append(torch.cat(parts, 1))
    separate = torch.cat(pieces)
    torch.testing.assert_close(whole, separate, rtol=1e-10, atol=1e-10)
    actual = torch.autograd.grad((whole * weights).sum(), inputs)
    expected = torch.autograd.grad((separate * weights).sum(), inputs)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_with_zero_order_hold_twice_the_rate_is_every_other_step_of_a_held_input() -> None:
    layer, x = make(), noise(2, 10, 3)
    held = x.repeat_interleave(2, 1)
    every_other = layer(held)[:, 1::2]
    assert_close(layer(x, rate=2.0), every_other)


def test_blocks_start_alike_and_at_hippo_s_frequencies() -> None:
    modes = torch.view_as_complex(make(2, 8, blocks=2).modes.detach())
    assert_close(modes[:2], modes[2:])
    expected = torch.tensor([-0.5 + 0.5565j, -0.5 + 4.6033j], dtype=modes.dtype)
    torch.testing.assert_close(modes[:2], expected, rtol=0, atol=1e-4)


def test_clipped_it_does_not_explode_and_otherwise_it_may() -> None:
    x = noise(1, 3000, 3)
    for clip in (True, False):
        layer = make(clip=clip, dt_min=0.1, dt_max=0.1)
        before = layer(x)
        assert_close(before, make(dt_min=0.1, dt_max=0.1)(x))  # at first it makes no difference
        with torch.no_grad():
            layer.modes[:, 0] = 0.5
        assert (layer(x).abs().max() < 1e3) == clip


def test_the_products_are_those_of_complex_numbers() -> None:
    layer, u = make(), noise(5, 3)
    a, b = layer.discrete()
    state = torch.complex(noise(5, len(a)), noise(5, len(a), seed=2))
    y, after = layer.step(u, {"ssm": state})
    expected = a * state + u.to(b.dtype) @ b.mT
    assert_close(after["ssm"], expected)
    assert_close(y, 2 * (expected @ torch.view_as_complex(layer.C).mT).real + layer.D * u)


def test_the_state_space_learns_slowly_and_does_not_decay() -> None:
    layer = make()
    groups = build_optimizer(layer, "adamw", 0.01, 0.1).param_groups
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    slow = {"modes", "log_step", "B"}
    for name, parameter in layer.named_parameters():
        expected = (1e-3, 0.0) if name in slow else (0.01, 0.1 if name == "C" else 0.0)
        assert found[id(parameter)] == expected, name


def test_wrong_options_are_refused() -> None:
    for options in ({"d_state": 7}, {"d_state": 8, "blocks": 3}, {"blocks": 0}, {"d_state": 0}):
        with pytest.raises(ConfigError, match="blocks"):
            S5(4, **options)
    with pytest.raises(ConfigError, match="unknown"):
        S5(4, discretisation="euler")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="step sizes"):
        S5(4, dt_min=0.1, dt_max=0.01)
