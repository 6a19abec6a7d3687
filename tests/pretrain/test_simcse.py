"""SimCSE: the loss by a direct derivation, and encoders that would read a text the same twice."""

from __future__ import annotations

import math

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders.sequence_model import SequenceModel
from tacita.encoders.text_transformer import TextTransformer
from tacita.errors import ConfigError
from tacita.pretrain.simcse import SimCSE, simcse_loss

SPEC = InputSpec("text", (20,), vocabulary=30)


def test_the_loss_is_equation_four() -> None:
    torch.manual_seed(0)
    h, other = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)

    def similarity(i: int, j: int) -> float:
        return float(h[i] @ other[j] / h[i].norm() / other[j].norm()) / 0.05

    each = [
        -similarity(i, i) + math.log(sum(math.exp(similarity(i, j)) for j in range(5)))
        for i in range(5)
    ]
    assert float(simcse_loss(h, other, 0.05)) == pytest.approx(sum(each) / 5, rel=1e-9)


def test_readings_that_are_all_alike_cost_the_logarithm_of_their_number() -> None:
    h = torch.ones(8, 4)
    assert float(simcse_loss(h, h, 0.05)) == pytest.approx(math.log(8), rel=1e-5)


def test_a_text_is_read_twice_under_other_dropout() -> None:
    torch.manual_seed(0)
    objective = SimCSE(TextTransformer(SPEC, dim=16))
    batch = Batch.of(torch.randint(30, (6, 9)))
    loss = objective.loss(batch).total
    loss.backward()
    torch.manual_seed(7)
    h, h_plus = objective.anchors(batch), objective.anchors(batch)
    assert not torch.equal(h, h_plus)
    torch.manual_seed(7)
    assert torch.equal(objective.loss(batch).total, simcse_loss(h, h_plus, 0.05))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


def test_what_cannot_be_contrasted_is_refused() -> None:
    with pytest.raises(ConfigError, match="has none"):
        SimCSE(SequenceModel(SPEC, d_model=16, depth=1))
    with pytest.raises(ConfigError, match="has none"):
        SimCSE(TextTransformer(SPEC, dim=16, dropout=0.0))
    with pytest.raises(ConfigError, match="batch of 1"):
        SimCSE(TextTransformer(SPEC, dim=16)).loss(Batch.of(torch.ones(1, 3, dtype=torch.int64)))
    with pytest.raises(ConfigError, match="temperature=0"):
        SimCSE(TextTransformer(SPEC, dim=16), temperature=0)
