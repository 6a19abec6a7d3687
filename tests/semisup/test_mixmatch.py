"""MixMatch is many small steps in an order: average, then sharpen, then mix, labels as samples. A wrong
order, a gradient through a guess or a share that belongs to another row would train almost as well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from tacita.data.batch import Batch, SemiBatch
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.semisup import mixmatch as module
from tacita.semisup.mixmatch import MixMatch, sharpened
from tacita.tasks import Classification, Ordinal
from tests.engine.runs import Flat
from tests.helpers import assert_close, table_batch
from tests.semisup.training import labels_alone, score_on_digits


class Shifted(nn.Module):
    """A view that is another one at every call, without randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, batch: Batch) -> Batch:
        self.calls += 1
        return batch.with_x(batch.x + 0.1 * self.calls)


def mixmatch(**options: object) -> tuple[MixMatch, SemiBatch]:
    data = load("digits").normalised()
    torch.manual_seed(0)
    objective = MixMatch(Flat(data.spec), data.task, **{"views": Shifted(), **options})
    objective.ramp.factor.fill_(1.0)
    return objective, SemiBatch(data.take(torch.arange(8)), data.take(torch.arange(8, 24)))


def probabilities(objective: MixMatch, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return softmax(objective.head(objective.encoder(x).pooled).double().numpy(), 1)


def test_the_loss_equals_algorithm_1_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = mixmatch(unlabelled_weight=3.0, guesses=3, temperature=0.7)
    order, share = torch.randperm(8 + 3 * 16), 0.5 + 0.5 * torch.rand(8 + 3 * 16)
    monkeypatch.setattr(module, "draw_share", lambda *_, **__: share)
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: order)
    losses = objective.loss(batch)

    views = [batch.labelled.x + 0.1, *(batch.unlabelled.x + 0.1 * k for k in (2, 3, 4))]
    guess = np.mean([probabilities(objective, view) for view in views[1:]], axis=0)
    guess = guess ** (1 / 0.7) / (guess ** (1 / 0.7)).sum(1, keepdims=True)
    samples = torch.cat(views)
    labels = np.concatenate([np.eye(10)[batch.labelled.y.numpy()], guess, guess, guess])
    supervised, unlabelled = [], []
    for i in range(len(samples)):
        own, j = share[i].item(), int(order[i])
        x = own * samples[i] + (1 - own) * samples[j]
        label = own * labels[i] + (1 - own) * labels[j]
        p = probabilities(objective, x[None])[0]
        if i < 8:
            supervised.append(-(label * np.log(p)).sum())
        else:
            unlabelled.append(((label - p) ** 2).mean())
    assert losses["supervised"].item() == pytest.approx(np.mean(supervised), rel=1e-4)
    assert losses["unlabelled"].item() == pytest.approx(3 * np.mean(unlabelled), rel=1e-4)


def test_sharpening_goes_from_the_guess_to_its_largest_class() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    assert_close(sharpened(p, 1.0), p)
    assert_close(sharpened(p, 0.5)[0], torch.tensor([0.25, 0.09, 0.04]) / 0.38)
    assert_close(sharpened(p, 0.01), torch.tensor([[1.0, 0.0, 0.0]] * 2))


def test_all_views_of_a_sample_have_one_guess_without_a_gradient() -> None:
    objective, batch = mixmatch()
    views = [batch.unlabelled, batch.unlabelled.with_x(batch.unlabelled.x.flip(2))]
    q = objective.guess(views)
    assert not q.requires_grad
    assert_close(q, objective.guess(views[::-1]))
    assert not torch.allclose(q, objective.guess(views[:1]), atol=1e-3)


def test_the_unlabelled_weight_rises_from_nothing() -> None:
    objective, batch = mixmatch(ramp_up=0.5)
    objective.ramp.factor.fill_(0.0)
    objective.start(10)
    assert objective.loss(batch)["unlabelled"] == 0
    weights = []
    for step in range(6):
        objective.after_step(step)
        weights.append(round(objective.loss(batch).metrics["ramp_up"].item(), 5))
    assert weights == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_categories_are_never_between_two() -> None:
    spec, labelled = table_batch()
    torch.manual_seed(0)
    encoder = build("feature-tokens", spec, dim=8)
    seen: list[Tensor] = []
    encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0].x[:, 13]))
    hidden = replace(labelled, targets=torch.full_like(labelled.y, -1))
    MixMatch(encoder, Classification(("a", "b", "c"))).loss(SemiBatch(labelled, hidden))
    assert len(seen) == 2
    assert set(torch.cat(seen).tolist()) == {0.0, 1.0, 2.0}


def test_grades_are_refused() -> None:
    data = load("digits").normalised()
    with pytest.raises(ConfigError, match="ordinal"):
        MixMatch(Flat(data.spec), Ordinal(("0", "1", "2")))


@pytest.mark.parametrize("option", [{"guesses": 0}, {"temperature": 0.0}, {"alpha": 0.0}])
def test_options_that_cannot_be_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        mixmatch(**option)


@pytest.mark.long
def test_unlabelled_samples_help_on_held_out_digits() -> None:
    learnt = score_on_digits(MixMatch, steps=250, momentum=0.95)
    assert learnt > labels_alone(MixMatch, steps=250, momentum=0.95) + 0.02
