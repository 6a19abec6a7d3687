"""What goes wrong in a greedy selection: a candidate is taken twice, a budget counts picks and not
candidates, a list ends early, the order of the pool decides, or blocks and backends do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.apps.simcore import coreset
from tacita.apps.simcore.coreset import (
    Picks,
    coverage,
    facility_greedy,
    prototypes_of,
    select_nearest,
)
from tacita.errors import ConfigError, DataError

BACKENDS = [
    "torch",
    pytest.param(
        "faiss", marks=pytest.mark.skipif(coreset.faiss is None, reason="faiss is not installed")
    ),
]


def features(rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def unit(z: np.ndarray) -> np.ndarray:
    z = np.asarray(z, dtype=np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def by_hand(similarity: np.ndarray, budget: int, patience: int, stop: float) -> tuple:
    """The rounds as the paper tells them, with sets and loops."""
    chosen: list[int] = []
    values: list[float] = []
    while len(chosen) < min(budget, len(similarity)):
        picks = {}
        for q in range(similarity.shape[1]):
            free = [u for u in range(len(similarity)) if u not in chosen]
            picks[q] = max(free, key=lambda u: (similarity[u, q], -u))
        value = np.mean([similarity[u, q] for q, u in picks.items()])
        if stop and len(values) >= patience and value < stop * values[patience - 1]:
            return chosen, values, "similarity"
        best: dict[int, float] = {}
        for q, u in picks.items():
            best[u] = max(best.get(u, -2.0), similarity[u, q])
        in_order = sorted(best, key=lambda u: (-best[u], u))
        chosen += in_order[: budget - len(chosen)]
        values.append(value)
    return chosen, values, "budget" if len(chosen) == budget else "pool"


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.8, 1.0]),
    st.integers(0, 99),
)
def test_rounds_are_those_of_sets_and_loops(
    candidates: int, k: int, budget: int, patience: int, stop: float, seed: int
) -> None:
    similarity = unit(features(candidates, 4, seed)) @ unit(features(k, 4, seed + 1)).T
    expected, values, stopped = by_hand(similarity, budget, patience, stop)
    picks = facility_greedy(similarity, budget, patience=patience, stop=stop)
    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.values, values)
    assert picks.stopped == stopped
    np.testing.assert_allclose(picks.similarities, similarity[picks.indices, picks.prototypes])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stop", [0.0, 0.7])
def test_lists_in_blocks_give_the_answer_of_the_whole_matrix(
    backend: str, stop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    prototypes, pool = features(7, seed=1), features(500)
    whole = facility_greedy(unit(pool) @ unit(prototypes).T, 300, patience=3, stop=stop)
    if backend == "torch":
        monkeypatch.setattr(coreset, "faiss", None)
    for listed, rows in ((2**20, 2**16), (70, 32), (21, 7)):
        monkeypatch.setattr(coreset, "FIRST_LISTED", listed)
        monkeypatch.setattr(coreset, "LISTED", 2 * listed)
        monkeypatch.setattr(coreset, "ROWS", rows)
        picks = select_nearest(prototypes, pool, 300, patience=3, stop=stop)
        assert picks.indices.tolist() == whole.indices.tolist()
        assert picks.prototypes.tolist() == whole.prototypes.tolist()
        np.testing.assert_allclose(picks.values, whole.values, atol=1e-6)
        assert picks.stopped == whole.stopped


def picks_of(pool: np.ndarray, prototypes: np.ndarray, budget: int = 40) -> Picks:
    return select_nearest(prototypes, pool, budget, stop=0.0)


def test_round_one_is_the_nearest_to_each_prototype() -> None:
    prototypes, pool = features(5, seed=1), features(60)
    similarity = unit(pool) @ unit(prototypes).T
    first = set(similarity.argmax(0).tolist())
    picks = picks_of(pool, prototypes, len(first))
    assert set(picks.indices.tolist()) == first
    assert len(picks.values) == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(0, 99))
def test_nothing_is_chosen_twice_and_no_more_than_the_budget(budget: int, seed: int) -> None:
    picks = picks_of(features(50, 3, seed), features(6, 3, seed + 1), budget)
    assert len(set(picks.indices.tolist())) == len(picks.indices) == min(budget, 50)
    assert picks.stopped == ("pool" if budget > 50 else "budget")
    assert bool((np.diff(picks.values) <= 1e-12).all())


def test_a_budget_counts_candidates_and_not_picks() -> None:
    # All prototypes are one: a round has as many picks as prototypes, and adds one candidate.
    picks = picks_of(features(50), np.repeat(features(1, seed=1), 9, axis=0), 10)
    assert len(picks.indices) == len(picks.values) == 10


def test_the_order_of_the_pool_has_no_say() -> None:
    prototypes, pool = features(5, seed=1), features(80)
    order = np.random.default_rng(2).permutation(80)
    expected = picks_of(pool, prototypes).indices
    assert order[picks_of(pool[order], prototypes).indices].tolist() == expected.tolist()


def test_lengths_of_features_and_a_turn_of_the_space_have_no_say() -> None:
    prototypes, pool = features(5, seed=1), features(80)
    expected = picks_of(pool, prototypes).indices.tolist()
    scales = np.random.default_rng(3).uniform(0.1, 10, (80, 1)).astype(np.float32)
    assert picks_of(pool * scales, 5 * prototypes).indices.tolist() == expected
    turn = np.linalg.qr(features(8, seed=4))[0]
    assert picks_of(pool @ turn, prototypes @ turn).indices.tolist() == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_candidates_are_taken_in_their_order(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "torch":
        monkeypatch.setattr(coreset, "faiss", None)
    monkeypatch.setattr(coreset, "FIRST_LISTED", 4)
    monkeypatch.setattr(coreset, "LISTED", 8)
    pool = np.repeat(features(1), 200, axis=0)  # no list shorter than the pool is sure of any
    picks = select_nearest(features(2, seed=1), pool, 30, patience=2, stop=0.0)
    assert picks.indices.tolist() == list(range(30))


def test_a_pool_that_holds_the_target_gives_it_first() -> None:
    target = features(20, seed=1)
    pool = np.concatenate([features(50), 3 * target])
    picks = select_nearest(prototypes_of(target, k=100), pool, 20)
    assert sorted(picks.indices.tolist()) == list(range(50, 70))
    np.testing.assert_allclose(picks.similarities, 1, atol=1e-6)


def test_the_stop_is_one_round_after_patience_at_1_and_never_at_0() -> None:
    prototypes, pool = features(4, seed=1), features(400)
    strict = select_nearest(prototypes, pool, 400, patience=6, stop=1.0)
    assert strict.stopped == "similarity"
    assert len(strict.values) == 6
    free = select_nearest(prototypes, pool, 400, patience=6, stop=0.0)
    assert len(free.indices) == 400
    assert free.values[-1] < 0  # what is left is on the other side


def test_an_array_on_disk_is_read_as_one_in_memory(tmp_path) -> None:
    prototypes, pool = features(5, seed=1), features(300)
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    expected = picks_of(pool, prototypes).indices.tolist()
    assert picks_of(mapped, torch.from_numpy(prototypes)).indices.tolist() == expected


def test_prototypes_are_unit_means_that_no_order_of_samples_moves() -> None:
    clusters = np.eye(4, 8)[np.arange(200) % 4] * 10 + 0.1 * features(200)
    found = prototypes_of(clusters, k=4)
    assert torch.allclose(found.norm(dim=1), torch.ones(4))
    similarity = unit(found.numpy()) @ np.eye(4, 8).T
    assert sorted(similarity.argmax(1).tolist()) == [0, 1, 2, 3]
    assert bool((similarity.max(1) > 0.999).all())
    order = np.random.default_rng(0).permutation(200)
    assert torch.equal(prototypes_of(clusters[order], k=4), found)


def test_coverage_by_a_loop() -> None:
    targets, chosen = features(1500), features(30, seed=1)
    best = [max(row @ other for other in unit(chosen)) for row in unit(targets)]
    assert coverage(targets, chosen) == pytest.approx(np.mean(best), abs=1e-6)


def true_greedy(targets: np.ndarray, pool: np.ndarray, count: int) -> list[int]:
    """The candidate that adds most to the sum of best cosines, again and again."""
    similarity = unit(pool) @ unit(targets).T
    best, chosen = np.full(len(targets), -1.0), []
    for _ in range(count):
        gains = np.maximum(similarity - best, 0).sum(1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, similarity[chosen[-1]])
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_the_value_is_far_above_chance_and_near_that_of_the_true_greedy(seed: int) -> None:
    # A target in one corner of what the pool covers.
    centres = features(5, 10, seed)
    draw = np.random.default_rng(seed)
    target = centres[draw.integers(2, size=150)] + 0.5 * features(150, 10, seed + 1)
    pool = centres[draw.integers(5, size=600)] + 0.5 * features(600, 10, seed + 2)
    for count in (5, 15, 40):
        picks = select_nearest(prototypes_of(target, k=10), pool, count, stop=0.0)
        value = coverage(target, pool[picks.indices])
        greedy = coverage(target, pool[true_greedy(target, pool, count)])
        chance = [coverage(target, pool[draw.permutation(600)[:count]]) for _ in range(10)]
        assert value >= (1 - 1 / np.e) * greedy
        assert value > np.mean(chance)


@pytest.mark.parametrize(
    "options, word",
    [({"budget": 0}, "budget=0"), ({"patience": 0}, "patience=0"), ({"stop": 1.5}, "stop=1.5")],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], word: str) -> None:
    for select in (
        lambda **o: facility_greedy(np.eye(3), **o),
        lambda **o: select_nearest(np.eye(3), np.eye(3), **o),
    ):
        with pytest.raises(ConfigError, match=word):
            select(**{"budget": 2, **options})
    with pytest.raises(ConfigError, match="k=0"):
        prototypes_of(features(4), k=0)


def test_features_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="8 features, and the pool 3"):
        select_nearest(features(2), features(5, 3), 2)
    with pytest.raises(DataError, match="shape"):
        select_nearest(features(2), features(5)[0], 2)
    broken = features(5)
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="pool are not all finite"):
        select_nearest(features(2), broken, 2)
    with pytest.raises(DataError, match="target are not all finite"):
        prototypes_of(broken)
