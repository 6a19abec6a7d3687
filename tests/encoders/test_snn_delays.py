"""What could go wrong: delays counted from the wrong end, weights that the bump does not keep, a sigma that
rises again, positions that leave the kernel, a stream that is not the evaluation, and silent padding that
is not silent."""

from __future__ import annotations

import copy
import hashlib
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tacita.adapt.supervised import Supervised
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.encoders.snn_delays import SNNDelays, summed_softmax
from tacita.encoders.snn_delays.activity import activity
from tacita.encoders.snn_delays.delays import (
    NARROWEST,
    DelayedLinear,
    gaussian_taps,
    sigma_at,
    single_taps,
)
from tacita.engine.optimizer import build_optimizer
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.parts.following import followers
from tacita.tasks import Classification
from tacita.values import Ragged
from tests.helpers import assert_close


def layer(longest: int = 6, inputs: int = 3, outputs: int = 2, **options) -> DelayedLinear:
    torch.manual_seed(longest + inputs)
    return DelayedLinear(inputs, outputs, longest=longest, **options).double()


def spikes_of(batch: int, steps: int, inputs: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((batch, steps, inputs), 0.3), generator=generator).double()


def make(channels: int = 2, length: int = 12, **options) -> SNNDelays:
    torch.manual_seed(0)
    given = {"width": 6, "longest_delay": 4, "dropout": 0.0, **options}
    return SNNDelays(InputSpec("series", (length, channels)), **given)


def settled(encoder: SNNDelays) -> SNNDelays:
    """With running statistics of data, so that evaluation fires as training does; in double precision."""
    encoder.double().train()
    with torch.no_grad():
        for _ in range(30):
            encoder(torch.randn(16, 12, encoder.spec.channels, dtype=torch.float64))
    return encoder.eval()


def test_an_impulse_arrives_after_its_delay_with_its_weight():
    synapses = layer().eval()
    for neuron in range(3):
        impulse = torch.zeros(1, 10, 3, dtype=torch.float64)
        impulse[0, 2, neuron] = 1
        current = synapses(impulse)[0]
        for target in range(2):
            expected = torch.zeros(13, dtype=torch.float64)
            expected[2 + synapses.delay[target, neuron]] = synapses.weight[target, neuron].detach()
            assert torch.equal(current[:, target], expected)


def test_positions_at_the_borders_are_no_delay_and_the_longest():
    synapses = layer(longest=4, inputs=2, outputs=1)
    with torch.no_grad():
        synapses.position.copy_(torch.tensor([[2.0, -2.0]]))
    assert synapses.delay.tolist() == [[0, 4]]


@pytest.mark.parametrize("longest", (0, 2, 8))
@pytest.mark.parametrize("delays", ("learned", "fixed"))
def test_evaluation_is_the_sum_over_delayed_inputs(longest, delays):
    synapses = layer(longest, 4, 5, delays=delays).eval()
    spikes = spikes_of(2, 9, 4)
    found = synapses(spikes)
    assert found.shape == (2, 9 + longest // 2, 5)
    expected = torch.zeros_like(found)
    for i in range(5):
        for j in range(4):
            delay = int(synapses.delay[i, j])
            for t in range(found.shape[1]):
                if 0 <= t - delay < 9:
                    expected[:, t, i] += synapses.weight[i, j].detach() * spikes[:, t - delay, j]
    assert_close(found, expected)


def test_a_bump_is_that_of_the_equations():
    weight, position = torch.tensor([[2.0]]), torch.tensor([[0.7]])
    places = torch.arange(7.0)
    bump = torch.exp(-((places - 0.7 - 3) ** 2) / (2 * (0.4 + 0.27) ** 2))
    expected = 2 * bump / (bump.sum() + 1e-7)
    assert_close(gaussian_taps(weight, position, torch.tensor(0.4), 6)[0, 0], expected)


@settings(max_examples=40, deadline=None)
@given(
    sigma=st.floats(0.23, 15),
    place=st.floats(-1, 1),
    half=st.integers(1, 15),
    weight=st.floats(-3, 3),
)
def test_the_taps_of_a_synapse_sum_to_its_weight(sigma, place, half, weight):
    given_weight = torch.full((1, 1), weight, dtype=torch.float64)
    position = torch.full((1, 1), place * half, dtype=torch.float64)
    taps = gaussian_taps(given_weight, position, torch.tensor(sigma), 2 * half)
    assert taps.sum().item() == pytest.approx(weight, rel=1e-6, abs=1e-12)
    single = single_taps(given_weight, (half - position).round().long(), 2 * half)
    assert single.sum().item() == weight
    assert (single != 0).sum() == (weight != 0)


def test_the_narrowest_bump_peaks_at_the_delay_of_evaluation():
    synapses = layer(12, 30, 20)
    synapses.sigma.fill_(NARROWEST)
    assert torch.equal(
        synapses.train().taps().abs().argmax(2), synapses.eval().taps().abs().argmax(2)
    )


@pytest.mark.parametrize("sigma", (0.3, 1.0, 4.0))
def test_the_gradient_of_positions_is_that_of_finite_differences(sigma):
    synapses = layer()
    spikes = spikes_of(1, 8, 3)

    def current(weight: Tensor, position: Tensor) -> Tensor:
        taps = gaussian_taps(weight, position, torch.tensor(sigma, dtype=torch.float64), 6)
        padded = nn.functional.pad(spikes.transpose(1, 2), (6, 3))
        return nn.functional.conv1d(padded, taps)

    assert torch.autograd.gradcheck(current, (synapses.weight, synapses.position))
    synapses.sigma.fill_(sigma)
    assert_close(
        synapses.train()(spikes), current(synapses.weight, synapses.position).transpose(1, 2)
    )


def test_sigma_falls_by_one_factor_to_its_least_at_a_quarter_and_stays():
    found = [sigma_at(step, 400, 12.0) for step in range(401)]
    factors = [after / before for before, after in pairwise(found[:101])]
    assert factors == pytest.approx([(NARROWEST / 12) ** (1 / 100)] * 100)
    assert found[100:] == pytest.approx([NARROWEST] * 301)


def test_sigma_follows_training_and_does_not_rise_in_a_second_one():
    synapses = DelayedLinear(2, 2, longest=8)
    assert synapses.sigma == 4
    synapses.start(40)
    found = []
    for step in range(40):
        synapses.after_step(step)
        found.append(synapses.sigma.item())
    assert found[4] == pytest.approx(sigma_at(5, 40, 4.0))
    assert found[9:] == pytest.approx([NARROWEST] * 31)
    synapses.start(1000)
    synapses.after_step(0)
    assert synapses.sigma.item() == pytest.approx(NARROWEST)


def test_positions_are_held_within_the_kernel_after_a_step():
    synapses = layer(6)
    with torch.no_grad():
        synapses.position[0] += 100
        synapses.position[1] -= 100
    synapses.after_step(0)
    assert (synapses.position[0] == 3).all()
    assert (synapses.position[1] == -3).all()


def test_positions_have_a_hundred_times_the_rate_and_no_decay():
    encoder = make()
    optimizer = build_optimizer(encoder, "adamw", 1e-3, 0.01)
    groups = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for synapses in encoder.synapses():
        assert groups[id(synapses.position)] == (pytest.approx(0.1), 0.0)
        assert groups[id(synapses.weight)] == (1e-3, 0.01)


@pytest.mark.parametrize("whole_from, whole", ((0.0, 0), (0.5, 5), (1.0, 99)))
def test_from_a_share_of_training_on_delays_are_whole_and_still_learn(whole_from, whole):
    synapses = layer(6, whole_from=whole_from)
    synapses.start(10)
    single = synapses.eval().taps()
    synapses.train()
    for step in range(10):
        taps = synapses.taps()
        assert torch.allclose(taps, single) == (step > whole), step
        (slope,) = torch.autograd.grad((taps * torch.linspace(-1, 1, 7)).sum(), synapses.position)
        assert (slope != 0).all()
        synapses.after_step(step)


def test_fixed_delays_are_whole_and_no_parameters():
    synapses = layer(8, 5, 5, delays="fixed").train()
    assert [name for name, _ in synapses.named_parameters()] == ["weight"]
    assert torch.equal(synapses.position, synapses.position.round())
    assert synapses.position.unique().numel() > 4
    assert torch.equal(synapses.taps(), synapses.eval().taps())
    synapses.start(4)
    before = synapses.position.clone()
    synapses.after_step(3)
    assert torch.equal(synapses.position, before)


def test_without_delays_it_is_a_linear_map_of_each_step():
    synapses = layer(0, 4, 5).train()
    spikes = spikes_of(2, 9, 4)
    assert [name for name, _ in synapses.named_parameters()] == ["weight"]
    assert_close(synapses(spikes), spikes @ synapses.weight.T)


def test_nothing_comes_before_the_first_spike():
    encoder = settled(make(code="direct", depth=1))
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm1d):  # silence stays silent
            norm.running_mean.zero_()
            norm.bias.data.zero_()
    x = torch.zeros(1, 12, 2, dtype=torch.float64)
    x[:, 5:] = 2
    tokens = encoder(x).tokens
    assert (tokens[:, :5] == 0).all()
    assert (tokens[:, 5:] != 0).any()


def test_a_token_does_not_see_later_values():
    encoder = settled(make())
    x = torch.randn(3, 12, 2, dtype=torch.float64)
    other = x.clone()
    other[:, 7:] = 0
    assert torch.equal(encoder(x).tokens[:, :7], encoder(other).tokens[:, :7])
    assert not torch.equal(encoder(x).tokens[:, 7:12], encoder(other).tokens[:, 7:12])


@pytest.mark.parametrize("depth", (1, 3))
@pytest.mark.parametrize("longest", (0, 4, 10))
def test_every_layer_adds_half_the_longest_delay_at_the_end(depth, longest):
    encoder = make(depth=depth, longest_delay=longest)
    assert encoder(torch.randn(2, 12, 2)).tokens.shape == (2, 12 + (depth + 1) * longest // 2, 6)


def test_a_short_sample_is_alone_what_it_is_among_long_ones():
    encoder = settled(make())
    long, short = torch.randn(2, 12, 2, dtype=torch.float64)
    both = encoder(Ragged.of(torch.stack([long, short]), torch.tensor([12, 5])))
    alone = encoder(short[None, :5])
    assert_close(both.pooled[1:], alone.pooled)
    steps = alone.tokens.shape[1]
    assert_close(both.tokens[1, :steps], alone.tokens[0])
    assert (both.tokens[1, steps:] == 0).all()


@pytest.mark.parametrize(
    "options",
    (
        {},
        {"code": "direct"},
        {"code": "rate", "window": 3},
        {"code": "latency", "window": 4},
        {"delays": "fixed"},
        {"longest_delay": 0},
        {"longest_delay": 10, "depth": 3, "tau": 4.0},
    ),
    ids=str,
)
def test_event_by_event_is_the_evaluation_of_the_whole(options):
    encoder = settled(make(**options))
    x = torch.randn(3, 12, 2, dtype=torch.float64)
    expected = encoder(x).tokens
    received = encoder.received(Batch.of(x))
    assert all(spikes.abs().sum() > 0 for spikes, _ in received)
    state, window = encoder.initial_state(3), encoder.code.window
    for t in range(12):
        before = copy.deepcopy(state)
        token, after = encoder.step(x[:, t], state)
        assert_close(token, expected[:, (t + 1) * window - 1], f"step {t}")
        assert all(torch.equal(state[name], before[name]) for name in state)
        state = after
    assert token.abs().sum() > 0


def test_late_spikes_of_a_stream_arrive_as_they_do_in_the_whole():
    encoder = settled(make(code="direct"))
    x = torch.randn(2, 12, 2, dtype=torch.float64)
    expected = encoder(x).tokens
    # After its end a sample is silent: of the coded input at first, then of one layer after the other.
    silent = torch.cat([x, torch.zeros(2, 2, 2, dtype=x.dtype)], 1)
    state = encoder.initial_state(2)
    for t in range(14):
        token, state = encoder.step(silent[:, t], state)
        assert_close(token, expected[:, t])


def test_work_of_a_step_is_in_proportion_to_its_spikes():
    synapses = layer(6, 40, 2).eval()
    silent, state = torch.zeros(1, 40, dtype=torch.float64), synapses.pending(1)
    current, after = synapses.advance(silent, state)
    assert (current == 0).all()
    assert torch.equal(after["pending"], state["pending"])
    one = silent.clone()
    one[0, 7] = 2
    _, after = synapses.advance(one, state)
    due = int((synapses.delay[:, 7] > 0).sum())
    assert int((after["pending"] != 0).sum()) == due


def fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_evaluation_rounds_delays_and_leaves_them_as_they_are():
    encoder = make()
    before = fingerprint(encoder)
    encoder.eval()
    with torch.no_grad():
        encoder(torch.randn(4, 12, 2))
        encoder.step(torch.randn(4, 2), encoder.initial_state(4))
    assert fingerprint(encoder) == before
    position = encoder.readout.position
    assert not torch.equal(position, position.round())


def series(count: int = 40) -> Dataset:
    """Which of two channels rises first; both rise once."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(count) % 2
    x = torch.zeros(count, 16, 2)
    for row, kind in enumerate(classes.tolist()):
        start = int(torch.randint(3, 6, (1,), generator=generator))
        x[row, start:, kind] = 1
        x[row, start + 5 :, 1 - kind] = 1
    return Dataset.of("series", x, classes, Classification(("first", "second")))


def test_the_engine_narrows_sigma_moves_delays_and_the_network_learns():
    data = series().normalised()
    torch.manual_seed(0)
    encoder = build("snn-delays", data.spec, width=16, depth=1, longest_delay=8, dropout=0.0)
    before = encoder.readout.position.detach().clone()
    objective = Supervised(encoder, data.task, views=nn.Identity())
    train(objective, data, steps=120, batch_size=20, learning_rate=5e-3)
    for synapses in encoder.synapses():
        assert synapses.sigma.item() == pytest.approx(NARROWEST)
        assert synapses.position.abs().max() <= 4
    assert (encoder.readout.position - before).abs().mean() > 0.3
    batch = data.take(torch.arange(40))
    right = objective.head(encoder(batch).pooled).argmax(1) == batch.y
    assert right.float().mean() > 0.9


def test_a_resumed_run_has_the_sigma_and_the_weights_of_one_never_stopped(tmp_path):
    data = series().normalised()

    def run(seconds: float | None, **options) -> dict[str, Tensor]:
        torch.manual_seed(0)
        encoder = build("snn-delays", data.spec, width=8, depth=1, longest_delay=8)
        objective = Supervised(encoder, data.task, views=nn.Identity())
        train(
            objective, data, steps=24, batch_size=8, max_seconds=seconds,
            checkpoint_every=0.0, **options,
        )  # fmt: skip
        return objective.state_dict()

    whole = run(None, checkpoint=tmp_path / "whole")
    cut = run(1e-6, checkpoint=tmp_path / "cut")
    name = "encoder.readout.sigma"
    assert cut[name] > whole[name]
    again = run(None, checkpoint=tmp_path / "cut", resume=True)
    for key, value in whole.items():
        assert torch.equal(again[key], value), key


def test_parts_are_told_of_training_wherever_they_are():
    encoder = make(depth=3)
    assert len(followers(nn.Sequential(nn.Linear(1, 1), encoder))) == 4


def test_scores_are_softmaxes_summed_over_valid_steps():
    tokens = torch.tensor([[[0.0, 1.0], [2.0, 2.0], [9.0, -9.0]]])
    one = torch.tensor([1.0, 0.0]).sigmoid()[0].item()
    scores = summed_softmax(tokens, torch.tensor([[True, True, False]]))
    assert scores[0].tolist() == pytest.approx([1 - one + 0.5, one + 0.5])


def test_activity_counts_events_and_what_is_behind_them():
    encoder = settled(make(depth=1))
    x = torch.tensor([[0.6, 0.6, 0.0, 9.0], [-1.0, -1.0, -1.0, 0.0]], dtype=torch.float64)[
        :, :, None
    ]
    encoder = settled(make(channels=1, depth=1, features=5))
    found = activity(encoder, Batch.of(Ragged.of(x, torch.tensor([3, 4]))))
    # ON at 0.6 (a level), OFF at 0; OFF twice at -1 at once, ON twice at 0 at once: four events.
    source, hidden = found.layers
    assert source.rate == pytest.approx(4 / (7 * 2))
    assert source.synaptic_operations == pytest.approx(4 * 6 / 2)
    assert source.dense_operations == pytest.approx(7 * 2 * 6 / 2)
    spikes, lengths = encoder.received(Batch.of(Ragged.of(x, torch.tensor([3, 4]))))[1]
    assert lengths.tolist() == [5, 6]
    assert hidden.rate == pytest.approx(spikes.sum().item() / (11 * 6))
    assert hidden.synaptic_operations == pytest.approx(spikes.sum().item() * 5 / 2)
    total = source.synaptic_operations + hidden.synaptic_operations
    assert found.share == pytest.approx(total / (source.dense_operations + 11 * 6 * 5 / 2))
    assert encoder.training is False


@pytest.mark.parametrize(
    "options, says",
    (
        ({"longest_delay": 5}, "longest_delay=5"),
        ({"longest_delay": -2}, "longest_delay=-2"),
        ({"width": 0}, "width=0"),
        ({"features": 0}, "features=0"),
        ({"depth": 0}, "depth=0"),
        ({"delays": "random"}, "delays='random'"),
        ({"whole_from": 1.5}, "whole_from=1.5"),
        ({"tau": 0.9}, "tau=0.9"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"code": "morse"}, "code='morse'"),
        ({"level": 0.0}, "level=0.0"),
        ({"window": 0}, "window=0"),
    ),
    ids=str,
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)
