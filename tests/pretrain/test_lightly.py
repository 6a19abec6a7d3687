"""Losses and their gradients equal those of lightly, an independent implementation, where it has them.

Skipped where lightly is not installed: it is a peer of the benchmarks, and `make bench` brings it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tacita.pretrain.barlow_twins import barlow_twins_loss
from tacita.pretrain.byol import byol_loss
from tacita.pretrain.dino import dino_loss
from tacita.pretrain.simclr import nt_xent_loss
from tacita.pretrain.simsiam import simsiam_loss
from tacita.pretrain.vicreg import vicreg_loss

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    lightly = pytest.importorskip("lightly.loss")

Loss = Callable[..., Tensor]


def symmetric(p_a: Tensor, p_b: Tensor, z_a: Tensor, z_b: Tensor) -> Tensor:
    cosine = lightly.NegativeCosineSimilarity()
    return (cosine(p_a, z_b.detach()) + cosine(p_b, z_a.detach())) / 2


PAIRS: dict[str, tuple[Loss, Loss, int]] = {
    "nt-xent": (
        lambda a, b: nt_xent_loss(a, b, 0.2),
        lightly.NTXentLoss(temperature=0.2),
        2,
    ),
    "barlow-twins": (
        lambda a, b: barlow_twins_loss(a, b, 0.005).total,
        lightly.BarlowTwinsLoss(lambda_param=0.005),
        2,
    ),
    "vicreg": (lambda a, b: vicreg_loss(a, b).total, lightly.VICRegLoss(), 2),
    "simsiam": (simsiam_loss, symmetric, 4),
    "byol": (byol_loss, lambda *parts: 4 + 4 * symmetric(*parts), 4),
}
"""Ours, theirs, and how many tensors they take."""


def value_and_gradients(loss: Loss, parts: tuple[Tensor, ...]) -> list[Any]:
    leaves = [part.clone().requires_grad_() for part in parts]
    total = loss(*leaves)
    total.backward()
    return [total.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(16, 8), (64, 16), (33, 128)])
def test_values_and_gradients_are_those_of_lightly(name: str, shape: tuple[int, int]) -> None:
    ours, theirs, count = PAIRS[name]
    torch.manual_seed(0)
    parts = tuple(torch.randn(shape) + 0.3 for _ in range(count))
    for mine, other in zip(
        value_and_gradients(ours, parts), value_and_gradients(theirs, parts), strict=True
    ):
        if mine is None:
            assert other is None
            continue
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("crops", [2, 5])
def test_distillation_is_that_of_lightly(crops: int) -> None:
    torch.manual_seed(0)
    teacher = torch.randn(2, 16, 32)
    criterion = lightly.DINOLoss(
        output_dim=32,
        teacher_temp=0.04,
        warmup_teacher_temp=0.04,
        warmup_teacher_temp_epochs=1,
        student_temp=0.1,
    )
    pair = (
        lambda student: dino_loss(student, teacher, torch.zeros(32), 0.1, 0.04),
        lambda student: criterion([*teacher], [*student], epoch=0),
    )
    student = torch.randn(crops, 16, 32)
    mine, other = (value_and_gradients(loss, (student,)) for loss in pair)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
