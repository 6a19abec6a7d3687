"""What could go wrong: the encoder sees a silenced sample, visible ones or padding count in the loss,
channels are silenced together, or a channel of many samples outweighs one of few."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.pretrain.masked_sensors import MaskedSensors, masked_rmse
from tests.helpers import assert_close, samples_of

RATES = (4, 1, 2)
SPEC = InputSpec("series", (30, 7), rates=RATES)


def make(encoder: str = "e4mer", **options: object) -> MaskedSensors:
    torch.manual_seed(0)
    return MaskedSensors(build(encoder, SPEC), **options)


def batch(size: int = 8, lengths: torch.Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, 30, 7, generator=generator)
    return Batch(samples_of(x, lengths), torch.full((size,), -1), torch.arange(size))


def test_loss_matches_a_direct_derivation():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 3, 5, 7, generator=generator)
    hidden = torch.rand(3, 5, 7, generator=generator) < 0.3
    mask = torch.arange(5) < torch.tensor([5, 3, 0])[:, None]
    hidden &= mask[:, :, None]
    expected = []
    begin = 0
    for rate in RATES:
        squares = count = 0.0
        for b in range(3):
            for s in range(5):
                for c in range(begin, begin + rate):
                    count += float(mask[b, s])
                    squares += float(hidden[b, s, c] * (predicted - target)[b, s, c] ** 2)
        expected.append((squares / count) ** 0.5)
        begin += rate
    loss = masked_rmse(predicted, target, hidden, RATES, mask)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 2, 3, 7, generator=generator, dtype=torch.float64)
    hidden = torch.rand(2, 3, 7, generator=generator) < 0.5
    predicted = predicted.float().double().requires_grad_()
    loss = masked_rmse(predicted, target, hidden, RATES)
    (slope,) = torch.autograd.grad(loss, predicted)
    error = (predicted - target).detach() * hidden
    expected = []
    for part, rate in zip(error.split(RATES, 2), RATES, strict=True):
        count = 6 * rate
        root = (part.square().sum() / count).sqrt()
        expected.append(part / (count * root * len(RATES)))
    torch.testing.assert_close(slope, torch.cat(expected, 2), rtol=1e-4, atol=1e-6)


def test_nothing_hidden_is_a_loss_of_zero_with_a_gradient_of_zero():
    predicted = torch.randn(2, 3, 7, requires_grad=True)
    nothing = torch.zeros(2, 3, 7, dtype=torch.bool)
    loss = masked_rmse(predicted, torch.randn(2, 3, 7), nothing, RATES)
    loss.backward()
    assert loss.item() == 0
    assert (predicted.grad == 0).all()


def test_predictions_of_visible_samples_do_not_count():
    objective, given = make(), batch()
    hidden = objective.draw(given.x)
    predicted = objective.reconstruct(given.x.masked_fill(hidden, 0.0))
    loss = masked_rmse(predicted, given.x, hidden, RATES)
    elsewhere = torch.where(hidden, predicted, 100.0)
    assert torch.equal(masked_rmse(elsewhere, given.x, hidden, RATES), loss)
    assert masked_rmse(predicted + 100 * hidden, given.x, hidden, RATES) > loss + 10


def test_the_encoder_sees_zeros_where_samples_are_hidden_and_all_else_as_it_was(monkeypatch):
    objective, given, seen = make(), batch(), []
    forward = objective.reconstruct
    monkeypatch.setattr(
        objective, "reconstruct", lambda x, mask=None: (seen.append(x.clone()), forward(x, mask))[1]
    )
    torch.manual_seed(3)
    objective(given)
    torch.manual_seed(3)
    hidden = objective.draw(given.x)
    assert hidden.any()
    assert torch.equal(seen[0], given.x.masked_fill(hidden, 0.0))
    torch.manual_seed(3)
    changed = objective.reconstruct(torch.where(hidden, 9.0, given.x).masked_fill(hidden, 0.0))
    assert_close(changed, objective.reconstruct(seen[0]))


def test_whole_seconds_of_a_channel_are_hidden_and_channels_independently():
    objective = make(mask_ratio=0.3, mean_run=2.0)
    hidden = objective.draw(torch.zeros(2000, 30, 7))
    channels = hidden.split(RATES, 2)
    for channel in channels:
        assert torch.equal(channel.any(2), channel.all(2))
        assert channel.float().mean().item() == pytest.approx(0.3, abs=0.01)
    seconds = torch.stack([channel[:, :, 0].flatten() for channel in channels]).float()
    assert (torch.corrcoef(seconds) - torch.eye(3)).abs().max() < 0.02


def test_padded_seconds_are_neither_hidden_nor_read():
    lengths = torch.tensor([30, 1, 12, 5, 30, 2, 8, 20])
    objective, given = make(), batch(lengths=lengths)
    assert not objective.draw(given.x, given.mask)[~given.mask].any()
    torch.manual_seed(1)
    clean = objective(given).total
    rubbish = given.with_x(given.x.masked_fill(~given.mask[:, :, None], torch.nan))
    torch.manual_seed(1)
    assert_close(objective(rubbish).total, clean)


def test_the_last_map_is_a_transposed_convolution_of_one_second_for_each_channel():
    objective = make()
    tokens = torch.randn(2, 30, 16)
    begin = 0
    for rate, found in zip(RATES, objective.samples(tokens).split(RATES, 2), strict=True):
        convolution = nn.ConvTranspose1d(16, 1, rate, stride=rate, bias=False)
        with torch.no_grad():
            rows = objective.samples.weight[begin : begin + rate]
            convolution.weight.copy_(rows.T[:, None])
        own = convolution(tokens.transpose(1, 2))[:, 0].view(2, 30, rate)
        assert_close(found - objective.samples.bias[begin : begin + rate], own)
        begin += rate


@pytest.mark.parametrize(
    "encoder, options", [("residual-conv", {}), ("series-transformer", {"patch": 1})]
)
def test_any_encoder_of_a_token_a_row_will_do(encoder, options):
    objective = MaskedSensors(build(encoder, SPEC, **options))
    assert objective(batch()).total.isfinite()


def test_an_encoder_of_a_token_for_several_rows_is_refused():
    with pytest.raises(ConfigError, match=r"token a row(?s:.)*stride=1"):
        MaskedSensors(build("residual-conv", SPEC, stride=2))


def test_an_encoder_whose_tokens_know_nothing_of_each_other_is_refused():
    with pytest.raises(ConfigError, match="of its own alone"):
        MaskedSensors(build("set-encoder", SPEC))


def test_making_it_leaves_the_encoder_as_it_was():
    encoder = build("e4mer", SPEC)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    MaskedSensors(encoder)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_what_cannot_be_hidden_or_decoded_is_refused():
    with pytest.raises(ConfigError, match=r"SeriesTransformer gives 10 for 30"):
        MaskedSensors(build("series-transformer", SPEC, patch=3))
    for options in ({"mask_ratio": 0.0}, {"mask_ratio": 0.9}, {"mean_run": 0.5}, {"decoder": ()}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            make(**options)


def test_one_sensor_is_learnt_from_the_others():
    # Two channels that say the same, twice a second and four times: predicting their mean is the
    # trivial answer, and a silenced stretch of one can be read off the other.
    torch.manual_seed(0)
    spec = InputSpec("series", (20, 6), rates=(4, 2))
    objective = MaskedSensors(build("e4mer", spec, dim=32, depth=1), mask_ratio=0.2)
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    relative = []
    for _ in range(150):
        level = torch.randn(32, 20, 1).cumsum(1) / 3
        level = (level - level.mean(1, keepdim=True)) / (level.std(1, keepdim=True) + 1e-3)
        given = Batch(level.expand(-1, -1, 6), torch.full((32,), -1), torch.arange(32))
        optimiser.zero_grad()
        losses = objective(given)
        losses.total.backward()
        optimiser.step()
        relative.append(losses.metrics["relative_to_mean"].item())
    assert np.mean(relative[:5]) > 0.9
    assert np.mean(relative[-10:]) < 0.8
