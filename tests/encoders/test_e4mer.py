"""What could go wrong: samples of a second that reach the wrong token, a rate that changes the number
of tokens, positions where there are none, and padding in the statistics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.encoders.e4mer import E4mer
from tacita.errors import ConfigError
from tacita.values import Ragged, length_mask
from tests.helpers import assert_close

RATES = (32, 32, 32, 64, 4, 4)
"""Those of the device: acceleration, pulse, skin conductance, temperature."""


def make(seconds: int = 20, rates: tuple[int, ...] = RATES) -> tuple[E4mer, torch.Tensor]:
    torch.manual_seed(0)
    spec = InputSpec("series", (seconds, sum(rates)), rates=rates)
    return E4mer(spec), torch.randn(3, seconds, sum(rates))


@pytest.mark.parametrize("rates", [RATES, (1,), (1, 2, 3, 4, 5), (7, 7), (10,) * 6])
def test_there_is_a_token_a_second_whatever_the_rates(rates):
    encoder, x = make(20, rates)
    assert encoder(x).tokens.shape == (3, 20, 64)
    features = torch.cat([sensors(x, None) for sensors in encoder.sensors], 2)
    assert features.shape == (3, 20, 4 * len(rates))


def test_features_of_a_second_are_those_of_a_loop_over_channels():
    encoder, x = make(6, (3, 2, 3))
    encoder.eval()
    with torch.no_grad():
        for sensors in encoder.sensors:
            sensors.norm.running_mean.normal_()
            sensors.norm.running_var.uniform_(0.5, 2)
    three, two = encoder.sensors
    expected = []
    for channel, (sensors, place) in enumerate([(three, 0), (two, 0), (three, 1)]):
        rate = (3, 2, 3)[channel]
        own = x.split((3, 2, 3), 2)[channel].flatten(1)[:, None]
        filters = sensors.filter.weight[4 * place : 4 * place + 4]
        padded = functional.pad(own, ((rate - 1) // 2, rate // 2))
        active = functional.gelu(functional.conv1d(padded, filters))
        norm = sensors.norm
        part = slice(4 * place, 4 * place + 4)
        scale = norm.weight[part] / (norm.running_var[part] + norm.eps).sqrt()
        shifted = (active - norm.running_mean[part, None]) * scale[:, None] + norm.bias[part, None]
        expected.append(shifted.view(3, 4, 6, rate).amax(3).transpose(1, 2))
    joined = torch.cat([expected[0], expected[2], expected[1]], 2)
    assert_close(encoder.embed(x), encoder.join(joined))


def test_tokens_follow_a_permutation_of_seconds():
    encoder, x = make(12)
    encoder.eval()
    # Silence on both sides of a second, since the convolutions reach half a second across its borders.
    x[:, 0::3] = x[:, 2::3] = 0
    order = torch.tensor([2, 0, 3, 1])
    moved = x.view(3, 4, 3, -1)[:, order].flatten(1, 2)
    tokens = encoder(x).tokens.view(3, 4, 3, -1)[:, order].flatten(1, 2)
    assert_close(encoder(moved).tokens, tokens)
    assert (encoder(moved).tokens - encoder(x).tokens).abs().max() > 1e-4


def test_blocks_have_no_positions():
    encoder, _ = make(10)
    encoder.eval()
    tokens, order = torch.randn(2, 10, 64), torch.randperm(10)
    assert_close(encoder.transformer(tokens[:, order]), encoder.transformer(tokens)[:, order])


def test_heads_have_the_full_width():
    encoder, _ = make()
    layer = encoder.transformer.layers[0]
    assert layer.attention.query_key_value.weight.shape == (3 * 3 * 64, 64)
    assert layer.attention.out.weight.shape == (64, 3 * 64)
    assert layer.mlp[0].weight.shape == (64, 64)


def test_a_series_without_rates_is_one_of_single_samples():
    torch.manual_seed(0)
    plain = E4mer(InputSpec("series", (15, 4)))
    torch.manual_seed(0)
    rated = E4mer(InputSpec("series", (15, 4), rates=(1, 1, 1, 1)))
    x = torch.randn(2, 15, 4)
    assert torch.equal(plain(x).pooled, rated(x).pooled)


def test_padded_seconds_change_nothing_at_any_rate():
    encoder, x = make(20)
    lengths = torch.tensor([20, 7, 1])
    mask = length_mask(lengths, 20)
    clean = encoder(Ragged.of(x.masked_fill(~mask[:, :, None], 0.0), lengths))
    dirty = encoder(Ragged.of(x.masked_fill(~mask[:, :, None], torch.nan), lengths))
    assert_close(dirty.tokens, clean.tokens)
    encoder.eval()
    assert_close(encoder(Ragged.of(x, lengths)).pooled[1], encoder(x[1:2, :7]).pooled[0])


@pytest.mark.parametrize("rates", [(32, 4), (0, 168), (167,)])
def test_rates_that_do_not_fill_a_row_are_refused(rates):
    with pytest.raises(ConfigError, match="do not share out rows of 168"):
        build("e4mer", InputSpec("series", (10, 168), rates=rates))
    with pytest.raises(ConfigError, match="filters=0"):
        E4mer(InputSpec("series", (10, 4)), filters=0)
