"""What continuous integration does otherwise: hypothesis tries the same each time; long tests run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of ten seconds and more wait for continuous integration, or for `CI=1 make test`."""
    if os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="a long test: CI=1 runs it"))


@pytest.fixture(autouse=True)
def errors_of_candidates_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would leave a candidate out for its users is a fault to be seen here."""
    monkeypatch.setattr("tacita.verbs.results.SPARED", ())
