"""What goes wrong in MoCo v3: a key is trained, a query is compared with its own view, the softmax
overflows or loses digits, or the patches' projection learns though it is to stay random."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError, DivergedError
from tacita.pretrain.moco_v3 import MoCoV3, moco_v3_loss
from tests.helpers import assert_close, image_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import embedded, neighbour_accuracy, spread, train_on_digits


def by_hand(q1: np.ndarray, q2: np.ndarray, k1: np.ndarray, k2: np.ndarray) -> float:
    """Algorithm 1 with a temperature of 0.3, one query and one key at a time."""
    total = 0.0
    for queries, keys in ((q1, k2), (q2, k1)):
        for i, query in enumerate(queries):
            cosines = [q @ k / np.linalg.norm(q) / np.linalg.norm(k) for q, k in
                       ((query, key) for key in keys)]  # fmt: skip
            each = np.exp(np.array(cosines) / 0.3)
            total -= 2 * 0.3 * np.log(each[i] / each.sum()) / len(queries)
    return total


def make(encoder: str = "residual-cnn", **options: object) -> MoCoV3:
    torch.manual_seed(0)
    small = {"residual-cnn": {"width": 8}, "vit": {"dim": 24, "depth": 2}}[encoder]
    return MoCoV3(build(encoder, InputSpec("images", (1, 8, 8)), **small), **options)


def stepped(objective: MoCoV3) -> MoCoV3:
    """After a step of plain gradient descent."""
    _, batch = image_batch()
    objective(batch).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    return objective


def networks(objective: MoCoV3) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """States of student and teacher under the same names."""
    student = torch.nn.ModuleList([objective.encoder, objective.projector])
    return copy.deepcopy(student.state_dict()), copy.deepcopy(
        objective.average.teacher.state_dict()
    )


def test_loss_and_gradient_match_a_direct_derivation_and_keys_get_no_gradient():
    assert_derived(
        lambda *z: moco_v3_loss(*z, temperature=0.3), by_hand, embeddings(4), still=(2, 3)
    )


@given(st.integers(2, 40), st.sampled_from([0.05, 0.2, 1.0]))
def test_embeddings_that_are_all_equal_give_2_tau_log_n_a_direction(count, temperature):
    z = torch.ones(count, 5, dtype=torch.float64)
    loss = moco_v3_loss(z, z, z, z, temperature).item()
    assert loss == pytest.approx(2 * 2 * temperature * math.log(count))


def test_matching_views_of_samples_far_apart_give_almost_zero():
    z = torch.eye(4)
    assert moco_v3_loss(z, z, z, z, 0.05).item() == pytest.approx(
        4 * 0.05 * math.log(1 + 3 * math.exp(-20)), abs=1e-7
    )


def test_a_query_meets_the_keys_of_the_other_view_only():
    # The keys of its own view are another batch's: were they in the softmax, the loss would move.
    q1, q2, k1, k2 = embeddings(4)
    one = moco_v3_loss(q1, torch.zeros_like(q2), k1, k2, 0.2)
    assert_close(moco_v3_loss(q1, torch.zeros_like(q2), -k1, k2, 0.2), one)
    assert not torch.isclose(moco_v3_loss(q1, torch.zeros_like(q2), k1, -k2, 0.2), one)


def test_views_may_change_places_and_lengths_do_not_matter():
    q1, q2, k1, k2 = embeddings(4)
    expected = moco_v3_loss(q1, q2, k1, k2, 0.2)
    assert_close(moco_v3_loss(q2, q1, k2, k1, 0.2), expected)
    assert_close(moco_v3_loss(3 * q1, q2, k1, 0.1 * k2, 0.2), expected)


def test_half_precision_is_raised_before_the_softmax():
    q1, q2, k1, k2 = (z.bfloat16() for z in embeddings(4))
    with torch.autocast("cpu", torch.bfloat16):
        loss = moco_v3_loss(q1, q2, k1, k2, 0.05)
    assert loss.dtype == torch.float32
    assert_close(loss, moco_v3_loss(*(z.float() for z in (q1, q2, k1, k2)), 0.05))


def test_no_gradient_reaches_the_teacher_and_the_student_learns_through_its_predictor():
    objective, (_, batch) = make(), image_batch()
    torch.nn.init.zeros_(objective.predictor[-2].weight)  # says the same of every input
    objective(batch).total.backward()
    assert all(p.grad is None for p in objective.average.parameters())
    assert all((p.grad == 0).all() for p in objective.encoder.parameters())


def test_a_teacher_of_momentum_0_is_the_student_statistics_included():
    objective = stepped(make(momentum=0.0))
    objective.after_step(0)
    student, teacher = networks(objective)
    assert student.keys() == teacher.keys()
    assert all(torch.equal(student[name], teacher[name]) for name in student)


def test_a_teacher_of_momentum_1_keeps_its_weights():
    objective = stepped(make(momentum=1.0))
    weights = [p.clone() for p in objective.average.parameters()]
    objective.start(10)
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.parameters(), weights))


@pytest.mark.parametrize("step, rate", [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_the_momentum_rises_along_a_cosine(step, rate):
    objective = stepped(make(momentum=0.9))
    objective.start(10)
    student, before = networks(objective)
    objective.after_step(step)
    name = "1.0.weight"  # the projector's first layer
    expected = rate * before[name] + (1 - rate) * student[name]
    assert_close(networks(objective)[1][name], expected)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_patches_of_a_vit_stay_random_unless_told_otherwise(frozen):
    objective = make("vit", freeze_patches=frozen)
    before = copy.deepcopy(objective.encoder.state_dict())
    after = stepped(objective).encoder.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == ({"project.weight", "project.bias"} if frozen else set())


def test_afterwards_the_patches_may_learn_again():
    objective = make("vit")
    objective.finish()
    assert all(p.requires_grad for p in objective.encoder.parameters())


def test_batches_of_one_are_refused():
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(image_batch(1)[1])


def test_views_without_difference_and_images_without_content_still_give_a_loss():
    objective = make(views=lambda batch: batch)
    _, batch = image_batch()
    for x in (batch.x, torch.zeros_like(batch.x)):
        total = objective(batch.with_x(x)).total
        total.backward()
        assert total.isfinite()
    assert total.item() == pytest.approx(4 * 0.2 * math.log(16), rel=1e-4)
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


def test_a_teacher_that_diverged_is_named():
    objective = make()
    with torch.no_grad():
        objective.average.teacher[1][0].weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="teacher of moco-v3"):
        objective(image_batch()[1])


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"temperature": math.nan}, {"momentum": 1.1}, {"predictor": 0}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        make(**options)


def test_training_gives_digits_better_neighbours_and_does_not_collapse():
    objective = make()
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=60, rate=2e-3)
    assert neighbour_accuracy(objective.encoder) > untrained + 0.05
    assert spread(embedded(objective)) > 0.5
