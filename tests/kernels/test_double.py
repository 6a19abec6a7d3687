"""That nothing makes double precision numbers on a device which has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tacita import layers
from tacita.kernels import double
from tacita.kernels.double import doubled
from tacita.layers.base import SequenceLayer
from tacita.layers.hippo import remember
from tacita.layers.s4 import S4
from tacita.parts.masking import hide, hide_spans, markov_mask


class WithoutDouble(TorchDispatchMode):
    """Stands for such a device: fake tensors of it run without it, and no result may be wider."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, FakeTensor) and leaf.device.type == self.device:
                assert leaf.dtype not in (torch.float64, torch.complex128), function
        return found


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A type of device that is taken for one without double precision and without other kernels."""
    monkeypatch.setattr(double, "WITHOUT", frozenset({"cuda"}))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return "cuda"


@contextmanager
def pretended(device: str) -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True), WithoutDouble(device):
        yield


def on(device: str, layer: SequenceLayer) -> SequenceLayer:
    for module in layer.modules():
        for own in (module._parameters, module._buffers):
            for name, value in own.items():
                if value is not None:
                    fake = torch.empty(value.shape, dtype=value.dtype, device=device)
                    own[name] = nn.Parameter(fake) if isinstance(value, nn.Parameter) else fake
    return layer


# torch's own loop of a GRU asks the device itself, and there is none; how many steps SeqBoat attends to its
# values say, and there are none.
@pytest.mark.parametrize(
    "name", [each for each in layers.names() if each not in ("gru", "seqboat")]
)
def test_layers(device: str, name: str) -> None:
    layer = layers.get(name)(8, **layers.get(name).tiny)
    with pretended(device):
        on(device, layer)
        x = torch.empty(2, 13, 8, device=device)
        if not layer.streams:
            assert layer(x).device == x.device
            return
        y, state = layer(x, state=layer.initial_state(2), return_state=True)
        y, after = layer.step(x[:, 0], state)
        assert {part.device.type for part in (y, *after.values())} == {device}


@pytest.mark.parametrize("measure", ["legs", "fout"])
def test_s4_of_every_measure_and_longer(device: str, measure: Any) -> None:
    layer = S4(4, d_state=4, length=8, measure=measure)
    with pretended(device):
        on(device, layer)
        layer.lengthen()
        assert layer(torch.empty(2, 20, 4, device=device), rate=2.0).device.type == device


def test_the_memory_of_a_line(device: str) -> None:
    with pretended(device):
        u = torch.empty(2, 20, device=device)
        assert remember(u, "legs", 4, steps=10).device.type == device


def test_masks(device: str) -> None:
    with pretended(device):
        noise = torch.empty(2, 10, device=device)
        valid = torch.empty(2, 10, dtype=torch.bool, device=device)
        found = [*hide(noise, 0.5, valid), hide_spans(noise, 0.5, 2, valid)]
        found.append(markov_mask(2, 10, ratio=0.3, mean_run=2, device=torch.device(device)))
        assert {mask.device.type for mask in found} == {device}


def test_gradients_come_back() -> None:
    x = torch.ones(2, requires_grad=True)
    doubled(x).square().sum().to(x).backward()
    assert x.grad is not None
    assert x.grad.dtype == x.dtype
