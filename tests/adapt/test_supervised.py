"""The supervised network is the baseline of all others: with mixup too it learns what it should."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tacita.adapt import supervised as module
from tacita.adapt.supervised import Supervised
from tacita.data.batch import Batch
from tacita.errors import ConfigError
from tacita.tasks import Classification
from tests.engine.runs import Flat
from tests.helpers import assert_close, image_batch


def supervised(**options: object) -> tuple[Supervised, Batch]:
    spec, batch = image_batch()
    torch.manual_seed(0)
    task = Classification(tuple("0123456789"))
    return Supervised(Flat(spec), task, **{"views": nn.Identity(), **options}), batch


def test_without_mixup_the_loss_is_that_of_the_labels() -> None:
    objective, batch = supervised()
    expected = functional.cross_entropy(objective.logits(batch), batch.y)
    assert_close(objective.loss(batch).total, expected)


def test_mixup_mixes_samples_and_labels_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = supervised(mixup=0.5)
    order = torch.arange(16).roll(3)
    monkeypatch.setattr(module, "draw_share", lambda *_, **__: torch.tensor([0.7]))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: order)
    labels = functional.one_hot(batch.y, 10).float()
    logits = objective.logits(batch.with_x(0.7 * batch.x + 0.3 * batch.x[order]))
    expected = functional.cross_entropy(logits, 0.7 * labels + 0.3 * labels[order])
    assert_close(objective.loss(batch).total, expected)


def test_a_parameter_that_makes_no_distribution_is_refused() -> None:
    with pytest.raises(ConfigError, match="mixup=0"):
        supervised(mixup=0.0)
