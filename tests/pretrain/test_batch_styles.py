"""What goes wrong beside the views: negatives of another style slip in, the contrast is no longer
SimCLR's, or batch norm takes the style of a view away, so that the encoder need not."""

from __future__ import annotations

import math

import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.images.batch_styles import BatchStyles
from tacita.parts.contrast import masked_ntxent, view_pairs
from tacita.pretrain.batch_styles import StandardisedSimCLR, same_view_pairs
from tacita.pretrain.simclr import nt_xent_loss
from tests.helpers import assert_close, image_batch, series_batch
from tests.pretrain.derivation import assert_derived, embeddings


def make(**options: object) -> StandardisedSimCLR:
    torch.manual_seed(0)
    return StandardisedSimCLR(
        build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8), **options
    )


def within_views(z_a, z_b, temperature: float) -> float:
    """An anchor's own other view against it and the other samples of the anchor's view."""
    views = [[row / math.sqrt(row @ row) for row in z] for z in (z_a, z_b)]
    total = 0.0
    for here, there in (views, views[::-1]):
        for i in range(len(here)):
            positive = math.exp(here[i] @ there[i] / temperature)
            others = sum(
                math.exp(here[i] @ here[j] / temperature) for j in range(len(here)) if j != i
            )
            total -= math.log(positive / (positive + others))
    return total / (2 * len(z_a))


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_negatives_of_the_same_view_match_a_direct_derivation(temperature):
    def loss(z_a, z_b):
        return masked_ntxent(torch.cat([z_a, z_b]), *same_view_pairs(len(z_a)), temperature)

    assert_derived(loss, lambda a, b: within_views(a, b, temperature), embeddings())


def test_all_negatives_are_those_of_simclr():
    z_a, z_b = embeddings()
    masked = masked_ntxent(torch.cat([z_a, z_b]), *view_pairs(len(z_a)), 0.2)
    assert_close(masked, nt_xent_loss(z_a, z_b, 0.2))


@pytest.mark.parametrize("negatives", ["all", "same-view"])
def test_the_loss_is_over_two_views_of_a_style_each(negatives):
    objective, (_, batch) = make(negatives=negatives), image_batch()
    torch.manual_seed(1)
    total = objective(batch).total
    torch.manual_seed(1)
    views = [objective.views(batch).x for _ in range(2)]
    z_a, z_b = objective.anchors(batch.with_x(torch.cat(views))).chunk(2)
    if negatives == "all":
        assert_close(total, nt_xent_loss(z_a, z_b, 0.2))
    else:
        by_hand = within_views(z_a.detach().double().numpy(), z_b.detach().double().numpy(), 0.2)
        assert total.item() == pytest.approx(by_hand, rel=1e-4)


def test_both_views_share_the_statistics_of_one_batch():
    # Normalised apart, the shift would be gone after the first batch norm, and the views equal.
    shifts = iter((0.0, 5.0))
    objective, (_, batch) = make(views=lambda b: b.with_x(b.x + next(shifts))), image_batch()
    z = objective.anchors(batch)
    apart = masked_ntxent(torch.cat([z, z]), *same_view_pairs(len(batch)), 0.2)
    assert objective(batch).total > apart + 0.3


def test_the_ratio_goes_to_the_views():
    views = make(ratio=(0.1, 0.3)).views
    assert isinstance(views, BatchStyles)
    assert views.ratio == (0.1, 0.3)
    assert views.share == "batch"


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="negatives="):
        make(negatives="none")
    with pytest.raises(ConfigError, match="ratio="):
        make(ratio=(0.3, 0.1))
    with pytest.raises(ConfigError, match="no negatives"):
        make()(image_batch(1)[1])
    spec, _ = series_batch()
    with pytest.raises(ConfigError, match="series"):
        StandardisedSimCLR(build("residual-conv", spec, width=8, depth=2))
