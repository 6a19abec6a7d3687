"""An image of another size is the same picture at another rate."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tacita.data.batch import InputSpec
from tacita.encoders.s4nd import S4NDEncoder
from tacita.errors import ConfigError
from tests.helpers import assert_close, image_batch


def make(**options: object) -> S4NDEncoder:
    spec, _ = image_batch()
    torch.manual_seed(0)
    return S4NDEncoder(spec, **{"width": 16, "depth": 2, **options})


def test_features_of_interpolated_digits_stay_near_those_of_the_digits() -> None:
    encoder, (_, batch) = make(), image_batch()
    fine = functional.interpolate(batch.x, scale_factor=2, mode="bilinear")
    with torch.no_grad():
        features = encoder(batch.x).pooled
        at_rate = encoder(fine).pooled
        encoder.spec = InputSpec("images", (1, 16, 16))  # the same pixels, as far apart as before
        ignored = encoder(fine).pooled

    def distance(other: torch.Tensor) -> float:
        return float((other - features).norm() / features.norm())

    assert distance(at_rate) < 0.5 * distance(ignored)


def test_each_axis_has_its_own_rate() -> None:
    encoder, (_, batch) = make(depth=1), image_batch()
    wide = batch.x.repeat_interleave(2, 3)
    tokens = encoder(wide).tokens
    assert tokens.shape == (16, 128, 16)
    pixels = encoder.enter(wide.movedim(1, -1))
    by_hand = encoder.norm(encoder.blocks[0](pixels, [1.0, 0.5])).flatten(1, 2)
    assert_close(tokens, by_hand)


def test_sizes_that_make_no_network_are_refused() -> None:
    for wrong in ({"width": 0}, {"depth": 0}):
        with pytest.raises(ConfigError, match="positive"):
            make(**wrong)
