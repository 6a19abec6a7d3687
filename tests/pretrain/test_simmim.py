"""What could go wrong unseen: what is hidden leaks in, visible patches count in the loss, units are
cut apart, or padding is hidden and predicted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.simmim import SimMIM, simmim_loss, unit_grid
from tests.helpers import BATCHES, assert_close, samples_of, series_batch
from tests.pretrain.training import neighbour_accuracy, train_on_digits

ENCODERS = {"images": "vit", "series": "series-transformer", "tables": "feature-tokens"}


def make(modality: str = "images", **options: object) -> tuple[SimMIM, Batch]:
    spec, batch = BATCHES[modality]()
    torch.manual_seed(0)
    small = {} if modality == "tables" else {"depth": 2}
    return SimMIM(build(ENCODERS[modality], spec, **small), **options), batch


def test_loss_and_gradient_match_a_direct_derivation():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 3, 5, 4, generator=generator)
    hidden = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    # As published: the sum of absolute errors over masked pixels, divided by the number of pixels.
    pixels = hidden[:, :, None].expand(3, 5, 4).numpy()
    expected = np.abs(predicted.numpy() - target.numpy())[pixels].sum() / pixels.sum()
    predicted.requires_grad_()
    loss = simmim_loss(predicted, target, hidden, torch.ones(3, 5, 4))
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    sign = torch.sign(predicted.detach() - target) * hidden[:, :, None] / pixels.sum()
    assert_close(predicted.grad, sign)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_units_are_squares_of_the_grid_in_their_order(rows, columns, side):
    units = unit_grid(rows, columns, side).view(rows, columns)
    across = -(-columns // side)
    for row in range(rows):
        for column in range(columns):
            assert units[row, column] == row // side * across + column // side


@pytest.mark.parametrize("modality", ENCODERS)
@pytest.mark.parametrize("ratio", [0.01, 0.6, 0.99])
def test_some_tokens_are_hidden_and_some_are_seen_at_any_ratio(modality, ratio):
    objective, batch = make(modality, mask_ratio=ratio)
    patches = objective.encoder.patches(batch.x)
    hidden = objective.draw(patches)
    assert hidden.any(1).all()
    assert not hidden.all(1).any()
    units = objective.units
    shown = max(1, int(units * (1 - ratio) + 1e-6))
    assert hidden.float().sum(1).tolist() == [units - shown] * len(batch)


def test_a_unit_is_hidden_as_a_whole():
    spec = InputSpec("images", (1, 16, 16))
    objective = SimMIM(build("vit", spec, patch=2, depth=1))
    assert objective.mask_unit == 2
    hidden = objective.draw(torch.zeros(50, 64, 4)).view(50, 4, 2, 4, 2)
    together = hidden.float().mean((2, 4))
    assert ((together == 0) | (together == 1)).all()
    assert together.sum((1, 2)).tolist() == [10.0] * 50  # of 16, all but floor(16 * 0.4)
    assert together.std(0).min() > 0.2  # and any of them


@pytest.mark.parametrize(
    "shape, patch, unit", [((1, 8, 8), 2, 1), ((1, 28, 28), 4, 2), ((1, 14, 14), 2, 2)]
)
def test_units_are_larger_than_a_patch_where_there_are_enough(shape, patch, unit):
    assert SimMIM(build("vit", InputSpec("images", shape), patch=patch)).mask_unit == unit


@pytest.mark.parametrize("modality", ENCODERS)
def test_changed_hidden_values_leave_every_prediction_as_it_was(modality):
    objective, batch = make(modality)
    x = batch.x.clone()
    patches = objective.encoder.patches(torch.arange(float(x[0].numel())).view(1, *x.shape[1:]))
    hidden = objective.draw(objective.encoder.patches(x))
    if modality == "tables":
        other = torch.where(hidden, 1.0, x)
    else:
        # The token that each value lies in, by the place of its number among the patches.
        numbers = patches[0].flatten().long()
        token = torch.arange(patches.shape[1]).repeat_interleave(patches.shape[2])
        where = torch.empty_like(token).scatter(0, numbers, token)
        other = torch.where(hidden[:, where].view(x.shape), 9.0, x)
    assert not torch.equal(other, x)
    assert_close(objective.reconstruct(other, hidden), objective.reconstruct(x, hidden))


def test_a_visible_value_does_change_predictions():
    objective, batch = make()
    hidden = torch.zeros(len(batch), 16, dtype=torch.bool)
    hidden[:, 1:] = True
    other = batch.x.clone()
    other[:, :, 0, 0] += 1
    change = objective.reconstruct(other, hidden) - objective.reconstruct(batch.x, hidden)
    assert (change[:, 5].abs().amax(1) > 0).all()


def test_hidden_patches_know_their_place_and_nothing_else():
    objective, batch = make()
    hidden = torch.ones(len(batch), 16, dtype=torch.bool)
    predicted = objective.reconstruct(batch.x, hidden)
    assert_close(predicted, predicted[:1].expand_as(predicted))
    assert (predicted[0, 0] - predicted[0, 1]).abs().max() > 1e-3


def test_predictions_at_visible_patches_do_not_count():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 3, 5, 4, generator=generator)
    hidden = torch.rand(3, 5, generator=generator) < 0.5
    weights = torch.ones_like(target)
    loss = simmim_loss(predicted, target, hidden, weights)
    elsewhere = predicted + 100 * ~hidden[:, :, None]
    assert torch.equal(simmim_loss(elsewhere, target, hidden, weights), loss)


def test_padding_of_series_is_neither_read_nor_hidden():
    objective, batch = make("series")
    torch.manual_seed(1)
    clean = objective(batch).total
    rubbish = batch.with_x(batch.x.masked_fill(~batch.mask[:, :, None], torch.nan))
    torch.manual_seed(1)
    assert torch.equal(objective(rubbish).total, clean)
    valid = objective.encoder.token_mask(batch.mask)
    hidden = objective.draw(objective.encoder.patches(batch.x), valid)
    assert not (hidden & ~valid).any()
    several = valid.sum(1) > 1
    assert hidden[several].any(1).all()
    assert (valid & ~hidden).any(1).all()


def test_units_that_padding_reaches_into_are_still_whole_units():
    spec = InputSpec("series", (64, 1))
    objective = SimMIM(build("series-transformer", spec, patch=1, depth=1), mask_unit=4)
    valid = (torch.arange(64) < torch.tensor([4, 5, 17, 64])[:, None]).repeat(20, 1)
    hidden = objective.draw(torch.zeros(80, 64, 1), valid)
    # Units with a valid step: 1, 2, 5 and 16; half of them, rounded down, are seen.
    units = (hidden.view(80, 16, 4).any(2)).sum(1).view(20, 4)
    assert units.tolist() == [[0, 1, 3, 8]] * 20


def test_series_of_one_token_have_nothing_to_predict():
    spec, batch = series_batch(4)
    short = batch.with_samples(samples_of(batch.x, torch.ones(4, dtype=torch.int64)))
    losses = SimMIM(build("series-transformer", spec))(short)
    losses.total.backward()
    assert losses.total.item() == 0


def test_a_batch_of_one_and_images_without_content_give_a_loss():
    objective, batch = make()
    one = Batch(torch.zeros_like(batch.x[:1]), batch.y[:1], batch.index[:1])
    total = objective(one).total
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("ratio", [0.0, 1.0, float("nan")])
def test_a_ratio_that_hides_nothing_or_all_is_refused(ratio):
    with pytest.raises(ConfigError, match="mask_ratio"):
        make(mask_ratio=ratio)


@pytest.mark.parametrize("unit", [0, 4, 9])
def test_a_unit_that_hides_nothing_or_all_is_refused(unit):
    with pytest.raises(ConfigError, match=r"mask_unit=.*4x4"):
        make(mask_unit=unit)


def test_an_encoder_without_tokens_is_refused_with_those_that_work():
    with pytest.raises(ConfigError, match=r"(?s)simmim.*ResidualCNN.*vit"):
        SimMIM(build("residual-cnn", InputSpec("images", (1, 8, 8))))


def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    encoder = build("vit", InputSpec("images", (1, 8, 8)), dim=48, depth=2)
    objective = SimMIM(encoder)
    untrained = neighbour_accuracy(encoder)
    train_on_digits(objective, steps=300, rate=2e-3)
    assert neighbour_accuracy(encoder) > untrained + 0.10
