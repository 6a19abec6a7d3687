"""Every test and every example begins at the same random numbers, alone or after any others."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A test that draws without a seed of its own draws the same each time."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the generator that others' code draws from
    torch.manual_seed(0)
