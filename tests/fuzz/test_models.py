"""A sample of the changes of `make fuzz-models`."""

from __future__ import annotations

import os
import sys

import pytest

from tests.fuzz.models import fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and forks as of Linux")


def test_a_changed_model_gives_a_result_or_an_error_of_ours() -> None:
    kinds = ["knn", "random-forest", "gradient-boosting", "tfidf-svm"]
    found, seen = fuzz(0, 60, kinds)
    assert not found, "\n".join(map(str, found))
    assert seen.total() == 60
    assert {key.split(" ")[1] for key in seen} == {"predicted", "refused"}


def test_a_process_that_ends_and_an_error_of_others_are_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.fuzz.models.Model.load", lambda folder: os.kill(os.getpid(), 8))
    found, _ = fuzz(0, 2, ["random-forest"])
    assert ["SIGFPE" in each.happened for each in found] == [True, True]
    monkeypatch.setattr("tests.fuzz.models.Model.load", lambda folder: {}[folder])
    assert "KeyError" in fuzz(0, 1, ["random-forest"])[0][0].happened
