"""What goes wrong with contrast under masks: a pair is counted for the wrong row, a positive lands
among the negatives, slices of the same height repel, or a row without negatives gives NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.errors import ConfigError
from tacita.parts.contrast import masked_ntxent, partition_pairs, view_pairs
from tacita.pretrain.simclr import nt_xent_loss
from tests.helpers import assert_close


def drawn(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slices(volumes: int, partitions: int, kinds: int) -> tuple[torch.Tensor, ...]:
    """Partition, volume and kind of every image, kind by kind and volume by volume."""
    grid = torch.cartesian_prod(
        torch.arange(kinds), torch.arange(volumes), torch.arange(partitions)
    )
    return grid[:, 2], grid[:, 1], grid[:, 0]


def by_hand(z: np.ndarray, positive: np.ndarray, negative: np.ndarray, temperature: float) -> float:
    """The paper's equation 1, pair by pair, over the set of positive pairs in both directions."""
    z = z / np.sqrt((z**2).sum(1, keepdims=True))
    costs = []
    for a in range(len(z)):
        for p in range(len(z)):
            if not positive[a, p]:
                continue
            own = math.exp(z[a] @ z[p] / temperature)
            others = sum(
                math.exp(z[a] @ z[n] / temperature) for n in range(len(z)) if negative[a, n]
            )
            costs.append(-math.log(own / (own + others)))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_mask_form_is_the_loop(across, temperature):
    masks = partition_pairs(*slices(2, 3, 2), across=across)
    z = drawn(12)
    expected = by_hand(z.numpy(), *(mask.numpy() for mask in masks), temperature)
    assert masked_ntxent(z, *masks, temperature).item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_finite_differences():
    masks = partition_pairs(*slices(2, 2, 2), across=True)
    z = drawn(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: masked_ntxent(at, *masks, 0.5), z)


def test_with_the_masks_of_views_it_is_the_loss_of_simclr():
    z = drawn(10)
    expected = nt_xent_loss(z[:5], z[5:], 0.2)
    assert_close(masked_ntxent(z, *view_pairs(5), 0.2), expected)


@pytest.mark.parametrize("volumes, partitions", [(2, 3), (3, 4), (1, 5)])
def test_embeddings_all_equal_cost_the_logarithm_of_one_and_the_negatives(volumes, partitions):
    masks = partition_pairs(*slices(volumes, partitions, 2), across=True)
    z = torch.ones(2 * volumes * partitions, 3, dtype=torch.float64)
    negatives = 2 * volumes * (partitions - 1)
    assert masked_ntxent(z, *masks, 0.1).item() == pytest.approx(math.log(1 + negatives))


def test_one_partition_has_no_negatives_so_no_loss_and_no_gradient():
    masks = partition_pairs(*slices(3, 1, 2), across=True)
    z = drawn(6).requires_grad_()
    loss = masked_ntxent(z, *masks, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 3), st.booleans())
@settings(deadline=None, max_examples=40)
def test_only_images_of_other_partitions_repel_and_only_those_of_the_same_attract(
    volumes, partitions, kinds, across
):
    partition, volume, kind = slices(volumes, partitions, kinds)
    positive, negative = partition_pairs(partition, volume, kind, across=across)
    same = partition[:, None] == partition
    assert torch.equal(negative, ~same)
    assert not bool((positive & ~same).any())
    assert not bool(positive.diagonal().any())
    assert torch.equal(positive, positive.T)
    # A slice's other images, and with `across` the same kind in each other volume.
    each = kinds - 1 + (volumes - 1 if across else 0)
    assert torch.equal(positive.sum(1), torch.full_like(partition, each))


def test_volumes_may_change_places_and_lengths_do_not_matter():
    masks = partition_pairs(*slices(3, 2, 2), across=True)
    z = drawn(12)
    swapped = z.view(2, 3, 2, 5)[:, [2, 0, 1]].reshape(12, 5)
    scaled = z * torch.linspace(0.1, 9, 12, dtype=torch.float64)[:, None]
    expected = masked_ntxent(z, *masks, 0.3)
    assert_close(masked_ntxent(swapped, *masks, 0.3), expected)
    assert_close(masked_ntxent(scaled, *masks, 0.3), expected)


def test_leading_axes_are_averaged():
    masks, z = view_pairs(3), drawn(12).view(2, 6, 5)
    apart = [masked_ntxent(part, *masks, 0.2) for part in z]
    assert_close(masked_ntxent(z, *masks, 0.2), torch.stack(apart).mean())


def test_the_softmax_is_float32_under_reduced_precision():
    masks, z = view_pairs(8), drawn(16).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = masked_ntxent(z, *masks, 0.1)
    assert torch.equal(inside, masked_ntxent(z, *masks, 0.1))
    assert masked_ntxent(z.bfloat16(), *masks, 0.1).dtype == torch.float32


def test_masks_without_a_positive_are_refused():
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    with pytest.raises(ConfigError, match="no positive"):
        masked_ntxent(drawn(4), nothing, ~nothing, 0.1)
