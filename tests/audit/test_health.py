"""The gauges against closed forms, and the words for an encoder that is not well."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tacita.audit.health import effective_rank, health, uniformity
from tacita.data.read import load
from tacita.encoders import build
from tacita.encoders.base import Encoder, Encoding
from tests.engine.runs import digits_data

DATA = digits_data(samples=100, labelled=60)


def orthonormal(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))[0]


@pytest.mark.parametrize("rank", [1, 2, 7])
def test_orthonormal_columns_have_their_number_as_rank(rank: int) -> None:
    assert effective_rank(orthonormal(20, rank)) == pytest.approx(rank, rel=1e-4)


def test_the_rank_of_known_singular_values() -> None:
    ones = torch.ones(10, 4)
    assert effective_rank(ones) == pytest.approx(1.0, abs=1e-4)
    three_and_one = orthonormal(10, 2) @ torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(three_and_one) == pytest.approx(math.exp(entropy), abs=1e-4)
    assert effective_rank(three_and_one) == pytest.approx(1.7548, abs=1e-4)
    assert effective_rank(torch.zeros(5, 3)) == 1.0


def test_the_rank_knows_no_rotation_and_no_scale() -> None:
    values = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turned = 5 * values @ orthonormal(6, 6)
    assert effective_rank(turned) == pytest.approx(effective_rank(values), rel=1e-6)


def test_uniformity_by_a_direct_sum_over_pairs() -> None:
    unit = functional.normalize(
        torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    pairs = [
        math.exp(-2 * float(((unit[i] - unit[j]) ** 2).sum())) for i in range(12) for j in range(i)
    ]
    assert uniformity(unit) == pytest.approx(math.log(np.mean(pairs)), abs=1e-5)
    assert uniformity(unit[:1]) == 0.0


class Fixed(Encoder):
    """Features that are a known function of the pixels."""

    modalities = ("images",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.spec, self.dim, self.kind = DATA.spec, 64, kind

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Encoding:
        pixels = x.flatten(1)
        if self.kind == "constant":
            pixels = torch.ones_like(pixels)
        elif self.kind == "half dead":
            pixels = pixels * (torch.arange(64) < 20)
        return Encoding(pixels[:, None], pixels)


def test_a_collapsed_encoder_is_called_so() -> None:
    found = health(Fixed("constant"), DATA)
    assert found.effective_rank == pytest.approx(1.0, abs=1e-3)
    assert found.spread == pytest.approx(0.0, abs=1e-6)
    assert found.dead == 1.0
    assert found.alignment == pytest.approx(1.0, abs=1e-6)
    assert found.uniformity == pytest.approx(0.0, abs=1e-5)
    assert found.warnings[0].startswith("COLLAPSED: features of all samples are nearly the same")
    assert "COLLAPSED" in found.line()


def test_dead_features_are_counted_and_told() -> None:
    found = health(Fixed("half dead"), DATA)
    batch = DATA.take(torch.arange(100)).x.flatten(1) * (torch.arange(64) < 20)
    assert found.dead == pytest.approx(float((batch.std(0) < 1e-6).float().mean()))
    assert any("features are dead" in warning for warning in found.warnings)


def test_a_living_encoder_is_not_warned_of_collapse() -> None:
    found = health(Fixed("pixels"), DATA)
    assert found.effective_rank > 10
    assert not any("COLLAPSED" in warning for warning in found.warnings)
    assert found.knn is not None
    assert found.knn > 0.5
    assert 0 < found.alignment <= 1
    assert found.as_dict()["effective_rank"] == found.effective_rank


@pytest.mark.parametrize("count, neighbours", [(200, 5), (20, 1)])
def test_nearest_neighbours_leave_the_sample_itself_out(count: int, neighbours: int) -> None:
    # With two labels a class, five neighbours could never be of one class.
    data = load("digits").normalised()
    order = torch.argsort(data.y, stable=True)
    each = [order[data.y[order] == code][: count // 10] for code in range(10)]
    data = data.subset(torch.cat(each))
    unit = functional.normalize(data.take(torch.arange(count)).x.flatten(1), dim=1).numpy()
    y, right = data.y.numpy(), 0
    for i in range(count):
        order = [j for j in np.argsort(-(unit @ unit[i])) if j != i][:neighbours]
        right += int(np.bincount(y[order], minlength=10).argmax() == y[i])
    assert health(Fixed("pixels"), data).knn == pytest.approx(right / count)


def test_gauging_changes_nothing() -> None:
    encoder = build("residual-cnn", DATA.spec, width=4)
    before = torch.get_rng_state(), {k: v.clone() for k, v in encoder.state_dict().items()}
    assert health(encoder, DATA) == health(encoder, DATA)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(v, before[1][k]) for k, v in encoder.state_dict().items())
