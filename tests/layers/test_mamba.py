"""Mamba: equal to the model library's mixer, and what the equations say of selection."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.kernels import selective_scan
from tacita.layers.mamba import Mamba
from tests.helpers import assert_close

WIDTH, LENGTH = 12, 11


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(**options: object) -> Mamba:
    torch.manual_seed(0)
    return Mamba(WIDTH, **{"d_state": 4, **options}).double()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": True}, {"conv_bias": False}, {"d_conv": 2, "expand": 3, "dt_rank": 5}],
)
def test_outputs_and_gradients_are_those_of_the_mixer_in_transformers(
    options: dict[str, object],
) -> None:
    layer = make(**options)
    config = MambaConfig(
        hidden_size=WIDTH,
        state_size=4,
        num_hidden_layers=1,
        use_bias=options.get("bias", False),
        use_conv_bias=options.get("conv_bias", True),
        conv_kernel=options.get("d_conv", 4),
        expand=options.get("expand", 2),
        time_step_rank=options.get("dt_rank", "auto"),
    )
    # Its scan casts B and the inputs to float32 on the way: this much float64 is left.
    peer = MambaMixer(config, 0).double().eval()
    peer.load_state_dict(layer.state_dict())  # the same names and shapes
    x, z = noise(2, LENGTH, WIDTH).requires_grad_(), noise(2, LENGTH, WIDTH).requires_grad_()
    y, expected = layer(x), peer(z)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-7)
    upstream = noise(*y.shape, seed=2)
    ours = torch.autograd.grad(y, [x, *layer.parameters()], upstream)
    named = dict(peer.named_parameters())
    inputs = [z, *(named[name] for name, _ in layer.named_parameters())]
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def by_the_equations(layer: Mamba, x: Tensor) -> Tensor:
    """Steps 1 to 6 of the paper's block for one sequence `(L, D)`, one step and channel at a time."""
    p = dict(layer.named_parameters())
    width, rank, n = len(layer.D), layer.rank, layer.d_state
    projected = x @ p["in_proj.weight"].T
    inner, z = projected[:, :width], projected[:, width:]
    taps, bias = p["conv1d.weight"][:, 0], p["conv1d.bias"]
    state, outputs = torch.zeros(width, n, dtype=x.dtype), []
    for t in range(len(x)):
        window = [inner[s] if s >= 0 else torch.zeros(width).double() for s in range(t - 3, t + 1)]
        u = F.silu(sum(taps[:, j] * window[j] for j in range(4)) + bias)
        low, B, C = (p["x_proj.weight"] @ u).split([rank, n, n])
        raw = p["dt_proj.weight"] @ low + p["dt_proj.bias"]
        step = torch.log1p(raw.exp())
        for e in range(width):
            decay = torch.exp(-step[e] * p["A_log"][e].exp())
            state[e] = decay * state[e].clone() + step[e] * u[e] * B
        y = state @ C + p["D"] * u
        outputs.append(p["out_proj.weight"] @ (y * z[t] * torch.sigmoid(z[t])))
    return torch.stack(outputs)


def test_it_is_the_paper_s_equations_exactly() -> None:
    layer, x = make(), noise(2, LENGTH, WIDTH)
    with torch.no_grad():
        expected = torch.stack([by_the_equations(layer, each) for each in x])
        assert_close(layer(x), expected)


def test_the_number_of_parameters() -> None:
    d, e, n, r, w = 64, 128, 16, 4, 4
    expected = 2 * d * e + e * (w + 1) + e * (r + 2 * n) + e * r + e + e * n + e + e * d
    assert sum(p.numel() for p in Mamba(d).parameters()) == expected


def test_the_layer_starts_as_in_the_paper() -> None:
    torch.manual_seed(0)
    layer = Mamba(64, d_state=5)
    assert_close(layer.A_log.exp(), torch.arange(1.0, 6).repeat(128, 1))
    assert torch.equal(layer.D, torch.ones(128))
    steps = F.softplus(layer.dt_proj.bias)
    assert steps.min() >= 0.999e-3
    assert steps.max() <= 0.1001
    middle = math.sqrt(1e-3 * 0.1)  # half of a log-uniform draw lies below the geometric mean
    assert 0.35 < (steps < middle).float().mean() < 0.65
    assert layer.dt_proj.weight.abs().max() <= 4**-0.5
    assert layer.dt_proj.weight.std() > 0.8 * 4**-0.5 / math.sqrt(3)
    floored = Mamba(64, dt_min=1e-6, dt_max=1e-5)
    assert_close(F.softplus(floored.dt_proj.bias), torch.full((128,), 1e-4))


def test_in_a_deep_stack_the_output_starts_smaller() -> None:
    torch.manual_seed(3)
    one = Mamba(16)
    torch.manual_seed(3)
    among_nine = Mamba(16, depth=9)
    assert_close(among_nine.out_proj.weight, one.out_proj.weight / 3)


def test_what_remembers_does_not_decay_and_what_projects_does() -> None:
    layer = Mamba(8, bias=True)
    groups = build_optimizer(layer, "adamw", 1e-2, 0.1).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    kept = {name for name, p in layer.named_parameters() if decay[id(p)] == 0.0}
    biases = {"in_proj.bias", "conv1d.bias", "dt_proj.bias", "out_proj.bias"}
    assert kept == {"A_log", "D", *biases}
    assert all(group["lr"] == 1e-2 for group in groups)


def frozen(layer: Mamba, step_bias: float) -> Mamba:
    """Step sizes that are those of the bias alone."""
    with torch.no_grad():
        layer.dt_proj.weight.zero_()
        layer.dt_proj.bias.fill_(step_bias)
    return layer


def test_steps_of_size_0_pass_over_the_input_and_keep_the_state() -> None:
    layer, x = frozen(make(), -1e3), noise(2, LENGTH, WIDTH)
    begun = {name: noise(*v.shape) for name, v in make().double().initial_state(2).items()}
    y, last = layer(x, state=begun, return_state=True)
    assert torch.equal(last["ssm"], begun["ssm"])
    with torch.no_grad():
        layer.x_proj.weight[layer.rank + 4 :] = 0.0  # C = 0: nothing of the state comes out
    only_skip = layer(x, state=begun)
    inner, z = (x @ layer.in_proj.weight.T).chunk(2, -1)
    known = torch.cat([begun["conv"], inner], 1).mT
    u = F.silu(F.conv1d(known, layer.conv1d.weight, layer.conv1d.bias, groups=2 * WIDTH).mT)
    assert_close(only_skip, (layer.D * u * F.silu(z)) @ layer.out_proj.weight.T)
    assert (y - only_skip).abs().max() > 1e-3


def test_huge_steps_forget_the_state() -> None:
    layer, x = frozen(make(), 1e3), noise(2, LENGTH, WIDTH)
    begun = layer.initial_state(2)
    other = {**begun, "ssm": noise(*begun["ssm"].shape)}
    assert torch.equal(layer(x, state=begun), layer(x, state=other))
    assert layer(x).isfinite().all()


def test_a_slower_rate_is_larger_steps_after_the_softplus() -> None:
    layer, x = frozen(make(), 0.3), noise(1, LENGTH, WIDTH)
    twice = frozen(make(), math.log(math.expm1(2 * math.log1p(math.exp(0.3)))))
    assert_close(layer(x, rate=2.0), twice(x))


def test_the_order_of_the_states_means_nothing() -> None:
    layer, other, x = make(), make(), noise(2, LENGTH, WIDTH)
    order = torch.tensor([2, 0, 3, 1])
    rows = torch.cat([torch.arange(layer.rank), layer.rank + order, layer.rank + 4 + order])
    with torch.no_grad():
        other.A_log.copy_(layer.A_log[:, order])
        other.x_proj.weight.copy_(layer.x_proj.weight[rows])
    assert_close(other(x), layer(x))


def test_a_reset_also_hides_the_convolution_s_last_inputs_in_the_state() -> None:
    layer, x = make(), noise(3, 5, WIDTH)
    resets = torch.zeros(3, 5, dtype=torch.bool)
    resets[0, 4] = resets[1, 3] = resets[2, 1] = True
    _, state = layer(x, resets=resets, return_state=True)
    kept = [(state["conv"][row] != 0).any(-1).tolist() for row in range(3)]
    assert kept == [[False, False, True], [False, True, True], [True, True, True]]


def test_without_selection_the_step_and_the_maps_are_the_same_everywhere() -> None:
    layer, x = make(selective=False), noise(2, LENGTH, WIDTH)
    inner, z = (x @ layer.in_proj.weight.T).chunk(2, -1)
    known = F.pad(inner.mT, (3, 0))
    u = F.silu(F.conv1d(known, layer.conv1d.weight, layer.conv1d.bias, groups=2 * WIDTH).mT)
    step = F.softplus(layer.dt_bias)
    lags = torch.arange(LENGTH).double()
    decays = torch.exp(-lags[:, None, None] * step[:, None] * layer.A_log.exp())  # (L, E, N)
    kernel = (decays * layer.B * layer.C).sum(-1) * step
    y = torch.stack([(kernel[: t + 1].flip(0) * u[:, : t + 1]).sum(1) for t in range(LENGTH)], 1)
    expected = ((y + layer.D * u) * F.silu(z)) @ layer.out_proj.weight.T
    assert_close(layer(x), expected)
    state, stepped = layer.initial_state(2), []
    for t in range(LENGTH):
        out, state = layer.step(x[:, t], state)
        stepped.append(out)
    assert_close(torch.stack(stepped, 1), expected)


def test_norms_on_what_selects_bound_it() -> None:
    layer, x = make(inner_norm=True), noise(2, LENGTH, WIDTH)
    y, seen = layer(x), {}
    for name in ("dt_norm", "b_norm", "c_norm"):
        getattr(layer, name).register_forward_hook(
            lambda _module, _inputs, out, name=name: seen.update({name: out})
        )
    layer(1000 * x)
    for out in seen.values():
        assert_close(out.square().mean(-1), torch.ones(2, LENGTH).double(), "unit mean square")
    assert set(seen) == {"dt_norm", "b_norm", "c_norm"}
    state, stepped = layer.initial_state(2), []
    for t in range(LENGTH):
        out, state = layer.step(x[:, t], state)
        stepped.append(out)
    assert_close(torch.stack(stepped, 1), y)


@pytest.mark.parametrize("batch", [3, 5])  # few samples, whose products are compiled too, or more
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options", [{}, {"conv_bias": False, "bias": True}, {"d_conv": 1}, {"d_state": 7, "expand": 3}]
)
def test_the_compiled_step_without_gradients_is_the_one_with_them(
    options: dict[str, object], dtype: torch.dtype, batch: int
) -> None:
    layer, x = make(**options).to(dtype), noise(batch, LENGTH, WIDTH).to(dtype)
    with_gradients, without = layer.initial_state(batch), layer.initial_state(batch)
    for t in range(LENGTH):
        expected, with_gradients = layer.step(x[:, t], with_gradients, rate=0.7)
        before = {name: value.clone() for name, value in without.items()}
        with torch.no_grad():
            y, after = layer.step(x[:, t], without, rate=0.7)
        assert expected.requires_grad
        assert not y.requires_grad
        assert_close(y, expected.detach())
        assert all(torch.equal(without[name], before[name]) for name in before)
        without = after
    for name, value in without.items():
        assert_close(value, with_gradients[name].detach())
    with torch.no_grad():
        broken = {**without, "ssm": torch.full_like(without["ssm"], float("nan"))}
        assert layer.step(x[:, 0], broken)[0].isnan().all()
        assert layer.step(x[:0, 0], layer.initial_state(0))[0].shape == (0, WIDTH)


def test_the_scan_s_reference_values() -> None:
    one = torch.ones(1, 60, 1, dtype=torch.float64)
    y = selective_scan(one, one / 2, -one[0, :1], one, one).flatten()
    expected = torch.tensor([0.5, 0.803265, 0.987205, 1.098770], dtype=torch.float64)
    torch.testing.assert_close(y[:4], expected, rtol=0, atol=1e-6)
    assert math.isclose(float(y[-1]), 0.5 / (1 - math.exp(-0.5)), abs_tol=1e-9)


@pytest.mark.parametrize("name", ["d_model", "d_state", "d_conv", "expand", "dt_rank", "depth"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        Mamba(**{"d_model": 8, name: 0})


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="dt_min"):
        Mamba(8, dt_min=0.2, dt_max=0.1)
    with pytest.raises(ConfigError, match="inner_norm"):
        Mamba(8, inner_norm=True, selective=False)
