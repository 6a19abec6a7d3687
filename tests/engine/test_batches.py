"""How many samples of either kind a step has: the ratio that was asked for, unless labels are very few."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.batches import Batches, pair_sizes
from tacita.modalities.load import load
from tacita.semisup.fixmatch import FixMatch

DIGITS = load("digits")
ENCODER = build("residual-cnn", DIGITS.spec, width=2)


def sizes(labels: int, batch_size: int, ratio: int, data: Dataset = DIGITS) -> tuple[int, int]:
    few = data.hide_labels(torch.arange(labels))
    objective = FixMatch(ENCODER, data.task, unlabelled_ratio=ratio)
    return pair_sizes(objective, few, batch_size)


@settings(deadline=None, max_examples=40)
@given(batch_size=st.integers(1, 64), more=st.integers(0, 100), ratio=st.integers(1, 9))
def test_with_a_batch_of_labels_the_ratio_is_exact(batch_size: int, more: int, ratio: int) -> None:
    assert sizes(batch_size + more, batch_size, ratio) == (batch_size, ratio * batch_size)


@settings(deadline=None, max_examples=40)
@given(batch_size=st.integers(2, 64), ratio=st.integers(1, 9), part=st.floats(0, 1))
def test_fewer_labels_have_the_ratio_or_more_and_never_more_than_a_full_batch_has(
    batch_size: int, ratio: int, part: float
) -> None:
    labels = 1 + int(part * (batch_size - 2))
    few, many = sizes(labels, batch_size, ratio)
    assert few == labels
    assert labels * ratio <= many <= batch_size * ratio
    assert many >= min(2, ratio) * batch_size


def test_twenty_labels_and_the_usual_batch() -> None:
    assert sizes(20, 64, 7) == (20, 140)
    assert sizes(10, 64, 7) == (10, 128)
    assert sizes(20, 64, 1) == (20, 64)
    assert sizes(64, 64, 1) == (64, 64)


def test_there_are_no_more_unlabelled_samples_than_samples() -> None:
    assert sizes(20, 64, 7, DIGITS.subset(torch.arange(50))) == (20, 50)


def test_a_step_has_them() -> None:
    few = DIGITS.hide_labels(torch.arange(100))
    objective = FixMatch(ENCODER, few.task, unlabelled_ratio=1)
    (batch,) = Batches(objective, few.normalised(), 8, device=torch.device("cpu")).at(0)
    assert (len(batch.labelled), len(batch.unlabelled)) == (8, 8)
