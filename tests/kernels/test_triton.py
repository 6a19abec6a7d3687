"""The triton kernels against plain torch, in value and all gradients, without a GPU: triton's
interpreter runs them on the CPU where TRITON_INTERPRET=1 was set before triton was imported, so one
test runs the others in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tacita.kernels import linear_scan, selective_scan
from tests.helpers import assert_close

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own, see below"
)


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


@interpreted
def test_a_small_step_keeps_its_digits():
    one = torch.ones(1, 1, 1)
    y = selective_scan(one, -12 * one, -one[0], one, one, delta_softplus=True, backend="triton")
    assert y.item() == pytest.approx(torch.tensor(-12.0).exp().log1p().item(), rel=1e-5)
