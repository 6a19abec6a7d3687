"""Sparse modular activation: a router says at which steps a module runs, and it runs at no others.

Ren et al., "Sparse Modular Activation for Efficient Sequence Modeling", NeurIPS 2023, section 3. The
active steps are gathered into a shorter sequence, the module works on that, and its output is put back
where the steps were. Time and memory of the module are those of the active steps, forward and backward.

`r` is the length of the compressed sequence: the most active steps that a sample of the batch has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.layers.precision import SinglePrecision


class Router(SinglePrecision):
    """The latent configurator: `pi = softmax(W m / tau)`; a step is active where `pi_1 > pi_0`.

    d_model: channels of the steps that it judges.
    temperature: the scale of `tau = exp(theta)` at the start, in units of `sqrt(d_model)`. Too small
        saturates the decisions, too large makes all confidences one half; the paper has 0.3 to 1.

    No noise and no straight-through estimator: the module's output is multiplied by the confidence, and
    the gradient comes by that, at active steps only. Computed in single precision at least, so that
    decisions are the same in parallel and in steps. Raises `ConfigError` for a temperature not above 0.

    >>> Router(8)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5])
    """

    optimizer_hints = {"log_temperature": {"weight_decay": 0.0}}

    def __init__(self, d_model: int, *, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(
                f"temperature={temperature} is not above 0.", remedy="The paper has 0.3 to 1."
            )
        self.weight = nn.Parameter(torch.empty(2, d_model))
        self.bias = nn.Parameter(torch.zeros(2))
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature * d_model**0.5)]))
        nn.init.trunc_normal_(self.weight, std=0.02, a=-0.04, b=0.04)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Confidences `g (B, L)` of steps `(B, L, D)`: `pi_1`, above one half, where active; else 0.

        valid: `(B, L)` bool; what is no step is never active.
        """
        with torch.autocast(x.device.type, enabled=False):
            logits = functional.linear(x.to(self.weight.dtype), self.weight, self.bias)
            active = logits[..., 1] > logits[..., 0]  # argmax names the first of equals: inactive
            if valid is not None:
                active = active & valid
            share = (logits / self.log_temperature.exp()).softmax(-1)[..., 1]
            return torch.where(active, share, 0.0)


@dataclass(frozen=True)
class Compression:
    """Which steps are in the compressed sequence, and where; numbers count from 1, and 0 is nowhere.

    slots: `(B, L)` int64, the place of each step in the compressed sequence; 0 where it is inactive.
    steps: `(B, r)` int64, the step at each place; 0 where the sample has fewer active steps.

    >>> few = Compression.of(torch.tensor([[False, True, True], [False, False, True]]))
    >>> few.steps.tolist()
    [[2, 3], [3, 0]]
    >>> few.extract(few.compress(torch.tensor([[5, 6, 7], [8, 9, 10]]))).tolist()
    [[0, 6, 7], [0, 0, 10]]
    """

    slots: Tensor
    steps: Tensor

    @staticmethod
    def of(active: Tensor) -> Compression:
        """For `active (B, L)` bool; one place at least is kept, so that a module always runs.

        The size depends on the data, for which a GPU is waited for. A program that is being compiled or
        exported has places for all steps instead: the same numbers, without the savings.
        """
        batch, length = active.shape
        slots = torch.where(active, active.cumsum(1), 0)
        if torch.compiler.is_compiling():
            size = length
        else:
            size = int(functional.pad(slots, (0, 1, 0, 1), value=1).max())
        numbers = torch.arange(1, length + 1, device=active.device).expand(batch, -1)
        places = numbers.new_zeros(batch, size + 1).scatter(1, slots, numbers)
        return Compression(slots, places[:, 1:])  # the first place took the inactive steps

    @property
    def count(self) -> Tensor:
        """`(B,)`: how many steps are active."""
        return self.slots.amax(1)

    def compress(self, x: Tensor) -> Tensor:
        """The active steps of `x (B, L, ...)` in their order, `(B, r, ...)`; 0 where there are fewer."""
        return _taken(x, self.steps)

    def extract(self, y: Tensor) -> Tensor:
        """`y (B, r, ...)` put back where its steps were, `(B, L, ...)`; 0 at inactive steps."""
        return _taken(y, self.slots)


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """Of `x (B, n, ...)` what stands at `index (B, m)`, counted from 1; 0 at index 0: `(B, m, ...)`."""
    batch, size = x.shape[:2]
    zero = x.new_zeros(batch, 1, *x.shape[2:])
    starts = (size + 1) * torch.arange(batch, device=x.device)[:, None]
    # Whole rows of a matrix: several times as fast as a gather along the middle axis.
    rows = torch.cat([zero, x], 1).flatten(0, 1).index_select(0, (index + starts).flatten())
    return rows.view(*index.shape, *x.shape[2:])


@dataclass(frozen=True)
class ActivationShare:
    """How often a module ran: its name in the model, the share of the valid steps, and their number."""

    module: str
    share: float
    steps: int


@torch.no_grad()
def activation_shares(model: nn.Module, run: Callable[[], object]) -> tuple[ActivationShare, ...]:
    """At which share of the steps each routed module of a model runs, in the order of the layers.

    run: calls the model on what is to be looked at, as often as it likes; it runs without gradients.

    Raises `ConfigError` for a model without a router.

    >>> from tacita.layers import get
    >>> layer = get("seqboat")(8, d_state=4)
    >>> (found,) = activation_shares(layer, lambda: layer(torch.randn(2, 50, 8)))
    >>> found.module, found.steps, 0 <= found.share <= 1
    ('router', 100, True)
    """
    routers = {name: m for name, m in model.named_modules() if isinstance(m, Router)}
    if not routers:
        raise ConfigError("the model has no router.", remedy="The layer seqboat has one.")
    active, valid = dict.fromkeys(routers, 0), dict.fromkeys(routers, 0)

    def count(name: str) -> Callable[..., None]:
        def hook(router: nn.Module, given: tuple[Tensor, ...], confidence: Tensor) -> None:
            within = given[1] if len(given) > 1 else None
            active[name] += int((confidence > 0).sum())
            valid[name] += confidence.numel() if within is None else int(within.sum())

        return hook

    handles = [router.register_forward_hook(count(name)) for name, router in routers.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        ActivationShare(name, active[name] / max(1, valid[name]), valid[name]) for name in routers
    )
