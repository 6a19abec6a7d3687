"""FlexMatch's thresholds are a matter of counting: who was guessed what, last and confidently.
Counted here sample by sample, in dictionaries."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tacita.data.batch import SemiBatch
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.semisup.fixmatch import FixMatch
from tacita.semisup.flexmatch import FlexMatch, convex, learning_effect
from tacita.tasks import Regression
from tests.helpers import assert_close
from tests.semisup.training import labels_alone, score_on_digits


def flexmatch(method: type[FixMatch] = FlexMatch, **options: object) -> tuple[FixMatch, SemiBatch]:
    data = load("digits").subset(torch.arange(60)).normalised()
    torch.manual_seed(0)
    plain = {"weak": nn.Identity(), "strong": nn.Identity(), "alignment": "none"}
    encoder = build("residual-cnn", data.spec, width=4)
    objective = method(encoder, data.task, **{**plain, **options})
    objective.prepare(data)
    return objective, SemiBatch(data.take(torch.arange(8)), data.take(torch.arange(8, 40)))


learnt = st.lists(st.integers(-1, 4), min_size=1, max_size=40)


@given(learnt)
def test_the_learning_effect_is_counted(last: list[int]) -> None:
    counts = Counter(last)
    largest = max(counts[c] for c in range(5))
    unused = len(last) - sum(counts[c] for c in range(5))
    expected = [counts[c] / max(largest, unused) for c in range(5)]
    assert_close(learning_effect(torch.tensor(last), 5), torch.tensor(expected))


@given(learnt)
def test_no_threshold_is_above_tau_nor_below_nothing(last: list[int]) -> None:
    beta = learning_effect(torch.tensor(last), 5)
    assert beta.min() >= 0
    assert beta.max() <= 1
    assert (convex(beta) <= beta).all()
    # The class that is learnt best reaches tau when no more samples are unused than it has.
    assert (float(convex(beta).max()) == 1) == (last.count(-1) <= max(map(last.count, range(5))))


def test_thresholds_rise_from_nothing_while_samples_are_first_used() -> None:
    objective, _ = flexmatch(threshold=0.9)
    index, classes = torch.arange(60), torch.arange(10)
    before = objective.thresholds(classes)
    assert before.tolist() == [0.0] * 10
    for count in (1, 5, 20):
        some = torch.zeros(count, dtype=torch.int64)
        objective.observe(index[:count], torch.ones(count), some, torch.zeros(count))
        now = objective.thresholds(classes)
        # Not 0.9 at once, as it would be by the share of the largest class alone.
        beta = count / (60 - count)
        assert float(now[0]) == pytest.approx(0.9 * beta / (2 - beta))
        assert now[1:].tolist() == [0.0] * 9
        assert now[0] > before[0]
        before = now


def test_a_sample_counts_by_its_last_confident_guess() -> None:
    objective, _ = flexmatch(threshold=0.9)
    expected: dict[int, int] = {}
    draw = torch.Generator().manual_seed(0)
    for _ in range(12):
        index = torch.randperm(60, generator=draw)[:20]
        confidence = torch.rand(20, generator=draw)
        guesses = torch.randint(3, (20,), generator=draw)
        objective.observe(index, confidence, guesses, torch.zeros(20))
        for i, sure, guess in zip(index, confidence, guesses, strict=True):
            if sure >= 0.9:
                expected[int(i)] = int(guess)
    assert len(expected) > 10
    assert objective.learnt.values.tolist() == [expected.get(i, -1) for i in range(60)]


def test_a_guess_counts_from_the_threshold_of_its_class() -> None:
    objective, batch = flexmatch(threshold=0.5)
    # Of 60 samples 30 were guessed to be a 0, 12 a 1, 18 nothing; other thresholds are 0.
    objective.learnt.values.copy_(torch.tensor([0] * 30 + [1] * 12 + [-1] * 18))
    with torch.no_grad():
        objective.head[-1].bias += torch.tensor([2.0, 1.7, 1.7, 1.7] + [0.0] * 6)
        _, weak, strong = objective.logits(batch.labelled, batch.unlabelled, batch.unlabelled)
        losses = objective.loss(batch)
    confidence, guesses = weak.softmax(1).max(1)
    beta = 12 / 30
    at = {0: 0.5, 1: 0.5 * beta / (2 - beta)}
    pairs = zip(confidence.tolist(), guesses.tolist(), strict=True)
    used = torch.tensor([float(sure >= at.get(guess, 0.0)) for sure, guess in pairs])
    assert 0 < used.mean() < 1
    assert {0, 1} < set(guesses.tolist())
    each = nn.functional.cross_entropy(strong, guesses, reduction="none")
    assert_close(losses["unlabelled"], (each * used).mean())


def test_a_step_is_judged_by_what_was_learnt_before_it() -> None:
    # All thresholds are 0 before the first step, whatever it shows.
    objective, batch = flexmatch(threshold=0.11)
    losses = objective.loss(batch)
    assert float(losses.metrics["confident"]) == 1.0
    assert (objective.learnt.values >= 0).sum() > 0


def test_where_all_classes_are_learnt_alike_it_is_fixmatch() -> None:
    objective, batch = flexmatch(threshold=0.2)
    fix, _ = flexmatch(FixMatch, threshold=0.2)
    objective.learnt.values.copy_(torch.arange(60) % 10)
    a, b = objective.loss(batch), fix.loss(batch)
    assert 0 < float(b.metrics["confident"]) < 1
    assert torch.equal(a.total, b.total)


def test_nothing_is_learnt_of_samples_while_it_is_evaluated() -> None:
    objective, batch = flexmatch(threshold=0.05)
    objective.eval().loss(batch)
    assert (objective.learnt.values == -1).all()


def test_a_task_without_classes_is_refused_by_name() -> None:
    data = load("digits").normalised()
    with pytest.raises(ConfigError, match="flexmatch guesses classes"):
        FlexMatch(build("residual-cnn", data.spec, width=4), Regression())


def test_samples_that_were_not_prepared_are_refused() -> None:
    data = load("digits").subset(torch.arange(60)).normalised()
    objective = FlexMatch(build("residual-cnn", data.spec, width=4), data.task)
    batch = data.take(torch.arange(8))
    with pytest.raises(ConfigError, match="prepare"):
        objective.loss(SemiBatch(batch, batch))


@pytest.mark.long
def test_unlabelled_samples_help_on_held_out_digits() -> None:
    assert score_on_digits(FlexMatch) > labels_alone(FlexMatch) + 0.03
