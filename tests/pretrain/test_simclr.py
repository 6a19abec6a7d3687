"""What goes wrong in a contrastive loss: a row is its own negative, the positive is taken for the
wrong row, views are weighed unequally, or the softmax runs in half precision."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.simclr import SimCLR, nt_xent_loss
from tests.helpers import assert_close, image_batch, series_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import neighbour_accuracy, train_on_digits


def by_hand(z_a: np.ndarray, z_b: np.ndarray, temperature: float) -> float:
    """Equation 1 of the paper, with views of a sample side by side as in its algorithm 1."""
    z = [row / np.sqrt(row @ row) for pair in zip(z_a, z_b, strict=True) for row in pair]
    losses = []
    for i in range(len(z)):
        j = i + 1 if i % 2 == 0 else i - 1
        others = [math.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if k != i]
        losses.append(-math.log(math.exp(z[i] @ z[j] / temperature) / sum(others)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_and_gradient_match_a_direct_derivation(temperature):
    loss = partial(nt_xent_loss, temperature=temperature)
    assert_derived(loss, partial(by_hand, temperature=temperature), embeddings())


@pytest.mark.parametrize("rows", [2, 8])
def test_embeddings_all_equal_cost_the_logarithm_of_the_candidates(rows):
    z = torch.ones(rows, 3, dtype=torch.float64)
    assert nt_xent_loss(z, z, 0.1).item() == pytest.approx(math.log(2 * rows - 1))


def test_orthogonal_samples_with_equal_views_cost_what_their_negatives_leave():
    z = torch.eye(4, dtype=torch.float64)
    expected = math.log(1 + 6 * math.exp(-1 / 0.5))
    assert nt_xent_loss(z, z, 0.5).item() == pytest.approx(expected)


def test_views_may_change_places_and_lengths_do_not_matter():
    z_a, z_b = embeddings()
    assert_close(nt_xent_loss(z_b, z_a, 0.2), nt_xent_loss(z_a, z_b, 0.2))
    assert_close(nt_xent_loss(7 * z_a, 0.1 * z_b, 0.2), nt_xent_loss(z_a, z_b, 0.2))


def test_the_softmax_is_float32_under_reduced_precision():
    z_a, z_b = (z.float() for z in embeddings(rows=32, dim=16))
    with torch.autocast("cpu", torch.bfloat16):
        inside = nt_xent_loss(z_a, z_b, 0.1)
    assert torch.equal(inside, nt_xent_loss(z_a, z_b, 0.1))
    assert nt_xent_loss(z_a.bfloat16(), z_b.bfloat16(), 0.1).dtype == torch.float32


def test_a_low_temperature_stays_finite():
    z = torch.eye(4, requires_grad=True)
    loss = nt_xent_loss(z, -z, 1e-3)
    loss.backward()
    assert loss.item() == pytest.approx(1000 + math.log(6), rel=1e-5)
    assert z.grad.isfinite().all()


def test_the_loss_agrees_with_lightly():
    peer = pytest.importorskip("lightly.loss")
    z_a, z_b = embeddings()
    expected = peer.NTXentLoss(temperature=0.2)(z_a, z_b)
    assert nt_xent_loss(z_a, z_b, 0.2).item() == pytest.approx(expected.item(), abs=1e-5)


def test_both_views_share_the_statistics_of_one_batch():
    spec, batch = image_batch()
    shifts = iter((0.0, 5.0))
    torch.manual_seed(0)
    objective = SimCLR(
        build("residual-cnn", spec, width=8), views=lambda b: b.with_x(b.x + next(shifts))
    )
    # Normalised apart, the shift would be gone after the first batch norm, and the views equal.
    apart = nt_xent_loss(objective.anchors(batch), objective.anchors(batch), 0.2)
    assert objective(batch).total > apart + 0.3


def test_each_view_of_a_series_keeps_its_lengths():
    spec, batch = series_batch()
    torch.manual_seed(0)
    objective = SimCLR(build("residual-conv", spec, width=8, depth=2), views=lambda b: b)
    clean = objective(batch).total
    rubbish = batch.with_x(batch.x.masked_fill(~batch.mask[:, :, None], 100.0))
    assert_close(objective(rubbish).total, clean)


def test_a_batch_of_one_is_refused():
    spec, batch = image_batch(1)
    with pytest.raises(ConfigError, match="no negatives"):
        SimCLR(build("residual-cnn", spec, width=8))(batch)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature):
    encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8)
    with pytest.raises(ConfigError, match="temperature="):
        SimCLR(encoder, temperature=temperature)


def test_anchors_are_the_projected_features():
    spec, batch = image_batch()
    objective = SimCLR(build("residual-cnn", spec, width=8), projector=(16, 24)).eval()
    expected = objective.projector(objective.encoder(batch).pooled)
    assert torch.equal(objective.anchors(batch), expected)


def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    objective = SimCLR(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=16))
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=100, rate=2e-3, batch=128)
    assert neighbour_accuracy(objective.encoder) > untrained + 0.05
