"""What the program owes to its terminal and its system: escapes, closed pipes, full disks, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tacita import cli
from tacita.cli.process import Terminated, terminable

TACITA = [sys.executable, "-m", "tacita.cli"]


def test_what_a_terminal_cannot_show_is_shown_as_an_escape() -> None:
    command = [*TACITA, "show", "é\x1b[2J"]
    run = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert run.returncode == 2
    assert b"\x1b" not in run.stderr
    assert b"Traceback" not in run.stderr
    assert rb"\x1b[2J" in run.stderr


def test_a_reader_that_has_had_enough_ends_it_without_a_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run([*TACITA, "methods"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        run = subprocess.run([*TACITA, "methods"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr == "error: the output could not be written (No space left on device).\n"


def test_sigterm_ends_it_as_an_interruption(monkeypatch, capsys) -> None:
    def told_to_end(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    monkeypatch.setitem(vars(sys.modules["tacita"]), "fit", told_to_end)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", "x.csv"])
    assert stopped.value.code == 143
    assert "--resume" in capsys.readouterr().err


def test_sigterm_is_as_it_was_after_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_torchrun_with_the_command_line_says_how(monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", "x.csv"])
    assert stopped.value.code == 2
    assert "call tacita.train in a script" in capsys.readouterr().err


@pytest.mark.long
def test_everything_is_imported_without_the_modules_of_one_system() -> None:
    hidden = ["resource", "fcntl", "pwd", "grp", "termios", "tty"]
    script = (
        "import sys, pkgutil, importlib\n"
        f"import torch, sklearn, rich, filelock, pydantic\n"
        f"for name in {json.dumps(hidden)}: sys.modules[name] = None\n"
        "import tacita\n"
        "for name in ('engine.history', 'verbs.fit', 'cli.app', 'files', 'report.page'):\n"
        "    importlib.import_module('tacita.' + name)\n"
        "from tacita.engine.history import peak_memory_mb\n"
        "print(peak_memory_mb(torch.device('cpu')) >= 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout == "True\n", run.stderr
