"""Mixup goes wrong unseen where a mixture is no sample: category codes between two categories, padding
laid over values, shares that do not belong to the sample whose label and length are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.parts.mixup import draw_share, mixed, mixed_loss, require_alpha
from tacita.tasks import Classification, Ordinal, Regression
from tests.helpers import BATCHES, assert_close, image_batch, series_batch, table_batch


def test_shares_are_a_folded_beta_cut_at_the_least() -> None:
    torch.manual_seed(0)
    share = draw_share(0.75, 20_000, least=0.55)
    drawn = np.random.default_rng(0).beta(0.75, 0.75, 200_000)
    expected = np.maximum(np.maximum(drawn, 1 - drawn), 0.55)
    assert share.min() == 0.55
    assert share.max() <= 1
    levels = torch.tensor([0.2, 0.4, 0.6, 0.8])
    got = share.double().quantile(levels.double())
    assert np.abs(got.numpy() - np.quantile(expected, levels.numpy())).max() < 0.01


def test_a_seed_fixes_the_shares() -> None:
    torch.manual_seed(3)
    first = draw_share(0.75, 4)
    torch.manual_seed(3)
    assert torch.equal(draw_share(0.75, 4), first)
    assert len(set(first.tolist())) == 4


def test_images_are_mixed_pixel_by_pixel() -> None:
    spec, batch = image_batch()
    order, share = torch.randperm(16), draw_share(0.75, 16)
    got = mixed(batch, batch, order, share, spec)
    x = batch.x.numpy()
    expected = [
        share[i].item() * x[i] + (1 - share[i].item()) * x[order[i]] for i in range(len(batch))
    ]
    assert_close(got.x, torch.tensor(np.stack(expected)))
    assert torch.equal(got.y, batch.y)
    assert torch.equal(got.index, batch.index)


@pytest.mark.parametrize("modality", ["images", "volumes", "series", "tables"])
def test_a_share_of_one_changes_nothing(modality: str) -> None:
    spec, batch = BATCHES[modality]()
    got = mixed(batch, batch, torch.randperm(len(batch)), torch.ones(1), spec)
    assert torch.equal(got.x, batch.x)


@pytest.mark.parametrize("modality", ["images", "volumes", "series", "tables"])
def test_mixed_with_itself_a_sample_stays(modality: str) -> None:
    spec, batch = BATCHES[modality]()
    got = mixed(batch, batch, torch.arange(len(batch)), torch.tensor([0.7]), spec)
    assert_close(got.x, batch.x)


def test_categories_stay_those_of_the_larger_part() -> None:
    spec, batch = table_batch()
    order = torch.arange(16).flip(0)
    got = mixed(batch, batch, order, torch.tensor([0.6]), spec)
    assert torch.equal(got.x[:, 13], batch.x[:, 13])
    assert_close(got.x[:, :13], 0.6 * batch.x[:, :13] + 0.4 * batch.x[order, :13])
    assert not torch.equal(batch.x[order, 13], batch.x[:, 13])


def test_a_mixed_category_is_read_as_one_of_its_column() -> None:
    spec, batch = table_batch()
    torch.manual_seed(0)
    encoder = build("feature-tokens", spec, dim=8).eval()
    got = mixed(batch, batch, torch.arange(16).flip(0), torch.tensor([0.6]), spec)
    # The last row of a column's vectors is for codes that are none of its categories.
    before = encoder(got.x).pooled
    with torch.no_grad():
        encoder.category.weight[-1] += 100.0
    assert torch.equal(encoder(got.x).pooled, before)


def test_a_series_is_mixed_where_both_are_valid_and_is_itself_beyond() -> None:
    spec, batch = series_batch()
    order = torch.arange(16).flip(0)
    got = mixed(batch, batch, order, torch.tensor([0.6]), spec)
    assert torch.equal(got.lengths, batch.lengths)
    for i in range(16):
        own, both = int(batch.lengths[i]), int(min(batch.lengths[i], batch.lengths[order[i]]))
        x, other = batch.x[i], batch.x[order[i]]
        assert_close(got.x[i, :both], 0.6 * x[:both] + 0.4 * other[:both])
        assert torch.equal(got.x[i, both:own], x[both:own])
        assert not got.x[i, own:].any()


def test_padding_never_enters_a_mixture() -> None:
    spec, batch = series_batch()
    garbage = torch.where(batch.mask[:, :, None], batch.x, torch.nan)
    order, share = torch.arange(16).roll(5), torch.tensor([0.6])
    got = mixed(batch.with_x(garbage), batch.with_x(garbage), order, share, spec)
    assert torch.equal(got.x[got.mask], mixed(batch, batch, order, share, spec).x[got.mask])


def test_gradients_reach_both_samples() -> None:
    spec, batch = image_batch(2)
    x = batch.x.double().requires_grad_()
    order, share = torch.tensor([1, 0]), torch.tensor([0.75], dtype=torch.float64)
    mixed(batch.with_x(x), batch.with_x(x), order, share, spec).x[0].sum().backward()
    assert_close(x.grad[0], torch.full_like(x[0], 0.75))
    assert_close(x.grad[1], torch.full_like(x[1], 0.25))


def test_the_loss_of_a_class_is_that_of_the_mixed_label() -> None:
    task, y, order = Classification(("a", "b", "c")), torch.tensor([0, 1, 2, 1]), torch.randperm(4)
    logits, share = torch.randn(4, 3), torch.tensor([0.7])
    soft = torch.nn.functional.one_hot(y, 3).float()
    soft = 0.7 * soft + 0.3 * soft[order]
    expected = torch.nn.functional.cross_entropy(logits, soft)
    assert_close(mixed_loss(task, logits, y, y[order], share), expected)


def test_grades_and_numbers_have_their_own_losses_mixed() -> None:
    order, share = torch.tensor([1, 2, 0]), torch.tensor([0.6])
    grades = torch.tensor([0, 2, 1])
    task, logits = Ordinal(("0", "1", "2")), torch.randn(3, 2)
    above = (grades[:, None] > torch.arange(2)).float()
    soft = 0.6 * above + 0.4 * above[order]  # the loss is linear in its targets
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, soft)
    assert_close(mixed_loss(task, logits, grades, grades[order], share), expected)
    y, values = torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3, 1)
    assert_close(mixed_loss(Regression(), values, y, y[order], share), y.square().mean())


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_a_parameter_that_makes_no_distribution_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha="):
        require_alpha(alpha)


def test_one_sample_is_mixed_with_itself() -> None:
    spec = InputSpec("tables", (2,), (0, 0))
    batch = Batch(torch.tensor([[1.0, 2.0]]), torch.tensor([0]), torch.tensor([0]))
    assert_close(mixed(batch, batch, torch.tensor([0]), draw_share(0.75), spec).x, batch.x)
