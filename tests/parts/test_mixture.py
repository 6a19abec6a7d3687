"""Weights of a mixture: at the penalised maximum, the prior's without labels, whatever the order."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tacita.parts.mixture import kept_weights, mixture_weights, temperature

shapes = st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(0, 99))


def drawn(samples: int, models: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(samples, models, generator=generator, dtype=torch.float64).clamp_min(0.01).log()
    )


def penalised(logs: torch.Tensor, weights: torch.Tensor, before: torch.Tensor) -> float:
    mixture = (logs + weights.log()).logsumexp(1).sum()
    return float(mixture + (before * weights.log()).sum())


@settings(max_examples=25)
@given(shapes, st.sampled_from([1.0, 10.0]))
def test_no_other_weights_are_likelier(shape: tuple[int, int, int], strength: float) -> None:
    logs = drawn(*shape)
    generator = torch.Generator().manual_seed(shape[2])
    prior = (3 * torch.rand(shape[1], generator=generator, dtype=torch.float64)).softmax(0)
    found = mixture_weights(logs, prior, strength)
    assert float(found.sum()) == pytest.approx(1)
    best = penalised(logs, found, strength * prior)
    for _ in range(10):
        other = torch.rand(shape[1], generator=generator, dtype=torch.float64) + 1e-3
        near = 0.95 * found + 0.05 * other / other.sum()
        assert penalised(logs, near, strength * prior) <= best + 1e-4


def test_the_order_of_the_models_and_models_that_say_the_same_change_nothing() -> None:
    logs = drawn(20, 4, 0)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(mixture_weights(logs)[order], mixture_weights(logs[:, order]))
    alike = torch.stack([logs[:, 0]] * 3, 1)
    torch.testing.assert_close(mixture_weights(alike), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_a_handful_of_labels_moves_the_weights_little_and_many_move_them_all_the_way() -> None:
    better = torch.tensor([[-0.1, -3.0]])
    few, many = (mixture_weights(better.expand(n, 2))[0].item() for n in (2, 2000))
    assert 0.5 < few < 0.65
    assert many > 0.99


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8), st.floats(0.1, 1))
def test_what_is_kept_holds_enough_and_nothing_lighter_goes_before(
    given_weights: list[float], cover: float
) -> None:
    weights = torch.tensor(given_weights, dtype=torch.float64)
    weights = weights / weights.sum()
    kept = kept_weights(weights, cover)
    chosen = kept > 0
    assert float(kept.sum()) == pytest.approx(1)
    assert float(weights[chosen].sum()) >= cover - 1e-5
    if bool((~chosen).any()):
        assert float(weights[chosen].min()) > float(weights[~chosen].max())


def test_temperature_is_that_of_labels_drawn_at_it_and_1_without_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 5, generator=generator)
    for heat in (0.5, 2.0):
        shares = (logits / heat).softmax(1)
        labels = torch.multinomial(shares, 1, generator=generator).squeeze(1)

        def losses(t: float, labels: torch.Tensor = labels) -> torch.Tensor:
            return functional.cross_entropy(logits / t, labels, reduction="none")

        assert temperature(losses) == pytest.approx(heat, rel=0.1)
    assert temperature(lambda t: torch.empty(0)) == pytest.approx(1, abs=1e-3)
    # One sure mistake cools nothing down to nothing.
    wrong = torch.tensor([[9.0, 0.0]])
    found = temperature(
        lambda t: functional.cross_entropy(wrong / t, torch.tensor([1]), reduction="none")
    )
    assert 1 < found < math.exp(3)
