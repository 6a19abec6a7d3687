"""The three terms are derived a second time; their conventions (which variance, sums or means over
features, where the halves are) are where implementations differ."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.vicreg import VICReg, covariance_term, variance_term, vicreg_loss
from tests.helpers import assert_close, image_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import embedded, neighbour_accuracy, train_on_digits


def variance_by_hand(z: np.ndarray) -> float:
    """Equations 1 and 2, one feature after another."""
    hinges = []
    for column in z.T:
        variance = sum((value - column.mean()) ** 2 for value in column) / (len(column) - 1)
        hinges.append(max(0.0, 1 - np.sqrt(variance + 1e-4)))
    return float(np.mean(hinges))


def covariance_by_hand(z: np.ndarray) -> float:
    """Equations 3 and 4, one pair of features after another."""
    rows, dim = z.shape
    total = 0.0
    for i in range(dim):
        for j in range(dim):
            if i != j:
                a, b = z[:, i] - z[:, i].mean(), z[:, j] - z[:, j].mean()
                total += (sum(a * b) / (rows - 1)) ** 2
    return total / dim


def loss_by_hand(z_a: np.ndarray, z_b: np.ndarray, weights: tuple[float, float, float]) -> float:
    """Equation 6 with the means of the authors' code."""
    invariance = np.mean([(a - b) ** 2 for a, b in zip(z_a.flat, z_b.flat, strict=True)])
    variance = variance_by_hand(z_a) / 2 + variance_by_hand(z_b) / 2
    covariance = covariance_by_hand(z_a) + covariance_by_hand(z_b)
    return float(np.dot(weights, (invariance, variance, covariance)))


@pytest.mark.parametrize(
    "weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_loss_and_gradient_match_a_direct_derivation(weights):
    assert_derived(
        lambda a, b: vicreg_loss(a, b, *weights).total,
        partial(loss_by_hand, weights=weights),
        [0.7 * z for z in embeddings()],  # some deviations below 1, some above
    )


def test_covariances_are_those_of_numpy():
    z = embeddings()[0]
    expected = np.cov(z.numpy(), rowvar=False)
    np.fill_diagonal(expected, 0)
    assert covariance_term(z).item() == pytest.approx((expected**2).sum() / 4)


def test_collapsed_embeddings_cost_their_hinge_and_have_a_finite_gradient():
    z = torch.ones(8, 5, dtype=torch.float64, requires_grad=True)
    losses = vicreg_loss(z, z)
    losses.total.backward()
    assert variance_term(z).item() == pytest.approx(0.99)
    assert losses["variance"].item() == pytest.approx(25 * 0.99)
    assert losses["invariance"].item() == losses["covariance"].item() == 0
    assert z.grad.isfinite().all()


def test_equal_views_that_vary_and_are_decorrelated_cost_nothing():
    z = embeddings(1, rows=12, dim=5)[0]
    z = torch.linalg.qr(z - z.mean(0)).Q * (12 - 1) ** 0.5
    assert vicreg_loss(z, z).total.item() == pytest.approx(0, abs=1e-12)
    assert vicreg_loss(3 * z, 3 * z).total.item() == pytest.approx(0, abs=1e-12)


def test_views_may_change_places_and_move_together():
    z_a, z_b = embeddings()
    expected = vicreg_loss(z_a, z_b).total
    assert_close(vicreg_loss(z_b, z_a).total, expected)
    assert_close(vicreg_loss(z_a + 5, z_b + 5).total, expected)


def test_redundant_features_are_penalised():
    z = embeddings(1, rows=12, dim=5)[0][:, :1].expand(-1, 5)
    variance = z[:, 0].var().item()
    assert covariance_term(z).item() == pytest.approx(20 * variance**2 / 5)


def test_terms_are_float32_under_reduced_precision():
    z_a, z_b = (z.float() for z in embeddings(rows=64, dim=16))
    with torch.autocast("cpu", torch.bfloat16):
        inside = vicreg_loss(z_a, z_b).total
    assert torch.equal(inside, vicreg_loss(z_a, z_b).total)
    assert vicreg_loss(z_a.bfloat16(), z_b.bfloat16()).total.dtype == torch.float32


def test_the_loss_agrees_with_lightly():
    peer = pytest.importorskip("lightly.loss")
    z_a, z_b = embeddings()
    expected = peer.VICRegLoss()(z_a, z_b)
    assert vicreg_loss(z_a, z_b).total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_weights_are_those_given():
    spec, batch = image_batch()
    terms = {}
    for weights in ((1.0, 1.0, 1.0), (2.0, 3.0, 4.0)):
        torch.manual_seed(0)
        names = ("invariance_weight", "variance_weight", "covariance_weight")
        encoder = build("residual-cnn", spec, width=8)
        terms[weights] = VICReg(encoder, **dict(zip(names, weights, strict=True)))(batch)
    one, other = terms.values()
    for factor, name in zip((2, 3, 4), ("invariance", "variance", "covariance"), strict=True):
        assert_close(other[name], factor * one[name])


def test_each_view_is_normalised_by_its_own_statistics():
    spec, batch = image_batch()
    factors = iter((1.0, 10.0))
    torch.manual_seed(0)
    objective = VICReg(
        build("residual-cnn", spec, width=8), views=lambda b: b.with_x(b.x * next(factors))
    )
    # A factor is gone after the first batch norm, unless the views share its statistics.
    assert objective(batch)["invariance"].item() < 0.01


def test_a_batch_of_one_is_refused():
    spec, batch = image_batch(1)
    with pytest.raises(ConfigError, match="no variance"):
        VICReg(build("residual-cnn", spec, width=8))(batch)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8)
    with pytest.raises(ConfigError, match="weights of vicreg"):
        VICReg(encoder, variance_weight=weight)


def test_anchors_are_the_projected_features():
    spec, batch = image_batch()
    objective = VICReg(build("residual-cnn", spec, width=8), projector=(16, 24)).eval()
    expected = objective.projector(objective.encoder(batch).pooled)
    assert torch.equal(objective.anchors(batch), expected)


@pytest.mark.parametrize("weight, least, most", [(25.0, 0.3, 1.5), (0.0, 0.0, 0.1)])
def test_embeddings_shrink_to_a_point_without_the_variance_term_only(weight, least, most):
    torch.manual_seed(0)
    encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8)
    objective = VICReg(encoder, variance_weight=weight)
    train_on_digits(objective, steps=150, rate=2e-3)
    assert least <= embedded(objective).std(0).mean().item() <= most


def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    objective = VICReg(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=16))
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=100, rate=2e-3, batch=128)
    assert neighbour_accuracy(objective.encoder) > untrained + 0.05
