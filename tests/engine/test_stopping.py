"""Early stopping: the weights that are kept are the best measured ones, however often it was killed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tacita.audit.health.rankme import rankme
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.engine.history import Best, History, Progress
from tacita.engine.scores import effective_rank_score, held_out_loss, held_out_score
from tacita.engine.stopping import Stopping
from tacita.engine.train import train
from tacita.errors import ConfigError, DataError, DivergedError
from tacita.learner import features
from tacita.modalities.load import load
from tacita.objective import Losses, Objective
from tests.engine.runs import Flat, Plain, digits_data, equal, fixmatch, plain, weights

DATA = digits_data()
HELD = load("digits").subset(torch.arange(200, 300)).normalised(DATA.normaliser)


class Scripted:
    """Scores that were written down beforehand, and what was to be seen at each."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.seen: list[dict[str, torch.Tensor]] = []
        self.drawn: list[float] = []

    def __call__(self, objective: Objective[Any]) -> float:
        assert not any(module.training for module in objective.modules())
        assert not torch.is_grad_enabled()
        self.seen.append(weights(objective))
        self.drawn.append(float(torch.rand(())))
        return self.scores[len(self.seen) - 1]


def trained(stopping: Stopping | None, **options: Any) -> tuple[Plain, History]:
    objective = plain(DATA)
    return objective, train(
        objective, DATA, stopping=stopping, **{"steps": 12, "batch_size": 16, **options}
    )


def test_training_ends_without_progress_and_keeps_the_best_weights() -> None:
    score = Scripted(1, 3, 2, 2.5, 9)
    objective, history = trained(Stopping(score, every=2, patience=2))
    assert history.stopped_at == 8
    assert history.best == Best(4, 3.0)
    assert equal(weights(objective), score.seen[1])
    assert [(row["step"], row["score"]) for row in history.rows] == [
        (2, 1),
        (4, 3),
        (6, 2),
        (8, 2.5),
    ]
    assert len(set(score.drawn)) == 1


def test_an_equal_score_is_no_progress() -> None:
    assert trained(Stopping(Scripted(1, 1, 1), every=1, patience=2))[1].stopped_at == 3


def test_all_steps_are_done_where_it_always_gets_better_and_the_last_is_measured() -> None:
    score = Scripted(1, 2, 3)
    objective, history = trained(Stopping(score, every=5, patience=1))
    assert history.stopped_at is None
    assert history.best == Best(12, 3.0)
    assert equal(weights(objective), score.seen[-1])


def test_measuring_does_not_change_the_run() -> None:
    calls: list[set[bool]] = []

    class Looked(type(fixmatch(DATA))):  # type: ignore[misc]
        def loss(self, batch: Any) -> Losses:
            calls.append({module.training for module in self.modules()})
            return super().loss(batch)

    def run(stopping: Stopping | None) -> dict[str, torch.Tensor]:
        objective = fixmatch(DATA)
        objective.__class__ = Looked
        train(objective, DATA, steps=6, batch_size=8, stopping=stopping)
        return weights(objective)

    def greedy(objective: Objective[Any]) -> float:
        greedy_calls.append(held_out_loss(HELD)(objective))
        for parameter in objective.parameters():
            parameter.zero_()
        return float(len(greedy_calls))

    greedy_calls: list[float] = []
    expected = run(None)
    modes = copy.deepcopy(calls)
    calls.clear()
    assert equal(run(Stopping(greedy, every=1)), expected)
    assert len(greedy_calls) == 6
    # Of the measured copy's batches no module is in training mode; of the run's they are as before.
    assert [mode for mode in calls if mode != {False}] == modes


def test_the_averaged_weights_are_what_is_measured() -> None:
    found: list[bool] = []

    def score(objective: Objective[Any]) -> float:
        average = objective.average.teacher[0].state_dict()  # type: ignore[union-attr, index]
        found.append(equal(weights(objective.encoder), weights(objective.average.teacher[0])))  # type: ignore[union-attr, index]
        assert average
        return 0.0

    train(fixmatch(DATA), DATA, steps=4, batch_size=8, stopping=Stopping(score, every=2))
    assert found == [True, True]


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_killed_run_stops_at_the_same_step_with_the_same_weights(
    stop: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    script = {0: 0.0, 1: 1.0, 2: 5.0, 3: 2.0, 4: 3.0, 5: 4.0}

    class ByStep(Plain):
        """It counts its steps, so that a score can be told by them."""

        def __init__(self) -> None:
            super().__init__(Flat(DATA.spec))
            self.register_buffer("steps_done", torch.tensor(0))

        def after_step(self, step: int) -> None:
            self.steps_done += 1  # type: ignore[operator, assignment]

    def by_step(objective: Objective[Any]) -> float:
        return script[int(objective.steps_done) // 2]  # type: ignore[arg-type]

    def run(**options: Any) -> tuple[dict[str, torch.Tensor], History]:
        torch.manual_seed(0)
        objective = ByStep()
        stopping = Stopping(by_step, every=2, patience=2)
        history = train(
            objective, DATA, steps=12, batch_size=16, stopping=stopping, log_every=1, **options
        )
        return weights(objective), history

    class KilledError(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.step == stop:
            raise KilledError

    expected, whole = run()
    assert (whole.stopped_at, whole.best) == (8, Best(4, 5.0))
    with pytest.raises(KilledError):
        run(checkpoint=path, checkpoint_every=0.0, callbacks=[kill])
    for _ in range(2):  # resumed, and then resumed although it has ended
        resumed, history = run(checkpoint=path, resume=True)
        assert equal(resumed, expected)
        assert (history.stopped_at, history.best) == (whole.stopped_at, whole.best)
        assert history.rows == whole.rows


def test_a_score_that_is_not_a_number_is_named() -> None:
    with pytest.raises(DivergedError, match="score to stop by became nan by step 2"):
        trained(Stopping(lambda objective: float("nan"), every=2))


@pytest.mark.parametrize("options", [{"every": 0}, {"patience": 0}])
def test_stopping_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Stopping(float, **options)


# The scores that are ready made


def test_the_held_out_score_is_the_tasks_metric_on_labelled_samples() -> None:
    objective = plain(DATA).eval()
    some = HELD.hide_labels(torch.arange(30))
    logits = objective.head(objective.encoder(HELD.take(torch.arange(30)).x).pooled)  # type: ignore[misc]
    expected = float((logits.argmax(1) == HELD.y[:30]).float().mean())
    assert held_out_score(some)(objective) == pytest.approx(expected)
    assert 0 < expected < 1


def test_stopping_by_held_out_labels_finds_a_better_model_than_overfitting() -> None:
    _, history = trained(
        Stopping(held_out_score(HELD), every=5, patience=3), steps=200, learning_rate=0.03
    )
    assert history.best is not None
    assert history.best.score == max(row.get("score", 0.0) for row in history.rows)
    assert history.best.score > 0.4


class Size(Objective[Batch]):
    """Reads no label; its loss is the mean square of the features, each in its batch."""

    reads = "unlabelled"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Flat(DATA.spec)

    def loss(self, batch: Batch) -> Losses:
        assert (batch.y == -1).all()
        return Losses(size=self.encoder(batch).pooled.square().mean())


@pytest.mark.parametrize("batch_size", [20, 100, 1000])
def test_the_held_out_loss_is_the_objectives_own_over_one_pass(batch_size: int) -> None:
    objective = Size().eval()
    with torch.no_grad():
        features = objective.encoder(HELD.take(torch.arange(100)).x).pooled
    expected = -float(features.square().mean())
    assert held_out_loss(HELD, batch_size)(objective) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [plain, fixmatch, lambda data: Size()])
def test_the_held_out_loss_suits_every_kind_of_objective(make: Any) -> None:
    objective = make(DATA)
    score = held_out_loss(HELD, 16)
    history = train(
        objective,
        DATA,
        steps=2,
        batch_size=8,
        stopping=Stopping(score, every=1),
        precision="64-true",
    )
    assert all(row["score"] < 0 for row in history.rows)


def test_the_effective_rank_is_that_of_the_features() -> None:
    objective = plain(DATA).eval()
    expected = rankme(features(objective.encoder, HELD))
    assert effective_rank_score(HELD)(objective) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("score", [held_out_score, held_out_loss, effective_rank_score])
def test_held_out_samples_must_be_seen_as_the_training_sees_its_own(score: Any) -> None:
    raw: Dataset = load("digits")
    with pytest.raises(ConfigError, match="not normalised"):
        score(raw)


def test_scores_by_labels_need_labels_and_a_head() -> None:
    without = HELD.hide_labels(torch.empty(0, dtype=torch.int64))
    with pytest.raises(DataError, match="none of the held-out samples has a label"):
        held_out_score(without)
    with pytest.raises(DataError, match="none of the held-out samples has a label"):
        held_out_loss(without)(plain(DATA))
    with pytest.raises(ConfigError, match="Size has no head"):
        held_out_score(HELD)(Size())
