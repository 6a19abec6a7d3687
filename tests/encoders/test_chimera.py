"""What could go wrong: a channel that leaks where none may, a step that is not the parallel form, directions
that are not each other's mirror, and variants that are not what they are called."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.data.batch import Batch, InputSpec
from tacita.encoders.chimera import Chimera
from tacita.encoders.chimera.fields import Axis, Fields
from tacita.errors import ConfigError
from tacita.kernels import selective_scan
from tacita.values import Ragged
from tests.helpers import assert_close

CHANNELS, LENGTH = 3, 9
VARIANTS = (
    {},
    {"variates": "added"},
    {"variates": "apart"},
    {"selective": False},
    {"heads": "trend"},
    {"bidirectional": False, "gated": False},
)


def encoder(seed: int = 0, **options) -> Chimera:
    torch.manual_seed(seed)
    sizes = {"width": 4, "depth": 2, "d_state": 3, "features": 5}
    made = Chimera(InputSpec("series", (LENGTH, CHANNELS)), **{**sizes, **options})
    return made.double().eval()


def series(batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, LENGTH, CHANNELS, dtype=torch.float64, generator=generator)


def fields(**options) -> Fields:
    defaults = {"variates": "coupled", "bidirectional": True, "selective": True}
    return Fields(4, 3, (0.1, 1.0), **{**defaults, **options}).double()


def stepped(model: Chimera, x: Tensor) -> Tensor:
    state, tokens = model.initial_state(len(x)), []
    for now in x.unbind(1):
        token, state = model.step(now, state)
        tokens.append(token)
    return torch.stack(tokens, 1)


@pytest.mark.parametrize("options", VARIANTS)
def test_a_step_at_a_time_is_the_parallel_form(options):
    model, x = encoder(**options), series()
    assert_close(stepped(model, x), model(x).tokens)


@pytest.mark.parametrize("options", VARIANTS)
def test_no_token_depends_on_a_later_step(options):
    model, x = encoder(**options), series().requires_grad_()
    assert model.causal
    (slope,) = torch.autograd.grad(model(x).tokens[:, 4].square().sum(), x)
    assert slope[:, :5].abs().amin() > 0
    assert (slope[:, 5:] == 0).all()


def reaches(options, depth: int = 1) -> list[list[bool]]:
    """Whether a channel's last cell depends on another channel's first value."""
    model, found = encoder(depth=depth, **options), []
    for channel in range(CHANNELS):
        x = series().requires_grad_()
        cell = model.cells(Batch.of(x))[:, channel, -1].square().sum()
        (slope,) = torch.autograd.grad(cell, x)
        found.append((slope[:, 0].abs().amax(0) > 0).tolist())
    return found


def test_channels_apart_never_meet_in_the_grid():
    assert reaches({"variates": "apart"}, depth=2) == torch.eye(CHANNELS).bool().tolist()


def test_one_direction_takes_channels_before_and_both_take_all():
    one = torch.ones(CHANNELS, CHANNELS).tril().bool().tolist()
    assert reaches({"bidirectional": False}) == one
    assert reaches({}) == torch.ones(CHANNELS, CHANNELS).bool().tolist()


def test_only_added_fields_never_carry_a_channel_over_channels_and_time():
    # The scan along time keeps to its channel and that along channels to its step: in one head no path has
    # both, so another channel's past is not seen but through the convolution of four steps.
    assert reaches({"variates": "added"}) == torch.eye(CHANNELS).bool().tolist()


def test_channels_in_reverse_with_directions_swapped_give_cells_in_reverse():
    head = fields()
    mirror = fields()
    weights = head.state_dict()
    swapped = {
        name.replace("across.0", "x")
        .replace("across.1", "across.0")
        .replace("x.", "across.1."): value
        for name, value in weights.items()
    }
    mirror.load_state_dict({name: swapped[name] for name in weights})
    u = torch.randn(2, CHANNELS, 5, 4, dtype=torch.float64)
    assert_close(mirror(u.flip(1))[0].flip(1), head(u)[0])


def test_a_channel_apart_is_a_selective_scan_and_so_is_one_channel_uncoupled():
    torch.manual_seed(0)
    apart = fields(variates="apart")
    u = torch.randn(2, 1, 6, 4, dtype=torch.float64)
    time = apart.time(u)
    row = selective_scan(u[:, 0], time.step[:, 0], time.A, time.B[:, 0], time.C[:, 0], apart.D)
    assert_close(apart(u)[0][:, 0], row)
    added = fields(variates="added", bidirectional=False)
    added.load_state_dict({**added.state_dict(), **apart.state_dict()})
    across = added.across[0]
    assert isinstance(across, Axis)
    field = across(u)
    # Of a single channel the field along channels is what it is driven by.
    pointwise = field.step * u * (field.B * field.C).sum(-1, keepdim=True)
    assert_close(added(u)[0], row[:, None] + pointwise)


def test_a_time_invariant_head_is_linear_and_a_selective_one_is_not():
    torch.manual_seed(0)
    u = torch.randn(1, CHANNELS, 5, 4, dtype=torch.float64)
    for selective in (False, True):
        head = fields(selective=selective)
        twice, double = head(2 * u)[0], 2 * head(u)[0]
        assert torch.allclose(twice, double) is not selective


def test_trend_steps_are_small_and_season_steps_large():
    torch.manual_seed(0)
    model = Chimera(InputSpec("series", (LENGTH, CHANNELS)), width=64, depth=1, selective=False)
    cells = torch.zeros(1, CHANNELS, 1, 64)
    heads = model.blocks[0].heads
    for name, low, high in (("trend", 1e-3, 1e-2), ("season", 0.1, 1.0)):
        step = heads[name].time(cells).step
        assert low * 0.99 <= step.min() < step.max() <= high * 1.01


def test_fields_take_less_of_each_other_than_would_let_them_grow():
    for axis in (fields().time, *fields().across):
        with torch.no_grad():
            axis.coupling.fill_(30.0)
        assert axis(torch.zeros(1, 1, 1, 4, dtype=torch.float64)).rho.max() <= 1


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(0, LENGTH), min_size=2, max_size=2))
def test_what_is_beyond_the_length_is_not_read(lengths):
    model, x = encoder(depth=1), series()
    ends = torch.tensor(lengths)
    beyond = torch.arange(LENGTH) >= ends[:, None]
    tokens, pooled = model(Ragged.of(x.masked_fill(beyond[:, :, None], float("nan")), ends))
    whole = model(x).tokens.masked_fill(beyond[:, :, None], 0.0)
    assert_close(tokens, whole)
    assert_close(pooled, whole.sum(1) / ends.clamp_min(1)[:, None])


def test_what_cannot_be_is_refused():
    spec = InputSpec("series", (LENGTH, CHANNELS))
    for options, says in (
        ({"width": 0}, "width=0"),
        ({"depth": 0}, "depth=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"variates": "mixed"}, "variates='mixed'"),
        ({"heads": "noise"}, "heads='noise'"),
    ):
        with pytest.raises(ConfigError, match=says):
            Chimera(spec, **options)
