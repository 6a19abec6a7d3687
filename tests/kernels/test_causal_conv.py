"""The short causal convolution: against a loop over steps and taps, and against torch's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tacita.errors import ConfigError
from tacita.kernels import causal_conv
from tests.helpers import assert_close

BACKENDS = ("torch", "numba")
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def loop(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None, resets: Tensor | None
) -> Tensor:
    """By the definition: a window of the last W inputs, emptied at a reset."""
    batch, length, width = x.shape
    taps = weight.shape[1]
    y = torch.zeros_like(x)
    for b in range(batch):
        window = [torch.zeros(width, dtype=x.dtype)] * (taps - 1) if state is None else [*state[b]]
        for t in range(length):
            if resets is not None and resets[b, t]:
                window = [torch.zeros(width, dtype=x.dtype)] * (taps - 1)
            window = [*window, x[b, t]]
            y[b, t] = sum(weight[:, j] * window[j] for j in range(taps))
            y[b, t] += 0.0 if bias is None else bias
            window = window[1:]
    return y


@every_backend
@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    width=st.sampled_from([1, 3, 17]),
    taps=st.integers(1, 5),
    biased=st.booleans(),
    begun=st.booleans(),
    cut=st.booleans(),
)
def test_it_is_the_loop_over_steps_and_taps_and_so_are_its_gradients(
    backend: str,
    batch: int,
    length: int,
    width: int,
    taps: int,
    biased: bool,
    begun: bool,
    cut: bool,
) -> None:
    x, weight = noise(batch, length, width), noise(width, taps, seed=1)
    bias = noise(width, seed=2) if biased else None
    state = noise(batch, taps - 1, width, seed=3) if begun else None
    resets = noise(batch, length, seed=4) > 0.5 if cut else None
    given = [each for each in (x, weight, bias, state) if each is not None and each.numel()]
    for each in given:
        each.requires_grad_()
    y = causal_conv(x, weight, bias, state=state, resets=resets, backend=backend)
    expected = loop(x, weight, bias, state, resets)
    assert_close(y, expected)
    upstream = noise(*x.shape, seed=5)
    actual = torch.autograd.grad(y, given, upstream, allow_unused=True)
    wanted = torch.autograd.grad(expected, given, upstream, allow_unused=True)
    for a, b, each in zip(actual, wanted, given, strict=True):
        assert a is not None
        assert_close(a, torch.zeros_like(each) if b is None else b)


@every_backend
def test_it_is_the_grouped_convolution_of_torch_with_padding_on_the_left(backend: str) -> None:
    x, weight, bias = (
        noise(2, 50, 300, dtype=torch.float32),
        noise(300, 4, dtype=torch.float32),
        noise(300, dtype=torch.float32),
    )
    expected = F.conv1d(x.mT, weight[:, None], bias, padding=3, groups=300)[..., :50].mT
    assert_close(causal_conv(x, weight, bias, backend=backend), expected)


@every_backend
def test_what_a_reset_hides_may_be_nan(backend: str) -> None:
    x = noise(1, 6, 2).requires_grad_()
    with torch.no_grad():
        x[0, 2] = float("nan")
    resets = torch.tensor([[False, False, False, True, False, False]])
    weight = noise(2, 3).requires_grad_()
    y = causal_conv(x, weight, resets=resets, backend=backend)
    assert y[0, 2].isnan().all()
    assert y[0, 3:].isfinite().all()
    (slope,) = torch.autograd.grad(y[0, 3:].sum(), x)
    assert (slope[0, :3] == 0).all()
    assert slope.isfinite().all()


@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    x, weight = noise(2, 9, 5).to(dtype), noise(5, 4).to(dtype)
    y = causal_conv(x, weight, backend=backend)
    assert torch.equal(y, causal_conv(x.float(), weight.float(), backend=backend).to(dtype))


@every_backend
def test_an_empty_batch_strides_and_threads(backend: str) -> None:
    weight = noise(600, 4)
    assert causal_conv(noise(0, 3, 600), weight, backend=backend).shape == (0, 3, 600)
    x = noise(600, 7, 2).transpose(0, 2)
    expected = causal_conv(x.contiguous(), weight, backend="torch")
    assert_close(causal_conv(x, weight, backend=backend), expected)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert_close(causal_conv(x, weight, backend=backend), expected)
    finally:
        torch.set_num_threads(before)


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, weight = torch.zeros(2, 5, 3), torch.zeros(3, 4)
    for match, arguments, options in [
        ("x has shape", (x[:, :0], weight), {}),
        ("x has shape", (x[0], weight), {}),
        ("weight has shape", (x, weight.T), {}),
        ("weight has shape", (x, weight[:, :0]), {}),
        ("bias has shape", (x, weight, torch.zeros(4)), {}),
        ("state has shape", (x, weight), {"state": torch.zeros(2, 4, 3)}),
        ("resets has shape", (x, weight), {"resets": torch.zeros(2, 4, dtype=torch.bool)}),
        ("resets has dtype", (x, weight), {"resets": torch.zeros(2, 5)}),
        ("x has dtype", (x.long(), weight), {}),
        ("unknown", (x, weight), {"backend": "cuda"}),
    ]:
        with pytest.raises(ConfigError, match=match):
            causal_conv(*arguments, **options)
