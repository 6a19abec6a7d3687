"""What could go wrong unseen: the encoder peeks at hidden patches, visible ones count in the loss,
padding counts as something to predict, or the target's scale slips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.parts.masking import hide
from tacita.parts.reconstruction import data_weights
from tacita.pretrain.mae import (
    MAE,
    AttentionDecoder,
    MeanDecoder,
    reconstruction_loss,
    standardise,
)
from tests.helpers import BATCHES, assert_close, samples_of, series_batch, table_batch
from tests.pretrain.training import neighbour_accuracy, train_on_digits

ENCODERS = {"images": "vit", "series": "series-transformer", "tables": "feature-tokens"}


def make(modality: str, **options: object) -> tuple[MAE, Batch]:
    spec, batch = BATCHES[modality]()
    torch.manual_seed(0)
    return MAE(build(ENCODERS[modality], spec), **options), batch


def test_loss_matches_a_direct_derivation():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    hidden = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    weights = torch.ones(3, 5, 4)
    weights[:, 1, 2:] = 0  # two numbers of the second patch mean nothing
    each = []
    for row, column in hidden.nonzero().tolist():
        width = 2 if column == 1 else 4
        error = (predicted - target)[row, column, :width].numpy()
        each.append((error**2).mean())
    loss = reconstruction_loss(predicted, target, hidden, weights)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-6)


def test_targets_are_standardised_as_published():
    patches = torch.rand(2, 3, 9, dtype=torch.float64)
    x = patches.numpy()
    mean, variance = x.mean(2, keepdims=True), x.var(2, keepdims=True, ddof=1)
    expected = torch.from_numpy((x - mean) / (variance + 1e-6) ** 0.5)
    assert_close(standardise(patches, torch.ones_like(patches)), expected)


def test_padding_takes_no_part_in_the_standardisation():
    patches = torch.tensor([[[1.0, 3.0, 0.0, 0.0]]])
    weights = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    assert_close(standardise(patches, weights), torch.tensor([[[-1.0, 1.0, 0.0, 0.0]]]) / 2**0.5)


def test_constant_patches_have_a_target_of_zero():
    patches = torch.full((1, 1, 4), 7.0)
    assert (standardise(patches, torch.ones(1, 1, 4)) == 0).all()


@pytest.mark.parametrize("modality", ENCODERS)
def test_predictions_at_visible_patches_do_not_count(modality):
    objective, batch = make(modality)
    patches = objective.encoder.patches(batch.x)
    hiding = hide(torch.rand(patches.shape[:2]), objective.mask_ratio)
    predicted = objective.reconstruct(batch.x, hiding)
    weights = torch.ones_like(patches)
    loss = reconstruction_loss(predicted, patches, hiding.hidden, weights)
    elsewhere = predicted + 100 * (~hiding.hidden[:, :, None])
    assert torch.equal(reconstruction_loss(elsewhere, patches, hiding.hidden, weights), loss)
    there = predicted + 100 * hiding.hidden[:, :, None]
    assert reconstruction_loss(there, patches, hiding.hidden, weights) > loss + 1000


@pytest.mark.parametrize("modality", ENCODERS)
@pytest.mark.parametrize("decoder", ["attention", "mean"])
def test_the_encoder_sees_visible_tokens_only(modality, decoder):
    objective, batch = make(modality, decoder=decoder)
    encoder, x = objective.encoder, batch.x.clone().requires_grad_()
    hiding = hide(torch.rand(len(x), len(encoder.positions)), objective.mask_ratio)
    objective.reconstruct(x, hiding).square().sum().backward()
    influence = encoder.patches(x.grad).abs().sum(2)
    if modality == "tables":  # codes of categories have no gradient
        influence, hidden = influence[:, :13], hiding.hidden[:, :13]
    else:
        hidden = hiding.hidden
    assert (influence[hidden] == 0).all()
    assert (influence[~hidden] > 0).all()


def test_changed_hidden_pixels_leave_every_prediction_as_it_was():
    objective, batch = make("images")
    hiding = hide(torch.rand(len(batch), 16), 0.75)
    pixels = hiding.hidden.view(-1, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    changed = torch.where(pixels, 9.0, batch.x)
    assert torch.equal(
        objective.reconstruct(changed, hiding), objective.reconstruct(batch.x, hiding)
    )


@pytest.mark.parametrize("modality, tokens", [("images", 16), ("series", 8), ("tables", 14)])
def test_the_encoder_works_on_the_share_that_is_visible(modality, tokens, monkeypatch):
    objective, batch = make(modality)
    seen = []
    blocks = objective.encoder.blocks
    monkeypatch.setattr(
        objective.encoder, "blocks", lambda t, m=None: (seen.append(t.shape[1]), blocks(t, m))[1]
    )
    objective(batch)
    assert seen == [int(tokens * (1 - objective.mask_ratio))]


def test_predictions_stand_at_the_places_of_their_patches():
    # Taking tokens out and putting them back is exact, so with nothing but positions to go by
    # a decoder without blocks predicts from each place its own token.
    objective, batch = make("images")
    hiding = hide(torch.rand(len(batch), 16), 0.75)
    decoder = objective.decoder
    decoder.blocks.layers = torch.nn.ModuleList()
    predicted = objective.reconstruct(batch.x, hiding)
    prior = decoder.leave(
        decoder.blocks.norm(decoder.hidden_token + decoder.place(objective.encoder.positions))
    )
    expected = prior.expand_as(predicted)
    assert_close(predicted[hiding.hidden], expected[hiding.hidden])
    assert (predicted - expected)[~hiding.hidden].abs().amax(1).min() > 1e-4


def test_the_mean_decoder_reads_each_place_off_the_mean_of_the_visible_tokens():
    objective, batch = make("series", decoder="mean")
    encoder, decoder = objective.encoder, objective.decoder
    mask = encoder.token_mask(batch.mask)
    hiding = hide(torch.rand(mask.shape), 0.5, mask)
    x = batch.x.masked_fill(~batch.mask[:, :, None], 0)
    predicted = objective.reconstruct(x, hiding, mask)
    for row in range(len(batch)):
        at = hiding.visible[row][hiding.valid[row]]
        seen = encoder.blocks(encoder.embed(x[row : row + 1])[:, at])
        entered = decoder.enter(seen[0].mean(0))
        for place, position in enumerate(encoder.positions):
            expected = decoder.leave(entered * decoder.place(position))
            assert_close(predicted[row, place], expected)


@pytest.mark.parametrize("columns, decoder", [(32, AttentionDecoder), (33, MeanDecoder)])
def test_tables_with_many_columns_are_reconstructed_from_a_mean(columns, decoder):
    spec = InputSpec("tables", (columns,), cardinalities=(0,) * columns)
    assert type(MAE(build("feature-tokens", spec, dim=8)).decoder) is decoder


def test_images_of_as_many_patches_are_reconstructed_by_attention():
    encoder = build("vit", InputSpec("images", (1, 16, 16)), patch=2, dim=12)
    assert len(encoder.positions) == 64
    assert type(MAE(encoder).decoder) is AttentionDecoder


def test_padding_of_series_is_neither_read_nor_predicted():
    objective, batch = make("series")
    torch.manual_seed(1)
    clean = objective(batch).total
    rubbish = batch.with_x(batch.x.masked_fill(~batch.mask[:, :, None], torch.nan))
    torch.manual_seed(1)
    assert torch.equal(objective(rubbish).total, clean)
    clean.backward()
    assert all(p.grad.isfinite().all() for p in objective.parameters())


def test_steps_beyond_the_length_do_not_count_within_a_patch():
    spec, batch = series_batch()
    objective = MAE(build("series-transformer", spec, patch=4))
    weights = data_weights(objective.encoder, batch, objective.encoder.patches(batch.x))
    assert weights.sum().item() == batch.lengths.sum().item() * 8
    assert weights.sum((1, 2)).tolist() == (8 * batch.lengths).tolist()


def test_series_of_one_token_have_nothing_to_predict():
    spec, batch = series_batch(4)
    short = batch.with_samples(samples_of(batch.x, torch.ones(4, dtype=torch.int64)))
    losses = MAE(build("series-transformer", spec))(short)
    losses.total.backward()
    assert losses.total.item() == 0


def test_slots_that_no_category_has_do_not_count():
    spec, batch = table_batch()
    objective = MAE(build("feature-tokens", spec))
    weights = data_weights(objective.encoder, batch, objective.encoder.patches(batch.x))
    assert weights[0].sum(1).tolist() == [1] * 13 + [3]


def test_an_encoder_without_tokens_is_refused_with_those_that_work():
    with pytest.raises(ConfigError, match=r"(?s)ResidualCNN.*Choose vit for images"):
        MAE(build("residual-cnn", InputSpec("images", (1, 8, 8))))


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, float("nan")])
def test_a_ratio_that_hides_nothing_or_all_is_refused(ratio):
    with pytest.raises(ConfigError, match="mask_ratio"):
        make("images", mask_ratio=ratio)


def test_a_single_token_is_refused():
    with pytest.raises(ConfigError, match="single token"):
        MAE(build("vit", InputSpec("images", (1, 8, 8)), patch=8))


@pytest.mark.long
@pytest.mark.parametrize("decoder", ["attention", "mean"])
def test_hidden_patches_are_learnt_beyond_the_mean_of_their_place(decoder):
    # The best guess that ignores what is visible is the mean of each column, with an error of its
    # variance, 1. Wines' columns are correlated, so there is more to know.
    spec, batch = table_batch(178)
    torch.manual_seed(0)
    objective = MAE(build("feature-tokens", spec, dim=32), decoder=decoder)
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    totals = []
    for _ in range(150):
        optimiser.zero_grad()
        total = objective(batch).total
        total.backward()
        optimiser.step()
        totals.append(total.item())
    patches = objective.encoder.patches(batch.x)
    guess = data_weights(objective.encoder, batch, patches)
    by_place = ((patches - patches.mean(0)).square() * guess).sum(2) / guess.sum(2)
    assert np.mean(totals[-10:]) < 0.75 * by_place.mean().item()


@pytest.mark.long
def test_training_gives_digits_better_neighbours():
    torch.manual_seed(0)
    encoder = build("vit", InputSpec("images", (1, 8, 8)), dim=48, depth=2)
    objective = MAE(encoder, decoder_depth=1)
    untrained = neighbour_accuracy(encoder)
    train_on_digits(objective, steps=400, rate=2e-3)
    assert neighbour_accuracy(encoder) > untrained + 0.10
