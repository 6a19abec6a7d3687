"""What goes wrong in a U-Net over volumes: slices or voxels change places, padding leaks into the
features, or the halves called apart are not the whole."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.encoders.unet import UNet
from tacita.errors import ConfigError
from tests.helpers import assert_close


def unet(shape: tuple[int, ...] = (1, 3, 16, 16), **options: object) -> UNet:
    torch.manual_seed(0)
    encoder = build("unet", InputSpec("volumes", shape), **{"widths": (4, 6, 8), **options})
    assert isinstance(encoder, UNet)
    return encoder.eval()


def test_each_slice_is_read_alone_and_keeps_its_place():
    encoder, x = unet(), torch.randn(2, 1, 3, 16, 16)
    tokens = encoder(x).tokens.view(2, 3, 16, 16, 4)
    for volume in range(2):
        for depth in range(3):
            alone = encoder(x[volume : volume + 1, :, depth : depth + 1]).tokens
            assert_close(tokens[volume, depth], alone.view(16, 16, 4))


def test_a_token_is_the_feature_of_its_voxel():
    encoder, x = unet(), torch.randn(1, 1, 3, 16, 16)
    features = encoder.expand(encoder.contract(x[:, :, 1]))
    tokens = encoder(x).tokens.view(1, 3, 16, 16, 4)
    assert_close(tokens[0, 1], features[0].permute(1, 2, 0))


def test_a_voxel_far_away_does_not_matter_where_levels_do_not_reach():
    encoder, x = unet((1, 1, 64, 64), widths=(4, 6)), torch.randn(1, 1, 1, 64, 64)
    changed = x.clone()
    changed[..., 60:, 60:] += 5
    before, after = (encoder(v).tokens.view(64, 64, 4) for v in (x, changed))
    assert torch.equal(before[:32, :32], after[:32, :32])
    assert not torch.allclose(before[60:, 60:], after[60:, 60:])


def test_steps_up_called_one_by_one_are_the_way_up():
    encoder, x = unet(), torch.randn(2, 1, 16, 16)
    maps = encoder.contract(x)
    assert [m.shape[1:] for m in maps] == [(4, 16, 16), (6, 8, 8), (8, 4, 4)]
    first = encoder.expand(maps, 1)
    assert first.shape == (2, 6, 8, 8)
    assert_close(encoder.expanding[1](first, maps[0]), encoder.expand(maps))


def test_sides_that_levels_do_not_divide_are_padded_with_zeros():
    encoder = unet((1, 2, 13, 10))
    x = torch.randn(1, 1, 2, 13, 10)
    padded = torch.nn.functional.pad(x, (0, 2, 0, 3))
    tokens = encoder(x).tokens.view(1, 2, 13, 10, 4)
    assert_close(tokens, encoder(padded).tokens.view(1, 2, 16, 12, 4)[:, :, :13, :10])


def test_widths_of_the_paper_give_its_maps():
    encoder = unet((1, 1, 192, 192), widths=(16, 32, 64, 128, 128, 128))
    maps = encoder.contract(torch.zeros(1, 1, 192, 192))
    assert maps[-1].shape == (1, 128, 6, 6)
    assert encoder.expand(maps, 3).shape == (1, 64, 48, 48)


@pytest.mark.parametrize("widths", [(8,), (), (8, 0)])
def test_widths_that_are_none_are_refused(widths):
    with pytest.raises(ConfigError, match="widths"):
        unet(widths=widths)


def test_slices_too_small_for_the_levels_are_refused():
    with pytest.raises(ConfigError, match="cannot be halved"):
        unet((1, 3, 16, 4), widths=(4, 4, 4, 4))
