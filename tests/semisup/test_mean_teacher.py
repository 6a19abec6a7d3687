"""Mean Teacher turns into the Pi-model if the teacher does not lag, into nothing if the student does not
follow it: who sees what, which way the gradient flows, and the weight's rise are checked."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import Tensor, nn

from tacita.data.batch import Batch, SemiBatch
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.semisup.mean_teacher import MeanTeacher
from tacita.tasks import Ordinal, Regression, Segmentation, Task
from tests.engine.runs import Flat
from tests.helpers import assert_close
from tests.semisup.training import labels_alone, score_on_digits

GRADES = Ordinal(("0", "1", "2", "3"))


def mean_teacher(task: Task | None = None, **options: object) -> tuple[MeanTeacher, SemiBatch]:
    """On a linear network, whose teacher is another one; no views unless they are given."""
    data = load("digits").normalised()
    torch.manual_seed(0)
    views = {"weak": nn.Identity(), "strong": nn.Identity()}
    objective = MeanTeacher(Flat(data.spec), task or data.task, **{**views, **options})
    with torch.no_grad():
        for parameter in objective.average.teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    batch = SemiBatch(data.take(torch.arange(8)), data.take(torch.arange(8, 40)))
    if task is not None:
        known = replace(batch.labelled, targets=batch.labelled.y % len(task.classes))
        batch = SemiBatch(known, batch.unlabelled)
    return objective, batch


def outputs(networks: nn.Module, x: Tensor) -> np.ndarray:
    encoder, head = networks[:2]
    with torch.no_grad():
        return head(encoder(x).pooled).double().numpy()


def test_the_loss_equals_a_direct_derivation() -> None:
    objective, batch = mean_teacher(consistency_weight=7.0, ramp_up=0.0)
    losses = objective.loss(batch)
    labelled = softmax(outputs(objective.kept(), batch.labelled.x), 1)
    student = softmax(outputs(objective.kept(), batch.unlabelled.x), 1)
    teacher = softmax(outputs(objective.average.teacher, batch.unlabelled.x), 1)
    supervised = -np.log(labelled[np.arange(8), batch.labelled.y.numpy()]).mean()
    consistency = 7.0 * ((student - teacher) ** 2).sum() / (32 * 10)
    same = (student.argmax(1) == teacher.argmax(1)).mean()
    assert losses["supervised"].item() == pytest.approx(supervised, rel=1e-4)
    assert losses["consistency"].item() == pytest.approx(consistency, rel=1e-4)
    assert float(losses.metrics["agreement"]) == pytest.approx(same)
    assert 0 < same < 1


def test_grades_are_compared_as_probabilities_of_grades() -> None:
    objective, batch = mean_teacher(GRADES, consistency_weight=7.0, ramp_up=0.0)

    def grades(x: Tensor, networks: nn.Module) -> np.ndarray:
        above = np.minimum.accumulate(expit(outputs(networks, x)), 1)
        edges = np.pad(above, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
        return -np.diff(edges, axis=1)

    student = grades(batch.unlabelled.x, objective.kept())
    teacher = grades(batch.unlabelled.x, objective.average.teacher)
    expected = 7.0 * ((student - teacher) ** 2).mean()
    assert objective.loss(batch)["consistency"].item() == pytest.approx(expected, rel=1e-4)


def test_the_teacher_sees_the_weak_view_and_the_student_the_strong_one() -> None:
    class Filled(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, batch: Batch) -> Batch:
            return batch.with_x(torch.full_like(batch.x, self.value))

    objective, batch = mean_teacher(weak=Filled(1.0), strong=Filled(2.0))
    seen: dict[str, Tensor] = {}
    objective.encoder.register_forward_pre_hook(lambda _, x: seen.update(student=x[0].x))
    teacher = objective.average.teacher[0]
    teacher.register_forward_pre_hook(lambda _, x: seen.update(teacher=x[0].x))
    objective.loss(batch)
    assert torch.equal(seen["student"], torch.full((40, 1, 8, 8), 2.0))
    assert torch.equal(seen["teacher"], torch.full((32, 1, 8, 8), 1.0))


def test_the_gradient_flows_into_the_student_alone() -> None:
    objective, batch = mean_teacher()
    objective.loss(batch)["consistency"].backward()
    assert objective.encoder.linear.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in objective.average.teacher.parameters())


def test_the_weight_rises_over_the_first_share_of_the_steps() -> None:
    objective, batch = mean_teacher(ramp_up=0.5)
    objective.start(10)
    whole, _ = mean_teacher(ramp_up=0.0)
    whole.load_state_dict({**objective.state_dict(), "ramp.factor": torch.tensor(1.0)})
    full = whole.loss(batch)["consistency"]
    assert_close(objective.loss(batch)["consistency"], full * np.exp(-5).astype(np.float32))
    teacher = copy.deepcopy(objective.average.teacher)
    for step in range(5):
        objective.after_step(step)
    objective.average.teacher = teacher
    assert_close(objective.loss(batch)["consistency"], full)


def test_the_teacher_follows_and_is_what_is_kept() -> None:
    objective, _ = mean_teacher(momentum=0.9)
    before = objective.average.teacher[0].linear.weight.clone()
    objective.after_step(100)  # beyond the warm start
    expected = 0.9 * before + 0.1 * objective.encoder.linear.weight
    assert_close(objective.average.teacher[0].linear.weight, expected)
    objective.finish()
    assert_close(objective.encoder.linear.weight, expected)


@pytest.mark.parametrize("task", [Regression(), Segmentation(("0", "1"))])
def test_a_task_without_classes_or_grades_is_refused(task: Task) -> None:
    data = load("digits").normalised()
    with pytest.raises(ConfigError, match=task.name):
        MeanTeacher(Flat(data.spec), task)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ramp_up=2"):
        mean_teacher(ramp_up=2.0)


def test_the_teacher_helps_on_held_out_digits() -> None:
    learnt = score_on_digits(MeanTeacher, momentum=0.95)
    assert learnt > labels_alone(MeanTeacher, momentum=0.95) + 0.03
