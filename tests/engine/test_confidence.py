"""A threshold that lets nothing through is told once, and one that is only slow is not.

What could go wrong: an alarm in the first steps of every run, one a fold, one where a method has no
threshold, and silence in a run that ends before it.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_wine

import tacita
from tacita.adapt.trained import Trained
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.confidence import ConfidenceAlarm
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.modalities.memory import as_dataset
from tacita.semisup.fixmatch import FixMatch

BELOW = "no guess was confident enough"
LABELLED = "every sample has a label"


def wine(labelled: int = 24) -> Dataset:
    x, y = load_wine(return_X_y=True)
    data = as_dataset(x, y)
    return data.hide_labels(torch.arange(0, len(data), len(data) // labelled))


def fixmatch(data: Dataset, **options: Any) -> FixMatch:
    torch.manual_seed(0)
    encoder = build("feature-tokens", data.spec, dim=16, depth=1)
    return FixMatch(encoder, data.task, **options)


def told(rows: dict[int, float | None], steps: int, *, samples: int = 24) -> list[int]:
    """The steps at which the alarm is given, for the share of confident guesses by step."""
    data = wine().subset(torch.arange(samples))
    given: list[int] = []
    alarm = ConfidenceAlarm(fixmatch(data), data, 2, alarm=lambda _: given.append(step))
    for step, confident in rows.items():
        row = {"step": step} | ({} if confident is None else {"confident": confident})
        alarm(Progress(step, steps, row, 0.0))
    return given


def zeros(first: int, last: int) -> dict[int, float | None]:
    return dict.fromkeys(range(first, last + 1, 20), 0.0)


def test_an_epoch_is_all_samples_by_those_of_a_step() -> None:
    data = wine()
    few = int(data.labelled.sum())
    for batch_size, ratio, unlabelled in ((8, 3, 24), (64, 2, 128), (64, 7, 7 * few)):
        alarm = ConfidenceAlarm(fixmatch(data, unlabelled_ratio=ratio), data, batch_size)
        assert alarm.epoch == -(-len(data) // min(unlabelled, len(data)))


def test_it_is_given_once_after_a_hundred_steps_of_nothing() -> None:
    assert told(zeros(20, 400), 400) == [100]
    # What was let through before counts no more, and what is let through in between does.
    assert told({20: 0.1, **zeros(40, 400)}, 400) == [120]
    assert told({**zeros(20, 80), 100: 0.01, **zeros(120, 180)}, 400) == []


def test_an_epoch_that_is_longer_is_waited_for() -> None:
    data = wine().subset(torch.arange(1)).subset(torch.zeros(3000, dtype=torch.int64))
    given: list[str] = []
    alarm = ConfidenceAlarm(fixmatch(data), data, 2, alarm=given.append)
    assert alarm.epoch == 3000 // 14 + 1
    for step in range(20, 220, 20):
        alarm(Progress(step, 200, {"confident": 0.0}, 0.0))
    assert given == []
    alarm(Progress(220, 220, {"confident": 0.0}, 0.0))
    assert len(given) == 1


def test_a_short_run_is_told_at_its_end() -> None:
    assert told(zeros(20, 60), 60) == [60]
    assert told(zeros(20, 60), 80) == []
    assert told({20: 0.0, 40: 0.0, 60: 0.5}, 60) == []
    assert told({20: 0.5, 40: 0.0, 60: 0.0}, 60) == []
    # One row is little to go by.
    assert told({20: 0.0}, 20) == []


def test_methods_without_a_threshold_are_left_alone() -> None:
    assert told(dict.fromkeys(range(20, 400, 20)), 400) == []


def test_a_run_that_goes_on_is_watched_from_there() -> None:
    assert told(zeros(520, 600), 600) == []
    assert told(zeros(520, 700), 700) == [620]


@pytest.mark.parametrize(("threshold", "given"), [(1.0, True), (0.1, False)])
def test_a_training_tells_of_its_threshold(threshold: float, given: bool) -> None:
    data, said = wine(), []
    learner = Trained(
        build("feature-tokens", data.spec, dim=16, depth=1),
        FixMatch,
        options={"threshold": threshold},
        engine={"steps": 30, "batch_size": 16},
        alarm=said.append,
    ).fit(data)
    assert (learner.history_.final["confident"] == 0) == given
    assert [BELOW in text for text in said] == [True] * given
    assert all("lower the threshold" in text for text in said)


def test_the_default_alarm_is_a_warning() -> None:
    data = wine()
    learner = tacita.TacitaClassifier(
        steps=30, batch_size=16, options={"threshold": 1.0}, random_state=0
    )
    labels = data.y.numpy()
    with pytest.warns(UserWarning, match=BELOW):
        learner.fit(data.x.numpy(), labels)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_samples_that_all_have_a_label_are_told_and_still_learnt_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x, y = load_wine(return_X_y=True)
    few = slice(None, None, 6)
    options: dict[str, Any] = {"encoder": "feature-tokens", "encoder.dim": 16, "steps": 60}
    model = tacita.adapt("fixmatch", x[few], y[few], **options, learning_rate=0.01)
    out = capsys.readouterr().out
    assert f"warning   {LABELLED}" in out
    assert "`supervised`" in out
    assert model.evaluate(x, y)["accuracy"] > 0.9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tacita.adapt("supervised", x[few], y[few], quiet=True, **options)
    assert caught == []


def test_candidates_tell_it_once_for_all_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = wine()
    deaf = tmp_path / "deaf.yaml"
    deaf.write_text(
        "format: 1\nname: deaf\nencoder: {method: feature-tokens, dim: 16, depth: 1}\n"
        "learn: {method: fixmatch, threshold: 1.0, train: {steps: 30, batch_size: 16}}\n"
    )
    tacita.compare(data, [str(deaf), "knn"])
    out = capsys.readouterr().out
    assert out.count(f"warning   deaf: for an epoch of unlabelled samples or longer, {BELOW}") == 1


def test_training_is_not_changed_by_it() -> None:
    data = wine().normalised()

    engine: dict[str, Any] = {**FixMatch.engine_defaults, "steps": 30, "batch_size": 16}
    encoder = build("feature-tokens", data.spec, dim=16, depth=1)
    learner = Trained(encoder, FixMatch, options={"threshold": 0.1}, engine=engine).fit(
        data, seed=3
    )
    torch.manual_seed(3)
    objective = FixMatch(copy.deepcopy(encoder), data.task, threshold=0.1)
    train(objective, data, **engine, seed=3)
    found = dict(learner.encoder.named_parameters())
    for name, parameter in objective.encoder.named_parameters():
        assert torch.equal(parameter, found[name])
