"""Leaky integrate-and-fire neurons over whole sequences, forward and back, beside two libraries of them.

snntorch and spikingjelly (its torch backend) step through time in Python. spikingjelly comes with much
besides, so it is measured where it is installed, for example in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from benchmarks.timing import Result, side_by_side
from tacita.kernels import lif

STEPS, NEURONS = 250, 256
DECAY = 0.5
Neurons = Callable[[Tensor], Tensor]
"""`(B, L, D)` currents to as many spikes."""


def run() -> list[Result]:
    """The same currents, threshold, reset and surrogate on all sides."""
    results = []
    peers: dict[str, Neurons] = {"the loop in plain torch": loop}
    if find_spec("snntorch") is not None:
        peers["snntorch"] = snntorch_neurons()
    if find_spec("spikingjelly") is not None:
        peers["spikingjelly, torch backend"] = spikingjelly_neurons()
    for batch in (4, 32):
        generator = torch.Generator().manual_seed(0)
        current = torch.randn(batch, STEPS, NEURONS, generator=generator) + 0.3
        slope = torch.randn(current.shape, generator=generator)
        for name, theirs in peers.items():
            check_same(theirs, current)
            times = side_by_side(
                partial(there_and_back, ours, current.requires_grad_(), slope),
                partial(there_and_back, theirs, current.requires_grad_(), slope),
                repeats=7,
            )
            what = f"LIF neurons, forward and backward, B={batch} L={STEPS} D={NEURONS}"
            results.append(Result(what, name, *times, "5"))
    return results


def there_and_back(neurons: Neurons, current: Tensor, slope: Tensor) -> Tensor:
    """The gradient of the currents."""
    (grad,) = torch.autograd.grad(neurons(current), current, slope)
    return grad


def check_same(theirs: Neurons, current: Tensor) -> None:
    """Both sides compute one thing, but for potentials at the very threshold."""
    slope = torch.ones_like(current)
    current = current.detach().requires_grad_()
    with torch.no_grad():
        spikes = (ours(current) != theirs(current)).float().mean()
    grads = there_and_back(ours, current, slope), there_and_back(theirs, current, slope)
    apart = ((grads[0] - grads[1]).abs() > 1e-4).float().mean()
    if max(spikes.item(), apart.item()) > 1e-4:
        raise AssertionError(
            f"{spikes.item():.1%} of spikes and {apart.item():.1%} of gradients differ"
        )


def ours(current: Tensor) -> Tensor:
    return lif(current, decay=DECAY)[0]


def loop(current: Tensor) -> Tensor:
    return lif(current, decay=DECAY, backend="torch")[0]


def snntorch_neurons() -> Neurons:
    """Its layer a step at a time, as its examples do; the reset is detached there too."""
    import snntorch
    from snntorch import surrogate

    layer = snntorch.Leaky(DECAY, spike_grad=surrogate.atan(alpha=5.0), reset_mechanism="zero")

    def neurons(current: Tensor) -> Tensor:
        potential = torch.zeros_like(current[:, 0])
        spikes = []
        for now in current.unbind(1):
            fired, potential = layer(now, potential)
            spikes.append(fired)
        return torch.stack(spikes, 1)

    return neurons


def spikingjelly_neurons() -> Neurons:
    """Its layer over many steps at once, time first as it wants them."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    layer = neuron.LIFNode(
        tau=1 / (1 - DECAY),
        decay_input=False,
        surrogate_function=surrogate.ATan(alpha=5.0),
        detach_reset=True,
        step_mode="m",
    )

    def neurons(current: Tensor) -> Tensor:
        functional.reset_net(layer)
        return layer(current.transpose(0, 1)).transpose(0, 1)

    return neurons
