"""What holds for every objective in the catalog, on the example of each modality that it reads.

All laws are tried with the encoder that the modality has for the objective's needs; with every other
encoder, that the loss is finite and reaches all that is trained. An objective may refuse those with
`ConfigError` (masked reconstruction of one without tokens), but never the modality's own.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from tacita.catalog.cards import Card
from tacita.catalog.discover import cards, load_class, reads
from tacita.catalog.discover import modality as modality_card
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoders import build, default_encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.semisup.base import SemiSupervised
from tacita.values import Graphs
from tests.helpers import assert_close, example, same_values, with_examples

SIZE = 16
WITHOUT_CHANCE = {"causal-language-modelling"}
"""Whose loss depends on nothing that is drawn."""
EXAMPLES = with_examples()


def objectives() -> list[Card]:
    """Learners that train an objective of their own are tried with it, in their own tests."""
    known = [card for card in cards().values() if card.family in ("pretrain", "semisup", "adapt")]
    return [card for card in known if issubclass(load_class(card.slug), Objective)]


def make(method: str, encoder: str, modality: str, seed: int = 0, **options: object) -> Objective:
    data = data_for(modality)
    torch.manual_seed(seed)
    cls = load_class(method)
    given = [data.task] if "task" in inspect.signature(cls).parameters else []
    small = build(encoder, data.spec, **load_class(encoder).tiny)
    objective = cls(small, *given, **{**cls.tiny, **options})
    objective.prepare(data)
    return objective


@cache
def labelled_data(modality: str) -> Dataset:
    return example(modality).subset(torch.arange(SIZE))


def data_for(modality: str) -> Dataset:
    """The samples of the batch, every second of them with its label."""
    return labelled_data(modality).hide_labels(torch.arange(0, SIZE, 2))


def batch_for(objective: Objective) -> Batch | SemiBatch:
    data = labelled_data(objective.encoder.spec.modality)
    batch = data.take(torch.arange(SIZE))
    hidden = replace(batch, targets=data.task.hide(batch.targets, torch.arange(0)))
    return {
        "unlabelled": hidden,
        "labelled": batch,
        "both": SemiBatch(batch, hidden),
    }[objective.reads]


def own_encoder(card: Card, modality: str) -> str:
    return default_encoder(example(modality).spec, card.needs)


READ = [
    (card, modality) for card in objectives() for modality in reads(card) if modality in EXAMPLES
]
OWN = [
    pytest.param(card.slug, own_encoder(card, modality), modality, id=f"{card.slug}-{modality}")
    for card, modality in READ
]
OTHERS = [
    pytest.param(card.slug, encoder.slug, modality, id=f"{card.slug}-{encoder.slug}-{modality}")
    for card, modality in READ
    for encoder in cards().values()
    if encoder.family == "encoder" and modality in reads(encoder)
    if encoder.slug != own_encoder(card, modality)
]


def is_semi_supervised(method: str) -> bool:
    return issubclass(load_class(method), SemiSupervised)


every_objective = pytest.mark.parametrize("method, encoder, modality", OWN)


def loss_of(objective: Objective, seed: int = 0) -> Losses:
    torch.manual_seed(seed)
    return objective(batch_for(objective))


def states(objective: Objective) -> dict[str, Tensor]:
    return copy.deepcopy(objective.state_dict())


def constant(batch: Batch) -> Batch:
    """Every sample is the same and has one value everywhere."""
    samples = batch.samples
    if isinstance(samples, Graphs):
        ones = torch.ones_like(samples.nodes)
        counts = samples.node_counts, samples.edge_counts
        return batch.with_samples(Graphs(ones, samples.ends, *counts, samples.edges))
    return batch.with_x(torch.full_like(batch.x, 1))


def first(batch: Batch) -> Batch:
    last = torch.tensor([len(batch) - 1])
    return Batch(batch.samples[last], batch.targets[last], batch.index[last])


def test_every_objective_is_tried_and_learns_the_task_of_the_examples() -> None:
    tried = {case.values[0] for case in OWN}
    assert {"barlow-twins", "mae"} <= tried
    for card in objectives():
        assert card.slug in tried or not set(reads(card)) & set(EXAMPLES), card.slug
    for card, modality in READ:
        assert card.learns(example(modality).task.name), f"{card.slug}: {modality}"


@every_objective
def test_the_loss_is_a_finite_sum_of_named_terms(method: str, encoder: str, modality: str) -> None:
    check_terms(loss_of(make(method, encoder, modality)))


def check_terms(losses: Losses) -> None:
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
    check_gradients(objective)


def check_gradients(objective: Objective) -> None:
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


@pytest.mark.parametrize("method, encoder, modality", OTHERS)
def test_it_learns_under_any_other_encoder_that_has_what_it_needs(
    method: str, encoder: str, modality: str
) -> None:
    try:
        objective = make(method, encoder, modality)
    except ConfigError:
        # Only for something that the modality has an encoder of its own for may one be refused.
        assert not set(modality_card(modality).encoders).isdisjoint(cards()[method].needs)
        return
    losses = loss_of(objective)
    check_terms(losses)
    losses.total.backward()
    check_gradients(objective)


@pytest.mark.parametrize(
    "method, encoder, modality", [case for case in OWN if is_semi_supervised(case.values[0])]
)
def test_a_deaf_method_learns_the_same_from_any_pool(
    method: str, encoder: str, modality: str
) -> None:
    """In evaluation mode, where batch norm does not mix samples: so nothing but the loss hears the pool."""

    def learnt(pool: Batch, **options: object) -> list[Tensor]:
        objective = make(method, encoder, modality, **options)
        objective.start(1)
        labelled = batch_for(objective).labelled
        objective.eval().zero_grad()
        torch.manual_seed(0)
        losses = objective(SemiBatch(labelled, pool))
        losses.total.backward()
        return [losses.total, *(p.grad for p in objective.parameters() if p.grad is not None)]

    pool = batch_for(make(method, encoder, modality)).unlabelled
    deaf = load_class(method).deaf
    for one, other in zip(learnt(pool, **deaf), learnt(constant(pool), **deaf), strict=True):
        assert_close(one, other)
    listening = zip(learnt(pool), learnt(constant(pool)), strict=True)
    assert any(not torch.allclose(one, other) for one, other in listening)


@every_objective
def test_a_seed_and_a_state_fix_the_loss(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    state = states(objective)
    first, other_draw = loss_of(objective).total, loss_of(objective, seed=1).total
    objective.load_state_dict(state)
    assert torch.equal(loss_of(objective).total, first)
    assert method in WITHOUT_CHANCE or not torch.equal(other_draw, first)


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
        same_values(now.samples, then.samples)
        same_values(now.targets, then.targets)


@every_objective
def test_labels_of_the_unlabelled_are_never_read(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    if objective.reads == "labelled":
        pytest.skip("reads no unlabelled samples")
    state = states(objective)
    expected = loss_of(objective).total
    batch = batch_for(objective)
    unlabelled = batch.unlabelled if isinstance(batch, SemiBatch) else batch
    unlabelled = replace(unlabelled, targets=labelled_data(modality).targets)
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
    batch = labelled_data(modality).take(torch.arange(SIZE))
    anchors = objective.anchors(batch)
    assert anchors.ndim == 2
    assert anchors.shape[0] == SIZE
    assert anchors.isfinite().all()


@every_objective
def test_twenty_steps_bring_the_loss_down(method: str, encoder: str, modality: str) -> None:
    objective = make(method, encoder, modality)
    objective.start(20)
    trained = [p for p in objective.parameters() if p.requires_grad]
    frozen = [(p, p.clone()) for p in objective.parameters() if not p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    totals = []
    for step in range(20):
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


WEIGHED = {"supervised", "multi_binary"}
"""Terms that samples count in by their weights."""


@pytest.mark.parametrize(
    "method, encoder, modality",
    [case for case in OWN if load_class(case.values[0]).reads != "unlabelled"],
)
def test_labels_count_by_the_weights_of_their_samples(
    method: str, encoder: str, modality: str
) -> None:
    def losses(weights: Tensor | None) -> Losses:
        objective = make(method, encoder, modality)
        batch = batch_for(objective)
        if isinstance(batch, Batch):
            batch = replace(batch, weights=weights)
        else:
            batch = replace(batch, labelled=replace(batch.labelled, weights=weights))
        torch.manual_seed(0)
        return objective(batch)

    assert load_class(method).weighs
    plain, some = losses(None), torch.arange(SIZE) % 3 == 0
    alike = losses(torch.ones(SIZE))
    part, rest = losses(2.0 * some), losses(2.0 * ~some)
    for name, term in plain.items():
        assert_close(alike[name], term, name)
        if name in WEIGHED:
            # A mean over the batch, beside what guesses add to it.
            assert_close((part[name] + rest[name]) / 2, term, name)
            assert not torch.equal(part[name], term), name
        else:
            assert torch.equal(part[name], term), name
