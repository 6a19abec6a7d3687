"""What goes wrong in Mixed Barlow Twins: sides of a product or of a permutation are changed about, the
guess gets no gradient, or the term is there where it should be nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.pretrain.barlow_twins import BarlowTwins
from tacita.pretrain.mixed_barlow_twins import (
    MixedBarlowTwins,
    linearity_gap,
    mix,
    mixed_regulariser,
)
from tests.helpers import assert_close, image_batch
from tests.pretrain.derivation import assert_derived, embeddings
from tests.pretrain.training import neighbour_accuracy, train_on_digits

ORDER = torch.tensor([3, 0, 5, 1, 4, 2])


def by_hand(z_a: np.ndarray, z_b: np.ndarray, z_m: np.ndarray, rescale: bool = False) -> float:
    """The paper's correlations and guesses, one pair of features after another."""

    def deviations(z: np.ndarray) -> np.ndarray:
        return np.stack([(c - c.mean()) / np.sqrt(((c - c.mean()) ** 2).mean()) for c in z.T], 1)

    rows, dim = z_a.shape
    a, b, m = deviations(z_a), deviations(z_b), deviations(z_m)
    total = 0.0
    for other in (a, b):
        for i in range(dim):
            mixture = np.array([0.3 * a[n, i] + 0.7 * b[ORDER[n], i] for n in range(rows)])
            size = np.sqrt((mixture**2).mean()) if rescale else 1.0
            for j in range(dim):
                correlation = sum(m[n, i] * other[n, j] for n in range(rows)) / rows
                left = sum(a[n, i] * other[n, j] for n in range(rows)) / rows
                right = sum(b[ORDER[n], i] * other[n, j] for n in range(rows)) / rows
                total += (correlation - (0.3 * left + 0.7 * right) / size) ** 2
    return total


def make(**options: Any) -> MixedBarlowTwins:
    torch.manual_seed(0)
    return MixedBarlowTwins(
        build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), **options
    )


def loss_of(objective: BarlowTwins | MixedBarlowTwins) -> Losses:
    torch.manual_seed(1)
    return objective(image_batch()[1])


def given_share(monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        "tacita.pretrain.mixed_barlow_twins.draw_mix", lambda like: (torch.tensor(alpha), order)
    )


@pytest.mark.parametrize("rescale", [False, True])
def test_the_term_and_its_gradient_into_all_three_match_a_direct_derivation(rescale):
    assert_derived(
        lambda a, b, m: mixed_regulariser(a, b, m, 0.3, ORDER, rescale=rescale),
        lambda a, b, m: by_hand(a, b, m, rescale),
        embeddings(3),
    )


def test_a_gradient_flows_through_the_guess():
    leaf = embeddings(3)
    z_a, z_b, z_m = (z.requires_grad_() for z in leaf)
    mixed_regulariser(z_a.detach(), z_b.detach(), z_m, 0.3, ORDER).backward()
    alone = z_m.grad.clone()
    z_m.grad = None
    mixed_regulariser(z_a, z_b, z_m, 0.3, ORDER).backward()
    assert_close(z_m.grad, alone)
    assert z_a.grad.abs().max() > 1e-3
    assert z_b.grad.abs().max() > 1e-3


def test_the_second_view_is_the_one_that_is_permuted():
    a, b = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[10.0], [20.0], [30.0]])
    mixed = mix(a, b, 0.5, torch.tensor([2, 0, 1]))
    assert mixed.flatten().tolist() == [15.5, 6.0, 11.5]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_nothing_is_asked_where_nothing_is_mixed(monkeypatch, alpha):
    given_share(monkeypatch, alpha)
    # Deterministic networks in training mode; a permutation changes the order of sums alone.
    assert loss_of(make())["mixed"].item() == pytest.approx(0, abs=1e-8)
    if alpha == 1:
        assert loss_of(make())["mixed"].item() == 0
    given_share(monkeypatch, 0.5)
    assert loss_of(make())["mixed"].item() > 0.01


def test_images_are_mixed_and_go_through_the_network_on_their_own(monkeypatch):
    given_share(monkeypatch, 0.25)
    seen: list[torch.Tensor] = []
    scales = iter((1.0, -1.0))
    objective = make(views=lambda batch: batch.with_x(batch.x * next(scales)))
    objective.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].x))
    loss_of(objective)
    assert [len(x) for x in seen] == [16, 16, 16]
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    x = image_batch()[1].x
    assert_close(seen[2], 0.25 * x - 0.75 * x[order])


def test_the_weights_are_multiplied_as_published():
    term = loss_of(make(off_diagonal=1.0, mixed=1.0))["mixed"]
    assert_close(loss_of(make(off_diagonal=0.1, mixed=3.0))["mixed"], 0.3 * term)


def test_without_the_term_it_is_barlow_twins_bit_for_bit():
    torch.manual_seed(0)
    twins = BarlowTwins(
        build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), off_diagonal=7.8125e-3
    )
    objective = make(mixed=0.0)
    for each in (twins, objective):
        loss_of(each).total.backward()
    assert torch.equal(loss_of(objective).total, loss_of(twins).total)
    for mine, theirs in zip(objective.parameters(), twins.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    for mine, theirs in zip(objective.buffers(), twins.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_with_the_term_the_twins_are_left_as_they_are():
    torch.manual_seed(0)
    twins = BarlowTwins(
        build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), off_diagonal=7.8125e-3
    )
    expected, losses = loss_of(twins), loss_of(make())
    assert torch.equal(losses["invariance"], expected["invariance"])
    assert torch.equal(losses["redundancy"], expected["redundancy"])


@pytest.mark.parametrize("rescale", [False, True])
def test_neither_scale_nor_shift_of_a_feature_nor_the_order_of_samples_matters(rescale):
    z_a, z_b, z_m = embeddings(3)
    expected = mixed_regulariser(z_a, z_b, z_m, 0.3, ORDER, rescale=rescale)
    scale, shift = torch.tensor([0.1, 1.0, 7.0, 100.0]), torch.arange(4.0)
    moved = [z * scale + shift for z in (z_a, z_b, z_m)]
    assert_close(mixed_regulariser(*moved, 0.3, ORDER, rescale=rescale), expected)
    among = torch.tensor([5, 2, 0, 3, 1, 4])
    # Sample n sits at the place where `among` is n, and its partner sits where it sat before.
    order = torch.argsort(among)[ORDER[among]]
    permuted = [z[among] for z in (z_a, z_b, z_m)]
    assert_close(mixed_regulariser(*permuted, 0.3, order, rescale=rescale), expected)


def test_a_linear_network_costs_nothing_once_rescaled_and_something_as_published():
    z_a, z_b = embeddings(2, rows=64)
    z_b = z_a + 0.0 * z_b
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    z_m = mix(z_a, z_b, 0.5, order)
    assert mixed_regulariser(z_a, z_b, z_m, 0.5, order, rescale=True).item() < 1e-20
    assert mixed_regulariser(z_a, z_b, z_m, 0.5, order).item() > 0.1


def test_identical_rows_stay_finite():
    z = torch.ones(8, 5, requires_grad=True)
    for rescale in (False, True):
        term = mixed_regulariser(z, z, z, 0.5, torch.randperm(8), rescale=rescale)
        term.backward()
        assert term.item() == 0
        assert z.grad.isfinite().all()


def test_the_term_is_float32_under_reduced_precision():
    z_a, z_b, z_m = embeddings(3, rows=64, dim=16)
    order = torch.randperm(64)
    z = [t.float() for t in (z_a, z_b, z_m)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = mixed_regulariser(*z, 0.3, order)
    assert torch.equal(inside, mixed_regulariser(*z, 0.3, order))
    halves = [t.bfloat16() for t in z]
    assert mixed_regulariser(*halves, 0.3, order).dtype == torch.float32


def test_the_gap_is_0_for_a_linear_map_and_1_for_one_without_any_order():
    torch.manual_seed(0)
    x, linear = torch.randn(256, 8), torch.randn(8, 5)
    assert linearity_gap(lambda x: x @ linear + 1, x, x) < 1e-10
    # What it makes of a mixture has nothing to do with what it makes of the two.
    assert linearity_gap(lambda x: (1e4 * x @ linear).sin(), x, x) == pytest.approx(1, abs=0.3)


def test_the_gap_grows_as_a_map_bends():
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    gaps = []
    for bend in (0.0, 0.3, 3.0):
        torch.manual_seed(1)
        gaps.append(linearity_gap(lambda x, bend=bend: x + bend * x.square(), x, x))
    assert gaps[0] < gaps[1] < gaps[2]


def test_the_gap_of_a_collapsed_map_is_0_and_no_draws_are_refused():
    x = torch.randn(16, 3)
    assert linearity_gap(lambda x: torch.ones(len(x), 2), x, x) == 0
    with pytest.raises(ConfigError, match="draws=0"):
        linearity_gap(lambda x: x, x, x, draws=0)


def test_the_gap_needs_no_gradient_and_leaves_the_network_as_it_is():
    objective, (_, batch) = make().eval(), image_batch()
    before = [b.clone() for b in objective.buffers()]
    gap = linearity_gap(lambda x: objective.anchors(batch.with_x(x)), batch.x, batch.x)
    assert isinstance(gap, float)
    assert gap > 0
    assert all(map(torch.equal, objective.buffers(), before))


def test_a_batch_of_one_is_refused():
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(image_batch(1)[1])


@pytest.mark.parametrize("options", [{"off_diagonal": -1.0}, {"mixed": -1.0}, {"projector": ()}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        make(**options)


def test_training_keeps_the_network_straight_and_gives_digits_better_neighbours():
    _, batch = image_batch(512)
    gaps = []
    for mixed in (0.0, 4.0):
        objective = make(mixed=mixed, rescale=True)
        untrained = neighbour_accuracy(objective.encoder)
        train_on_digits(objective, steps=100, rate=2e-3)
        assert neighbour_accuracy(objective.encoder) > untrained + 0.05
        objective.eval()
        torch.manual_seed(0)
        x_a, x_b = objective.views(batch).x, objective.views(batch).x
        gaps.append(linearity_gap(lambda x, o=objective: o.anchors(batch.with_x(x)), x_a, x_b))
    assert gaps[1] < 0.6 * gaps[0]
