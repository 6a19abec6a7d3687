"""The gauges against closed forms, and the words for an encoder that is not well."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from tacita.audit.health.health import Health, health, uniformity
from tacita.audit.health.rankme import embeddings
from tacita.data.batch import Batch
from tacita.encoder import Encoder, Encoding
from tacita.encoders import build
from tacita.engine.train import train
from tacita.measures.spectrum import effective_rank, singular_values
from tacita.modalities.load import load
from tacita.objective import Losses, Objective
from tacita.parts.similarity import negative_cosine
from tacita.pretrain.barlow_twins import BarlowTwins
from tacita.pretrain.byol import BYOL
from tacita.pretrain.mae import MAE
from tacita.pretrain.simclr import SimCLR
from tests.engine.runs import digits_data

DATA = digits_data(samples=100, labelled=60)


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

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
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


# Real runs: three that are well and one that is not, and the gauges must tell


class Siamese(BYOL):
    """Two views that attract each other, with nothing to stop them: no predictor, no stop-gradient."""

    def loss(self, batch: Batch) -> Losses:
        z_a, z_b = self.anchors(self.views(batch)), self.anchors(self.views(batch))
        return Losses(attraction=1 + negative_cosine(z_a, z_b))


DIGITS = load("digits").normalised()
RUNS: dict[str, tuple[type[Objective], str, dict[str, int], int]] = {
    "barlow-twins": (BarlowTwins, "residual-cnn", {"width": 8}, 40),
    "simclr": (SimCLR, "residual-cnn", {"width": 8}, 40),
    "mae": (MAE, "vit", {"dim": 32, "depth": 1, "heads": 4}, 60),
    "siamese": (Siamese, "residual-cnn", {"width": 8}, 80),
}


@pytest.fixture(scope="module")
def trained() -> dict[str, Objective]:
    found = {}
    for name, (cls, encoder, options, steps) in RUNS.items():
        torch.manual_seed(0)
        objective = cls(build(encoder, DIGITS.spec, **options))  # type: ignore[call-arg]
        train(objective, DIGITS, **{**objective.engine_defaults, "steps": steps})
        found[name] = objective
    return found


def gauged(objective: Objective) -> Health:
    return health(objective.encoder, DIGITS, objective=objective)


@pytest.mark.parametrize("name", ["barlow-twins", "simclr"])
def test_a_healthy_joint_embedding_is_well(trained: dict[str, Objective], name: str) -> None:
    found = gauged(trained[name])
    assert found.warnings == ()
    assert found.embedding_rank is not None
    assert found.embedding_spread is not None
    assert found.embedding_dim == {"barlow-twins": 256, "simclr": 128}[name]
    assert found.embedding_rank > 0.1 * found.embedding_dim
    assert found.embedding_spread > 0.7
    assert f"(embeddings {found.embedding_rank:.1f} of {found.embedding_dim})" in found.line()


def test_the_embeddings_gauged_are_those_of_the_loss(trained: dict[str, Objective]) -> None:
    found = gauged(trained["simclr"])
    z = embeddings(trained["simclr"], DIGITS)
    assert found.embedding_rank == pytest.approx(effective_rank(singular_values(z), 1e-7), rel=1e-4)
    unit = functional.normalize(z, dim=1)
    assert found.embedding_spread == pytest.approx(float(unit.std(0).mean()) * math.sqrt(128))


def test_a_collapse_shows_in_the_embeddings_while_the_features_look_well(
    trained: dict[str, Objective],
) -> None:
    found = gauged(trained["siamese"])
    assert found.warnings[0].startswith("COLLAPSED: embeddings of all samples are nearly the same")
    assert len(found.warnings) == 1
    assert found.embedding_spread is not None
    assert found.embedding_spread < 0.15
    # The encoder alone gives no sign: its neighbours and its rank are those of a healthy one.
    alone = health(trained["siamese"].encoder, DIGITS)
    assert alone.warnings == ()
    assert alone.embedding_rank is alone.embedding_spread is alone.embedding_dim is None
    assert alone.effective_rank > 5
    assert alone.knn is not None
    assert alone.knn > 0.7


@pytest.mark.parametrize("labels", [True, False])
def test_reconstruction_is_not_called_collapsed_for_its_large_mean(
    trained: dict[str, Objective], labels: bool
) -> None:
    data = DIGITS if labels else DIGITS.hide_labels(torch.empty(0, dtype=torch.int64))
    found = health(trained["mae"].encoder, data, objective=trained["mae"])
    # Uncentred, a tenth of the directions and next to no spread on the sphere: the common mean.
    assert found.effective_rank < 0.15 * found.dim
    assert found.spread < 0.2
    assert found.centred_rank > 0.2 * found.dim
    assert found.warnings == ()
    assert found.embedding_rank is None  # its features are not where a loss acts


class Lifted(Fixed):
    """The pixels, seen through a thousandth of their contrast."""

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        pixels = 100 + 0.1 * x.flatten(1)
        return Encoding(pixels[:, None], pixels)


def test_neighbours_that_tell_the_classes_overrule_a_dominant_mean() -> None:
    found = health(Lifted("pixels"), DATA)
    assert found.effective_rank < 1.2
    assert found.knn is not None
    assert found.knn > 0.6
    assert not any("COLLAPSED" in warning for warning in found.warnings)
    blind = health(Lifted("pixels"), DATA.hide_labels(torch.empty(0, dtype=torch.int64)))
    assert any("COLLAPSED" in warning for warning in blind.warnings)
