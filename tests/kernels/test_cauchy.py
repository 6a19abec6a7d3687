"""The Cauchy product: both poles of a pair on one denominator, against the sum as it is written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import cauchy_product
from tests.helpers import assert_close

BACKENDS = ["torch", "numba"]
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def inputs(
    heads: int, sums: int, poles: int, count: int, dtype: torch.dtype = torch.complex128
) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(heads + 7 * sums + 31 * poles + count)
    weights = torch.randn(heads, sums, poles, dtype=dtype, generator=draw)
    where = torch.randn(heads, poles, dtype=dtype, generator=draw)
    where = torch.complex(-where.real.abs() - 0.1, 4 * where.imag)
    nodes = 5 * torch.randn(count, dtype=where.real.dtype, generator=draw)
    return weights.requires_grad_(), where.requires_grad_(), nodes


def written_out(weights: Tensor, poles: Tensor, nodes: Tensor) -> Tensor:
    def of(v: Tensor, p: Tensor) -> Tensor:
        return (v[..., None] / (1j * nodes - p[:, None, :, None])).sum(2)

    return of(weights, poles) + of(weights.conj(), poles.conj())


@every_backend
@settings(deadline=None, max_examples=15)
@given(
    heads=st.integers(1, 3),
    sums=st.integers(1, 5),
    poles=st.integers(1, 9),
    count=st.sampled_from([1, 2, 127, 128, 129, 300]),
)
def test_it_is_the_sum_with_the_gradients_of_the_sum(
    backend: str, heads: int, sums: int, poles: int, count: int
) -> None:
    weights, where, nodes = inputs(heads, sums, poles, count)
    actual = cauchy_product(weights, where, nodes, backend=backend)
    expected = written_out(weights, where, nodes)
    assert_close(actual, expected)
    slope = torch.randn(
        actual.shape, dtype=actual.dtype, generator=torch.Generator().manual_seed(0)
    )
    found = torch.autograd.grad(actual, (weights, where), slope)
    wanted = torch.autograd.grad(expected, (weights, where), slope)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_the_derived_gradients_are_those_of_finite_differences() -> None:
    weights, where, nodes = inputs(2, 3, 5, 7)
    assert torch.autograd.gradcheck(
        lambda v, p: cauchy_product(v, p, nodes, backend="numba"), (weights, where)
    )


def test_single_precision_is_near_even_beside_a_pole() -> None:
    """A pole at 1300 with a decay of one half, as in LegS of 64 states, seen from 1300 itself."""
    poles = torch.tensor([[complex(-0.5, 1300.0), complex(-0.5, 0.4)]], dtype=torch.complex128)
    weights = torch.ones(1, 1, 2, dtype=torch.complex128)
    nodes = torch.tensor([0.0, 0.4, 1299.5, 1300.0, 1e4], dtype=torch.float64)
    expected = written_out(weights, poles, nodes)
    actual = cauchy_product(weights.to(torch.complex64), poles.to(torch.complex64), nodes.float())
    torch.testing.assert_close(actual, expected.to(torch.complex64), rtol=1e-5, atol=1e-6)


@every_backend
def test_strides_and_empty_sides_are_right(backend: str) -> None:
    weights, where, nodes = inputs(3, 4, 6, 50)
    strided = weights.detach().transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    assert_close(
        cauchy_product(strided, where, nodes[::3], backend=backend),
        written_out(weights, where, nodes[::3]),
    )
    for shape in ((0, 4, 6), (3, 0, 6), (3, 4, 0)):
        v = torch.ones(shape, dtype=torch.complex128)
        p = torch.ones(shape[0], shape[2], dtype=torch.complex128)
        y = cauchy_product(v, p, nodes, backend=backend)
        assert y.shape == (*shape[:2], 50)
        assert (y == 0).all()


@every_backend
def test_what_is_not_a_number_stays_so(backend: str) -> None:
    weights, where, nodes = inputs(2, 2, 5, 40)
    dirty = weights.detach().clone()
    dirty[0, 1, 2] = complex("nan")
    y = cauchy_product(dirty, where, nodes, backend=backend)
    assert y[0, 1].isnan().all()
    assert y[0, 0].isfinite().all()
    assert y[1].isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    weights, where, nodes = inputs(2, 2, 3, 4)
    for v, p, y in (
        (weights[0], where, nodes),
        (weights, where[:1], nodes),
        (weights, where, nodes[None]),
    ):
        with pytest.raises(ConfigError, match="do not fit"):
            cauchy_product(v, p, y)
    for v, p, y in (
        (weights.real, where, nodes),
        (weights, where.to(torch.complex64), nodes),
        (weights, where, nodes.half()),
    ):
        with pytest.raises(ConfigError, match="dtype"):
            cauchy_product(v, p, y)


INTERPRETED = """
import torch
from tacita.kernels import cauchy_product
from tests.kernels.test_cauchy import inputs, written_out
for sizes in ((2, 3, 5, 130), (1, 11, 2, 7)):
    weights, where, nodes = inputs(*sizes)
    actual = cauchy_product(weights, where, nodes, backend="triton")
    expected = written_out(weights, where, nodes)
    torch.testing.assert_close(actual, expected)
    slope = torch.randn_like(actual)
    for a, b in zip(
        torch.autograd.grad(actual, (weights, where), slope),
        torch.autograd.grad(expected, (weights, where), slope),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
print("alike")
"""


def test_the_programs_for_a_gpu_compute_the_same_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "alike", done.stderr
