"""A file is the old one or the new one, whatever happens in between."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.files import CsvLines, WriteError, no_formula, replacing, write_text


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file that stands already, and that no test here may change or leave company beside."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    yield path
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "one")
    write_text(path, "two ü")
    assert path.read_text(encoding="utf-8") == "two ü"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_old_file(
    where: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, full)
    with pytest.raises(WriteError, match=r"a\.txt: could not be written \(No space left") as caught:
        write_text(old, "new")
    assert "disk space" in caught.value.remedy
    monkeypatch.undo()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_between_leaves_the_old_file(error: type[BaseException], old: Path) -> None:
    with pytest.raises(error), replacing(old) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error


def test_a_file_in_place_of_a_folder_is_a_write_error(old: Path) -> None:
    with pytest.raises(WriteError, match="could not be written"):
        write_text(old / "b.txt", "new")


def test_a_folder_in_place_of_the_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(WriteError, match="could not be written"):
        write_text(tmp_path / "a", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_is_really_full_is_a_write_error(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small disk")
    try:
        path = tmp_path / "a.txt"
        write_text(path, "old")
        with pytest.raises(WriteError, match="No space left"):
            write_text(path, "x" * 10**6)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path / "link", tmp_path / "dangling", tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(WriteError, match=r"could not be written: it is a (link|pipe|device)"):
            write_text(path, "new")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "real").read_text() == "real"


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127])
def test_a_name_as_long_as_there_can_be_is_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_longer_name_is_a_write_error_that_does_not_speak_of_space(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="name too long") as refused:
        write_text(tmp_path / ("a" * 256), "x")
    assert "space" not in refused.value.remedy


STARTS = ("=", "+", "-", "@", "\t", "\r")


@given(st.lists(st.text() | st.floats() | st.integers(), min_size=2, max_size=4))
def test_no_text_begins_a_formula_and_no_figure_is_changed(line: list[Any]) -> None:
    cells = [no_formula(cell) for cell in line]
    for given_cell, cell in zip(line, cells, strict=True):
        if not isinstance(given_cell, str):
            assert cell is given_cell
            continue
        assert cell.removeprefix("'") == given_cell.removeprefix("'")
        if cell.startswith(STARTS):
            float(cell)  # a number, which is no formula
    written = {}
    for escape in (True, False):
        text = io.StringIO()
        CsvLines(text, escape_formulas=escape).write(line)
        written[escape] = next(csv.reader(io.StringIO(text.getvalue(), newline="")))
    assert written[False] == list(map(str, line))
    assert written[True] == list(map(str, cells))


@pytest.mark.parametrize("text", [f"{start}SUM(A1)" for start in STARTS] + ["-inf", "+1+1", "-1x"])
def test_formulas_are_escaped(text: str) -> None:
    assert no_formula(text) == f"'{text}"
