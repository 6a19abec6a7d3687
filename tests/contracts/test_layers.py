"""What holds for every sequence layer in the catalog: the laws of the contract, in float64.

The parallel form and the step form are one function; sequences can be cut anywhere; padding is as if
it were not there; a reset is the beginning of another sequence.
"""

from __future__ import annotations

import contextlib
import copy
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita import layers
from tacita.errors import ConfigError
from tacita.layers.base import SequenceLayer, State
from tacita.layers.stack import Bidirectional, Block, Stack
from tests.helpers import assert_close

WIDTH = 8
LENGTH = 13
"""Neither a power of two nor a multiple of anything."""


def stack() -> SequenceLayer:
    return Stack(
        [Block(make_layer("s4d")), Block(make_layer("s4d"), channel_mixer="mlp", norm="rms")]
    )


def both_ways() -> SequenceLayer:
    return Bidirectional(make_layer("s4d"), make_layer("s4d"))


WRAPPERS = {"a stack": stack, "both ways": both_ways}
NAMES = [*layers.names(), *WRAPPERS]
every_layer = pytest.mark.parametrize("name", NAMES)
QUICK = ("s4d",)
"""What the compiler is tried with in every run; with all layers it takes a minute."""
ONE_LENGTH = ("gru",)
"""What takes its steps one after another, so that an exported program is for one number of them."""
UNROLLED = ("hippo", "lru", "lssl", "mamba", "s4", "s5")
"""Scans and powers of matrices by doubling: exported for any length, they do what the longest needs."""


def make_layer(name: str) -> SequenceLayer:
    cls = layers.get(name)
    return cls(WIDTH, **cls.tiny)


def make(name: str, seed: int = 0) -> SequenceLayer:
    torch.manual_seed(seed)
    layer = WRAPPERS[name]() if name in WRAPPERS else make_layer(name)
    return layer.double().eval()


def having(**abilities: bool) -> pytest.MarkDecorator:
    names = [n for n in NAMES if all(getattr(make(n), a) == v for a, v in abilities.items())]
    return pytest.mark.parametrize("name", names)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def states_close(actual: State, expected: State) -> None:
    assert set(actual) == set(expected)
    for name, value in actual.items():
        assert_close(value, expected[name], name)


def walk(
    layer: SequenceLayer, x: Tensor, state: State, resets: Tensor | None = None
) -> tuple[Tensor, State]:
    """The step form over all of `x`, one step after another."""
    outputs = []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state, reset=None if resets is None else resets[:, t])
        outputs.append(y)
    return torch.stack(outputs, 1), state


@every_layer
def test_a_layer_keeps_the_shape_at_any_length(name: str) -> None:
    layer = make(name)
    for length in (1, 2, 7, 16, 33):
        y = layer(noise(3, length, WIDTH))
        assert y.shape == (3, length, WIDTH)
        assert y.isfinite().all()
    assert layer(noise(0, 5, WIDTH)).shape == (0, 5, WIDTH)


@having(streams=True)
def test_steps_are_the_columns_of_the_parallel_form(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    y, last = layer(x, return_state=True)
    stepped, state = walk(layer, x, layer.initial_state(3))
    assert_close(stepped, y)
    after, other = noise(3, WIDTH, seed=2), noise(3, WIDTH, seed=2)
    assert_close(layer.step(after, last)[0], layer.step(other, state)[0])


@having(streams=True)
def test_float32_steps_are_close_to_the_parallel_form(name: str) -> None:
    layer, x = make(name).float(), noise(2, 64, WIDTH).float()
    stepped, _ = walk(layer, x, layer.initial_state(2))
    torch.testing.assert_close(stepped, layer(x), rtol=1e-3, atol=1e-4)


@having(streams=True)
@settings(deadline=None, max_examples=8)
@given(cut=st.integers(1, LENGTH - 1))
def test_a_sequence_can_be_cut_anywhere(name: str, cut: int) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    whole, last = layer(x, return_state=True)
    first, state = layer(x[:, :cut], return_state=True)
    second, end = layer(x[:, cut:], state=state, return_state=True)
    assert_close(torch.cat([first, second], 1), whole)
    probe = noise(2, WIDTH, seed=5)
    assert_close(layer.step(probe, end)[0], layer.step(probe, last)[0])


@having(streams=True)
def test_the_initial_state_is_no_state(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    assert_close(layer(x, state=layer.initial_state(2)), layer(x))


@having(causal=True)
def test_the_past_does_not_depend_on_the_future(name: str) -> None:
    layer = make(name)
    x = noise(1, LENGTH, WIDTH).requires_grad_()
    y = layer(x)
    for t in range(LENGTH - 1):
        (slope,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        assert slope[0, t + 1 :].abs().max() <= 1e-12 * slope.abs().max().clamp_min(1)
        assert slope[0, t].abs().max() > 0


@having(causal=False)
def test_what_is_not_causal_sees_the_future(name: str) -> None:
    layer = make(name)
    x = noise(1, LENGTH, WIDTH).requires_grad_()
    (slope,) = torch.autograd.grad(layer(x)[0, 0].sum(), x)
    assert slope[0, -1].abs().max() > 0


@every_layer
def test_padding_is_as_if_it_were_not_there(name: str) -> None:
    layer, x = make(name), noise(4, LENGTH, WIDTH)
    lengths = torch.tensor([LENGTH, 5, 1, 8])
    y = layer(x, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        assert_close(y[row, :length], layer(x[row : row + 1, :length])[0])
        assert (y[row, length:] == 0).all()
    dirty = x.clone()
    dirty[1, 5:] = float("nan")
    assert_close(layer(dirty, lengths=lengths), y)
    longer = torch.cat([x, torch.ones(4, 9, WIDTH, dtype=torch.float64)], 1)
    assert_close(layer(longer, lengths=lengths)[:, :LENGTH], y)


@every_layer
def test_a_sample_without_any_step_gives_zeros_and_finite_gradients(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH).requires_grad_()
    y = layer(x, lengths=torch.tensor([0, LENGTH]))
    assert (y[0] == 0).all()
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)


@having(streams=True)
def test_the_last_state_is_that_after_the_last_valid_step(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    begun = layer(noise(3, 4, WIDTH, seed=7), return_state=True)[1]
    lengths = torch.tensor([LENGTH, 6, 0])
    _, last = layer(x, lengths=lengths, state=begun, return_state=True)
    probe = noise(3, WIDTH, seed=5)
    y, _ = layer.step(probe, last)
    for row, length in enumerate(lengths.tolist()):
        own = {key: value[row : row + 1] for key, value in begun.items()}
        _, expected = walk(layer, x[row : row + 1, :length], own) if length else (None, own)
        assert_close(y[row], layer.step(probe[row : row + 1], expected)[0][0])


@every_layer
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_lengths_may_be_of_any_integers(name: str, dtype: torch.dtype) -> None:
    layer, x, lengths = make(name), noise(3, LENGTH, WIDTH), torch.tensor([0, 6, LENGTH])
    assert_close(layer(x, lengths=lengths.to(dtype)), layer(x, lengths=lengths))
    if layer.streams:
        _, state = layer(x, lengths=lengths.to(dtype), return_state=True)
        states_close(state, layer(x, lengths=lengths, return_state=True)[1])


@having(resettable=True)
def test_resets_in_the_padding_are_as_if_they_were_not_there(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    lengths = torch.tensor([4, LENGTH])
    resets = torch.zeros(2, LENGTH, dtype=torch.bool)
    resets[0, 2] = resets[1, 8] = True
    late = resets.clone()
    late[0, 5:] = True
    assert_close(layer(x, lengths=lengths, resets=late), layer(x, lengths=lengths, resets=resets))
    if layer.streams:
        _, state = layer(x, lengths=lengths, resets=late, return_state=True)
        states_close(state, layer(x, lengths=lengths, resets=resets, return_state=True)[1])


@every_layer
def test_a_batch_may_be_empty(name: str) -> None:
    layer, x = make(name), noise(0, LENGTH, WIDTH)
    lengths, resets = torch.zeros(0, dtype=torch.int64), torch.zeros(0, LENGTH, dtype=torch.bool)
    assert layer(x, lengths=lengths).shape == x.shape
    if layer.resettable:
        assert layer(x, resets=resets).shape == x.shape
    if layer.streams:
        y, state = layer(x, lengths=lengths, state=layer.initial_state(0), return_state=True)
        assert y.shape == x.shape
        y, state = layer.step(x[:, 0], state)
        assert y.shape == (0, WIDTH)
        assert {len(value) for value in state.values()} == {0}


@every_layer
def test_samples_do_not_touch_each_other(name: str) -> None:
    layer, x = make(name), noise(4, LENGTH, WIDTH)
    order = torch.tensor([2, 0, 3, 1])
    assert_close(layer(x[order]), layer(x)[order])
    dirty = x.clone()
    dirty[2] = float("nan")
    assert_close(layer(dirty)[[0, 1, 3]], layer(x)[[0, 1, 3]])


@having(resettable=True)
@pytest.mark.parametrize("at", [[3], [0], [1, 2], [4, 12], list(range(LENGTH))])
def test_a_reset_is_the_beginning_of_another_sequence(name: str, at: list[int]) -> None:
    layer = make(name)
    x = noise(2, LENGTH, WIDTH).requires_grad_()
    resets = torch.zeros(2, LENGTH, dtype=torch.bool)
    resets[0, at] = True  # the other sample goes on undisturbed
    y = layer(x, resets=resets)
    cuts = sorted({0, *at, LENGTH})
    pieces = [layer(x[:1, a:b]) for a, b in pairwise(cuts)]
    expected = torch.cat([torch.cat(pieces, 1), layer(x[1:])])
    assert_close(y, expected)
    weights = noise(2, LENGTH, WIDTH, seed=3)
    inputs = [x, *layer.parameters()]
    actual = torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True)
    for a, b in zip(actual, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@having(resettable=True, streams=True)
def test_resets_agree_with_steps_that_reset_and_erase_the_given_state(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    begun = layer(noise(3, 4, WIDTH, seed=7), return_state=True)[1]
    resets = torch.rand(3, LENGTH, generator=torch.Generator().manual_seed(0)) < 0.3
    resets[:, 0] = torch.tensor([True, False, False])
    y, last = layer(x, resets=resets, state=begun, return_state=True)
    stepped, state = walk(layer, x, begun, resets)
    assert_close(stepped, y)
    probe = noise(3, WIDTH, seed=5)
    assert_close(layer.step(probe, last)[0], layer.step(probe, state)[0])


@having(resettable=True)
def test_no_reset_is_no_resets(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    assert_close(layer(x, resets=torch.zeros(2, LENGTH, dtype=torch.bool)), layer(x))


@having(resettable=False)
def test_a_layer_that_cannot_be_reset_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot erase its state"):
        make(name)(noise(2, 5, WIDTH), resets=torch.zeros(2, 5, dtype=torch.bool))


@having(rescalable=False)
def test_a_layer_without_a_time_scale_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="no time scale"):
        make(name)(noise(2, 5, WIDTH), rate=2.0)


@having(rescalable=True)
def test_the_rate_is_1_by_default_and_positive(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    assert torch.equal(layer(x, rate=1.0), layer(x))
    assert (layer(x, rate=2.0) - layer(x)).abs().max() > 1e-6
    with pytest.raises(ConfigError, match="positive"):
        layer(x, rate=0.0)


@having(rescalable=True, streams=True)
def test_steps_follow_the_rate(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    state, outputs = layer.initial_state(2), []
    for t in range(LENGTH):
        y, state = layer.step(x[:, t], state, rate=0.5)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), layer(x, rate=0.5))


@having(time_invariant=True)
def test_a_delayed_input_gives_the_delayed_output_and_sums_give_sums(name: str) -> None:
    layer, x, z = make(name), noise(2, LENGTH, WIDTH), noise(2, LENGTH, WIDTH, seed=2)
    delayed = torch.cat([torch.zeros(2, 3, WIDTH, dtype=torch.float64), x], 1)
    assert_close(layer(delayed)[:, 3:], layer(x))
    assert_close(layer(2 * x - 3 * z), 2 * layer(x) - 3 * layer(z))


@having(streams=True)
def test_a_wrong_state_is_refused(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    with pytest.raises(ConfigError, match="of 2 samples"):
        layer(x, state=layer.initial_state(2))
    with pytest.raises(ConfigError, match="of 2 samples"):
        layer.step(x[:, 0], layer.initial_state(2))
    with pytest.raises(ConfigError, match="belong"):
        layer(x, state={"nonsense": torch.zeros(3, 1)})
    right = layer.initial_state(3)
    for key, value in right.items():
        for axis in range(1, value.ndim):
            if value.shape[axis]:  # what is empty at first grows
                wider = torch.cat([value, value], axis)
                for call in (layer.step, layer):
                    with pytest.raises(ConfigError, match=re.escape(repr(key))):
                        call(x[:, 0] if call == layer.step else x, state={**right, key: wider})
        for wrong in (value[..., None], value.view(3, -1)[:, :0]):
            if wrong.shape[1:] != value.shape[1:]:
                with pytest.raises(ConfigError, match="for each sample"):
                    layer(x, state={**right, key: wrong})


@having(streams=False)
def test_a_layer_without_a_state_says_so(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    with pytest.raises(ConfigError, match="no step form"):
        layer(x, return_state=True)
    with pytest.raises(ConfigError, match="no step form"):
        layer.step(x[:, 0], {})
    with pytest.raises(ConfigError, match="no step form"):
        layer.initial_state(1)


@every_layer
def test_wrong_shapes_lengths_and_resets_are_refused(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    for wrong in (x[:, :, :5], x[:, 0], x[:, :0], x[None]):
        with pytest.raises(ConfigError, match=f"L, {WIDTH}"):
            layer(wrong)
    for lengths in ([1, 2], [1.0, 2.0, 3.0], [True, False, True]):
        with pytest.raises(ConfigError, match="whole numbers"):
            layer(x, lengths=torch.tensor(lengths))
    for lengths in ([1, 2, LENGTH + 1], [-1, 2, 3]):
        with pytest.raises(ConfigError, match=f"have {LENGTH} steps"):
            layer(x, lengths=torch.tensor(lengths))
    if layer.resettable:
        for resets in (torch.zeros(3, LENGTH), torch.zeros(3, 2, dtype=torch.bool)):
            with pytest.raises(ConfigError, match="resets must be"):
                layer(x, resets=resets)
    if layer.max_length is not None:
        with pytest.raises(ConfigError, match="at most"):
            layer(noise(1, layer.max_length + 1, WIDTH))


@every_layer
def test_strides_and_inputs_do_not_matter_and_inputs_stay(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    before, strided = x.clone(), x.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    assert_close(layer(strided), layer(x))
    assert torch.equal(x, before)


@having(streams=True)
def test_a_given_state_is_not_changed(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    _, state = layer(x, return_state=True)
    before = {key: value.clone() for key, value in state.items()}
    layer(x, state=state, return_state=True)
    layer.step(x[:, 0], state)
    for key, value in before.items():
        assert torch.equal(state[key], value), key


@every_layer
def test_every_parameter_and_the_input_get_the_gradient_of_finite_differences(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH).requires_grad_()
    weights = noise(2, LENGTH, WIDTH, seed=3)

    def value() -> Tensor:
        return (layer(x) * weights).sum()

    tensors = [x, *layer.parameters()]
    names = ["x", *(n for n, _ in layer.named_parameters())]
    gradients = torch.autograd.grad(value(), tensors, allow_unused=True)
    for label, tensor, gradient in zip(names, tensors, gradients, strict=True):
        assert gradient is not None, label
        assert gradient.abs().max() > 0, label
        direction = noise(*tensor.shape, seed=4)
        with torch.no_grad():
            at = tensor.clone()
            tensor.copy_(at + 1e-6 * direction)
            above = value()
            tensor.copy_(at - 1e-6 * direction)
            slope = (above - value()) / 2e-6
            tensor.copy_(at)
        expected = (gradient * direction).sum()
        assert (slope - expected).abs() <= 1e-6 + 1e-4 * expected.abs(), label


@having(streams=True)
def test_gradients_flow_through_the_state(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH).requires_grad_()
    whole = layer(x)[:, 6:]
    _, state = layer(x[:, :6], return_state=True)
    rest = layer(x[:, 6:], state=state)
    weights = noise(*whole.shape, seed=3)
    (expected,) = torch.autograd.grad((whole * weights).sum(), x)
    (actual,) = torch.autograd.grad((rest * weights).sum(), x)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
    assert expected[:, :6].abs().max() > 0


@every_layer
def test_a_seed_fixes_the_weights_and_a_saved_layer_is_the_same(name: str) -> None:
    first, second, other = make(name), make(name), make(name, seed=1)
    x = noise(2, LENGTH, WIDTH)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(first(x), other(x))
    assert torch.equal(copy.deepcopy(first)(x), first(x))


@every_layer
def test_half_precision_stays_finite_and_near(name: str) -> None:
    layer, x = make(name).float(), noise(2, 64, WIDTH).float()
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        y.float().square().mean().backward()
    assert (y.float() - expected).abs().max() <= 0.1 * expected.abs().max()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
    halved = layer(x.bfloat16()) if name not in WRAPPERS else y
    assert halved.isfinite().all()


@having(streams=True)
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("weights", ["autocast", "half"])
def test_in_half_precision_steps_are_the_parallel_form_too(
    name: str, weights: str, dtype: torch.dtype
) -> None:
    layer, x = make(name).float(), noise(2, LENGTH, WIDTH).float()
    with torch.no_grad():
        exact, _ = walk(layer, x, layer.initial_state(2))
        half: contextlib.AbstractContextManager[object] = torch.autocast("cpu", dtype)
        if weights == "half":
            layer, x, half = layer.to(dtype), x.to(dtype), contextlib.nullcontext()
        with half:
            y, last = layer(x, return_state=True)
            stepped, state = walk(layer, x, layer.initial_state(2))
            assert_near(layer.step(x[:, 0], last)[0], layer.step(x[:, 0], state)[0], y, exact)
        assert stepped.dtype == y.dtype == x.dtype
        assert_near(stepped, y, y, exact)
        if weights == "autocast":  # and nothing is left of it afterwards
            assert_close(walk(layer, x, layer.initial_state(2))[0], exact)


def assert_near(stepped: Tensor, parallel: Tensor, y: Tensor, exact: Tensor) -> None:
    """As near as rounding lets the parallel form be to what it is in single precision."""
    rounded = (y.float() - exact).abs().max()
    assert rounded <= 0.03 * exact.abs().max()
    apart = (stepped.float() - parallel.float()).abs().max()
    assert apart <= 3 * rounded + 1e-5 * exact.abs().max()


@every_layer
def test_what_a_layer_did_in_inference_mode_does_not_keep_it_from_learning(name: str) -> None:
    layer, x = make(name), noise(2, LENGTH, WIDTH)
    with torch.inference_mode():
        layer(x)
        if layer.streams:
            layer.step(x[:, 0], layer.initial_state(2))
    layer(x).sum().backward()
    if layer.streams:
        with torch.no_grad():
            layer.step(x[:, 0], layer.initial_state(2))
        layer.step(x[:, 0], layer.initial_state(2))[0].sum().backward()


@every_layer
def test_it_can_be_called_with_other_weights(name: str) -> None:
    layer, other, x = make(name), make(name, seed=1), noise(2, LENGTH, WIDTH)
    weights = {key: value.detach() for key, value in other.state_dict().items()}
    assert_close(torch.func.functional_call(layer, weights, (x,)), other(x))


@every_layer
def test_it_can_be_exported_for_any_batch_size_and_length(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    dims = {0: torch.export.Dim("samples", min=1, max=4096)}
    if name not in ONE_LENGTH:
        longest = 512 if layer.max_length is None else layer.max_length - 1
        dims[1] = torch.export.Dim("steps", min=8, max=longest)
    program = torch.export.export(layer, (x,), dynamic_shapes={"x": dims}).module()
    assert_close(program(x[:2]), layer(x[:2]))
    if name not in ONE_LENGTH:
        for length in (8, 16, 59):
            longer = noise(2, length, WIDTH)
            assert_close(program(longer), layer(longer))


@pytest.mark.parametrize("name", UNROLLED)
def test_what_was_exported_for_any_length_gives_the_state_too(name: str) -> None:
    layer, x, lengths = make(name), noise(3, LENGTH, WIDTH), torch.tensor([LENGTH, 5, 0])
    samples = torch.export.Dim("samples", min=1, max=4096)
    dims = {"x": {0: samples, 1: torch.export.Dim("steps", min=2, max=512)}}
    given = (x, lengths)
    program = torch.export.export(
        WithState(layer), given, dynamic_shapes={**dims, "lengths": {0: samples}}
    ).module()
    given = (noise(2, 59, WIDTH), torch.tensor([59, 20]))
    for ours, expected in zip(program(*given), WithState(layer)(*given), strict=True):
        assert_close(ours, expected)


class WithState(torch.nn.Module):
    def __init__(self, layer: SequenceLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        y, state = self.layer(x, lengths=lengths, return_state=True)
        return [y, *state.values()]


@pytest.mark.parametrize("name", ONE_LENGTH)
def test_one_step_after_another_is_not_exported_for_any_length(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    steps = torch.export.Dim("steps", min=8, max=1000)
    with pytest.raises(
        ConfigError, match=f"{type(layer).__name__} takes its steps one after another"
    ):
        torch.export.export(layer, (x,), dynamic_shapes={"x": {1: steps}})


@pytest.mark.parametrize("name", UNROLLED)
def test_a_free_length_has_a_limit_where_a_loop_is_unrolled(name: str) -> None:
    layer, x = make(name), noise(3, LENGTH, WIDTH)
    steps = torch.export.Dim("steps", min=8)
    with pytest.raises(ConfigError, match="no upper limit"):
        torch.export.export(layer, (x,), dynamic_shapes={"x": {1: steps}})


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
)
def test_it_compiles_as_one_graph(name: str) -> None:
    torch._dynamo.reset()
    layer, x, lengths = make(name), noise(3, LENGTH, WIDTH), torch.tensor([LENGTH, 5, 1])
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert_close(compiled(x, lengths=lengths), layer(x, lengths=lengths))


@having(streams=True)
@pytest.mark.filterwarnings("ignore:`torch.jit.trace`:FutureWarning")
def test_a_step_is_not_traced(name: str) -> None:
    layer, x = make(name), noise(1, WIDTH)
    begun = layer.initial_state(1)

    def output(x: Tensor) -> Tensor:
        return layer.step(x, begun)[0]

    with pytest.raises(ConfigError, match=r"torch\.export"):
        torch.jit.trace(output, (x,), check_trace=False)


def test_hints_name_parameters_that_there_are() -> None:
    for name in layers.names():
        for module in make(name).modules():
            hints = getattr(module, "optimizer_hints", {})
            assert set(hints) <= {n for n, _ in module.named_parameters(recurse=False)}, name
