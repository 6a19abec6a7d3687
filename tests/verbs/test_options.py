"""A mistaken option is refused before anything is read, with the nearest name that there is."""

from __future__ import annotations

from typing import Any

import pytest

import tacita
from tacita.errors import ConfigError
from tacita.verbs.options import Running


@pytest.mark.parametrize(
    "options, words",
    [
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**32}, "seed="),
        ({"budget": "soon"}, "'soon' is not a duration"),
        ({"precision": "8-bit"}, "precision='8-bit'"),
    ],
)
def test_how_a_verb_runs_is_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Running(**options)


def test_the_budget_is_told_in_seconds() -> None:
    assert Running(budget="5m").seconds == 300
    assert Running(budget="none").seconds is None
    assert Running().seconds is None
    assert Running(device="cpu").engine == {"device": "cpu", "precision": "32-true"}


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda **o: tacita.fit("wine", **o), "fit has no option 'lables'; did you mean labels"),
        (lambda **o: tacita.compare("wine", "knn", **o), "compare has no option 'lables'"),
        (lambda **o: tacita.load("wine", **o), "load has no option 'lables'"),
        (lambda **o: tacita.as_dataset([[1.0]], **o), "as_dataset has no option 'lables'"),
        (lambda **o: tacita.adapt("knn", "wine", **o), "lables: unknown; did you mean labels"),
        (lambda **o: tacita.pretrain("mae", "wine", **o), "lables: unknown; did you mean labels"),
        (lambda **o: tacita.pretrain_stream("mae", ["wine"], **o), "did you mean labels"),
    ],
)
def test_a_slip_in_a_shared_option_is_told_the_nearest(call: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call(lables="y")


def test_a_slip_in_an_option_of_the_method_is_told_the_methods_own() -> None:
    for options, words in [
        ({"stepz": 3}, "did you mean pretrain.train.steps"),
        ({"mask_ration": 0.5}, "did you mean mask_ratio"),
        ({"train.lerning_rate": 1.0}, "did you mean learning_rate"),
    ]:
        with pytest.raises(ConfigError, match=words):
            tacita.pretrain("mae", "wine", quiet=True, **options)
