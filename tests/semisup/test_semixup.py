"""Semixup becomes another method by one `detach`, or by mixing probabilities in place of logits: every
term is derived anew, and each branch is shown to carry a gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from torch import Tensor, nn

from tacita.adapt import supervised
from tacita.adapt.supervised import Supervised
from tacita.data.batch import Batch, SemiBatch
from tacita.encoder import Encoding
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.images.views import ImageViews
from tacita.modalities.load import load
from tacita.semisup import semixup as module
from tacita.semisup.semixup import Semixup
from tacita.tasks import Classification, Ordinal, Regression, Task
from tests.engine.runs import Flat
from tests.helpers import assert_close, table_batch
from tests.semisup.training import score_on_digits

GRADES = Ordinal(("0", "1", "2", "3"))
TASKS = [None, GRADES]
OFF = {"in_weight": 0.0, "interpolation_weight": 0.0, "out_weight": 0.0}


class Bent(Flat):
    """Not linear, so that a mixture's logits are not the mixture of logits."""

    def forward(self, batch: Batch) -> Encoding:
        features = (4 * super().forward(batch).pooled).tanh()
        return Encoding(features[:, None], features)


class Shifted(nn.Module):
    """A view without randomness."""

    def forward(self, batch: Batch) -> Batch:
        return batch.with_x(batch.x.roll(1, 3) + 0.1)


def semixup(
    task: Task | None = None, encoder: type[Flat] = Bent, **options: object
) -> tuple[Semixup, SemiBatch]:
    data = load("digits").normalised()
    torch.manual_seed(0)
    objective = Semixup(encoder(data.spec), task or data.task, **{"views": Shifted(), **options})
    batch = SemiBatch(data.take(torch.arange(8)), data.take(torch.arange(8, 24)))
    if task is not None:
        known = replace(batch.labelled, targets=batch.labelled.y % len(task.classes))
        batch = SemiBatch(known, batch.unlabelled)
    return objective, batch


def fix(monkeypatch: pytest.MonkeyPatch, labelled: float, unlabelled: float) -> list[Tensor]:
    """Shares and orders that are known: the labelled ones first."""
    orders = [torch.arange(8).roll(3), torch.arange(16).roll(5)]
    shares, given = iter([labelled, unlabelled]), iter(orders)
    monkeypatch.setattr(module, "draw_share", lambda *_, **__: torch.tensor([next(shares)]))
    monkeypatch.setattr(module, "randperm", lambda *_: next(given))
    return orders


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
    if isinstance(task, Classification):
        return softmax(logits, 1)
    above = np.minimum.accumulate(expit(logits), 1)
    return -np.diff(np.pad(above, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0))), axis=1)


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_equals_a_direct_derivation(
    task: Task | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, batch = semixup(task)
    orders = fix(monkeypatch, 0.8, 0.6)
    losses = objective.loss(batch)
    task = objective.task

    def f(x: Tensor) -> np.ndarray:
        with torch.no_grad():
            return objective.head(objective.encoder(x).pooled).double().numpy()

    def d(u: np.ndarray, v: np.ndarray) -> float:
        p, q = probabilities(task, u), probabilities(task, v)
        return float(((p - q) ** 2).sum() / (len(p) * p.shape[1]))

    view = Shifted()
    x, labelled = view(batch.unlabelled), view(batch.labelled).x
    x_again, x_j = view(x).x, x.x[orders[1]]
    a, a_view, a_j, m = f(x.x), f(x_again), f(x_j), f(0.6 * x.x + 0.4 * x_j)
    y = batch.labelled.y.numpy()
    mixed = f(0.8 * labelled + 0.2 * labelled[orders[0]])

    def cost(codes: np.ndarray) -> float:
        if isinstance(task, Classification):
            return -log_softmax(mixed, 1)[np.arange(8), codes].mean()
        above = codes[:, None] > np.arange(3)
        return -np.log(np.where(above, expit(mixed), expit(-mixed))).mean()

    expected = {
        "supervised": 0.8 * cost(y) + 0.2 * cost(y[orders[0].numpy()]),
        "in_manifold": 2 * d(a_view, a),
        "interpolation": 4 * d(m, 0.6 * a + 0.4 * a_j),
        "out_of_manifold": 2 * (d(a, m) + d(m, a_view)),
    }
    assert {name: term.item() for name, term in losses.items()} == pytest.approx(expected, rel=1e-4)
    assert all(value > 1e-4 for value in expected.values())


@pytest.mark.parametrize("task", TASKS)
def test_a_linear_network_interpolates_exactly(task: Task | None) -> None:
    objective, batch = semixup(task, Flat)
    losses = objective.loss(batch)
    assert losses["interpolation"] < 1e-10
    assert losses["out_of_manifold"] > 1e-4


def test_a_share_of_one_leaves_the_view_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = semixup()
    fix(monkeypatch, 1.0, 1.0)
    losses = objective.loss(batch)
    assert losses["interpolation"] < 1e-10
    # d(a, m) = 0 and d(m, a') = d(a, a'): the two groups have the same weight.
    assert_close(losses["out_of_manifold"], losses["in_manifold"])
    assert losses["in_manifold"] > 1e-4


def test_without_a_view_nothing_is_lost_on_the_manifold() -> None:
    objective, batch = semixup(views=nn.Identity())
    losses = objective.loss(batch)
    assert losses["in_manifold"] == 0
    assert losses["out_of_manifold"] > 0


@pytest.mark.parametrize("task", TASKS)
def test_the_distance_is_symmetric_bounded_and_blind_to_what_predictions_are(
    task: Task | None,
) -> None:
    objective, _ = semixup(task)
    width = objective.task.out_dim
    u, v = 3 * torch.randn(2, 16, width)
    assert objective.d(u, v) == objective.d(v, u) > 0
    assert objective.d(u, u) == 0
    extreme = torch.full((1, width), 50.0)
    other = -extreme if task else extreme.index_fill(1, torch.tensor([0]), -50.0)
    if task is None:
        extreme = extreme.index_fill(1, torch.arange(1, width), -50.0)
        assert_close(objective.d(u + 7, v), objective.d(u, v))
        other = other.index_fill(1, torch.arange(2, width), -50.0)
    assert objective.d(extreme, other).item() == pytest.approx(2 / len(objective.task.classes))


def test_without_its_terms_it_is_supervised_mixup(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = semixup(**OFF)
    mixup = Supervised(
        objective.encoder, objective.task, mixup=0.75, views=Shifted(), head=objective.head
    )
    for place in (module, supervised):
        monkeypatch.setattr(place, "draw_share", lambda *_, **__: torch.tensor([0.8]))
    torch.manual_seed(3)
    losses = objective.loss(batch)
    torch.manual_seed(3)
    assert_close(losses.total, mixup.loss(batch.labelled).total)


def test_shares_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    real = module.draw_share

    def draw(*given: object, **options: object) -> Tensor:
        drawn.append(real(*given, **options))
        return drawn[-1]

    monkeypatch.setattr(module, "draw_share", draw)
    objective, batch = semixup()
    for _ in range(50):
        objective.loss(batch)
    labelled, unlabelled = torch.cat(drawn[::2]), torch.cat(drawn[1::2])
    assert 0.5 <= labelled.min() < 0.55
    assert 0.55 <= unlabelled.min() < unlabelled.max() <= 1


@pytest.mark.parametrize("distance", ["squared", "kl"])
def test_every_branch_carries_a_gradient(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = semixup(distance=distance)
    orders = fix(monkeypatch, 0.8, 0.6)
    torch.manual_seed(1)
    labelled = torch.randn(8, 10)
    a, a_view, m = (torch.randn(16, 10).requires_grad_() for _ in range(3))
    objective.logits = lambda *_: [labelled, a, a_view, m]  # type: ignore[method-assign]
    losses = objective.loss(batch)

    def reached(term: str) -> list[bool]:
        grads = torch.autograd.grad(
            losses[term], (a, a_view, m), allow_unused=True, retain_graph=True
        )
        return [grad is not None and bool(grad.abs().amax(1).all()) for grad in grads]

    assert reached("in_manifold") == [True, True, False]
    assert reached("interpolation") == [True, False, True]
    assert reached("out_of_manifold") == [True, True, True]
    # Of the interpolation's gradient in a, a part comes through each of its two roles.
    own, other = a.detach().requires_grad_(), a.detach()[orders[1]].requires_grad_()
    term = 4 * objective.d(m.detach(), 0.6 * own + 0.4 * other)
    term.backward()
    (whole,) = torch.autograd.grad(losses["interpolation"], a)
    assert other.grad.abs().max() > 0
    assert_close(whole, own.grad + torch.zeros_like(a).index_copy(0, orders[1], other.grad))


def test_categories_are_never_between_two() -> None:
    spec, labelled = table_batch()
    torch.manual_seed(0)
    encoder = build("feature-tokens", spec, dim=8)
    seen: list[Tensor] = []
    encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0].x[:, 13]))
    hidden = replace(labelled, targets=torch.full_like(labelled.y, -1))
    Semixup(encoder, Classification(("a", "b", "c"))).loss(SemiBatch(labelled, hidden))
    assert len(seen) == 1
    assert set(seen[0].tolist()) == {0.0, 1.0, 2.0}


def test_a_number_is_refused() -> None:
    data = load("digits").normalised()
    with pytest.raises(ConfigError, match="regression"):
        Semixup(Flat(data.spec), Regression())


@pytest.mark.parametrize("option", [{"least_share": 0.4}, {"least_share": 1.1}, {"alpha": 0.0}])
def test_options_that_cannot_be_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        semixup(**option)


@pytest.mark.long
def test_agreement_helps_to_grade_held_out_digits() -> None:
    """The digits as ten grades, by quadratic kappa: over three draws of the labels."""
    given = {"labels": 3, "steps": 250, "task": Ordinal(tuple("0123456789"))}
    given["views"] = ImageViews(rotate=10.0, translate=0.25, noise=0.1)
    gains = [
        score_on_digits(Semixup, momentum=0.95, seed=seed, **given)
        - score_on_digits(Supervised, mixup=0.75, seed=seed, **given)
        for seed in range(3)
    ]
    assert sum(gains) / len(gains) > 0.01
