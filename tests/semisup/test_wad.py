"""WAD can fail silently: a sample labelled twice, weights of the wrong sample, a teacher that learns, or
rounds that a resumed run counts anew. Knowledge is held to a loop over samples and classes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

import tacita.semisup.wad as wad
from tacita.claim.mismatch import mismatched
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels, hold_out
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.parts.similarity import unit
from tacita.pretrain.simclr import SimCLR
from tacita.semisup.wad import (
    WAD,
    WeightAwareDistillation,
    best_and_margin,
    class_similarities,
    whitened,
)
from tacita.tasks import UNLABELLED, Classification, Regression
from tests.engine.runs import Flat, digits_data, equal, weights
from tests.helpers import BATCHES, assert_close

DATA = digits_data(samples=200, labelled=40)
QUICK = {"steps": 12, "batch_size": 16, "log_every": 1}


def encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return build("residual-cnn", DATA.spec, width=4)


def draw(unlabelled: int = 11, labelled: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    z = unit(torch.randn(unlabelled, 5, generator=generator))
    memory = unit(torch.randn(labelled, 5, generator=generator))
    return z, memory, torch.arange(labelled) % 3


def test_similarities_are_those_of_a_loop_over_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wad, "BLOCK", 4)  # so that the last block is not a whole one
    z, memory, y = draw()
    found = class_similarities(z, memory, y, classes=4)
    for i, row in enumerate(z.double().numpy()):
        for c in range(3):
            cosines = [row @ other for other in memory[y == c].double().numpy()]
            assert float(found[i, c]) == pytest.approx(max(cosines), abs=1e-6)
    assert found[:, 3].tolist() == [-1.0] * 11  # of this class there is no label


def test_neither_order_nor_duplicates_of_labelled_samples_matter() -> None:
    z, memory, y = draw()
    expected = class_similarities(z, memory, y, 3)
    order = torch.tensor([8, 3, 1, 0, 5, 2, 7, 6, 4, 4, 0])
    assert_close(class_similarities(z, memory[order], y[order], 3), expected)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=6),
    st.floats(-1, 1),
)
def test_the_weight_is_a_margin(rows: list[list[float]], shift: float) -> None:
    s = torch.tensor(rows)
    guesses, w = best_and_margin(s)
    second, first = np.sort(np.array(rows), 1)[:, -2:].T
    np.testing.assert_allclose(w.numpy(), first - second, atol=1e-6)
    assert bool(((w >= 0) & (w <= 2)).all())
    assert torch.equal(s.gather(1, guesses[:, None])[:, 0], s.amax(1))
    assert_close(best_and_margin(s.double() + shift)[1], best_and_margin(s.double())[1])


def test_whitened_features_are_uncorrelated_and_small_variances_stay_small() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, 5, dtype=torch.float64, generator=generator)
    values = values @ torch.randn(5, 5, dtype=torch.float64, generator=generator)
    values = torch.cat([values, values[:, :1] - 3], 1)  # the last direction says nothing new
    found = whitened(values)
    variances = torch.linalg.eigvalsh(torch.cov(values.T, correction=0))
    expected = variances / (variances + 0.03 * variances.mean())
    assert_close(found.mean(0), torch.zeros(6, dtype=found.dtype))
    assert_close(torch.cov(found.T, correction=0), torch.diag(expected))
    assert torch.equal(whitened(torch.full((9, 3), 2.0)), torch.zeros(9, 3))


def objective_and_batch() -> tuple[WeightAwareDistillation, SemiBatch]:
    torch.manual_seed(0)
    objective = WeightAwareDistillation(encoder(), DATA.task, views=nn.Identity())
    hidden = DATA.hide_labels(torch.empty(0, dtype=torch.int64))
    return objective, SemiBatch(DATA.take(torch.arange(8)), hidden.take(torch.arange(4, 36)))


def log_likelihoods(objective: WeightAwareDistillation, batch: Batch) -> np.ndarray:
    with torch.no_grad():
        logits = objective.head(objective.encoder(batch).pooled).double().numpy()
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_the_loss_equals_a_direct_derivation() -> None:
    objective, batch = objective_and_batch()
    guesses, w = torch.arange(200) % 10, torch.linspace(0, 1, 200)
    guesses[:10], w[:10] = UNLABELLED, 0.0  # of the unlabelled batch, samples 4 to 9 have labels
    objective.teach(DATA.index, guesses, w)
    with torch.no_grad():
        losses = objective.loss(batch)
    a, b = (log_likelihoods(objective, part) for part in (batch.labelled, batch.unlabelled))
    supervised = -np.mean([a[i, y] for i, y in enumerate(batch.labelled.y.tolist())])
    each = [-w[i].item() * b[i - 4, int(guesses[i])] for i in range(10, 36)]
    assert float(losses["supervised"]) == pytest.approx(supervised, rel=1e-4)
    assert float(losses["distilled"]) == pytest.approx(sum(each) / 26, rel=1e-4)
    assert float(losses.metrics["weight"]) == pytest.approx(float(w[10:36].mean()), rel=1e-4)


def gradients(objective: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(objective.parameters())))


def test_weights_of_zero_are_supervised_training_and_of_one_plain_distillation() -> None:
    objective, batch = objective_and_batch()
    guesses = torch.arange(200) % 10
    objective.teach(DATA.index, guesses, torch.zeros(200))
    found = gradients(objective, objective.loss(batch).total)
    alone = functional.cross_entropy(objective.logits(batch.labelled), batch.labelled.y)
    for gradient, expected in zip(found, gradients(objective, alone), strict=True):
        assert torch.equal(gradient, expected)
    objective.teach(DATA.index, guesses, torch.ones(200))
    logits = objective.logits(batch.unlabelled)
    plain = functional.cross_entropy(logits, guesses[4:36])
    assert_close(objective.loss(batch)["distilled"], plain)


class Watched(WAD):
    """Keeps what every round was trained on."""

    def train_round(
        self, objective: WeightAwareDistillation, data: Dataset, number: int, seed: int
    ) -> None:
        self.rounds_: list[tuple[Dataset, Tensor]] = [] if number == 1 else self.rounds_
        self.rounds_.append((data, objective.pseudo_labels.read(data.index)))
        super().train_round(objective, data, number, seed)


def test_the_labelled_set_grows_by_the_schedule_and_never_holds_a_sample_twice() -> None:
    learner = Watched(encoder(), alpha=0.5, engine=QUICK).fit(DATA)
    sizes, unlabelled = [], 160
    for number in range(1, 7):
        sizes.append(200 - unlabelled)
        unlabelled -= int(0.5 * (1 - number / 5) ** 2 * unlabelled)
    assert [int(data.labelled.sum()) for data, _ in learner.rounds_] == sizes
    assert sizes[:3] == [40, 91, 110]
    assert sizes[4] == sizes[5]
    for (data, guesses), (later, _) in zip(learner.rounds_, learner.rounds_[1:], strict=False):
        assert torch.equal(data.labelled, guesses == UNLABELLED)  # in one of the two sets
        assert torch.equal(later.y[data.labelled], data.y[data.labelled])  # never revised
        taken = later.labelled & ~data.labelled
        assert torch.equal(later.y[taken], guesses[taken])  # by its pseudo-label
    assert torch.equal(learner.rounds_[-1][0].y[DATA.labelled], DATA.y[DATA.labelled])


def test_samples_of_the_smallest_loss_are_taken_over() -> None:
    learner = Watched(encoder(), rounds=2, alpha=0.5, engine=QUICK)
    learner.fit(DATA)
    before, after = learner.rounds_[0], learner.rounds_[1][0]
    # The student as it was after the first round: once more, with the same seed.
    again = Once(encoder(), rounds=2, alpha=0.5, engine=QUICK)
    with pytest.raises(Stopped):
        again.fit(DATA)
    outside = ~before[0].labelled
    with torch.no_grad():
        logits = again.student_.eval().logits(DATA.take(torch.arange(200)))
    losses = functional.cross_entropy(logits[outside], before[1][outside], reduction="none")
    taken = after.labelled[outside]
    assert int(taken.sum()) == 20
    assert float(losses[taken].max()) <= float(losses[~taken].min())


class Stopped(Exception):
    pass


class Once(WAD):
    """Ends after the first round."""

    def train_round(
        self, objective: WeightAwareDistillation, data: Dataset, number: int, seed: int
    ) -> None:
        super().train_round(objective, data, number, seed)
        self.student_ = copy.deepcopy(objective)
        raise Stopped


@pytest.mark.parametrize("student", ["fresh", "teacher"])
def test_the_teacher_learns_nothing(student: str) -> None:
    teacher = encoder()
    before = weights(teacher)
    learner = WAD(teacher, rounds=1, student=student, engine=QUICK).fit(DATA)  # type: ignore[arg-type]
    assert equal(weights(teacher), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not equal(weights(learner.encoder), before)


def test_a_fresh_student_shares_no_weights_with_its_teacher() -> None:
    teacher = encoder()
    same = weights(WAD(teacher, student="teacher").build(DATA).encoder)
    assert equal(same, weights(teacher))
    fresh = WAD(teacher).build(DATA).encoder
    convolutions = [p for p in fresh.parameters() if p.ndim == 4]
    theirs = [p for p in teacher.parameters() if p.ndim == 4]
    for mine, other in zip(convolutions, theirs, strict=True):
        assert not torch.equal(mine, other)


@pytest.mark.parametrize(
    "modality, kind", [("series", "residual-conv"), ("tables", "feature-tokens")]
)
def test_series_and_tables_are_learnt_from_as_images_are(modality: str, kind: str) -> None:
    spec, batch = BATCHES[modality]()
    y = torch.where(torch.arange(len(batch)) % 2 == 0, batch.y % 2, UNLABELLED)
    data = Dataset.of(modality, batch.samples, y, Classification(("a", "b")))
    engine = {"steps": 2, "batch_size": 8}
    learner = WAD(build(kind, spec), rounds=1, alpha=0.5, engine=engine).fit(data)
    assert learner.weights_.shape == (len(batch) // 2,)
    assert bool(learner.weights_.isfinite().all())
    assert learner.predict_proba(data).shape == (len(batch), 2)


def test_steps_are_shared_by_the_rounds_and_counted_on() -> None:
    seen: list[Progress] = []
    engine = {**QUICK, "steps": 12, "callbacks": (seen.append,)}
    learner = WAD(encoder(), rounds=3, engine=engine).fit(DATA)
    assert [progress.step for progress in seen] == list(range(1, 13))
    assert {progress.steps for progress in seen} == {12}
    assert [row["step"] for row in learner.history_.rows] == list(range(1, 13))
    assert learner.history_.steps == 12


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = WAD(encoder(), rounds=2, alpha=0.5, engine=QUICK).fit(DATA)

    def kill(progress: Progress) -> None:
        if progress.step == 6:  # in the second round, after one of its steps
            raise KeyboardInterrupt

    kept = {**QUICK, "checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 0.0}
    with pytest.raises(KeyboardInterrupt):
        WAD(encoder(), rounds=2, alpha=0.5, engine={**kept, "callbacks": (kill,)}).fit(DATA)
    seen: list[int] = []
    again = {**kept, "resume": True, "callbacks": (lambda progress: seen.append(progress.step),)}
    resumed = WAD(encoder(), rounds=2, alpha=0.5, engine=again).fit(DATA)
    assert min(seen) == 6, "a finished round was trained again"
    assert equal(weights(resumed.encoder), weights(whole.encoder))
    assert [row["total"] for row in resumed.history_.rows] == [
        row["total"] for row in whole.history_.rows
    ]


def test_a_seed_fixes_all_of_it() -> None:
    fits = [WAD(encoder(), rounds=1, engine=QUICK).fit(DATA, seed=seed) for seed in (0, 0, 1)]
    assert equal(weights(fits[0].encoder), weights(fits[1].encoder))
    assert not equal(weights(fits[0].encoder), weights(fits[2].encoder))


def test_without_unlabelled_samples_it_learns_from_labels() -> None:
    data = DATA.subset(DATA.labelled)
    learner = WAD(encoder(), rounds=1, engine=QUICK).fit(data)
    assert len(learner.weights_) == 0
    assert learner.predict(data).shape == (40,)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds=0"):
        WAD(encoder(), rounds=0)
    with pytest.raises(ConfigError, match=r"alpha=1\.5"):
        WAD(encoder(), alpha=1.5)
    with pytest.raises(ConfigError, match="regression"):
        WAD(encoder()).build(DATA.with_labels(DATA.y.float(), Regression()))
    one = Dataset.of("images", DATA.x, torch.zeros(200, dtype=torch.int64), Classification(("a",)))
    with pytest.raises(ConfigError, match="only one"):
        WAD(encoder()).build(one.normalised())


def test_an_encoder_made_by_hand_is_a_teacher_whose_student_starts_as_it() -> None:
    with pytest.raises(ConfigError, match="Flat"):
        WAD(Flat(DATA.spec), engine=QUICK).fit(DATA)
    WAD(Flat(DATA.spec), student="teacher", rounds=1, engine=QUICK).fit(DATA)


def test_weights_tell_strangers_and_right_guesses_on_digits_of_which_most_are_strangers() -> None:
    whole = load("digits")
    kept, held = hold_out(whole, 0.3, 0)
    pool = mismatched(whole.subset(kept), ["3", "8"], share=0.75, seed=0).normalised()
    test = mismatched(whole.subset(held), ["3", "8"], share=0.0).normalised(pool.normaliser)
    few = pool.hide_labels(draw_labels(pool, 4, 0))
    torch.manual_seed(0)
    teacher = build("residual-cnn", pool.spec, width=8)
    train(SimCLR(teacher), few, steps=120, batch_size=128, seed=0)
    engine = {"steps": 120, "batch_size": 32, "learning_rate": 1e-3}
    learner = WAD(teacher, engine=engine).fit(few, seed=0)
    assert torch.equal(learner.index_, few.index[~few.labelled])
    truth, weights = pool.y[~few.labelled], learner.weights_
    known, right = truth != UNLABELLED, learner.pseudo_labels_ == truth
    assert roc_auc_score(known.numpy(), weights.numpy()) > 0.65
    heavy = weights > weights.median()
    assert float(right[heavy].float().mean()) > 2 * float(right[~heavy].float().mean())
    assert learner.score(test) > 0.8
