"""A predictor that reads a hidden token, or one set's targets from another's, predicts nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.parts.jepa import LatentPredictor, context_tokens, target_tokens
from tests.helpers import BATCHES, assert_close

ENCODERS = {"images": "vit", "series": "series-transformer", "tables": "ft-transformer"}


def make(modality: str):
    spec, batch = BATCHES[modality]()
    torch.manual_seed(0)
    return build(ENCODERS[modality], spec, dim=16, depth=2, heads=2), batch


def draw(tokens: int, rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A context of 3 and two sets of 2 targets elsewhere."""
    order = torch.rand(rows, tokens, generator=torch.Generator().manual_seed(0)).argsort(1)
    return order[:, :3], order[:, 3:7].view(rows, 2, 2)


def predictor() -> LatentPredictor:
    torch.manual_seed(1)
    return LatentPredictor(16, dim=8, depth=2, heads=2)


@pytest.mark.parametrize("modality", ENCODERS)
def test_the_context_is_encoded_as_if_there_were_no_other_tokens(modality):
    encoder, batch = make(modality)
    tokens = encoder.embed(batch.x)
    at, _ = draw(tokens.shape[1])
    seen = context_tokens(encoder, batch.x, at)
    for row in range(4):
        alone = encoder.blocks(tokens[row : row + 1, at[row]])
        assert_close(seen[row : row + 1], alone)


def test_the_context_does_not_depend_on_hidden_columns_and_the_targets_do():
    encoder, batch = make("tables")
    at, target_at = draw(14)
    hidden = torch.ones(16, 14).scatter(1, at, 0.0).bool()
    changed = torch.where(hidden, torch.roll(batch.x, 1, 0), batch.x)
    assert torch.equal(context_tokens(encoder, changed, at), context_tokens(encoder, batch.x, at))
    difference = target_tokens(encoder, changed, target_at) - target_tokens(
        encoder, batch.x, target_at
    )
    assert (difference.abs().amax(3) > 1e-5).all()


@pytest.mark.parametrize("modality", ENCODERS)
def test_targets_are_the_teachers_tokens_of_mean_0_and_variance_1(modality):
    teacher, batch = make(modality)
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if name.endswith("norm.weight"):
                parameter.mul_(3.0)
    mask = teacher.token_mask(batch.mask)
    tokens = teacher.blocks(teacher.embed(batch.x), mask)
    _, at = draw(tokens.shape[1])
    targets = target_tokens(teacher, batch.x, at, mask)
    for row, group, place in [(0, 0, 0), (3, 1, 0), (15, 1, 1)]:
        token = tokens[row, at[row, group, place]].detach()
        expected = (token - token.mean()) / token.var(correction=0).add(1e-5).sqrt()
        assert_close(targets[row, group, place], expected)
    assert not targets.requires_grad
    assert_close(targets.mean(3), torch.zeros_like(targets[..., 0]))
    assert (targets.var(3, correction=0) - 1).abs().max() < 1e-3


def test_each_set_of_targets_is_predicted_as_if_it_were_the_only_one():
    network = predictor()
    context, positions = torch.randn(16, 3, 16), torch.randn(10, 16)
    at, target_at = draw(10)
    both = network(context, at, target_at, positions)
    assert both.shape == (16, 2, 2, 16)
    for group in range(2):
        alone = network(context, at, target_at[:, group : group + 1], positions)
        assert_close(both[:, group], alone[:, 0])


def test_a_prediction_knows_its_place_and_the_contexts_places():
    network = predictor()
    context, positions = torch.randn(16, 3, 16), torch.randn(10, 16)
    at, target_at = draw(10)
    before = network(context, at, target_at, positions)
    swapped = network(context, at, target_at.flip(2), positions)
    assert_close(swapped, before.flip(2), "predictions follow their places")
    assert (before[:, :, 0] - before[:, :, 1]).abs().amax(2).min() > 1e-4
    elsewhere = network(context, (at + 1) % 10, target_at, positions)
    assert (elsewhere - before).abs().amax(3).min() > 1e-5


def test_the_order_in_which_the_context_is_listed_does_not_matter():
    network = predictor()
    context, positions = torch.randn(16, 3, 16), torch.randn(10, 16)
    at, target_at = draw(10)
    order = torch.tensor([2, 0, 1])
    assert_close(
        network(context[:, order], at[:, order], target_at, positions),
        network(context, at, target_at, positions),
    )


def test_tokens_that_do_not_count_are_not_read():
    network = predictor()
    context, positions = torch.randn(16, 3, 16), torch.randn(10, 16)
    at, target_at = draw(10)
    seen = torch.tensor([True, True, False]).expand(16, 3)
    asked = torch.tensor([[True, True], [True, False]]).expand(16, 2, 2)
    masked = network(context, at, target_at, positions, seen, asked)
    shorter = network(context[:, :2], at[:, :2], target_at, positions)
    assert_close(masked[:, 0], shorter[:, 0])
    alone = network(context[:, :2], at[:, :2], target_at[:, :, :1], positions)
    assert_close(masked[:, 1, :1], alone[:, 1])


@pytest.mark.parametrize("options", [{"dim": 0}, {"depth": 0}, {"heads": 3}])
def test_a_predictor_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        LatentPredictor(16, **{"dim": 8, "depth": 1, "heads": 2, **options})


def test_half_precision_targets_are_normalised_in_float32():
    teacher, batch = make("images")
    _, at = draw(16)
    with torch.autocast("cpu", torch.bfloat16):
        targets = target_tokens(teacher, batch.x, at)
    assert targets.dtype == torch.float32
    similarity = functional.cosine_similarity(targets, target_tokens(teacher, batch.x, at), dim=3)
    assert similarity.min() > 0.99
