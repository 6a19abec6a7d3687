"""What could go wrong: a code that loses the value, depends on the batch or on a seed, and no way back."""

from __future__ import annotations

import pytest
import torch

from tacita.encoders.snn_delays.codes import (
    DeltaCode,
    LatencyCode,
    RateCode,
    SpikeCode,
    make_code,
)

NAMES = ("delta", "latency", "rate", "direct")


def code(name: str) -> SpikeCode:
    return make_code(name, 3, level=0.5, window=6)  # type: ignore[arg-type]


def values(batch: int = 4, steps: int = 20) -> torch.Tensor:
    return torch.randn(batch, steps, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_it_says(name):
    coded = code(name)(values())
    assert coded.shape == (4, 20 * code(name).window, code(name).channels)


@pytest.mark.parametrize("name", ("delta", "latency", "rate"))
def test_spikes_are_whole_and_never_negative(name):
    coded = code(name)(values())
    assert torch.equal(coded, coded.round())
    assert (coded >= 0).all()
    assert 0.02 < (coded > 0).float().mean() < 0.8


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_its_spikes_whatever_the_seed_and_the_batch(name):
    torch.manual_seed(0)
    whole = code(name)(values())
    torch.manual_seed(1)
    assert torch.equal(code(name)(values()[2:3]), whole[2:3])


@pytest.mark.parametrize("name", NAMES)
def test_step_by_step_is_the_whole(name):
    coder, x = code(name), values()
    state, found = coder.initial_state(4), []
    for now in x.unbind(1):
        spikes, state = coder.step(now, state)
        found.append(spikes)
    assert torch.equal(torch.cat(found, 1), coder(x))


def test_delta_spikes_add_up_to_the_value_to_half_a_level():
    x = values()
    on, off = DeltaCode(3, 0.5)(x).chunk(2, 2)
    assert ((0.5 * (on - off).cumsum(1) - x).abs() <= 0.25 + 1e-6).all()
    assert ((on == 0) | (off == 0)).all()


def test_delta_is_silent_while_nothing_moves():
    coded = DeltaCode(1, 0.5)(torch.full((1, 9, 1), 1.2))
    assert coded[0, 0].tolist() == [2, 0]
    assert (coded[:, 1:] == 0).all()


def test_a_value_has_one_spike_whose_latency_falls_as_it_grows():
    x = torch.linspace(-3, 3, 50).view(1, 50, 1)
    coded = LatencyCode(1, 8)(x).view(50, 8)
    assert (coded.sum(1) == 1).all()
    when = coded.argmax(1)
    assert when[0] == 7
    assert when[-1] == 0
    assert (when.diff() <= 0).all()
    assert torch.equal(
        when, ((1 - torch.special.ndtr(x.flatten())) * 8).floor().clamp_max(7).long()
    )


def test_the_count_of_a_rate_is_the_quantile():
    x = torch.linspace(-3, 3, 50).view(1, 50, 1)
    coded = RateCode(1, 8)(x).view(50, 8)
    assert torch.equal(coded.sum(1), (torch.special.ndtr(x.flatten()) * 8).round())


def test_channels_fire_at_steps_of_their_own_in_a_rate():
    coded = RateCode(3, 16)(torch.zeros(1, 1, 3))[0]
    assert coded.sum(0).tolist() == [8, 8, 8]
    assert len({tuple(channel.tolist()) for channel in coded.T}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_the_values(name):
    x = values().requires_grad_()
    coded = code(name)(x)
    weights = torch.randn(coded.shape, generator=torch.Generator().manual_seed(1))
    (slope,) = torch.autograd.grad((coded * weights).sum(), x)
    assert slope.isfinite().all()
    assert slope.abs().mean() > 0.01
