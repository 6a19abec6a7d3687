"""What could go wrong: a reset too early or too late, a gradient through the spike that resets, potentials
that leak over a sample's end or from one block of neurons into the next, and numbers of another width."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels import lif, linear_scan
from tests.helpers import assert_close

BACKENDS = ("numba", "torch")


def problem(
    batch: int = 3, length: int = 9, neurons: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Currents under which some neurons fire often and others never, and a potential to start from."""
    generator = torch.Generator().manual_seed(batch * 100 + length * 10 + neurons)
    current = torch.randn(batch, length, neurons, generator=generator, dtype=dtype) + 0.3
    return current, torch.rand(batch, neurons, generator=generator, dtype=dtype)


def by_hand(current: Tensor, decay: float, left: float = 0.0) -> tuple[list[float], list[float]]:
    """One neuron, number by number."""
    spikes, potentials = [], []
    for now in current.tolist():
        potential = decay * left + now
        fires = potential >= 1.0
        left = 0.0 if fires else potential
        spikes.append(float(fires))
        potentials.append(potential)
    return spikes, potentials


def gradients(
    backend: str, current: Tensor, state: Tensor | None, lengths: Tensor | None, heard: str
) -> list[Tensor]:
    """What arrives at the inputs, for arbitrary gradients of spikes, potentials or both."""
    leaves = [
        each.detach().clone().requires_grad_() for each in (current, state) if each is not None
    ]
    begin = leaves[1] if len(leaves) > 1 else None
    spikes, potential = lif(
        leaves[0],
        decay=0.7,
        threshold=0.8,
        alpha=3.0,
        lengths=lengths,
        state=begin,
        backend=backend,
    )
    outputs = {"spikes": [spikes], "potential": [potential], "both": [spikes, potential]}[heard]
    generator = torch.Generator().manual_seed(7)
    slopes = [torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in outputs]
    return list(torch.autograd.grad(outputs, leaves, slopes))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("decay", (0.0, 0.005, 0.5, 0.99))
def test_each_neuron_is_that_of_a_loop(backend, decay):
    current, state = problem(2, 30, 260)  # two blocks of neurons
    spikes, potential = lif(current, decay=decay, state=state, backend=backend)
    assert 0.05 < spikes.mean() < 0.6
    for row, neuron in ((0, 0), (1, 1), (0, 255), (1, 256), (1, 259)):
        expected = by_hand(current[row, :, neuron], decay, float(state[row, neuron]))
        assert spikes[row, :, neuron].tolist() == expected[0]
        assert potential[row, :, neuron].tolist() == pytest.approx(expected[1])


@pytest.mark.parametrize("heard", ("spikes", "potential", "both"))
@pytest.mark.parametrize("begun", (False, True))
@pytest.mark.parametrize("cut", (None, (9, 4, 0)))
def test_gradients_are_those_of_the_loop_under_autograd(heard, begun, cut):
    current, state = problem()
    lengths = None if cut is None else torch.tensor(cut)
    given_state = state if begun else None
    ours = gradients("numba", current, given_state, lengths, heard)
    slow = gradients("torch", current, given_state, lengths, heard)
    for one, other in zip(ours, slow, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_potentials_have_the_gradient_of_finite_differences(backend):
    # Between two spikes the potential is linear in the currents; a reset is where nothing flows.
    current, state = problem(2, 6, 3)
    spikes, potential = lif(current, decay=0.7, state=state, backend=backend)
    assert spikes.sum() >= 4
    assert (potential - 1).abs().min() > 1e-3
    assert torch.autograd.gradcheck(
        lambda i, u: lif(i, decay=0.7, state=u, backend=backend)[1],
        [current.requires_grad_(), state.requires_grad_()],
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_surrogate_is_the_slope_of_an_arctan(backend):
    current = torch.linspace(-1, 3, 9, dtype=torch.float64).view(9, 1, 1).requires_grad_()
    spikes, _ = lif(current, decay=0.5, backend=backend)
    (slope,) = torch.autograd.grad(spikes.sum(), current)
    x = current.detach() - 1
    expected = (5 / 2) / (1 + (math.pi / 2 * 5 * x) ** 2)
    assert_close(slope, expected)
    assert slope.max() == 2.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_gradient_passes_a_reset(backend):
    current = torch.tensor([0.5, 0.9, 0.3], dtype=torch.float64).view(1, 3, 1).requires_grad_()
    spikes, potential = lif(current, decay=0.5, backend=backend)
    assert spikes.flatten().tolist() == [0, 1, 0]
    (slope,) = torch.autograd.grad(potential[0, 2, 0], current)
    assert slope.flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tau", (1.005, 1.5, 4.0))
def test_a_constant_current_below_one_in_tau_never_fires_and_one_of_1_always_does(backend, tau):
    def constant(value: float) -> tuple[Tensor, Tensor]:
        return lif(
            torch.full((1, 400, 1), value, dtype=torch.float64), decay=1 - 1 / tau, backend=backend
        )

    spikes, potential = constant(0.99 / tau)
    assert spikes.sum() == 0
    assert potential[0, -1, 0].item() == pytest.approx(0.99)
    assert constant(1.0)[0].sum() == 400


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_current_a_potential_decays(backend):
    none = torch.zeros(1, 5, 1, dtype=torch.float64)
    _, potential = lif(
        none, decay=0.5, state=torch.full((1, 1), 0.8, dtype=none.dtype), backend=backend
    )
    assert potential.flatten().tolist() == [0.4, 0.2, 0.1, 0.05, 0.025]


@pytest.mark.parametrize("backend", BACKENDS)
def test_below_the_threshold_it_is_a_linear_scan(backend):
    current, state = problem()
    _, potential = lif(current, decay=0.7, threshold=1e9, state=state, backend=backend)
    decay = torch.tensor([0.7], dtype=torch.float64)
    assert_close(potential, linear_scan(decay, current, state, backend="torch"))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=3, max_size=3), begun=st.booleans())
def test_what_is_beyond_the_length_is_not_read(backend, lengths, begun):
    current, state = problem()
    options = {"decay": 0.7, "state": state if begun else None, "backend": backend}
    whole = lif(current, **options)
    ends = torch.tensor(lengths)
    beyond = torch.arange(9) >= ends[:, None]
    current = current.masked_fill(beyond[:, :, None], math.nan).requires_grad_()
    found = lif(current, lengths=ends, **options)
    for ours, full in zip(found, whole, strict=True):
        assert torch.equal(ours, full.masked_fill(beyond[:, :, None], 0.0))
    (slope,) = torch.autograd.grad(sum(each.sum() for each in found), current)
    assert (slope[beyond] == 0).all()
    assert slope.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", (1, 4, 8))
def test_a_sequence_may_be_cut_and_carried_on(backend, cut):
    current, state = problem()
    spikes, potential = lif(current, decay=0.7, state=state, backend=backend)
    first = lif(current[:, :cut], decay=0.7, state=state, backend=backend)
    left = first[1][:, -1] * (1 - first[0][:, -1])
    second = lif(current[:, cut:], decay=0.7, state=left, backend=backend)
    assert torch.equal(torch.cat([first[0], second[0]], 1), spikes)
    assert_close(torch.cat([first[1], second[1]], 1), potential)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
def test_the_dtype_stays_and_half_precision_is_rounded_once(backend, dtype):
    current, state = (each.to(dtype) for each in problem())
    spikes, potential = lif(current.requires_grad_(), decay=0.7, state=state, backend=backend)
    assert spikes.dtype == potential.dtype == dtype
    wide = lif(current.detach().float(), decay=0.7, state=state.float(), backend="torch")
    assert torch.equal(spikes, wide[0].to(dtype))
    assert_close(potential, wide[1].to(dtype))
    spikes.float().sum().backward()
    assert current.grad.dtype == dtype
    assert current.grad.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_may_lie_in_memory_as_they_like(backend):
    current, state = problem()
    expected = lif(current, decay=0.7, state=state, backend=backend)
    scattered = [each.mT.contiguous().mT for each in (current, state)]
    found = lif(scattered[0].requires_grad_(), decay=0.7, state=scattered[1], backend=backend)
    assert torch.equal(found[0], expected[0])
    found[0].sum().backward()  # a gradient that is one number, expanded
    assert scattered[0].grad.abs().max() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_given_is_left_as_it_is(backend):
    current, state = problem()
    before = current.clone(), state.clone()
    spikes, _ = lif(current.requires_grad_(), decay=0.7, state=state, backend=backend)
    spikes.sum().backward()
    assert torch.equal(current, before[0])
    assert torch.equal(state, before[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_a_number_is_not_hidden(backend):
    current, _ = problem()
    current[1, 3, 2] = math.nan
    broken = ~lif(current, decay=0.7, backend=backend)[0].isfinite()
    assert broken[1, 3:, 2].all()
    assert broken.sum() == 6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch, neurons", ((0, 4), (3, 0)))
def test_nothing_in_nothing_out(backend, batch, neurons):
    current = torch.zeros(batch, 9, neurons, requires_grad=True)
    spikes, potential = lif(current, decay=0.7, backend=backend)
    assert spikes.shape == potential.shape == current.shape
    spikes.sum().backward()
    assert current.grad.shape == current.shape


def test_what_does_not_fit_is_refused():
    current, state = problem()
    for options, says in (
        ({"decay": 1.0}, "decay=1.0"),
        ({"decay": 0.5, "threshold": 0.0}, "threshold=0.0"),
        ({"decay": 0.5, "state": state[:2]}, "state is"),
        ({"decay": 0.5, "lengths": torch.ones(3)}, "lengths is"),
        ({"decay": 0.5, "backend": "cuda"}, "backend"),
    ):
        with pytest.raises(ConfigError, match=says):
            lif(current, **options)
    with pytest.raises(ConfigError, match="current is"):
        lif(current[0], decay=0.5)
    with pytest.raises(ConfigError, match="int64"):
        lif(current.long(), decay=0.5)
