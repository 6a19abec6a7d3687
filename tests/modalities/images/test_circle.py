"""A turned image must not show that it was turned, and what is turned stays the same image."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.modalities.images.circle import RotationInvariantViews, circle, in_circle
from tests.helpers import assert_close


def batch_of(x: torch.Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x)), torch.arange(len(x)))


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (6, 10), (150, 150)])
def test_the_circle_is_the_same_turned_and_mirrored(shape: tuple[int, int]) -> None:
    mask = circle(*shape)
    assert torch.equal(mask, mask.flip(0))
    assert torch.equal(mask, mask.flip(1))
    if shape[0] == shape[1]:
        assert torch.equal(mask, mask.rot90())
    expected = torch.pi / 4 * min(shape) ** 2
    assert float(mask.sum()) == pytest.approx(expected, rel=0.15)


def test_what_is_outside_the_circle_never_counts() -> None:
    x = torch.randn(3, 2, 8, 8)
    other = torch.where(circle(8, 8), x, 99.0)
    assert torch.equal(in_circle(x), in_circle(other))
    assert not torch.equal(in_circle(x), x)


def test_corners_do_not_tell_the_angle() -> None:
    torch.manual_seed(0)
    flat = torch.ones(40, 1, 16, 16)
    views = RotationInvariantViews.weak(InputSpec("images", (1, 16, 16)))(batch_of(flat)).x
    assert_close(views, in_circle(flat))


def test_a_ring_is_the_same_at_every_angle_and_a_bar_is_not() -> None:
    torch.manual_seed(0)
    side = torch.arange(33.0) - 16
    radius = (side[:, None] ** 2 + side**2).sqrt()
    ring = (-((radius - 8) ** 2) / 8).exp().expand(20, 1, 33, 33)
    turned = RotationInvariantViews()(batch_of(ring)).x
    assert (turned - in_circle(ring)).abs().max() < 0.05
    bar = (-(side**2) / 8).exp().expand(33, 33).expand(20, 1, 33, 33)
    turned = RotationInvariantViews()(batch_of(bar)).x
    assert turned.std(0).max() > 0.3
    # Every direction comes up: the bar's mean over many angles is a spot about the middle.
    many = RotationInvariantViews()(batch_of(bar[:1].expand(400, 1, 33, 33))).x.mean(0)[0]
    assert float((many - many.rot90()).abs().mean()) < 0.03


@pytest.mark.parametrize("strength", ["weak", "strong"])
def test_a_seed_fixes_the_views(strength: str) -> None:
    x = torch.randn(4, 1, 12, 12)
    views = getattr(RotationInvariantViews, strength)(InputSpec("images", (1, 12, 12)))
    torch.manual_seed(0)
    first = views(batch_of(x)).x
    torch.manual_seed(0)
    assert torch.equal(views(batch_of(x)).x, first)
    assert first.shape == x.shape
    assert bool((first[..., ~circle(12, 12)] == 0).all())
