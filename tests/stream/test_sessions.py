"""Sessions share no class, and a learner that is extended is scored on all classes so far."""

from __future__ import annotations

import pytest
import torch

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.measures.forgetting import average_final, average_over_sessions, forgetting
from tacita.modalities.load import load
from tacita.stream.sessions import class_sessions, session_scores

DIGITS = load("digits").normalised()


def test_every_sample_is_in_one_session_and_every_class_too() -> None:
    sessions = class_sessions(DIGITS, base=5, step=2, seed=3)
    assert [len(part.task.classes) for part in sessions] == [5, 2, 2, 1]
    names = [name for part in sessions for name in part.task.classes]
    assert sorted(names) == sorted(DIGITS.task.classes)
    index = torch.cat([part.index for part in sessions])
    assert torch.equal(index.sort().values, DIGITS.index)
    for part in sessions:
        assert part.task.decode(part.targets) == DIGITS.task.decode(DIGITS.targets[part.index])


def test_the_seed_gives_the_order_of_the_classes_whatever_the_samples() -> None:
    def orders(seed: int, count: int) -> list[tuple[str, ...]]:
        few = DIGITS.subset(torch.arange(count))
        return [part.task.classes for part in class_sessions(few, base=4, step=3, seed=seed)]

    assert orders(1, 1797) == orders(1, 300) != orders(2, 300)


def test_neighbours_are_scored_after_each_session_as_after_one_fit() -> None:
    parts = DIGITS.subset(torch.arange(300)), DIGITS.subset(torch.arange(300, 600))
    sessions, held = (class_sessions(part, base=4, step=3, seed=0) for part in parts)
    torch.manual_seed(0)
    encoder = build("residual-cnn", DIGITS.spec, width=4)
    knn = Knn(encoder)
    scores = session_scores(knn, sessions, held)
    assert [len(row) for row in scores] == [1, 2, 3]
    assert scores[0] == (Knn(encoder).fit(sessions[0]).score(held[0]),)
    whole = Knn(encoder).fit(parts[0])
    # Nothing is forgotten: what falls is that there are more classes to confuse.
    assert scores[2] == pytest.approx([whole.score(part) for part in held])
    assert average_final(scores) == pytest.approx(sum(scores[2]) / 3)
    assert average_over_sessions(scores) > average_final(scores)
    assert forgetting(scores, higher_is_better=True) >= 0


def test_what_has_no_sessions_is_refused() -> None:
    for base, step in ((0, 1), (11, 1), (5, 0)):
        with pytest.raises(ConfigError, match=f"base={base}, step={step} of 10 classes"):
            class_sessions(DIGITS, base=base, step=step)
    with pytest.raises(ConfigError, match="sessions are of classes"):
        class_sessions(load("diabetes"), base=1, step=1)
    probe = LinearProbe(build("residual-cnn", DIGITS.spec, width=4))
    with pytest.raises(ConfigError, match="LinearProbe learns once"):
        session_scores(probe, [DIGITS], [DIGITS])
