"""What the contract suite cannot know: lengths of one, patches of time, and the field of view."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import InputSpec
from tacita.encoders.residual_conv import FEWEST, Convolution, ResidualConv, default_stride
from tacita.encoders.series_transformer import SeriesTransformer, default_patch
from tacita.errors import ConfigError
from tacita.values import Ragged
from tests.helpers import assert_close


@pytest.mark.parametrize("encoder", [ResidualConv, SeriesTransformer])
@pytest.mark.parametrize("length", [1, 2, 3, 63, 131])
def test_any_length_gives_features(encoder, length):
    network = encoder(InputSpec("series", (length, 2)), depth=2)
    features = network(torch.randn(3, length, 2)).pooled
    assert features.shape == (3, network.dim)
    assert features.isfinite().all()


def test_the_field_of_view_is_as_wide_as_said():
    network = ResidualConv(InputSpec("series", (301, 1)), width=4, stride=1).eval()
    x = torch.randn(1, 301, 1, requires_grad=True)
    network(x).tokens[0, 150].square().sum().backward()
    seen = x.grad.flatten().nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (150 - 66, 150 + 66)


@settings(deadline=None, max_examples=50)
@given(length=st.integers(1, 5000))
def test_there_are_at_most_128_tokens_and_at_least_8_where_possible(length):
    tokens = -(-length // default_patch(length))
    assert min(length, 8) <= tokens <= 128


@settings(deadline=None, max_examples=25)
@given(
    length=st.integers(1, 40),
    channels=st.integers(1, 3),
    reach=st.integers(1, 4),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 9),
)
def test_a_convolution_is_that_of_one_dimension(length, channels, reach, stride, dilation):
    torch.manual_seed(0)
    ours = Convolution(channels, 5, reach, stride=stride, dilation=dilation).double()
    weight = ours.weight.detach().squeeze(2).requires_grad_()
    x = torch.randn(2, length, channels, dtype=torch.float64, requires_grad=True)
    y = ours.to(memory_format=torch.channels_last)(x)
    expected = torch.nn.functional.conv1d(
        x.transpose(1, 2), weight, ours.bias, stride, reach * dilation, dilation
    ).transpose(1, 2)
    direction = torch.randn_like(expected)
    assert_close(y, expected)
    of_ours = torch.autograd.grad(y, (x, ours.weight), direction)
    of_plain = torch.autograd.grad(expected, (x, weight), direction)
    assert_close(of_ours[0], of_plain[0])
    assert_close(of_ours[1].squeeze(2), of_plain[1])


@settings(deadline=None, max_examples=50)
@given(length=st.integers(1, 10**6))
def test_the_default_stride_leaves_128_to_256_tokens_of_what_is_long(length):
    tokens = -(-length // default_stride(length))
    assert tokens == length if length < FEWEST else FEWEST <= tokens <= 2 * FEWEST


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_tokens_of_several_steps_do_not_know_of_the_padding(stride):
    torch.manual_seed(0)
    network = ResidualConv(InputSpec("series", (20, 2)), width=4, depth=3, stride=stride).eval()
    lengths = [20, 1, stride, stride + 1, 13]
    x = torch.randn(5, 20, 2)
    tokens, pooled = network(Ragged.of(x, torch.tensor(lengths)))
    for row, length in enumerate(lengths):
        alone = network(x[row : row + 1, :length])
        count = -(-length // stride)
        assert alone.tokens.shape[1] == count
        assert_close(tokens[row, :count], alone.tokens[0])
        assert not tokens[row, count:].any()
        assert_close(pooled[row], alone.pooled[0])


def test_a_stride_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="stride=0"):
        ResidualConv(InputSpec("series", (7, 2)), stride=0)


def test_features_are_means_and_maxima_over_the_valid_steps():
    network = ResidualConv(InputSpec("series", (9, 2)), width=4).eval()
    lengths = [9, 1, 4]
    tokens, pooled = network(Ragged.of(torch.randn(3, 9, 2), torch.tensor(lengths)))
    for row, length in enumerate(lengths):
        steps = tokens[row, :length]
        assert_close(pooled[row], torch.cat([steps[:, :4].mean(0), steps[:, 4:].amax(0)]))
        assert (tokens[row, length:] == 0).all()


def test_patches_are_stretches_of_time_with_all_channels():
    network = SeriesTransformer(InputSpec("series", (7, 2)), patch=3, dim=12)
    x = torch.randn(4, 7, 2)
    patches = network.patches(x)
    assert torch.equal(patches[:, 1], x[:, 3:6].flatten(1))
    assert torch.equal(patches[:, 2, :2], x[:, 6])
    assert (patches[:, 2, 2:] == 0).all()


def test_a_token_is_valid_if_any_of_its_steps_is():
    network = SeriesTransformer(InputSpec("series", (7, 2)), patch=3, dim=12)
    mask = torch.arange(7) < torch.tensor([1, 3, 4, 7])[:, None]
    assert network.token_mask(mask).sum(1).tolist() == [1, 1, 2, 3]


def test_a_series_shorter_or_longer_than_the_training_ones_is_read_the_same():
    torch.manual_seed(0)
    spec = InputSpec("series", (12, 2))
    short = SeriesTransformer(spec, patch=3, dim=12).eval()
    long = SeriesTransformer(InputSpec("series", (40, 2)), patch=3, dim=12).eval()
    long.load_state_dict(short.state_dict())
    for length in (5, 12, 40):
        x = torch.randn(2, length, 2)
        assert_close(short(x).pooled, long(x).pooled)


@pytest.mark.parametrize("patch", [0, 8])
def test_a_patch_that_does_not_fit_is_refused(patch):
    with pytest.raises(ConfigError, match=f"patch={patch}"):
        SeriesTransformer(InputSpec("series", (7, 2)), patch=patch)


def test_sizes_that_make_no_network_are_refused():
    for sizes in ({"depth": 0}, {"width": 0}, {"depth": 10**9}):
        with pytest.raises(ConfigError, match=r"width=\d+ .* depth=\d+ from 1 to"):
            ResidualConv(InputSpec("series", (7, 2)), **sizes)
