"""What could go wrong: an answer read for another channel, a label that is not what was done, padding
that tells the transformation, or a task that cannot be learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.modalities.series.sensor_views import TRANSFORMATIONS
from tacita.pretrain.transform_prediction import TransformPrediction, transformation_loss
from tests.helpers import assert_close, samples_of

SPEC = InputSpec("series", (20, 9), rates=(8, 1))


def make() -> TransformPrediction:
    torch.manual_seed(0)
    return TransformPrediction(build("e4mer", SPEC, dim=16, depth=1))


def batch(size: int = 6) -> Batch:
    x = torch.randn(size, 20, 9, generator=torch.Generator().manual_seed(0))
    return Batch(x, torch.full((size,), -1), torch.arange(size))


def test_loss_matches_a_direct_derivation():
    logits = torch.randn(4, 3, 6, dtype=torch.float64)
    kinds = torch.randint(6, (4, 3))
    each = [
        np.log(np.exp(row).sum()) - row[kind]
        for row, kind in zip(logits.flatten(0, 1).numpy(), kinds.flatten().tolist(), strict=True)
    ]
    assert transformation_loss(logits, kinds).item() == pytest.approx(np.mean(each), rel=1e-5)


def test_each_channel_has_an_answer_of_its_own():
    objective, kinds = make(), torch.tensor([[2, 5]] * 6)
    with torch.no_grad():
        objective.answer.weight.zero_()
        objective.answer.bias.zero_()
        objective.answer.bias[2] = 50
        objective.answer.bias[6 + 5] = 50
    logits = objective.logits(batch())
    assert logits.shape == (6, 2, 6)
    assert transformation_loss(logits, kinds).item() < 1e-6
    assert transformation_loss(logits, kinds.flip(1)).item() > 40


def test_the_answer_asked_for_is_what_was_done(monkeypatch):
    objective, done = make(), []
    apply = objective.views.apply_kinds
    monkeypatch.setattr(
        objective.views, "apply_kinds", lambda b, k: (done.append(k), apply(b, k))[1]
    )
    logits = objective.logits
    seen = []
    monkeypatch.setattr(objective, "logits", lambda b: (seen.append(logits(b)), seen[-1])[1])
    losses = objective(batch())
    assert done[0].shape == (6, 2)
    assert set(done[0].flatten().tolist()) <= set(range(len(TRANSFORMATIONS)))
    assert_close(losses.total, transformation_loss(seen[0], done[0]))
    right = (seen[0].argmax(2) == done[0]).float().mean()
    assert_close(losses.metrics["accuracy"], right)


def test_padding_is_not_read():
    objective, given = make(), batch()
    given = given.with_samples(samples_of(given.x, torch.tensor([20, 1, 5, 20, 11, 2])))
    torch.manual_seed(1)
    clean = objective(given).total
    torch.manual_seed(1)
    rubbish = given.with_x(given.x.masked_fill(~given.mask[:, :, None], torch.nan))
    assert_close(objective(rubbish).total, clean)


def test_transformations_of_a_regular_signal_are_told_beyond_chance():
    torch.manual_seed(0)
    spec = InputSpec("series", (16, 8), rates=(8,))
    objective = TransformPrediction(build("residual-conv", spec, width=16, depth=3))
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    time = torch.arange(128) / 8
    right = []
    for _ in range(150):
        phase = 2 * torch.pi * torch.rand(32, 1)
        wave = torch.sin(2 * torch.pi * time + phase).view(32, 16, 8)
        optimiser.zero_grad()
        losses = objective(Batch(wave, torch.full((32,), -1), torch.arange(32)))
        losses.total.backward()
        optimiser.step()
        right.append(losses.metrics["accuracy"].item())
    assert np.mean(right[-20:]) > 0.4
