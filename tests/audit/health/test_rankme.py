"""The rank as the paper defines it, what leaves it unchanged, and its watch over a training."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.audit.health.rankme import (
    RankMe,
    embeddings,
    joint,
    rankme,
    rankme_from_gram,
    select_by_rank,
    spectrum_of,
)
from tacita.data.batch import Batch
from tacita.data.splits import drawn
from tacita.encoders import build
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.errors import ConfigError, DataError
from tacita.measures.spectrum import effective_rank, singular_values
from tacita.objective import Losses, Objective
from tacita.pretrain.barlow_twins import BarlowTwins
from tacita.pretrain.mae import MAE
from tests.engine.runs import Flat, digits_data, equal, weights

DATA = digits_data(samples=120, labelled=20)


def gaussian(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def with_singular_values(*sigma: float, rows: int = 80, columns: int | None = None) -> Tensor:
    """A matrix of random directions with exactly these singular values."""
    columns = columns or len(sigma)
    left = torch.linalg.qr(gaussian(rows, len(sigma)))[0]
    right = torch.linalg.qr(gaussian(columns, columns, 1))[0][: len(sigma)]
    return left @ torch.diag(torch.tensor(sigma, dtype=torch.float64)) @ right


def slow(z: np.ndarray[Any, Any], epsilon: float) -> float:
    """Equations 1 and 2, term by term."""
    sigma = np.linalg.svd(z, compute_uv=False)
    entropy = 0.0
    for value in sigma:
        p = value / np.abs(sigma).sum() + epsilon
        entropy -= p * math.log(p)
    return math.exp(entropy)


@pytest.mark.parametrize("rank", [1, 2, 7])
def test_equal_singular_values_have_their_number_as_rank(rank: int) -> None:
    assert rankme(with_singular_values(*[3.0] * rank)) == pytest.approx(rank, rel=1e-5)


def test_the_rank_of_known_singular_values() -> None:
    three_and_one = with_singular_values(3.0, 1.0)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert rankme(three_and_one) == pytest.approx(math.exp(entropy), abs=1e-5)
    assert rankme(three_and_one) == pytest.approx(1.7548, abs=1e-4)
    two = with_singular_values(1.0, 1.0, columns=5)
    assert rankme(two) == pytest.approx(2, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    columns=st.integers(1, 6), seed=st.integers(0, 99), epsilon=st.sampled_from([0.0, 1e-7, 1e-3])
)
def test_the_rank_is_the_papers_two_equations(columns: int, seed: int, epsilon: float) -> None:
    z = gaussian(10 * columns, columns, seed)
    assert rankme(z, epsilon) == pytest.approx(slow(z.numpy(), epsilon), rel=1e-12)
    centred = z - z.mean(0)
    assert rankme(z, epsilon, centre=True) == pytest.approx(
        slow(centred.numpy(), epsilon), rel=1e-9
    )


def test_epsilon_bounds_the_rank_of_one_direction_at_any_width() -> None:
    sigma = torch.zeros(2048, dtype=torch.float64)
    sigma[0] = 5.0
    assert effective_rank(sigma, 1e-7) == pytest.approx(1 + 2047e-7 * math.log(1e7), abs=1e-4)
    assert effective_rank(sigma) == 1.0


def test_rotation_scale_order_and_repetition_change_nothing() -> None:
    z = gaussian(80, 6, 1) @ torch.diag(torch.arange(1, 7).double()) + 0.3
    left, right = torch.linalg.qr(gaussian(80, 80))[0], torch.linalg.qr(gaussian(6, 6, 2))[0]
    expected = rankme(z)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    for other in (left @ z @ right, 1e-6 * z, 1e6 * z, z[order], torch.cat([z, z])):
        assert rankme(other) == pytest.approx(expected, rel=1e-9)


def test_the_gram_route_is_the_same() -> None:
    z = gaussian(300, 20) @ torch.diag(torch.logspace(0, -4, 20, dtype=torch.float64))
    assert rankme_from_gram(z.T @ z) == pytest.approx(rankme(z), rel=1e-4)
    few = gaussian(4, 20)
    gram = few.T @ few
    exact = effective_rank(singular_values(few), 1e-3)
    assert rankme_from_gram(gram, 1e-3, count=4) == pytest.approx(exact, rel=1e-6)
    assert rankme_from_gram(gram, 1e-3) > exact + 0.1  # sixteen directions of epsilon


def test_isotropic_noise_never_lowers_the_rank_of_many_samples() -> None:
    for seed in range(5):
        z = gaussian(2000, 8, seed) @ torch.diag(torch.arange(1, 9).double().pow(-2.0))
        ranks = [rankme(z + level * gaussian(2000, 8, seed + 50)) for level in (0, 0.01, 0.1, 1)]
        assert ranks == sorted(ranks)


def test_gaussian_samples_fill_the_space_if_there_are_ten_a_feature() -> None:
    assert 0.97 * 64 < rankme(gaussian(640, 64)) < 64
    with pytest.warns(
        UserWarning, match="64 features is estimated too low from 64 samples; take 640"
    ):
        assert rankme(gaussian(64, 64)) < 0.9 * 64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rankme(gaussian(640, 64))


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_constant_embeddings_have_rank_one(value: float, dtype: torch.dtype) -> None:
    z = torch.full((200, 8), 0.0 if dtype == torch.float16 and value < 0 else value, dtype=dtype)
    assert rankme(z) == pytest.approx(1, abs=1e-4)
    assert rankme(z, centre=True) == 1.0


def test_the_width_of_the_numbers_matters_little() -> None:
    z = gaussian(640, 32) @ torch.diag(torch.arange(1, 33).double().pow(-1.0)) + 0.5
    assert rankme(z.float()) == pytest.approx(rankme(z), rel=1e-6)
    for dtype in (torch.float16, torch.bfloat16):
        assert rankme(z.to(dtype)) == pytest.approx(rankme(z), rel=0.02)
        assert rankme(z.to(dtype)) == rankme(z.to(dtype).double())
    tiny = (1e-25 * z).float()  # squares underflow float32
    assert rankme(tiny) == pytest.approx(rankme(z), rel=1e-5)


def test_a_row_that_is_not_finite_is_refused_by_its_number() -> None:
    z = gaussian(50, 2)
    z[17, 0] = math.nan
    with pytest.raises(DataError, match="Row 17"):
        rankme(z)


# Choosing among runs


def test_the_highest_rank_is_kept_and_the_table_says_why() -> None:
    runs = {
        "weak": with_singular_values(9, 1, 1, 1),
        "good": with_singular_values(4, 3, 3, 3),
        "none": with_singular_values(9, 0.1, 0.1, 0.1),
    }
    best, table = select_by_rank(runs)
    assert best == "good"
    assert list(table) == ["good", "weak", "none"]
    assert table == {name: pytest.approx(rankme(z)) for name, z in runs.items()}


def test_of_runs_within_the_noise_the_first_is_kept() -> None:
    cheap, dear = with_singular_values(1, 1, 0.9), with_singular_values(1, 1, 0.95)
    assert rankme(cheap) < rankme(dear) < 1.01 * rankme(cheap)
    assert select_by_rank({"cheap": cheap, "dear": dear})[0] == "cheap"
    assert select_by_rank({"cheap": cheap, "dear": dear}, tolerance=0)[0] == "dear"


def test_runs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"one shape, but these have \[\(40, 3\), \(40, 4\)\]"):
        select_by_rank({"a": gaussian(40, 3), "b": gaussian(40, 4)})
    with pytest.raises(ConfigError, match="one shape"):
        select_by_rank({})


# On an objective


def barlow() -> BarlowTwins:
    torch.manual_seed(0)
    return BarlowTwins(build("residual-cnn", DATA.spec, width=4), projector=(16, 8))


def test_embeddings_are_those_of_the_projector_on_whole_samples() -> None:
    objective = barlow().train()
    objective.projector.eval()  # one part in another mode than the rest
    before, state = weights(objective), torch.get_rng_state()
    modes = [module.training for module in objective.modules()]
    z = embeddings(objective, DATA)
    assert [module.training for module in objective.modules()] == modes
    assert equal(weights(objective), before)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        objective.eval()
        expected = objective.projector(objective.encoder(DATA.take(torch.arange(120)).x).pooled)
    assert torch.allclose(z, expected, atol=1e-6)
    assert spectrum_of(objective, DATA).rank() == pytest.approx(rankme(z), rel=1e-4)
    assert spectrum_of(objective, DATA).count == 120
    assert joint(objective)
    assert not joint(MAE(build("vit", DATA.spec, dim=24, depth=1)))


def test_the_draw_is_fixed_by_its_seed() -> None:
    assert torch.equal(drawn(DATA, 30).index, drawn(DATA, 30).index)
    assert not torch.equal(drawn(DATA, 30, 1).index, drawn(DATA, 30, 2).index)
    assert len(drawn(DATA, 30)) == 30
    assert len(drawn(DATA)) == len(DATA)


def test_the_rank_is_in_the_history_and_training_is_not_changed() -> None:
    options: dict[str, Any] = {"steps": 12, "batch_size": 32, "log_every": 2}
    plain, watched = barlow(), barlow()
    train(plain, DATA, **options)
    history = train(watched, DATA, **options, callbacks=[RankMe(watched, DATA, every=6)])
    assert equal(weights(plain), weights(watched))
    measured = {row["step"]: row["rank"] for row in history.rows if "rank" in row}
    assert list(measured) == [6, 12]
    assert measured[12] == pytest.approx(spectrum_of(watched, DATA).rank(), rel=1e-6)


def test_a_check_between_two_logged_steps_is_made_up_for() -> None:
    history = train(
        (objective := barlow()),
        DATA,
        steps=14,
        batch_size=32,
        log_every=4,
        callbacks=[RankMe(objective, DATA, every=5)],
    )
    assert [row["step"] for row in history.rows if "rank" in row] == [8, 12]


class Scripted(Objective[Batch]):
    """Embeddings that fill as many directions of eight as one says."""

    reads = "unlabelled"
    directions = 8

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.encoder = Flat(DATA.spec)
        self.width = width

    def loss(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def anchors(self, batch: Batch) -> Tensor:
        return torch.eye(self.width)[batch.index % self.directions]


def told(objective: Objective, *directions: int) -> tuple[list[str], list[float]]:
    said: list[str] = []
    ranks = []
    watch = RankMe(objective, DATA, every=10, alarm=said.append)
    for number, count in enumerate(directions, 1):
        objective.directions = count  # type: ignore[assignment]
        row = {"step": float(10 * number)}
        watch(Progress(10 * number, 100, row, 0.0))
        ranks.append(row["rank"])
    return said, ranks


def test_an_alarm_is_given_where_the_rank_halves_and_only_there() -> None:
    said, ranks = told(Scripted(), 8, 6, 5, 2, 2)
    assert ranks == pytest.approx([8, 6, 5, 2, 2], rel=1e-3)
    assert said == [
        "step 40: the rank of the embeddings fell from 5.0 to 2.0; the embeddings may be collapsing"
    ]


def test_an_alarm_is_given_below_a_twentieth_of_the_width() -> None:
    said, _ = told(Scripted(width=64), 4, 3, 3, 2)  # once, not at every check
    assert said == [
        "step 20: the rank of the embeddings is 3.0 of 64; the embeddings may be collapsing"
    ]


def test_few_samples_are_not_alarming_for_a_wide_embedding() -> None:
    few = DATA.subset(torch.arange(20))
    said: list[str] = []
    watch = RankMe(Scripted(width=512), few, every=10, alarm=said.append)
    row = {"step": 10.0}
    watch(Progress(10, 100, row, 0.0))
    assert row["rank"] == pytest.approx(8, rel=1e-2)  # of 20 that there could be
    assert said == []


def test_an_alarm_is_a_warning_where_nothing_else_is_said() -> None:
    watch = RankMe(Scripted(width=64), DATA, every=10)
    Scripted.directions = 1
    try:
        with pytest.warns(UserWarning, match="step 10: the rank of the embeddings is 1.0 of 64"):
            watch(Progress(10, 100, {"step": 10.0}, 0.0))
    finally:
        Scripted.directions = 8


def test_reconstruction_is_watched_by_its_features_about_their_mean() -> None:
    torch.manual_seed(0)
    objective = MAE(build("vit", DATA.spec, dim=24, depth=1))
    said: list[str] = []
    row = {"step": 1.0}
    RankMe(objective, DATA, every=1, alarm=said.append)(Progress(1, 2, row, 0.0))
    features = embeddings(objective, DATA)
    expected = effective_rank(singular_values(features, centre=True), 1e-7)
    assert row["rank"] == pytest.approx(expected, rel=1e-4)
    assert said == []


@pytest.mark.parametrize("options", [{"every": 0}, {"samples": 0}])
def test_a_watch_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        RankMe(barlow(), DATA, **options)
