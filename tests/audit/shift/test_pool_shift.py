"""A warning before training must be silent on ordinary data, and must find what does harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tacita.audit.shift.pool_shift import cheap_features, is_far, pool_shift
from tacita.data.dataset import Dataset
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe
from tacita.tasks import Classification
from tacita.values import Ragged


def hidden(data: Dataset, labels: int, seed: int = 0) -> Dataset:
    """The data with so many labels left, drawn at random."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.hide_labels(order[:labels])


@pytest.mark.parametrize("name", ["digits", "wine", "breast-cancer", "diabetes"])
def test_built_in_sets_with_labels_hidden_at_random_give_no_alarm(name: str) -> None:
    data = load(name)
    found = [pool_shift(hidden(data, k, seed)) for seed in range(4) for k in (20, 40)]
    assert not any(is_far(distance) for distance in found)
    said = "\n".join(describe(hidden(data, 40)).warnings)
    assert "unlike" not in said


def test_alarms_without_a_reason_are_as_rare_as_p_says() -> None:
    generator = torch.Generator().manual_seed(0)
    p = []
    for _ in range(40):
        x = torch.randn(90, 5, generator=generator).exp()  # far from a Gaussian
        data = as_dataset(x, torch.tensor([0, 1] * 45))
        distance = pool_shift(hidden(data, 30, len(p)))
        assert not is_far(distance)
        p.append(distance.p)
    assert np.mean(p) == pytest.approx(0.5, abs=0.15)


def inverted(x: Tensor) -> Tensor:
    return 255 - x


def blurred(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x.float(), 3, 1, 1).round().to(torch.uint8)


@pytest.mark.parametrize("change", [inverted, blurred])
def test_images_of_another_instrument_are_found(change: Callable[[Tensor], Tensor]) -> None:
    data = hidden(load("digits"), 40)
    changed = torch.where(data.labelled[:, None, None, None], data.x, change(data.x))
    distance = pool_shift(data.with_samples(changed))
    assert is_far(distance)
    assert distance.excess > 0.3
    said = describe(data.with_samples(changed)).warnings
    assert any("unlabelled samples are unlike the labelled ones" in text for text in said)


def test_other_classes_and_other_shares_are_found() -> None:
    data = load("digits")
    few = data.y < 2
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    labelled = order[few[order]][:60]
    others = torch.cat([labelled, order[~few[order]]])
    assert is_far(pool_shift(data.hide_labels(labelled).subset(others)))
    alike = torch.cat([labelled, order[few[order]][60:]])
    assert not is_far(pool_shift(data.hide_labels(labelled).subset(alike)))
    one_class = torch.cat([labelled, order[data.y[order] == 1][60:]])
    assert is_far(pool_shift(data.hide_labels(labelled).subset(one_class)))


def test_series_of_another_scale_are_found_whatever_their_lengths() -> None:
    generator = np.random.default_rng(0)
    items = [generator.normal(size=(n, 2)).cumsum(0) for n in generator.integers(5, 40, 120)]
    y = [0, 1] * 15 + [-1] * 90
    assert not is_far(pool_shift(as_dataset(items, y)))
    rougher = [x if k < 30 else x + generator.normal(size=x.shape) for k, x in enumerate(items)]
    assert is_far(pool_shift(as_dataset(rougher, y)))


def test_padding_does_not_count() -> None:
    generator = np.random.default_rng(0)
    data = as_dataset([generator.normal(size=(n, 2)) for n in (5, 9, 7, 6)], [0, 1, 0, 1])
    longer = Ragged.of(functional.pad(data.x, (0, 0, 0, 6), value=50.0), data.lengths)
    torch.testing.assert_close(cheap_features(data), cheap_features(data.with_samples(longer)))


def test_missing_cells_and_categories_are_looked_at() -> None:
    generator = np.random.default_rng(0)
    x = torch.tensor(generator.normal(size=(200, 3))).float()
    x[:, 2] = torch.arange(200) % 3
    x[::7, 0] = torch.nan
    y = torch.tensor([0, 1] * 20 + [-1] * 160)
    names = ((), (), ("u", "v", "w"))
    data = Dataset.of("tables", x, y, Classification(("a", "b")), categories=names)
    assert cheap_features(data).isfinite().all()
    assert not is_far(pool_shift(data))
    x[40:, 2] = 1
    assert is_far(pool_shift(data.with_samples(x)))


def test_a_group_counts_as_one_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    subjects = torch.arange(60).repeat_interleave(20)
    x = torch.randn(60, 3, generator=generator)[subjects]
    x = x + 0.1 * torch.randn(1200, 3, generator=generator)
    y = torch.where(subjects < 25, subjects % 2, -1)
    data = as_dataset(x, y)
    # The subjects with labels differ from the others by as much as subjects do.
    assert is_far(pool_shift(data))
    grouped = replace(data, groups=subjects)
    assert pool_shift(grouped).sizes == (25, 35)
    assert not is_far(pool_shift(grouped))
    assert is_far(pool_shift(grouped.with_samples(x + 2.0 * (y[:, None] >= 0))))


def test_nothing_is_said_of_few_samples() -> None:
    data = load("wine")
    assert pool_shift(hidden(data, 19)) is None
    assert pool_shift(hidden(data, len(data) - 19)) is None
    assert pool_shift(data) is None
    assert pool_shift(hidden(data, 20)) is not None
