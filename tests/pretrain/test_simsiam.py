"""What goes wrong in SimSiam: the gradient does not stop, a view predicts itself, or a batch norm is
missing where the paper has one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.simsiam import SimSiam, simsiam_loss
from tests.helpers import assert_close, image_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import neighbour_accuracy, train_on_digits


def by_hand(p_a: np.ndarray, p_b: np.ndarray, z_a: np.ndarray, z_b: np.ndarray) -> float:
    """Equations 1 and 2 of the paper, one sample after another."""
    losses = []
    for i in range(len(p_a)):
        to_b = -(p_a[i] @ z_b[i]) / np.sqrt((p_a[i] @ p_a[i]) * (z_b[i] @ z_b[i]))
        to_a = -(p_b[i] @ z_a[i]) / np.sqrt((p_b[i] @ p_b[i]) * (z_a[i] @ z_a[i]))
        losses.append(to_b / 2 + to_a / 2)
    return float(np.mean(losses))


def make(**options: object) -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), **options)


def test_loss_and_gradient_match_a_direct_derivation_and_embeddings_get_no_gradient():
    assert_derived(simsiam_loss, by_hand, embeddings(4), still=(2, 3))


def test_the_loss_lies_between_agreement_and_opposition():
    z = embeddings(1)[0]
    assert simsiam_loss(z, z, z, z).item() == pytest.approx(-1)
    assert simsiam_loss(-z, -z, z, z).item() == pytest.approx(1)


def test_views_may_change_places_and_lengths_do_not_matter():
    p_a, p_b, z_a, z_b = embeddings(4)
    expected = simsiam_loss(p_a, p_b, z_a, z_b)
    assert_close(simsiam_loss(p_b, p_a, z_b, z_a), expected)
    assert_close(simsiam_loss(3 * p_a, p_b, z_a, 0.1 * z_b), expected)


def test_a_view_predicts_the_other_and_not_itself():
    z_a, z_b = torch.eye(2), torch.eye(2).flip(0)
    assert simsiam_loss(z_b, z_a, z_a, z_b).item() == -1
    assert simsiam_loss(z_a, z_b, z_a, z_b).item() == 0


def test_the_loss_agrees_with_lightly():
    peer = pytest.importorskip("lightly.loss").NegativeCosineSimilarity()
    p_a, p_b, z_a, z_b = embeddings(4)
    expected = 0.5 * (peer(p_a, z_b) + peer(p_b, z_a))
    assert simsiam_loss(p_a, p_b, z_a, z_b).item() == pytest.approx(expected.item(), abs=1e-5)


def test_gradients_reach_the_encoder_through_the_predictor_only():
    objective, (_, batch) = make(), image_batch()
    nn.init.zeros_(objective.predictor[-1].weight)  # predicts nothing, whatever its input
    objective(batch).total.backward()
    assert all((p.grad == 0).all() for p in objective.encoder.parameters())
    assert (objective.predictor[-1].weight.grad != 0).any()


def test_norms_are_where_the_paper_has_them():
    objective, (_, batch) = make(), image_batch()
    *_, last = objective.projector
    assert isinstance(last, nn.BatchNorm1d)
    assert not last.affine
    kinds = [type(layer) for layer in objective.predictor]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    z = objective.anchors(batch)
    assert_close(z.mean(0), torch.zeros(256))
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(256), rtol=0, atol=1e-3)


def test_the_predictor_has_a_bottleneck():
    predictor = make(projector=(32, 24), bottleneck=6).predictor
    assert (predictor[0].in_features, predictor[0].out_features) == (24, 6)
    assert (predictor[-1].in_features, predictor[-1].out_features) == (6, 24)


def test_a_batch_of_one_is_refused():
    _, batch = image_batch(1)
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(batch)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="bottleneck=0"):
        make(bottleneck=0)
    with pytest.raises(ConfigError, match="projector="):
        make(projector=())


@pytest.mark.long
def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    objective = SimSiam(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=16))
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=200, rate=2e-3, batch=128)
    assert neighbour_accuracy(objective.encoder) > untrained + 0.05
