"""What goes wrong with windows about a step: they reach over an end, or into padding."""

from __future__ import annotations

import numpy as np
import torch

from tacita.baselines.lags import LAGS, WIDTHS, lag_rows, row_width
from tests.helpers import assert_close


def test_a_row_is_what_a_loop_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 40, 2, generator=generator) + 100
    lengths = torch.tensor([40, 7])
    rows = lag_rows(x, lengths)
    assert rows.shape == (2, 40, row_width(2))
    for series, step in ((0, 0), (0, 20), (0, 39), (1, 3), (1, 6)):
        values = x[series, : lengths[series]].double().numpy()
        expected = [values[step]]
        for lag in LAGS[1:]:
            expected += [values[max(step - lag, 0)], values[min(step + lag, len(values) - 1)]]
        for width in WIDTHS:
            part = values[max(step - width // 2, 0) : step + width // 2 + 1]
            expected += [part.mean(0), part.std(0)]
        assert_close(rows[series, step], torch.tensor(np.concatenate(expected)).float())
