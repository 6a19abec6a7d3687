"""Otsu's threshold is a search over all cuts; here it is done the slow way, group by group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.parts.otsu import otsu


def variance_of_cuts(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Every cut's variance between the groups, from the values rounded to their bins; the centres."""
    edges = np.linspace(values.min(), values.max(), bins + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    rounded = centres[np.clip(np.searchsorted(edges, values, "right") - 1, 0, bins - 1)]
    found = []
    for cut in centres[:-1]:
        low, high = rounded[rounded <= cut], rounded[rounded > cut]
        share = len(low) / len(values)
        # By the law of total variance: what is left after the variance within the groups.
        within = share * low.var() + (1 - share) * high.var()
        found.append(rounded.var() - within)
    return np.array(found), centres


SAMPLES = {
    "uniform": lambda rng: rng.random(500),
    "two bells": lambda rng: np.r_[rng.normal(0, 1, 400), rng.normal(6, 0.5, 200)],
    "losses": lambda rng: np.r_[rng.exponential(0.02, 800), rng.exponential(1.5, 200)],
    "two values": lambda rng: rng.integers(0, 2, 50).astype(float),
    "negative": lambda rng: -rng.gamma(2.0, 3.0, 300),
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("bins", [7, 256])
def test_no_cut_parts_the_values_better(kind: str, bins: int) -> None:
    # Multiples of a power of 2, so that edges of bins are met by values in both computations alike.
    values = np.round(SAMPLES[kind](np.random.default_rng(0)) * 4096) / 4096
    found = otsu(torch.from_numpy(values), bins)
    variances, centres = variance_of_cuts(values, bins)
    place = int(np.abs(centres - found).argmin())
    assert found == pytest.approx(centres[place], rel=1e-9, abs=1e-12)
    assert variances[place] == pytest.approx(variances.max(), rel=1e-9)
    # Of equal cuts the lowest.
    assert (variances[:place] < variances.max() * (1 - 1e-12)).all()


@given(
    st.floats(-1e3, 1e3),
    st.floats(0.01, 1e3),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_it_lies_between_two_point_masses(low: float, gap: float, few: int, many: int) -> None:
    values = torch.tensor([low] * few + [low + gap] * many, dtype=torch.float64)
    assert low < otsu(values) < low + gap


def test_two_bells_are_parted_at_the_end_of_the_lower_one() -> None:
    draw = torch.Generator().manual_seed(0)
    low, high = torch.randn(2, 500, generator=draw, dtype=torch.float64) * 0.1
    # Any cut in the gap parts them, and the lowest is the centre of the bin of the lower one's end.
    assert otsu(torch.cat([low, 5 + high])) == pytest.approx(float(low.max()), abs=6 / 256)


def test_equal_values_are_their_own_threshold() -> None:
    assert otsu(torch.full((5,), 0.3)) == torch.tensor(0.3).item()


def test_it_moves_and_scales_with_the_values() -> None:
    values = torch.rand(300, dtype=torch.float64)
    assert otsu(4 * values - 7) == pytest.approx(4 * otsu(values) - 7, abs=1e-9)
