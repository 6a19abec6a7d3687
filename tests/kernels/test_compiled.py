"""Loops are compiled in memory where numba finds no place for its cache, and that is said once."""

from __future__ import annotations

import logging

import pytest

numba = pytest.importorskip("numba")

from tacita.kernels import compiled as room  # noqa: E402


def twice(x: float) -> float:
    return 2 * x


def test_without_a_cache_loops_are_compiled_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    room._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="tacita"):
        assert room.compiled(twice)(3.0) == 6.0
        assert room.compiled(twice)(4.0) == 8.0
    assert [record.message.count("NUMBA_CACHE_DIR") for record in caplog.records] == [1]
