"""The contract of a sequence layer: a parallel form and a step form that are the same function.

Axis alphabet: `B` batch, `L` time, `D` channels, `N` state size. A state is explicit: a dictionary of
tensors whose first axis is the batch, given and returned, never kept in the layer, and gradients flow
through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tacita.errors import ConfigError
from tacita.kernels.backends import traced
from tacita.kernels.lengths import is_free
from tacita.layers.precision import SinglePrecision
from tacita.values import length_mask

State = dict[str, Tensor]
"""Tensors by name, each with the batch as its first axis."""


@dataclass(frozen=True)
class Run:
    """How a layer is to run over one batch, after checking.

    lengths: `(B,)` int64, the valid steps of each sample; None means all. Inputs beyond are zero.
    resets: `(B, L)` bool, True where the state is erased before the step; None means nowhere.
    rate: the time between two steps, as a multiple of that in training.
    state: where the sequence goes on from; None means the initial state.
    return_state: whether the state after the last valid step is wanted.
    """

    lengths: Tensor | None = None
    resets: Tensor | None = None
    rate: float = 1.0
    state: State | None = None
    return_state: bool = False


class SequenceLayer(SinglePrecision, ABC):
    """Maps `(B, L, D)` to the same shape; a subclass implements `mix`, and `advance` for streaming.

    Both compute what depends on the parameters of its own in single precision at least, under autocast
    and in a model of half precision too, so that they are the same function there as well.

    What a subclass is, it says in its class attributes; what it cannot do is refused with a
    `ConfigError` that says what can.
    """

    causal: bool = True
    """Whether output `t` depends on inputs up to `t` only."""
    streams: bool = True
    """Whether it has a step form, and so a state."""
    time_invariant: bool = False
    """Whether it is a convolution, so that a delayed input gives the delayed output."""
    resettable: bool = False
    """Whether the parallel form can erase the state in the middle of a sequence."""
    rescalable: bool = False
    """Whether it has a time scale, so that `rate` means something."""
    channel_mixer: str = "glu"
    """What stands after it in a residual block: `glu`, `mlp`, or `none` where it mixes by itself."""

    tiny: ClassVar[Mapping[str, Any]] = {}
    """Arguments that make a small one, for suites and trials; nothing else depends on them."""

    d_model: int
    max_length: int | None = None
    """The longest sequence that it can take; None means any."""
    _state_shapes: dict[str, tuple[int, ...]] | None = None
    """Without the batch, 0 for any size. Found at the first check: a step takes microseconds."""

    @abstractmethod
    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        """The parallel form: `(B, L, D)` to the same, and the last state where it is wanted."""

    def zeros(self, batch_size: int, like: Tensor) -> State:
        """The initial state, made by `like.new_zeros`: `like` is real, and complex parts follow it."""
        raise self._cannot("has no step form, and so no state")

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        """The step form: `(B, D)` and a state to the output and the next state."""
        raise self._cannot("has no step form")

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The state before the first step: zeros, by default on the device and as wide as the weights."""
        if not self.streams:
            raise self._cannot("has no step form, and so no state")
        weight = next(self.parameters())
        wide = dtype or torch.promote_types(weight.dtype, torch.float32)
        return self.zeros(batch_size, torch.empty(0, dtype=wide, device=device or weight.device))

    def forward(
        self,
        x: Tensor,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        rate: float = 1.0,
        state: State | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, State]:
        """The whole of `x (B, L, D)` at once; with `return_state`, the last state too.

        lengths: `(B,)` whole numbers, the valid steps of each sample. What stands beyond them
            changes nothing, the output is zero there, and the last state is that after the last
            valid step.
        resets: `(B, L)` bool: before a step that is True the state is erased: an episode starts.
        rate: how many times as long the time between two steps is as it was in training.
        state: the state to go on from, as returned for what came before.

        Raises `ConfigError` for shapes that do not fit and for what the layer cannot do.
        """
        self._check(x, lengths, resets, rate, state, return_state)
        if lengths is not None:
            lengths = lengths.to(torch.int64)
            within = length_mask(lengths, x.shape[1])
            resets = None if resets is None else resets & within
            valid = within[:, :, None]
            x = torch.where(valid, x, 0.0)
        y, last = self.mix(x, Run(lengths, resets, rate, state, return_state))
        if lengths is not None:
            y = torch.where(valid, y, 0.0)
        if not return_state:
            return y
        assert last is not None
        return y, last

    def step(
        self, x: Tensor, state: State, *, reset: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        """One step: `x (B, D)` and the state to `(B, D)` and the next state, as column `t` of `forward`.

        reset: `(B,)` bool: the samples whose state is erased before this step.
        """
        if traced():  # which would keep the state of the example
            raise self._cannot(
                "cannot be traced in its step form", "Use torch.export, which takes steps too."
            )
        if x.ndim != 2 or x.shape[1] != self.d_model:
            raise ConfigError(
                f"{self._name}: one step is (B, {self.d_model}), not {tuple(x.shape)}.",
                remedy="Use forward for whole sequences.",
            )
        if not self.streams:
            raise self._cannot("has no step form")
        self._check_rate(rate)
        self._check_state(state, x.shape[0])
        if reset is not None:
            state = self.erase(state, reset)
        return self.advance(x, state, rate)

    def erase(self, state: State, reset: Tensor) -> State:
        """The state with the samples of `reset (B,)` back at the initial one."""
        return {
            name: torch.where(
                reset.view(-1, *[1] * (value.ndim - 1)), torch.zeros_like(value), value
            )
            for name, value in state.items()
        }

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _cannot(self, what: str, remedy: str = "") -> ConfigError:
        return ConfigError(
            f"{self._name} {what}.",
            remedy=remedy or "S4D, S5, LRU and Mamba can; `tacita methods layer` lists all.",
        )

    def _check(
        self,
        x: Tensor,
        lengths: Tensor | None,
        resets: Tensor | None,
        rate: float,
        state: State | None,
        return_state: bool,
    ) -> None:
        if x.ndim != 3 or x.shape[2] != self.d_model or x.shape[1] < 1:
            raise ConfigError(
                f"{self._name} takes (B, L, {self.d_model}) with L from 1 up, not {tuple(x.shape)}."
            )
        batch, length, _ = x.shape
        if self.max_length is not None and length > self.max_length:
            raise ConfigError(
                f"{self._name} was made for at most {self.max_length} steps and got {length}.",
                remedy="Make it with a larger max_length, or cut the sequence.",
            )
        if lengths is not None:
            counts = not (lengths.is_floating_point() or lengths.dtype == torch.bool)
            if lengths.shape != (batch,) or not counts:
                raise ConfigError(
                    f"{self._name}: lengths must be {batch} whole numbers, one a sample, not "
                    f"{tuple(lengths.shape)} of {lengths.dtype}."
                )
            # Values are looked at where that costs nothing: on a GPU it would wait for it.
            known = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
            if known and batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= length:
                raise ConfigError(
                    f"{self._name}: lengths run from {int(lengths.min())} to {int(lengths.max())}, and "
                    f"the sequences have {length} steps."
                )
        if resets is not None:
            if not self.resettable:
                raise self._cannot(
                    "cannot erase its state in the middle of a sequence",
                    "Run the pieces one by one, or choose a layer with a scan: S5, LRU, S4D or Mamba.",
                )
            if resets.shape != (batch, length) or resets.dtype != torch.bool:
                raise ConfigError(
                    f"{self._name}: resets must be ({batch}, {length}) of bool, not "
                    f"{tuple(resets.shape)} of {resets.dtype}."
                )
        self._check_rate(rate)
        if (state is not None or return_state) and not self.streams:
            raise self._cannot("has no step form, and so no state to start from or to return")
        if state is not None:
            self._check_state(state, batch)

    def _check_fixed(self, length: int) -> None:
        """For what takes its steps one after another: an exported program has a step for each."""
        if is_free(length):
            raise self._cannot(
                "takes its steps one after another, and cannot be exported for any number of them",
                "Leave the number of steps fixed, export `step` and loop outside, or take S5 or Mamba.",
            )

    def _check_rate(self, rate: float) -> None:
        if rate == 1.0:
            return
        if not self.rescalable:
            raise self._cannot("has no time scale, so rate must be 1")
        if not 0 < rate < float("inf"):
            raise ConfigError(f"{self._name}: rate={rate} must be positive.")

    def _check_state(self, state: State, batch: int) -> None:
        if self._state_shapes is None:
            initial = self.initial_state(0)
            self._state_shapes = {name: tuple(value.shape[1:]) for name, value in initial.items()}
        shapes = self._state_shapes
        if state.keys() != shapes.keys():
            raise ConfigError(
                f"{self._name}: the state has {sorted(state)} where {sorted(shapes)} belong.",
                remedy="Start with initial_state(batch_size), and pass on what comes back.",
            )
        for name, value in state.items():
            if value.shape[:1] != (batch,):
                raise ConfigError(
                    f"{self._name}: the state {name!r} is of {len(value)} samples, and the input of "
                    f"{batch}.",
                    remedy=f"Start with initial_state({batch}).",
                )
            own, wanted = value.shape[1:], shapes[name]
            # What is empty at first grows with the steps.
            if own != wanted and (
                len(own) != len(wanted)
                or any(a != b for a, b in zip(own, wanted, strict=True) if b)
            ):
                raise ConfigError(
                    f"{self._name}: the state {name!r} is {tuple(own)} for each sample where "
                    f"{wanted} belongs.",
                    remedy=f"Start with initial_state({batch}), and pass on what comes back.",
                )


def reverse_valid(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`(B, L, ...)` with the valid steps of each sample in reverse and the padding left where it is.

    >>> reverse_valid(torch.tensor([[[1], [2], [0]]]), torch.tensor([2])).flatten().tolist()
    [2, 1, 0]
    """
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    back = lengths[:, None] - 1 - steps
    index = torch.where(back >= 0, back, steps)
    return x.gather(1, index.view(*index.shape, *[1] * (x.ndim - 2)).expand_as(x))


def last_valid(states: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """The state after the last valid step, of `states (B, L, ...)`; the initial one where none is.

    >>> states = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> last_valid(states, torch.zeros(1, 1), torch.tensor([2]))
    tensor([[2.]])
    """
    if lengths is None:
        return states[:, -1]
    index = (lengths - 1).clamp_min(0).view(-1, *[1] * (states.ndim - 1))
    picked = states.gather(1, index.expand(-1, 1, *states.shape[2:])).squeeze(1)
    return torch.where(lengths.view(-1, *[1] * (picked.ndim - 1)) > 0, picked, initial)
