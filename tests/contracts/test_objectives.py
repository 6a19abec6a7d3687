"""What holds for every objective in the catalog, under every encoder that it takes.

An objective that refuses an encoder with `ConfigError` (masked reconstruction of one without
tokens) is left out there; that it does refuse is tested with the method.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tacita.catalog.discover import cards, load_class
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.tasks import UNLABELLED, Classification
from tests.helpers import BATCHES, assert_close

TASK = Classification(tuple("0123456789"))
SMALL = {
    "residual-cnn": {"width": 8},
    "vit": {"dim": 24, "depth": 2},
    "unet": {"widths": (4, 8, 8)},
    "residual-conv": {"width": 8, "depth": 2},
    "series-transformer": {"dim": 24, "depth": 2},
    "e4mer": {"dim": 16, "depth": 2},
    "feature-tokens": {"dim": 16, "depth": 2},
    "ft-transformer": {"dim": 16, "depth": 2},
    "sequence-model": {"d_model": 16, "depth": 2, "layer_options": {"d_state": 8}},
}
"""The encoders that objectives are tried under."""
OBJECTIVES = ("pretrain", "semisup", "adapt")
"""The families that have objectives."""
OPTIONS = {"iomatch": {"open_threshold": 0.05}}
"""Where of an untrained network no guess would count, so that a head would learn nothing yet."""


def make(method: str, encoder: str, modality: str, seed: int = 0) -> Objective:
    spec, _ = BATCHES[modality]()
    torch.manual_seed(seed)
    cls = load_class(method)
    needs_task = "task" in inspect.signature(cls).parameters
    options = OPTIONS.get(method, {})
    given = [TASK] if needs_task else []
    objective = cls(build(encoder, spec, **SMALL[encoder]), *given, **options)
    objective.prepare(data_for(modality))
    return objective


def data_for(modality: str) -> Dataset:
    """The samples of the batch, every second of them with its label."""
    _, batch = BATCHES[modality]()
    y = torch.where(torch.arange(len(batch)) % 2 == 0, batch.y, UNLABELLED)
    return Dataset.of(modality, batch.samples, y, TASK, index=batch.index)


def batch_for(objective: Objective) -> Batch | SemiBatch:
    _, batch = BATCHES[objective.encoder.spec.modality]()
    hidden = replace(batch, targets=torch.full_like(batch.y, UNLABELLED))
    return {
        "unlabelled": hidden,
        "labelled": batch,
        "both": SemiBatch(batch, hidden),
    }[objective.reads]


def combinations() -> list[object]:
    known = cards()
    found = []
    for card in known.values():
        # Learners that train an objective of their own are tried with it, in their own tests.
        if card.family not in OBJECTIVES or not issubclass(load_class(card.slug), Objective):
            continue
        for encoder in SMALL:
            for modality in known[encoder].modalities:
                if modality not in card.modalities:
                    continue
                try:
                    make(card.slug, encoder, modality)
                except ConfigError:
                    continue
                name = f"{card.slug}-{encoder}-{modality}"
                found.append(pytest.param(card.slug, encoder, modality, id=name))
    return found


every_objective = pytest.mark.parametrize("method, encoder, modality", combinations())


def loss_of(objective: Objective, seed: int = 0) -> Losses:
    torch.manual_seed(seed)
    return objective(batch_for(objective))


def states(objective: Objective) -> dict[str, Tensor]:
    return copy.deepcopy(objective.state_dict())


def constant(batch: Batch) -> Batch:
    """Every sample is the same and has one value everywhere."""
    return batch.with_x(torch.full_like(batch.x, 1))


def first(batch: Batch) -> Batch:
    last = torch.tensor([len(batch) - 1])
    return Batch(batch.samples[last], batch.targets[last], batch.index[last])


def test_every_objective_is_tried() -> None:
    tried = {case.values[0] for case in combinations()}
    assert {"barlow-twins", "mae"} <= tried
    found = [c.slug for c in cards().values() if c.family in ("pretrain", "semisup")]
    assert {slug for slug in found if issubclass(load_class(slug), Objective)} <= tried


@every_objective
def test_the_loss_is_a_finite_sum_of_named_terms(method: str, encoder: str, modality: str) -> None:
    losses = loss_of(make(method, encoder, modality))
    assert losses.total.ndim == 0
    assert losses.total.isfinite()
    assert losses.total.dtype == torch.float32
    assert losses.total.item() == pytest.approx(sum(t.item() for t in losses.values()), rel=1e-5)
    for name, metric in losses.metrics.items():
        assert not metric.requires_grad, name


@every_objective
def test_gradients_reach_all_that_is_trained_and_nothing_else(
    method: str, encoder: str, modality: str
) -> None:
    objective = make(method, encoder, modality)
    loss_of(objective).total.backward()
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


@every_objective
def test_a_seed_and_a_state_fix_the_loss(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    state = states(objective)
    first, other_draw = loss_of(objective).total, loss_of(objective, seed=1).total
    objective.load_state_dict(state)
    assert torch.equal(loss_of(objective).total, first)
    assert not torch.equal(other_draw, first)


@every_objective
def test_a_saved_state_gives_the_same_loss(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    objective.start(10)
    loss_of(objective).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    objective.after_step(0)
    other = make(method, encoder, modality, seed=1)
    other.start(10)
    other.load_state_dict(states(objective))
    assert torch.equal(loss_of(other).total, loss_of(objective).total)


@every_objective
def test_reduced_precision_gives_a_similar_loss(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    state = states(objective)
    expected = loss_of(objective).total.item()
    objective.load_state_dict(state)
    with torch.autocast("cpu", torch.bfloat16):
        total = loss_of(objective).total
    total.backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(expected, rel=0.25, abs=0.05)  # near 0 in some
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


@every_objective
def test_batches_are_left_as_they_are(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    batch = batch_for(objective)
    before = copy.deepcopy(batch)
    objective(batch)
    pairs = [(batch, before)]
    if isinstance(batch, SemiBatch):
        pairs = [(batch.labelled, before.labelled), (batch.unlabelled, before.unlabelled)]
    for now, then in pairs:
        assert torch.equal(now.x, then.x)
        assert torch.equal(now.y, then.y)


@every_objective
def test_labels_of_the_unlabelled_are_never_read(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    if objective.reads == "labelled":
        pytest.skip("reads no unlabelled samples")
    state = states(objective)
    expected = loss_of(objective).total
    batch = batch_for(objective)
    unlabelled = batch.unlabelled if isinstance(batch, SemiBatch) else batch
    unlabelled = replace(unlabelled, targets=torch.arange(len(unlabelled)) % 10)
    if isinstance(batch, SemiBatch):
        unlabelled = SemiBatch(batch.labelled, unlabelled)
    objective.load_state_dict(state)
    torch.manual_seed(0)
    assert torch.equal(objective(unlabelled).total, expected)


@every_objective
def test_constant_samples_give_a_finite_loss_and_gradients(
    method: str, encoder: str, modality: str
) -> None:
    objective = make(method, encoder, modality)
    batch = batch_for(objective)
    parts = (
        SemiBatch(constant(batch.labelled), constant(batch.unlabelled))
        if isinstance(batch, SemiBatch)
        else constant(batch)
    )
    torch.manual_seed(0)
    total = objective(parts).total
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


@every_objective
def test_a_single_sample_is_refused_or_learnt_from(
    method: str, encoder: str, modality: str
) -> None:
    objective = make(method, encoder, modality)
    batch = batch_for(objective)
    one = (
        SemiBatch(first(batch.labelled), first(batch.unlabelled))
        if isinstance(batch, SemiBatch)
        else first(batch)
    )
    torch.manual_seed(0)
    refusal = ""
    try:
        assert objective(one).total.isfinite()
    except ConfigError as error:
        refusal = str(error)
    assert not refusal or ("batch of 1" in refusal and "batch size" in refusal)


@every_objective
def test_anchors_are_finite_vectors(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality).eval()
    _, batch = BATCHES[modality]()
    anchors = objective.anchors(batch)
    assert anchors.ndim == 2
    assert anchors.shape[0] == len(batch)
    assert anchors.isfinite().all()


@every_objective
def test_thirty_steps_bring_the_loss_down(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    objective.start(30)
    trained = [p for p in objective.parameters() if p.requires_grad]
    frozen = [(p, p.clone()) for p in objective.parameters() if not p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    totals = []
    for step in range(30):
        optimiser.zero_grad()
        total = loss_of(objective, seed=step % 5).total
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < sum(totals[:5])
    for parameter, before in frozen:
        assert_close(parameter, before, "the optimiser moved what is not trained")
    objective.after_step(0)
    objective.finish()
    assert loss_of(objective).total.isfinite()
