"""Names that strangers chose: they reach the terminal as they can be shown, and never end the program."""

import csv
import io
import json
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

import tacita
from tacita.cli import main
from tacita.data.modality import find
from tacita.data.notes import ReadingWarning
from tacita.errors import DataError, TacitaError
from tacita.modalities.load import load
from tacita.model.predictions import PredictionFile
from tacita.verbs.screen import Screen

CLEAR = "\x1b[2J\x1b[31m"


def said(capsys, *arguments):
    with pytest.raises(SystemExit):
        main(list(arguments))
    return "".join(capsys.readouterr())


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be written there")
def test_escape_sequences_in_names_are_shown_and_not_obeyed(tmp_path, capsys):
    frame = pd.DataFrame({"x": range(12), f"c{CLEAR}": ["u", "v"] * 6, "y": [f"{CLEAR}a", "b"] * 6})
    path = tmp_path / f"{CLEAR}.csv"
    frame.to_csv(path, index=False)
    for arguments in (
        ("describe", str(path), "--labels", "y"),
        ("describe", str(path), "--labels", "z"),
        ("describe", str(tmp_path / f"{CLEAR}.png")),
        ("fit", str(path), "--labels", "y", "--dry-run", "--out", str(tmp_path / "run")),
    ):
        text = said(capsys, *arguments)
        assert "\x1b[2J" not in text
        assert r"\x1b[2J" in text


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".csv", "b/" * 3000 + "c.csv"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(TacitaError):
        load(name)
    with pytest.raises(TacitaError):
        load("digits", labels=name)


class Terminal(io.StringIO):
    """Standard output that is a terminal, or a pipe."""

    def __init__(self, is_one: bool) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


@pytest.mark.parametrize("as_json", [False, True])
def test_predictions_are_exact_in_a_pipe_and_cannot_steer_a_terminal(monkeypatch, as_json):
    lines = [(f"{CLEAR}\u202eid", "a\x9b2J", "0.5")]
    written = {}
    for is_one in (True, False):
        monkeypatch.setattr(sys, "stdout", Terminal(is_one))
        file = PredictionFile(find("tables"), Path("x.csv"), None, as_json)
        assert file.lines(("id", "predicted", "p"), lines) == 1
        written[is_one] = sys.stdout.getvalue()
    assert not set(written[True]) & set("\x1b\x9b\u202e\r")
    assert r"\u202eid" in written[True]
    if as_json:
        assert json.loads(written[False])["id"] == f"{CLEAR}\u202eid"
    else:
        assert list(csv.reader(io.StringIO(written[False], newline="")))[1] == list(lines[0])


def test_what_a_terminal_shows_of_errors_and_notes_is_printable_in_python_too():
    with pytest.raises(DataError) as raised:
        raise DataError(f"{CLEAR}: no", remedy=CLEAR)
    assert str(raised.value) == ascii(f"{CLEAR}: no")[1:-1] + "\n       " + ascii(CLEAR)[1:-1]
    assert raised.value.message == f"{CLEAR}: no"
    assert str(ReadingWarning(CLEAR)) == ascii(CLEAR)[1:-1]


def test_a_fault_of_the_program_and_what_decoders_warn_of_are_printable(monkeypatch, capsys):
    def fault(*_, **__):
        warnings.warn(CLEAR, UserWarning, stacklevel=1)
        raise RuntimeError(CLEAR)

    monkeypatch.setattr(tacita, "load", fault)
    warnings.simplefilter("always")
    with pytest.raises(SystemExit) as ended:
        main(["describe", "digits"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "\x1b" not in said
    assert said.count(ascii(CLEAR)[1:-1]) == 2


def test_names_in_colons_are_no_pictures(capsys):
    Screen().line("classes", ":bomb: [red]x[/red]")
    assert ":bomb: [red]x[/red]" in capsys.readouterr().out
