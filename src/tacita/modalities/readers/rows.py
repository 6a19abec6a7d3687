"""What the rows of a table are called in messages."""

from __future__ import annotations

from collections.abc import Callable

RowName = Callable[[int], str]
"""A row's position to words a user can follow."""


def spreadsheet_row(start: int = 0) -> RowName:
    """Names of rows as a spreadsheet counts them: the header is row 1."""
    return lambda position: f"row {start + position + 2}"


def array_row(start: int = 0) -> RowName:
    """Names of rows as arrays count them, from 0."""
    return lambda position: f"row {start + position}"


def line(start: int = 0) -> RowName:
    """Names of rows that have a line each, from 1."""
    return lambda position: f"line {start + position + 1}"
