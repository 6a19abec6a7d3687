"""A run's folder: one process at a time, and no file but a run's is ever removed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tacita.catalog.discover import cards, load_class
from tacita.errors import ConfigError
from tacita.files import WriteError
from tacita.verbs.folder import (
    OURS,
    PLAN,
    check_folder,
    default_folder,
    taken_default_folder,
    taken_folder,
    work_folder,
)
from tacita.verbs.lock import HOLDER, LOCK, LockedError, locked

HOLDS = """
import sys, time
from pathlib import Path
from tacita.verbs.folder import PLAN, taken_folder
with taken_folder(Path(sys.argv[1]), resume=False, overwrite=False):
    (Path(sys.argv[1]) / PLAN).write_text('{"format":1}')
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}, {}])
def test_a_second_process_is_refused_by_name_of_the_first_until_that_is_dead(
    tmp_path: Path, how: dict[str, bool]
) -> None:
    folder = tmp_path / "run"
    how = {"resume": False, "overwrite": False, **how}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {first.pid} on ") as refused:
            check_folder(folder, **how)
        assert "since 2" in refused.value.message
        with pytest.raises(LockedError), taken_folder(folder, **how):
            pass
    finally:
        first.kill()
        first.communicate()
    if any(how.values()):
        with taken_folder(folder, **how) as told:
            assert f"was left by process {first.pid} on" in told
            assert "has ended" in told
        assert os.listdir(folder) == [PLAN]
    else:
        with pytest.raises(ConfigError, match=r"run exists\."):
            check_folder(folder, **how)


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError, match=str(os.getpid())), locked(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_default_folders_taken_at_once_are_two(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with taken_default_folder("x.csv") as one, taken_default_folder("x.csv") as two:
        assert (one, two) == (Path("runs/x"), Path("runs/x-2"))
    assert os.listdir("runs") == []
    with taken_default_folder("é" * 126 + ".csv") as long, taken_default_folder(long) as other:
        assert other.name == f"{long.name}-2"


def test_a_new_folder_goes_again_where_nothing_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(ZeroDivisionError), taken_folder(folder, resume=False, overwrite=False):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_a_learner_keeps_is_known_as_a_runs_file() -> None:
    learners = (
        card for card in cards().values() if card.family in ("adapt", "semisup", "baseline")
    )
    kept = {name for card in learners for name in getattr(load_class(card.slug), "files", ())}
    assert {"baseline.safetensors", "ledger.json"} <= kept <= set(OURS)


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    ours = (
        PLAN, "recipe.yaml", "labels.json", "metrics.json", "model.safetensors",
        "baseline.safetensors", "report.html", "history.jsonl", "work/a.0.json", "work/a.0.safetensors",
        "work/.a.0.json.k3j_8ab2", "encoders/a/recipe.yaml", ".plan.json.abcdefgh",
        "member-0/baseline.safetensors", "work/a.0.model/recipe.yaml",
        "work/a.5.model/member-1/baseline.safetensors",
    )  # fmt: skip
    others = ("notes.txt", "work/mine.csv", "photos/model.safetensors", "encoders/a/mine.txt",
              "member-0/mine.txt", "member-x/baseline.safetensors")  # fmt: skip
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"format":1,')
    with (
        ExitStack() as stack,
        taken_folder(tmp_path, resume=False, overwrite=True),
    ):
        work = work_folder(tmp_path, resume=False, stack=stack)
        assert work.is_dir()
        left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
        assert left == {*others, LOCK, HOLDER}


def test_a_plan_of_another_program_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text('{"steps": []}')
    with pytest.raises(ConfigError, match="not the folder of a run"):
        check_folder(tmp_path, resume=False, overwrite=True)


def test_a_folder_left_before_its_plan_was_written_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / LOCK).touch()
    (tmp_path / ".plan.json.abcdefgh").touch()
    with pytest.raises(ConfigError, match="no run to resume") as refused:
        check_folder(tmp_path, resume=True, overwrite=False)
    assert "start it without --resume" in refused.value.remedy
    for overwrite in (False, True):
        check_folder(tmp_path, resume=False, overwrite=overwrite)


def test_links_files_and_pipes_are_refused_as_folders(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a link") as refused:
        check_folder(tmp_path / "link", resume=False, overwrite=True)
    assert str(real) in refused.value.remedy
    for name in ("file", "pipe"):
        with pytest.raises(ConfigError, match="is not a folder"):
            check_folder(tmp_path / name, resume=False, overwrite=True)


@pytest.mark.parametrize("name", ["x" * 256, "file/run"])
def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises((WriteError, ConfigError)),
        taken_folder(tmp_path / name, resume=False, overwrite=False),
    ):
        pass


def test_what_comes_on_standard_input_has_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder("-") == Path("runs/stdin")
    with taken_default_folder("-") as folder:
        assert folder == Path("runs/stdin")
        (folder / PLAN).write_text("{}")
    assert default_folder("-") == Path("runs/stdin-2")
