"""Names that strangers chose: they reach the terminal as they can be shown, and never end the program."""

import sys

import pandas as pd
import pytest

from tacita.cli import main
from tacita.errors import TacitaError
from tacita.modalities.load import load

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
