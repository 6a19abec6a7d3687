"""What is told of guesses is counted on hidden labels, and training must not feel that it is watched."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.encoders import build
from tacita.engine.guesses import Guesses
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.modalities.load import load
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import Classification


def pair() -> Dataset:
    """Zeros and ones of the digits."""
    data = load("digits")
    return replace(data.subset(data.y < 2), task=Classification(("0", "1")))


def test_guesses_are_counted_as_by_hand_and_change_nothing() -> None:
    data = pair().normalised()
    few = data.hide_labels(draw_labels(data, 5, 0))
    truth = data.subset(~few.labelled)
    options = {"steps": 15, "batch_size": 8, "log_every": 15, "learning_rate": 3e-3}
    made = []
    for watched in (True, False):
        torch.manual_seed(0)
        objective = FixMatch(build("residual-cnn", data.spec, width=8), data.task)
        callbacks = (Guesses(objective, truth, threshold=0.8),) if watched else ()
        history = train(objective, few, callbacks=callbacks, **options)
        made.append((objective.state_dict(), history.rows))
    for name, value in made[0][0].items():
        assert torch.equal(value, made[1][0][name]), name
    row = made[0][1][-1]
    assert made[1][1][-1].items() <= row.items()

    callback = Guesses(objective, truth, threshold=0.6)
    found: dict[str, float] = {}
    callback(Progress(1, 1, found, 0.0))
    x = truth.take(torch.arange(len(truth))).x
    with torch.no_grad():
        p = objective.head(objective.eval().encoder(x).pooled).softmax(1)
    sure = p.max(1).values >= 0.6
    assert 0 < int(sure.sum()) < len(truth)
    assert found["mask_rate"] == pytest.approx(float(sure.float().mean()))
    wrong = (p.argmax(1) != truth.y)[sure].float().mean()
    assert found["impurity"] == pytest.approx(float(wrong))
    Guesses(objective, truth, threshold=1.1)(Progress(1, 1, found, 0.0))
    assert (found["mask_rate"], found["impurity"]) == (0.0, 0.0)
