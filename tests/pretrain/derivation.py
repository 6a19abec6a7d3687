"""Compares a loss and its gradient with a second derivation, written in numpy loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


def embeddings(count: int = 2, rows: int = 6, dim: int = 4) -> list[Tensor]:
    """Random `(rows, dim)` tensors in float64, always the same."""
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(count, rows, dim, generator=generator, dtype=torch.float64))


def assert_derived(
    loss: Callable[..., Tensor],
    by_hand: Callable[..., float],
    inputs: list[Tensor],
    still: tuple[int, ...] = (),
) -> None:
    """The value, and its derivative by every number of every input; none by the `still` inputs."""
    leaves = [z.clone().requires_grad_() for z in inputs]
    value = loss(*leaves)
    value.backward()
    arrays = [z.numpy() for z in inputs]
    assert value.item() == pytest.approx(by_hand(*arrays), rel=1e-10)
    for position, leaf in enumerate(leaves):
        if position in still:
            assert leaf.grad is None
            continue
        expected = np.zeros(leaf.shape)
        for place in np.ndindex(*leaf.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [z.copy() for z in arrays]
                moved[position][place] += step
                values.append(by_hand(*moved))
            expected[place] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=1e-4, atol=1e-7)
