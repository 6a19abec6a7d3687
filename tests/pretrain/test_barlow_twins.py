"""The loss is derived a second time in numpy; its conventions (which deviation, which precision)
are where implementations differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.barlow_twins import BarlowTwins, barlow_twins_loss, cross_correlation
from tests.helpers import assert_close, image_batch
from tests.pretrain.training import neighbour_accuracy, train_on_digits


def embeddings(rows: int = 12, dim: int = 5, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, rows, dim, generator=generator, dtype=dtype)


def loss_by_hand(z_a: np.ndarray, z_b: np.ndarray, off_diagonal: float) -> tuple[float, float]:
    """Equation 1 of the paper, one pair of features after another."""
    dim = z_a.shape[1]
    invariance = redundancy = 0.0
    for i in range(dim):
        for j in range(dim):
            a, b = z_a[:, i] - z_a[:, i].mean(), z_b[:, j] - z_b[:, j].mean()
            # Equation 2: the mean cancels against the norms, whatever the convention.
            c = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
            if i == j:
                invariance += (1 - c) ** 2
            else:
                redundancy += off_diagonal * c**2
    return invariance, redundancy


def test_loss_matches_a_direct_derivation():
    z_a, z_b = embeddings()
    losses = barlow_twins_loss(z_a, z_b, 0.3)
    invariance, redundancy = loss_by_hand(z_a.numpy(), z_b.numpy(), 0.3)
    assert losses["invariance"].item() == pytest.approx(invariance, rel=1e-10)
    assert losses["redundancy"].item() == pytest.approx(redundancy, rel=1e-10)


def test_the_gradient_matches_the_direct_derivation():
    z_a, z_b = embeddings()
    z_a.requires_grad_()
    barlow_twins_loss(z_a, z_b, 0.3).total.backward()
    for row, column in ((0, 0), (3, 4), (11, 2)):
        step = np.zeros(z_a.shape)
        step[row, column] = 1e-6
        after = sum(loss_by_hand(z_a.detach().numpy() + step, z_b.numpy(), 0.3))
        before = sum(loss_by_hand(z_a.detach().numpy() - step, z_b.numpy(), 0.3))
        assert z_a.grad[row, column].item() == pytest.approx((after - before) / 2e-6, rel=1e-5)


def test_correlations_are_those_of_numpy():
    z_a, z_b = embeddings()
    expected = np.corrcoef(z_a.numpy(), z_b.numpy(), rowvar=False)[:5, 5:]
    assert_close(cross_correlation(z_a, z_b), torch.from_numpy(expected))


def test_equal_views_with_decorrelated_features_cost_nothing():
    # The deviation divides by the batch size, so that the correlation of a feature with itself is 1.
    centred = embeddings()[0] - embeddings()[0].mean(0)
    z = torch.linalg.qr(centred).Q
    assert barlow_twins_loss(z, z, 1.0).total.item() == pytest.approx(0, abs=1e-12)


def test_neither_scale_nor_shift_of_a_feature_matters():
    z_a, z_b = embeddings()
    moved = z_a * torch.tensor([0.1, 1.0, 7.0, 100.0, 3.0]) + torch.arange(5.0)
    assert_close(barlow_twins_loss(moved, z_b, 0.3).total, barlow_twins_loss(z_a, z_b, 0.3).total)


def test_views_may_change_places():
    z_a, z_b = embeddings()
    assert_close(cross_correlation(z_b, z_a), cross_correlation(z_a, z_b).T)
    assert_close(barlow_twins_loss(z_b, z_a, 0.3).total, barlow_twins_loss(z_a, z_b, 0.3).total)


def test_collapsed_embeddings_cost_the_most_and_stay_finite():
    z = torch.ones(8, 5, requires_grad=True)
    losses = barlow_twins_loss(z, z, 0.3)
    losses.total.backward()
    assert losses.total.item() == 5  # every feature is one away from agreeing with itself
    assert z.grad.isfinite().all()


def test_redundant_features_are_penalised():
    z = embeddings()[0][:, :1].expand(-1, 5)
    assert barlow_twins_loss(z, z, 0.3)["redundancy"].item() == pytest.approx(0.3 * 20)


def test_correlations_are_float32_under_reduced_precision():
    z_a, z_b = embeddings(64, 16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = cross_correlation(z_a, z_b)
    assert torch.equal(inside, cross_correlation(z_a, z_b))
    assert cross_correlation(z_a.bfloat16(), z_b.bfloat16()).dtype == torch.float32


def test_each_view_is_normalised_by_its_own_statistics():
    spec, batch = image_batch()
    factors = iter((1.0, 10.0))
    torch.manual_seed(0)
    objective = BarlowTwins(
        build("residual-cnn", spec, width=8),
        views=lambda batch: batch.with_x(batch.x * next(factors)),
    )
    # A factor is gone after the first batch norm, unless the views share its statistics.
    assert objective(batch)["invariance"].item() < 0.01


def test_two_equal_views_agree_perfectly():
    spec, batch = image_batch()
    torch.manual_seed(0)
    objective = BarlowTwins(build("residual-cnn", spec, width=8), views=lambda batch: batch)
    assert objective(batch)["invariance"].item() == pytest.approx(0, abs=1e-4)


def test_a_batch_of_one_is_refused():
    spec, batch = image_batch(1)
    with pytest.raises(ConfigError, match="batch of 1"):
        BarlowTwins(build("residual-cnn", spec, width=8))(batch)


def test_options_that_make_no_sense_are_refused():
    encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8)
    with pytest.raises(ConfigError, match="off_diagonal=-1"):
        BarlowTwins(encoder, off_diagonal=-1)
    with pytest.raises(ConfigError, match="projector="):
        BarlowTwins(encoder, projector=())


def test_anchors_are_the_projected_features():
    spec, batch = image_batch()
    objective = BarlowTwins(build("residual-cnn", spec, width=8), projector=(16, 24)).eval()
    expected = objective.projector(objective.encoder(batch).pooled)
    assert torch.equal(objective.anchors(batch), expected)


def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    objective = BarlowTwins(
        build("residual-cnn", InputSpec("images", (1, 8, 8)), width=16), projector=(128, 128)
    )
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=200, rate=2e-3, batch=128)
    assert neighbour_accuracy(objective.encoder) > untrained + 0.05


def test_batches_need_not_be_contiguous():
    spec, batch = image_batch()
    objective = BarlowTwins(build("residual-cnn", spec, width=8))
    turned = Batch(batch.x.transpose(2, 3), batch.y, batch.index)
    assert objective(turned).total.isfinite()
