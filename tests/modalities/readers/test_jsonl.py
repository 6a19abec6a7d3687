"""JSONL: whole and in pieces the same table, and an error that names the line of what is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.errors import DataError, TacitaError
from tacita.modalities.readers import jsonl
from tacita.modalities.readers.frames import read_table, stream_table


def written(folder: Path, content: bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(content)
    return path


def test_lines_become_rows_and_keys_columns(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1, "b": "x"}\n{"a": 2.5}\n{"b": null, "c": true}\n\n')
    table = read_table(path)
    assert table.to_pylist() == [
        {"a": 1.0, "b": "x", "c": None},
        {"a": 2.5, "b": None, "c": None},
        {"a": None, "b": None, "c": True},
    ]


def test_pieces_are_the_whole_and_keep_columns_that_a_piece_lacks(tmp_path: Path) -> None:
    rows = [{"text": f"number {i}", **({"label": "odd"} if i % 2 else {})} for i in range(7)]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    pieces = list(stream_table(path, 3))
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert [row for piece in pieces for row in piece.to_pylist()] == read_table(path).to_pylist()


def test_texts_that_look_like_dates_stay_texts(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": "2020-01-01"}\n{"a": "2020-01-02"}\n')
    assert read_table(path)["a"].to_pylist() == ["2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b'{"a": 1}\n{"a": }\n', "line 2 is not JSON"),
        (b'{"a": 1}\n[1]\n', "line 2 is no JSON object but a list"),
        (b'{"a": 1}\n\n{"a": 2}\n', "line 2 is empty"),
        (b'{"a": 1}\n{"a": "x"}\n', "line 2 has a text under 'a', where lines before it have a number"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "byte 7 of line 2 is not UTF-8"),
        (b'{"a": "\\ud800"}\n', "valid characters"),
        (b'{"a": ' + b"9" * 40 + b"}\n", "64 bits"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1 is not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_its_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read_table(written(tmp_path, content))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    with pytest.raises(DataError, match="line 2 is longer"):
        read_table(written(tmp_path, b'{"a": "x"}\n{"a": "' + b"y" * 200 + b'"}\n'))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=60).map(str.encode))
def test_no_bytes_end_in_anything_but_a_table_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.mktemp("fuzz"), content)
    with suppress(TacitaError):
        read_table(path)
