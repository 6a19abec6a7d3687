"""What goes wrong in DirectPred: the predictor is set at the wrong time or from the wrong embeddings,
its state is lost on the way through a checkpoint, or the target gets a gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.engine.history import Progress
from tacita.engine.optimizer import build_optimizer
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.objective import Losses
from tacita.parts.direct_predictor import copy_rule, correlation_of, root_rule
from tacita.pretrain.byol import byol_loss
from tacita.pretrain.directpred import DirectPred
from tests.helpers import assert_close, image_batch
from tests.pretrain.training import embedded, neighbour_accuracy, spread, train_on_digits


def make(**options: Any) -> DirectPred:
    torch.manual_seed(0)
    return DirectPred(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), **options)


def loss_of(objective: DirectPred) -> Losses:
    torch.manual_seed(1)
    return objective(image_batch()[1])


def both_views(objective: DirectPred) -> torch.Tensor:
    """What the projector made of the two views in `loss_of`, first the one and then the other."""
    seen: list[torch.Tensor] = []
    hook = objective.projector.register_forward_hook(lambda *args: seen.append(args[2]))
    loss_of(objective)
    hook.remove()
    return torch.cat(seen)


def test_each_view_predicts_what_the_teacher_makes_of_the_other():
    scales = iter((1.0, -1.0))
    objective = make(views=lambda batch: batch.with_x(batch.x * next(scales)))
    objective.predictor.weight.copy_(torch.rand(64, 64))
    _, batch = image_batch()
    z_a, z_b = objective.anchors(batch), objective.anchors(batch.with_x(-batch.x))
    # At the beginning the teacher is the student.
    w = objective.predictor.weight
    expected = byol_loss(z_a @ w.T, z_b @ w.T, z_a, z_b)
    assert_close(objective(batch).total, expected)


def test_no_gradient_reaches_the_teacher_or_the_predictor():
    objective = make()
    loss_of(objective).total.backward()
    assert all(p.grad is None for p in objective.average.parameters())
    assert not list(objective.predictor.parameters())
    assert not objective.predictor.weight.requires_grad


def test_gradients_reach_the_encoder_through_the_predictor_only():
    for momentum in (0.0, 0.99):
        objective = make(momentum=momentum)
        objective.predictor.weight.zero_()  # predicts nothing, whatever its input
        loss_of(objective).total.backward()
        assert all((p.grad == 0).all() for p in objective.encoder.parameters())


def test_the_predictor_is_set_after_the_step_from_the_embeddings_of_both_views():
    objective = make()
    z = both_views(objective)
    assert len(z) == 32
    assert torch.equal(objective.predictor.weight, torch.eye(64))
    objective.after_step(0)
    # The first average is 0.7 of the first correlation, which the rule does not see.
    assert_close(objective.predictor.correlation, 0.7 * correlation_of(z))
    expected = root_rule(objective.predictor.correlation, 0.1).float()
    assert torch.equal(objective.predictor.weight, expected)


def test_the_parts_of_a_step_count_together_and_once():
    objective = make()
    parts = torch.cat([both_views(objective), both_views(objective)])
    objective.after_step(0)
    assert_close(objective.predictor.correlation, 0.7 * correlation_of(parts))
    last = both_views(objective)
    objective.after_step(1)
    expected = 0.3 * 0.7 * correlation_of(parts) + 0.7 * correlation_of(last)
    assert_close(objective.predictor.correlation, expected)


def test_its_options_are_the_predictor_s():
    objective = make(
        rule="copy", epsilon=0.3, correlation_momentum=0.5, centred=True, projector=(16, 8)
    )
    z = both_views(objective)
    objective.after_step(0)
    f = 0.5 * correlation_of(z, centred=True)
    assert_close(objective.predictor.correlation, f)
    assert_close(objective.predictor.weight, copy_rule(f, 0.3).float())


def test_the_teacher_follows_at_a_constant_rate():
    objective = make(momentum=0.9)
    objective.start(10)
    teacher = objective.average.teacher[1][0].weight
    before = teacher.clone()
    loss_of(objective)
    with torch.no_grad():
        objective.projector[0].weight += 1
    objective.after_step(9)
    assert_close(teacher.data, before + 0.1)


def test_without_a_teacher_the_targets_are_those_of_a_teacher_without_momentum():
    alone, with_teacher = make(momentum=0.0), make(momentum=1e-12)
    assert alone.average is None
    optimisers = [torch.optim.SGD(o.parameters(), lr=0.1) for o in (alone, with_teacher)]
    for step in range(3):
        totals = []
        for objective, optimiser in zip((alone, with_teacher), optimisers, strict=True):
            optimiser.zero_grad()
            totals.append(loss_of(objective).total)
            totals[-1].backward()
            optimiser.step()
            objective.after_step(step)
        assert_close(totals[0], totals[1])
    assert_close(alone.predictor.weight, with_teacher.predictor.weight)


def test_no_optimiser_gets_the_predictor_but_in_the_hybrid_form():
    for every, trained in ((1, False), (5, True)):
        objective = make(every=every)
        groups = build_optimizer(objective, "sgd", 0.1, 0.0).param_groups
        given = {id(p) for group in groups for p in group["params"]}
        assert (id(objective.predictor.weight) in given) == trained


def test_the_hybrid_form_trains_the_predictor_between_its_turns():
    objective = make(every=2)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.1)
    kept = []
    for step in range(4):
        optimiser.zero_grad()
        loss_of(objective).total.backward()
        before = objective.predictor.weight.detach().clone()
        optimiser.step()
        trained = objective.predictor.weight.detach().clone()
        assert not torch.equal(trained, before)
        objective.after_step(step)
        kept.append(torch.equal(objective.predictor.weight, trained))
    assert kept == [False, True, False, True]


class StopError(Exception):
    """The run is killed."""


@pytest.mark.parametrize("options", [{}, {"every": 3}, {"momentum": 0.0, "rule": "copy"}])
def test_a_resumed_run_ends_with_the_weights_of_one_never_stopped(options, tmp_path: Path):
    data = load("digits").subset(torch.arange(100)).normalised()
    settings: dict[str, Any] = {
        "steps": 7, "batch_size": 16, "optimizer": "sgd", "device": "cpu", "log_every": 1,
        "checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 0.0,
    }  # fmt: skip
    whole = make(**options)
    train(whole, data, **{**settings, "checkpoint": None})

    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise StopError

    with pytest.raises(StopError):
        train(make(**options), data, **settings, callbacks=[stop])
    resumed = make(**options)
    history = train(resumed, data, **settings, resume=True)
    assert len(history.rows) == 7
    expected = whole.state_dict()
    assert all(torch.equal(v, expected[name]) for name, v in resumed.state_dict().items())


def test_a_batch_of_one_is_refused():
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(image_batch(1)[1])


@pytest.mark.parametrize(
    "options",
    [{"momentum": 1.1}, {"correlation_momentum": 1.0}, {"projector": ()}, {"every": 0}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options)).removeprefix("correlation_") + "="):
        make(**options)


class WithoutPredictor(DirectPred):
    """The identity in the predictor's place, for good."""

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.predictor.weight.copy_(torch.eye(64))


@pytest.mark.parametrize("method, alive", [(DirectPred, True), (WithoutPredictor, False)])
def test_embeddings_collapse_and_nothing_is_learnt_without_the_predictor_only(method, alive):
    torch.manual_seed(0)
    objective = method(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8))
    untrained = neighbour_accuracy(objective.encoder)
    train_on_digits(objective, steps=150, rate=2e-3)
    assert (spread(embedded(objective)) > 0.3) == alive
    assert (neighbour_accuracy(objective.encoder) > untrained + 0.05) == alive
