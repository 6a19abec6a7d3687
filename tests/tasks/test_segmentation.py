"""What goes wrong with Dice: a class that is absent costs, unlabelled voxels count, volumes or classes are
weighed otherwise than said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.tasks import UNLABELLED, Segmentation, dice_loss
from tests.helpers import assert_close


def one_hot_logits(y: torch.Tensor, classes: int, sharpness: float = 50.0) -> torch.Tensor:
    codes = torch.nn.functional.one_hot(y.clamp_min(0), classes).movedim(-1, 1)
    return sharpness * codes.double()


def test_the_loss_is_the_formula():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    y = torch.randint(3, (2, 2, 4, 4))
    p = logits.softmax(1).numpy()
    terms = []
    for code in range(3):
        shared = sum(p[b, code][y[b].numpy() == code].sum() for b in range(2))
        total = p[:, code].sum() + (y == code).sum().item()
        terms.append((2 * shared + 1) / (total + 1))
    assert dice_loss(logits, y).item() == pytest.approx(1 - np.mean(terms), rel=1e-9)


def test_a_perfect_prediction_costs_nothing_even_where_a_class_is_absent():
    y = torch.randint(2, (2, 2, 4, 4))
    assert dice_loss(one_hot_logits(y, 3), y).item() == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 2**31), st.floats(0.1, 60))
@settings(deadline=None, max_examples=50)
def test_it_lies_between_nought_and_one(seed, sharpness):
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(2, 3, 5, 5, generator=generator)
    y = torch.randint(-1, 3, (2, 5, 5), generator=generator)
    assert 0 <= dice_loss(logits, y).item() < 1


def test_unlabelled_voxels_count_for_nothing():
    torch.manual_seed(0)
    logits, y = torch.randn(1, 3, 4, 4), torch.randint(3, (1, 4, 4))
    y[:, 2:] = UNLABELLED
    assert_close(dice_loss(logits, y), dice_loss(logits[:, :, :2], y[:, :2]))


def test_the_gradient_is_that_of_finite_differences():
    logits = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randint(-1, 3, (1, 3, 3))
    assert torch.autograd.gradcheck(lambda at: dice_loss(at, y), logits)


def test_the_score_is_the_mean_over_volumes_and_foreground_classes():
    task = Segmentation(("0", "1", "2"))
    y = torch.tensor([[1, 1, 0, 0], [1, 2, 2, -1]]).view(2, 1, 1, 4)
    predicted = torch.tensor([[1, 0, 0, 0], [1, 2, 0, 2]]).view(2, 1, 1, 4)
    scores = task.scores(one_hot_logits(predicted, 3), y)
    # Class 1: 2/3 and 1; class 2, which the first volume does not have: 2/3.
    assert scores["dice of 1"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["dice of 2"] == pytest.approx(2 / 3)
    assert scores["dice"] == pytest.approx(((2 / 3 + 1) / 2 + 2 / 3) / 2)
    assert scores["voxel_accuracy"] == pytest.approx(5 / 7)


def test_a_class_that_is_nowhere_has_no_score():
    y = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    scores = Segmentation(("0", "1")).scores(one_hot_logits(y, 2), y)
    assert np.isnan(scores["dice"])
    assert scores["voxel_accuracy"] == 1
