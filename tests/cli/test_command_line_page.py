"""What the page on the command line says of every verb is so."""

from __future__ import annotations

import ast
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tacita
from tacita import cli, errors
from tacita.cli.process import Terminated
from tacita.errors import TacitaError
from tacita.verbs.lock import locked
from tacita.verbs.screen import RESULTS

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
SOURCES = Path(tacita.__file__).parent


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command line in an empty folder: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(text: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(text.split())
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return command


def kinds(of: type[TacitaError] = TacitaError) -> Iterator[type[TacitaError]]:
    yield of
    for each in of.__subclasses__():
        yield from kinds(each)


def raised(kind: type[TacitaError]) -> TacitaError:
    if kind is errors.MissingExtraError:
        return errors.MissingExtraError("this", "that")
    if kind is errors.DryRun:
        return errors.DryRun("the plan")
    return kind("what is wrong", remedy="what to do")


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_ends_with_two_and_a_dry_run_with_nought(
    run: Any, kind: type[TacitaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised(kind)

    monkeypatch.setitem(vars(tacita), "fit", fail)
    code, out, err = run("fit x.csv")
    if kind is errors.DryRun:
        assert code == 0
    else:
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: .+\n       .+\n", err)


@pytest.mark.parametrize(
    "error, code",
    [
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (BrokenPipeError(), 141),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
    ],
)
def test_what_comes_from_without_has_the_code_that_the_page_says(
    run: Any, error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(vars(tacita), "fit", fail)
    monkeypatch.setattr(sys.modules["tacita.cli.app"], "out_of_reach", lambda stream: None)
    assert run("fit x.csv")[0] == code
    assert f"\n| {code} |" in PAGE


def test_a_fault_of_ours_is_a_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(vars(tacita), "fit", fail)
    code, _, err = run("fit x.csv")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert re.findall(r"^\| (\d+) \|", PAGE, re.M) == ["0", "1", "2", "130", "141", "143"]


def test_a_folder_that_another_process_holds_is_refused_by_that_processs_number(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    with locked(tmp_path / "r"):
        code, _, err = run("fit wine --recipe random-forest --out r")
    assert code == 2
    assert f"another run is at work there (process {os.getpid()} on " in err
    assert run("fit wine --recipe random-forest --out r -qq") == (0, "", "")
    assert not (tmp_path / "r" / ".lock").exists()


def test_quiet_leaves_the_result_and_quieter_nothing(run: Any) -> None:
    code, out, err = run("adapt random-forest wine -q --out a")
    assert (code, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()] == ["held out", "saved"]
    assert run("adapt random-forest wine -qq --out b") == (0, "", "")
    assert all(f"`{key}`" in PAGE for key in RESULTS)


def test_a_dry_run_prints_the_plan_and_writes_nothing(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("compare wine --methods knn,random-forest --dry-run --out r")
    assert code == 0
    assert "auto      knn: " in out
    assert list(tmp_path.iterdir()) == []


def test_what_comes_on_standard_input_is_kept_under_its_name(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{i},{i * 7 % 11},{'ab'[i > 9]}\n" for i in range(20)).encode()
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x,z,kind\n" + rows)))
        assert run("fit - --labels kind --recipe random-forest -qq") == (0, "", "")
    folders = {path.name for path in (tmp_path / "runs").iterdir()}
    assert folders == {"stdin", "stdin-2"}
    assert (tmp_path / "runs" / "stdin" / "report.html").is_file()


@pytest.mark.filterwarnings("default::tacita.data.notes.LearntWarning")
def test_evaluate_warns_beside_the_figures(run: Any, tmp_path: Path) -> None:
    rows = "".join(f"{i},{i * 7 % 11},{'ab'[i > 9]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("x,z,kind\n" + rows)
    assert run("fit t.csv --labels kind --recipe random-forest --out r -qq")[0] == 0
    code, out, err = run("evaluate r t.csv --json")
    assert code == 0
    assert out.startswith('{"accuracy": 1.0')
    said = "these are the samples that it was trained on: the figures flatter the model"
    assert err == f"warning   t.csv: {said}\n"
    assert "these are the samples that it was trained on" in PAGE


def test_no_variable_is_read_but_those_that_the_page_names() -> None:
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
            read = re.match(r"os\.(?:environ(?:\.get)?|getenv)[(\[]'(\w+)'", text)
            if read:
                found.add(read[1])
    assert found == {"WORLD_SIZE", "LOCAL_WORLD_SIZE", "XDG_CACHE_HOME"}
    assert "`XDG_CACHE_HOME`" in PAGE
    assert "torchrun" in PAGE
