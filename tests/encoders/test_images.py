"""What the contract suite cannot know: sizes, strides, and what patches of an image are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import InputSpec
from tacita.encoders.backbone import Backbone
from tacita.encoders.residual_cnn import ResidualCNN
from tacita.encoders.vit import ViT, default_patch
from tacita.errors import ConfigError
from tests.helpers import assert_close


@pytest.mark.parametrize(
    "shape, tokens",
    [((1, 8, 8), 4), ((3, 9, 13), 12), ((1, 28, 28), 16), ((3, 32, 32), 16), ((2, 64, 64), 16)],
)
def test_the_last_map_keeps_a_few_cells_at_any_size(shape, tokens):
    encoder = ResidualCNN(InputSpec("images", shape), width=4)
    encoding = encoder(torch.randn(2, *shape))
    assert encoding.tokens.shape == (2, tokens, 16)
    assert_close(encoding.pooled, encoding.tokens.mean(1))


def test_every_pixel_reaches_the_features_of_a_cnn():
    torch.manual_seed(0)
    encoder = ResidualCNN(InputSpec("images", (1, 64, 64)), width=16).eval()
    x = torch.randn(1, 1, 64, 64, requires_grad=True)
    encoder(x).pooled.square().sum().backward()
    assert (x.grad != 0).all()


def test_the_residual_path_passes_features_on():
    encoder = ResidualCNN(InputSpec("images", (1, 8, 8)), width=4)
    block, x = encoder.stages[3], torch.randn(2, 8, 4, 4)
    torch.nn.init.zeros_(block.branch[1].weight)
    assert torch.equal(block(x), x)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_there_are_at_most_64_patches_and_enough_where_they_divide(height, width):
    patch = default_patch(height, width)
    tokens = -(-height // patch) * -(-width // patch)
    assert tokens <= 64
    if height == width and height % 8 == 0:
        assert height % patch == 0
        assert tokens >= 16


def test_patches_are_squares_of_the_image_row_by_row():
    encoder = ViT(InputSpec("images", (2, 4, 6)), patch=2, dim=8, heads=2)
    x = torch.randn(3, 2, 4, 6)
    patches = encoder.patches(x)
    for row in range(2):
        for column in range(3):
            square = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(patches[:, 3 * row + column], square.flatten(1))


@settings(deadline=None, max_examples=15)
@given(height=st.integers(3, 12), width=st.integers(3, 12), patch=st.integers(1, 3))
def test_every_pixel_is_in_one_patch_and_padding_is_weighted_out(height, width, patch):
    encoder = ViT(InputSpec("images", (1, height, width)), patch=patch, dim=8, depth=1, heads=2)
    x = 1 + torch.rand(1, 1, height, width)
    patches, weights = encoder.patches(x)[0], encoder.patch_weights()
    assert_close(patches[patches != 0].sort().values, x.flatten().sort().values)
    divides = height % patch == width % patch == 0
    assert (weights is None) == divides
    if weights is not None:
        assert torch.equal(weights, (patches != 0).float())


@pytest.mark.parametrize("height, width", [(4, 4), (8, 4), (5, 7), (12, 8)])
def test_a_vit_reads_crops_as_it_would_in_the_first_corner(height, width):
    # What blocks get of a crop is what they get of its patches within a larger image.
    encoder = ViT(InputSpec("images", (1, 8, 8)), patch=2)
    larger = ViT(InputSpec("images", (1, 12, 12)), patch=2)
    larger.load_state_dict(encoder.state_dict())
    x = torch.zeros(2, 1, 12, 12)
    x[:, :, :height, :width] = torch.randn(2, 1, height, width)
    rows, columns = -(-height // 2), -(-width // 2)
    expected = larger.embed(x).unflatten(1, (6, 6))[:, :rows, :columns].flatten(1, 2)
    assert_close(encoder.embed(x[:, :, :height, :width]), expected)


def test_a_vit_sees_where_a_patch_is():
    torch.manual_seed(0)
    encoder = ViT(InputSpec("images", (1, 8, 8))).eval()
    x = torch.randn(2, 1, 8, 8)
    assert (encoder(x).pooled - encoder(x.flip(3)).pooled).abs().max() > 1e-2


@pytest.mark.parametrize("patch", [0, -1, 9])
def test_a_patch_that_does_not_fit_is_refused(patch):
    with pytest.raises(ConfigError, match=f"patch={patch}"):
        ViT(InputSpec("images", (1, 8, 8)), patch=patch)


@pytest.mark.parametrize(
    "name, tokens",
    [
        ("timm/test_efficientnet", 1),
        ("timm/test_vit", 5),
        ("torchvision/squeezenet1_1", 1),
        ("torchvision/shufflenet_v2_x0_5", 1),
    ],
)
def test_networks_of_libraries_take_any_number_of_channels(name, tokens):
    encoder = Backbone(InputSpec("images", (2, 32, 32)), name=name).eval()
    encoding = encoder(torch.randn(3, 2, 32, 32))
    assert encoding.tokens.shape == (3, tokens, encoder.dim)
    assert encoding.pooled.shape == (3, encoder.dim)


def test_a_torchvision_network_loses_its_classifier_only():
    encoder = Backbone(InputSpec("images", (3, 32, 32)), name="torchvision/shufflenet_v2_x0_5")
    assert encoder.dim == 1024
    assert not any(isinstance(module, torch.nn.Linear) for module in encoder.modules())


@pytest.mark.parametrize(
    "name, words",
    [
        ("resnet18", "timm/NAME"),
        ("timm/resnet81", "did you mean timm/resnet"),
        ("torchvision/resnet81", "did you mean torchvision/resnet"),
        ("timm/", "timm/NAME"),
        ("timm/test_vit", "cannot take images of 8x8"),
    ],
)
def test_names_that_do_not_work_say_what_would(name, words):
    with pytest.raises(ConfigError, match=words):
        Backbone(InputSpec("images", (1, 8, 8)), name=name)


@pytest.mark.parametrize("shape, grid", [((1, 8, 12), (4, 6)), ((2, 7, 3), (4, 2))])
def test_the_grid_of_a_vit_is_that_of_its_patches(shape, grid):
    encoder = ViT(InputSpec("images", shape), patch=2, dim=8, heads=2)
    assert encoder.grid == grid
    mark = torch.zeros(1, *shape)
    mark[0, :, 2:4, :2] = 1.0  # the first patch of the second row
    assert encoder.patches(mark)[0].any(1).nonzero().item() == grid[1]
