"""A sample of the changes of `make fuzz-models`."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.models import fuzz


@pytest.mark.skipif(sys.platform != "linux", reason="limits and forks as of Linux")
def test_a_changed_model_gives_a_result_or_an_error_of_ours() -> None:
    kinds = ["knn", "random-forest", "gradient-boosting", "tfidf-svm"]
    found, seen = fuzz(0, 60, kinds)
    assert not found, "\n".join(map(str, found))
    assert seen.total() == 60
