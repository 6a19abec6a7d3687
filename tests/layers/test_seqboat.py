"""Compressed evaluation is dense evaluation with masks, whatever the router says; so are steps.

The reference computes attention at every step, and lets it see and be seen where the router is on:
its windows count active steps.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.seqboat import SeqBoat
from tacita.layers.stack import Block
from tests.helpers import assert_close

WIDTH = 6
ROUTERS = ("all off", "all on", "few", "half", "most", "one sample on")
OPTIONS = [
    {},
    {"activation": "squared-relu"},
    {"distance": "places"},
    {"causal": False},
    {"causal": False, "activation": "squared-relu", "distance": "places"},
    {"window": 30},
    {"max_distance": 2},
]


class Fixed(torch.nn.Module):
    """In the router's place: the same confidences whatever comes, and with a gradient of their own."""

    def __init__(self, kind: str, batch: int, length: int, seed: int = 0) -> None:
        super().__init__()
        share = {"all off": 0.0, "all on": 1.0, "few": 0.15, "half": 0.5, "most": 0.85}.get(kind, 1)
        draw = torch.Generator().manual_seed(seed)
        active = torch.rand(batch, length, generator=draw) < share
        if kind == "one sample on":
            active[1:] = False
        confidence = 0.5 + torch.rand(batch, length, dtype=torch.float64, generator=draw) / 2
        self.active, self.confidence = active, torch.nn.Parameter(confidence)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        active = self.active if valid is None else self.active & valid
        return torch.where(active, self.confidence, 0.0)


def make(**options: object) -> SeqBoat:
    torch.manual_seed(0)
    layer = SeqBoat(WIDTH, **{"d_state": 3, "window": 4, "max_distance": 50, **options}).double()
    with torch.no_grad():  # weights large enough for everything to matter
        for weight in (layer.unit.enter.weight, layer.unit.leave.weight, layer.unit.scale):
            weight.mul_(20)
        torch.nn.init.normal_(layer.unit.shift)
        torch.nn.init.normal_(layer.unit.attention.bias)
    return layer.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(layer: SeqBoat, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """No compression: attention of every step over every step, masked; windows in active ranks."""
    batch, length, _ = x.shape
    lengths = torch.full((batch,), length) if lengths is None else lengths
    valid = torch.arange(length) < lengths[:, None]
    x = torch.where(valid[..., None], x, 0.0)
    m = functional.silu(layer.average(x))
    confidence = layer.router(m, valid)
    active = confidence > 0
    unit, attention = layer.unit, layer.unit.attention
    z, gate, value = functional.silu(unit.enter(m)).split(unit.widths, -1)
    query, key = unit.scale[0] * z + unit.shift[0], unit.scale[1] * z
    if attention.activation == "squared-relu":
        key = key + unit.shift[1]
    rank, step = active.cumsum(1), torch.arange(length).expand(batch, -1)
    back = rank[:, :, None] - rank[:, None, :]
    apart = step[:, :, None] - step[:, None, :] if attention.distance == "steps" else back
    low = 0 if layer.causal else -attention.farthest
    bias = attention.bias[apart.clamp(low, attention.farthest) - low]
    seen = active[:, None, :] & (back.abs() <= layer.window)
    if layer.causal:
        seen = seen & (step[:, :, None] >= step[:, None, :])
    if attention.activation == "softmax":
        scores = query @ key.mT / query.shape[2] ** 0.5 + bias
        weights = scores.masked_fill(~seen, -5e4).softmax(2)
    else:
        scale = layer.window if layer.causal else 2 * layer.window
        weights = (query @ key.mT / scale + bias).masked_fill(~seen, 0.0).relu().square()
    o = confidence[..., None] * unit.leave(gate * (weights @ value))
    return functional.silu(layer.always(m) + o + x) * valid[..., None]


def agree(layer: SeqBoat, x: Tensor, lengths: Tensor | None) -> None:
    x = x.requires_grad_()
    weights, inputs = noise(*x.shape, seed=3), [x, *layer.parameters()]
    y, expected = layer(x, lengths=lengths), dense(layer, x, lengths)
    assert_close(y, expected)
    actual = torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True)
    for one, other in zip(actual, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ROUTERS)
@pytest.mark.parametrize("lengths", [None, [17, 4, 0]], ids=["whole", "ragged"])
def test_compressed_evaluation_is_dense_evaluation_with_masks(
    kind: str, lengths: list[int] | None, options: dict[str, object]
) -> None:
    layer = make(**options)
    layer.router = Fixed(kind, 3, 17)
    agree(layer, noise(3, 17, WIDTH), None if lengths is None else torch.tensor(lengths))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("causal", [True, False])
def test_so_it_is_with_the_router_of_the_layer(seed: int, causal: bool) -> None:
    layer = make(causal=causal)
    torch.manual_seed(seed)
    torch.nn.init.normal_(layer.router.weight)
    torch.nn.init.normal_(layer.router.bias)
    agree(layer, noise(3, 17, WIDTH, seed=seed), torch.tensor([17, 9, 1]))


def off(layer: SeqBoat) -> SeqBoat:
    with torch.no_grad():
        layer.router.bias[0] = 100.0
    return layer


def on(layer: SeqBoat) -> SeqBoat:
    with torch.no_grad():
        layer.router.bias[1] = 100.0
    return layer


def test_with_the_router_off_only_the_averages_are_left_and_attention_learns_nothing() -> None:
    layer, x = off(make()), noise(2, 9, WIDTH)
    y = layer(x)
    assert_close(y, functional.silu(layer.always(functional.silu(layer.average(x))) + x))
    y.sum().backward()
    for name, weight in layer.named_parameters():
        wanted = name.startswith(("average", "always"))
        assert weight.grad is not None
        assert bool(weight.grad.abs().max() > 0) == wanted, name


def test_with_the_router_on_and_a_wide_window_it_is_an_ordinary_gated_attention_unit() -> None:
    layer, x = on(make(window=20)), noise(2, 9, WIDTH)
    m = functional.silu(layer.average(x))
    z, gate, value = functional.silu(layer.unit.enter(m)).split(layer.unit.widths, -1)
    query = layer.unit.scale[0] * z + layer.unit.shift[0]
    step = torch.arange(9)
    back = step[:, None] - step
    scores = query @ (layer.unit.scale[1] * z).mT / 3**0.5
    scores = scores + layer.unit.attention.bias[back.clamp_min(0)]
    attended = scores.masked_fill(back < 0, -torch.inf).softmax(2) @ value
    o = layer.router(m)[..., None] * layer.unit.leave(gate * attended)
    assert_close(layer(x), functional.silu(layer.always(m) + o + x))


def test_inactive_steps_reach_attention_by_the_averages_alone() -> None:
    layer = make()
    layer.router = Fixed("half", 2, 17)
    x, m = noise(2, 17, WIDTH), {}
    layer.average.mix = capture(layer.average.mix, m)
    before = layer(x)
    m["change"] = torch.where(layer.router.active[..., None], 0.0, noise(2, 17, WIDTH, seed=8))
    after = layer(x)
    active = layer.router.active
    assert_close(after[active], before[active])
    assert (after - before)[~active].abs().max() > 1e-3


def capture(
    mix: Callable[..., tuple[Tensor, None]], change: dict[str, Tensor]
) -> Callable[..., object]:
    def changed(x: Tensor, run: object) -> tuple[Tensor, None]:
        y, last = mix(x, run)
        return y + change.get("change", 0.0), last

    return changed


@pytest.mark.parametrize("options", [o for o in OPTIONS if o.get("causal", True)], ids=str)
@pytest.mark.parametrize("cut", [1, 20])
def test_a_stream_of_fixed_memory_is_the_parallel_form(
    options: dict[str, object], cut: int
) -> None:
    layer, x = make(**options), noise(3, 40, WIDTH)
    torch.nn.init.normal_(layer.router.weight)
    expected, last = layer(x, return_state=True)
    active = layer.router(functional.silu(layer.average(x))) > 0
    assert 0.2 < active.double().mean() < 0.8
    y, state = layer(x[:, :cut], return_state=True)
    outputs, sizes = [y], {key: value.shape for key, value in state.items()}
    for t in range(cut, 40):
        y, state = layer.step(x[:, t], state)
        outputs.append(y[:, None])
        assert {key: value.shape for key, value in state.items()} == sizes
    assert_close(torch.cat(outputs, 1), expected)
    for name, value in state.items():
        assert_close(value, last[name], name)
    for row in range(3):
        steps = (active[row].nonzero()[:, 0] + 1)[-layer.window :]
        assert state["ticks"][row, -len(steps) :].tolist() == steps.tolist()


def test_an_inactive_sample_keeps_its_memory_in_a_step() -> None:
    layer, x = off(make()), noise(2, 5, WIDTH)
    _, state = on(make())(x, return_state=True)
    _, after = layer.step(x[:, 0], state)
    for name in ("keys", "values", "ticks"):
        assert torch.equal(after[name], state[name])
    assert after["steps"].tolist() == [6, 6]


def test_what_is_kept_for_gradients_grows_with_the_active_steps() -> None:
    layer, x = SeqBoat(16, window=8), torch.randn(2, 256, 16)
    kept = []
    for share in (0.25, 0.5, 1.0):
        layer.router = Fixed("all on", 2, 256).float()
        layer.router.active = (torch.arange(256) % 4 < 4 * share).expand(2, -1)
        bytes_kept = 0

        def pack(saved: Tensor) -> Tensor:
            nonlocal bytes_kept
            bytes_kept += saved.untyped_storage().nbytes()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            layer(x)
        kept.append(bytes_kept)
    slope = kept[1] - kept[0]
    assert slope > kept[0] / 4
    assert kept[2] - kept[1] == pytest.approx(2 * slope, rel=0.02)


def test_gradients_are_those_of_finite_differences() -> None:
    layer, x = make(), noise(1, 7, WIDTH).requires_grad_()
    layer.router = Fixed("most", 1, 7)
    assert torch.autograd.gradcheck(lambda x: layer(x), (x,))


def test_it_is_both_ways_in_a_block_and_has_no_stream_then() -> None:
    layer = make(causal=False)
    assert Block(layer).streams is False
    with pytest.raises(ConfigError, match="no step form"):
        layer.initial_state(1)


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="keys=0"):
        SeqBoat(8, keys=0)
    with pytest.raises(ConfigError, match="window=0"):
        SeqBoat(8, window=0)
    with pytest.raises(ConfigError, match="temperature=-1"):
        SeqBoat(8, temperature=-1.0)
