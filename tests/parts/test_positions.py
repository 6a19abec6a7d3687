"""Positions must tell any two places apart, and follow the published formula."""

from __future__ import annotations

import math

import pytest
import torch

from tacita.errors import ConfigError
from tacita.parts.positions import grid_positions, sine_positions
from tests.helpers import assert_close


def test_sines_follow_the_formula():
    positions = sine_positions(5, 6)
    for place in range(5):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            assert positions[place, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert positions[place, 3 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_all_places_of_a_line_and_of_a_grid_differ():
    assert torch.pdist(sine_positions(1000, 32)).min() > 1e-2
    assert torch.pdist(grid_positions(9, 13, 32)).min() > 1e-2


def test_a_grid_is_read_row_by_row():
    grid = grid_positions(3, 4, 8)
    row, column = sine_positions(3, 4), sine_positions(4, 4)
    assert_close(grid[1 * 4 + 2], torch.cat([row[1], column[2]]))


def test_widths_that_cannot_be_split_are_refused():
    with pytest.raises(ConfigError, match="dim=5"):
        sine_positions(3, 5)
    with pytest.raises(ConfigError, match="dim=6"):
        grid_positions(2, 2, 6)
