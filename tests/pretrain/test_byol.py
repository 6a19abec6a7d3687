"""What goes wrong in BYOL: the teacher is trained, lags or runs ahead, a view predicts itself, or
the two views share batch statistics."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.similarity import negative_cosine
from tacita.pretrain.byol import BYOL, byol_loss
from tests.helpers import assert_close, image_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import embedded, spread, train_on_digits


def by_hand(p_a: np.ndarray, p_b: np.ndarray, t_a: np.ndarray, t_b: np.ndarray) -> float:
    """Equation 2 and its mirror image: squared distances of unit vectors."""
    total = 0.0
    for p, t in ((p_a, t_b), (p_b, t_a)):
        for i in range(len(p)):
            difference = p[i] / np.linalg.norm(p[i]) - t[i] / np.linalg.norm(t[i])
            total += sum(difference**2) / len(p)
    return total


def make(**options: object) -> BYOL:
    torch.manual_seed(0)
    return BYOL(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), **options)


def moved(objective: BYOL) -> BYOL:
    """The student after a step, so that it differs from its teacher, statistics included."""
    _, batch = image_batch()
    objective(batch).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    return objective


def networks(objective: BYOL) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """States of student and teacher under the same names."""
    student = torch.nn.ModuleList([objective.encoder, objective.projector])
    return copy.deepcopy(student.state_dict()), copy.deepcopy(
        objective.average.teacher.state_dict()
    )


def test_loss_and_gradient_match_a_direct_derivation_and_targets_get_no_gradient():
    assert_derived(byol_loss, by_hand, embeddings(4), still=(2, 3))


def test_the_loss_lies_between_agreement_and_opposition():
    z_a, z_b = embeddings()
    assert byol_loss(z_b, z_a, z_a, z_b).item() == pytest.approx(0, abs=1e-12)
    assert byol_loss(-z_b, -z_a, z_a, z_b).item() == pytest.approx(8)


def test_views_may_change_places_and_lengths_do_not_matter():
    p_a, p_b, t_a, t_b = embeddings(4)
    expected = byol_loss(p_a, p_b, t_a, t_b)
    assert_close(byol_loss(p_b, p_a, t_b, t_a), expected)
    assert_close(byol_loss(3 * p_a, p_b, t_a, 0.1 * t_b), expected)


def test_the_loss_agrees_with_lightly():
    peer = pytest.importorskip("lightly.loss").NegativeCosineSimilarity()
    p_a, p_b, t_a, t_b = embeddings(4)
    expected = 4 + 2 * (peer(p_a, t_b) + peer(p_b, t_a))
    assert byol_loss(p_a, p_b, t_a, t_b).item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_teacher_begins_as_the_student_and_has_no_predictor():
    student, teacher = networks(make())
    assert student.keys() == teacher.keys()
    assert all(torch.equal(student[name], teacher[name]) for name in student)


def test_no_gradient_reaches_the_teacher_and_the_student_learns_through_its_predictor_only():
    objective, (_, batch) = make(), image_batch()
    torch.nn.init.zeros_(objective.predictor[-1].weight)  # predicts nothing, whatever its input
    objective(batch).total.backward()
    assert all(p.grad is None for p in objective.average.parameters())
    assert all((p.grad == 0).all() for p in objective.encoder.parameters())
    assert (objective.predictor[-1].weight.grad != 0).any()


def test_a_teacher_of_momentum_0_is_the_student_statistics_included():
    objective = moved(make(momentum=0.0))
    objective.after_step(0)
    student, teacher = networks(objective)
    assert all(torch.equal(student[name], teacher[name]) for name in student)


def test_a_teacher_of_momentum_1_keeps_its_weights():
    objective = moved(make(momentum=1.0))
    weights = [p.clone() for p in objective.average.parameters()]
    objective.start(10)
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.parameters(), weights))


@pytest.mark.parametrize("step, rate", [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_the_momentum_rises_along_a_cosine(step, rate):
    objective = moved(make(momentum=0.9))
    objective.start(10)
    student, before = networks(objective)
    objective.after_step(step)
    name = "1.0.weight"  # the projector's first layer
    expected = rate * before[name] + (1 - rate) * student[name]
    assert_close(networks(objective)[1][name], expected)


def test_without_a_start_the_momentum_stays():
    objective = moved(make(momentum=0.9))
    student, before = networks(objective)
    objective.after_step(1000)
    expected = 0.9 * before["1.0.weight"] + 0.1 * student["1.0.weight"]
    assert_close(networks(objective)[1]["1.0.weight"], expected)


def test_each_view_is_normalised_apart_by_student_and_teacher():
    # A factor is gone after the first batch norm, unless views share its statistics, or a network
    # uses running ones.
    _, batch = image_batch()
    teacher = make()
    larger = batch.with_x(10 * batch.x)
    torch.testing.assert_close(
        teacher.targets(larger), teacher.targets(batch), rtol=0.02, atol=0.01
    )
    factors = iter((1.0, 1.0, 1.0, 10.0))
    objective = make(views=lambda b: b.with_x(b.x * next(factors)))
    equal = objective(batch).total.item()
    assert objective(batch).total.item() == pytest.approx(equal, rel=0.02)


def test_what_is_kept_is_the_student():
    objective = moved(make())
    before = networks(objective)[0]
    objective.after_step(0)
    objective.finish()
    after = networks(objective)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_batch_of_one_is_refused():
    _, batch = image_batch(1)
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(batch)


@pytest.mark.parametrize(
    "options", [{"momentum": 1.1}, {"momentum": -0.1}, {"predictor": 0}, {"projector": ()}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        make(**options)


class WithoutPredictor(BYOL):
    """Two trained networks drawn to each other: no predictor, no teacher, no stop-gradient."""

    def loss(self, batch: Batch) -> Losses:
        z_a, z_b = self.anchors(self.views(batch)), self.anchors(self.views(batch))
        return Losses(agreement=4 + 4 * negative_cosine(z_a, z_b))


@pytest.mark.parametrize("method, least, most", [(BYOL, 0.5, 1.0), (WithoutPredictor, 0.0, 0.1)])
def test_embeddings_collapse_without_predictor_and_stop_gradient_only(method, least, most):
    torch.manual_seed(0)
    objective = method(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8))
    train_on_digits(objective, steps=150, rate=2e-3)
    assert least <= spread(embedded(objective)) <= most
