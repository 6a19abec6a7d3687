from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch
from tacita.errors import ConfigError, DivergedError
from tacita.parts.checks import require_finite, require_samples


def test_a_batch_too_small_is_refused_by_name_and_size() -> None:
    batch = Batch(torch.zeros(1, 2), torch.zeros(1), torch.arange(1))
    with pytest.raises(ConfigError, match="simclr got a batch of 1 sample, which has no negatives"):
        require_samples(batch, 2, "simclr", "which has no negatives")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_teacher_that_diverged_is_named(wrong: float) -> None:
    targets = torch.ones(3, 2)
    assert require_finite(targets, "dino") is targets
    targets[1, 1] = wrong
    with pytest.raises(DivergedError, match="teacher of dino"):
        require_finite(targets, "dino")
