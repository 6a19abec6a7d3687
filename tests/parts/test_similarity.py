"""Cosines: their range, their precision, and rows without a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.parts.similarity import negative_cosine, unit
from tests.pretrain.derivation import assert_derived, embeddings


def by_hand(p: np.ndarray, z: np.ndarray) -> float:
    pairs = zip(p, z, strict=True)
    return -float(np.mean([a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs]))


def test_it_matches_a_direct_derivation():
    assert_derived(negative_cosine, by_hand, embeddings())


def test_equal_opposite_and_orthogonal_rows():
    z = torch.eye(3)
    assert negative_cosine(z, 2 * z).item() == -1
    assert negative_cosine(z, -z).item() == 1
    assert negative_cosine(z, z.roll(1, 0)).item() == 0


def test_it_is_float32_under_reduced_precision():
    p, z = (e.bfloat16() for e in embeddings())
    expected = negative_cosine(p.float(), z.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(negative_cosine(p, z), expected)


@pytest.mark.parametrize("scale", [0.0, 1e-30])
def test_rows_without_a_direction_have_a_bounded_gradient(scale):
    p = torch.full((2, 3), scale, requires_grad=True)
    negative_cosine(p, torch.ones(2, 3)).backward()
    assert p.grad.abs().max() <= 1e6
    assert unit(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
