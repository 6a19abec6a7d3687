"""Residual stacks of sequence layers, and a layer run in both directions; layers themselves.

Each block is a norm, a sequence layer, a mixer of channels and a residual connection, as in S4's and
Mamba's code; attention has its own MLP in a second branch, as in Transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.signature import check_arguments, parameters
from tacita.errors import ConfigError
from tacita.layers import get
from tacita.layers.base import Run, SequenceLayer, State, reverse_valid
from tacita.processes import rand

Norm = Literal["layer", "rms", "none"]
ChannelMixer = Literal["glu", "mlp", "none"]


class Block(SequenceLayer):
    """A sequence layer with its norm, its mixer of channels and its residual connection.

    layer: what mixes time.
    channel_mixer: `glu` is GELU and a gated linear unit on the layer's output, in the same branch;
        `mlp` is a branch of its own with 4 times the width; `none` for layers that mix channels.
    norm: `layer`, `rms`, or `none`, as suits policies.
    prenorm: the norm before the branch, which trains deep stacks; otherwise after the sum.
    dropout: share of the channels that is dropped over all of a sample's steps, in training.

    >>> from tacita.layers import get
    >>> Block(get("s4d")(8, d_state=4))(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        layer: SequenceLayer,
        *,
        channel_mixer: ChannelMixer | None = None,
        norm: Norm = "layer",
        prenorm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        dim = layer.d_model
        mixer = channel_mixer or layer.channel_mixer
        if mixer not in ("glu", "mlp", "none"):
            raise ConfigError(
                f"channel_mixer={mixer!r} is unknown.", remedy="Known: glu, mlp, none."
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout} is not from 0 up to 1.")
        self.d_model = dim
        self.max_length = layer.max_length
        self.prenorm, self.dropout = prenorm, dropout
        _take_abilities(self, [layer])
        self.time_invariant = False  # a norm of each step is not linear, but lets time shifts pass
        self.norm = make_norm(norm, dim)
        self.layer = layer
        self.gate = nn.Linear(dim, 2 * dim) if mixer == "glu" else None
        self.mlp_norm = make_norm(norm, dim) if mixer == "mlp" else None
        self.mlp = (
            nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
            if mixer == "mlp"
            else None
        )

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        y, last = self.layer.mix(self._masked(self.norm(x) if self.prenorm else x, run), run)
        return self._after(x, y), last

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return self.layer.zeros(batch_size, like)

    def erase(self, state: State, reset: Tensor) -> State:
        return self.layer.erase(state, reset)

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        y, state = self.layer.advance(self.norm(x) if self.prenorm else x, state, rate)
        return self._after(x, y), state

    def _after(self, x: Tensor, y: Tensor) -> Tensor:
        """All that follows the layer, which no step of time mixes with another: `(..., D)`."""
        if self.gate is not None:
            y = functional.glu(self.gate(self._drop(functional.gelu(y))))
        x = x + self._drop(y)
        if not self.prenorm:
            x = self.norm(x)
        if self.mlp is None or self.mlp_norm is None:
            return x
        if self.prenorm:
            return x + self._drop(self.mlp(self.mlp_norm(x)))
        return self.mlp_norm(x + self._drop(self.mlp(x)))

    def _drop(self, y: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return y
        shape = (y.shape[0], 1, y.shape[2]) if y.ndim == 3 else y.shape  # one draw for all of time
        kept = rand(*shape, device=y.device) >= self.dropout
        return y * kept / (1 - self.dropout)

    @staticmethod
    def _masked(x: Tensor, run: Run) -> Tensor:
        """A norm makes something of zeros: padding must be nothing again before time is mixed."""
        if run.lengths is None:
            return x
        steps = torch.arange(x.shape[1], device=x.device)
        return torch.where((steps < run.lengths[:, None])[:, :, None], x, 0.0)


class Stack(SequenceLayer):
    """Blocks one after another; its state is that of every block, under `"0.ssm"`, `"1.ssm"`, ...

    >>> from tacita.layers import get
    >>> stack = Stack([Block(get("s4d")(8, d_state=4)) for _ in range(2)])
    >>> sorted(stack.initial_state(1))
    ['0.ssm', '1.ssm']
    """

    def __init__(self, blocks: Sequence[SequenceLayer]) -> None:
        super().__init__()
        if not blocks:
            raise ConfigError("a stack needs a block.")
        self.d_model = blocks[0].d_model
        limits = [block.max_length for block in blocks if block.max_length is not None]
        self.max_length = min(limits, default=None)
        _take_abilities(self, blocks)
        self.blocks = nn.ModuleList(blocks)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        after: State = {}
        for number, block in enumerate(self._blocks):
            own = None if run.state is None else _part(run.state, number)
            x, last = block.mix(x, Run(run.lengths, run.resets, run.rate, own, run.return_state))
            after.update({f"{number}.{name}": value for name, value in (last or {}).items()})
        return x, after if run.return_state else None

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return self._each(lambda number, block: block.zeros(batch_size, like))

    def erase(self, state: State, reset: Tensor) -> State:
        return self._each(lambda number, block: block.erase(_part(state, number), reset))

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        after: State = {}
        for number, block in enumerate(self._blocks):
            x, own = block.advance(x, _part(state, number), rate)
            after.update({f"{number}.{name}": value for name, value in own.items()})
        return x, after

    @property
    def _blocks(self) -> Iterator[SequenceLayer]:
        return cast(Iterator[SequenceLayer], iter(self.blocks))

    def _each(self, make: Callable[[int, SequenceLayer], State]) -> State:
        return {
            f"{number}.{name}": value
            for number, block in enumerate(self._blocks)
            for name, value in make(number, block).items()
        }


class Bidirectional(SequenceLayer):
    """One layer forwards, one backwards over the valid steps, and a linear map of both.

    A reset cuts the sequence in both directions. No state: the backward layer needs the future.

    >>> from tacita.layers import get
    >>> S4D = get("s4d")
    >>> Bidirectional(S4D(8, d_state=4), S4D(8, d_state=4))(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, forwards: SequenceLayer, backwards: SequenceLayer) -> None:
        super().__init__()
        if forwards.d_model != backwards.d_model:
            raise ConfigError(
                f"the two directions have {forwards.d_model} and {backwards.d_model} channels."
            )
        self.d_model = forwards.d_model
        self.max_length = forwards.max_length
        self.channel_mixer = forwards.channel_mixer
        _take_abilities(self, [forwards, backwards])
        self.causal = self.streams = False
        self.forwards, self.backwards = forwards, backwards
        self.join = nn.Linear(2 * self.d_model, self.d_model, bias=False)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        ahead, _ = self.forwards.mix(x, run)
        resets = run.resets
        if resets is not None:  # in reverse, a piece begins with what was its last step
            ends = torch.cat([resets[:, 1:], torch.zeros_like(resets[:, :1])], 1)
            resets = reverse_valid(ends[:, :, None], run.lengths)[:, :, 0]
        back, _ = self.backwards.mix(
            reverse_valid(x, run.lengths), Run(run.lengths, resets, run.rate)
        )
        return self.join(torch.cat([ahead, reverse_valid(back, run.lengths)], 2)), None


def stack_of(
    layer: str,
    d_model: int,
    depth: int,
    length: int,
    *,
    options: Mapping[str, int | float | bool | str] | None = None,
    bidirectional: bool = False,
    **block: Any,
) -> Stack:
    """A stack of `depth` blocks of one layer, by its name in the catalog.

    options: the layer's; a `max_length` is `length`, and a `depth` that of the stack, where none is given.
    block: arguments of each `Block`. Raises `ConfigError` for an unknown layer or option.
    """
    cls = get(layer)
    known = parameters(layer)
    checked = check_arguments("layer_options", known, options or {})
    if "max_length" in known:
        checked.setdefault("max_length", length)
    if "depth" in known:
        checked.setdefault("depth", depth)

    def make() -> SequenceLayer:
        one = cls(d_model, **checked)
        return Bidirectional(one, cls(d_model, **checked)) if bidirectional else one

    return Stack([Block(make(), **block) for _ in range(depth)])


def make_norm(name: str, dim: int) -> nn.Module:
    """A norm of each step's channels. Raises `ConfigError` for an unknown name.

    >>> type(make_norm("rms", 4)).__name__
    'RMSNorm'
    """
    if name == "layer":
        return nn.LayerNorm(dim)
    if name == "rms":
        return nn.RMSNorm(dim, eps=1e-5)
    if name == "none":
        return nn.Identity()
    raise ConfigError(f"norm={name!r} is unknown.", remedy="Known: layer, rms, none.")


def _take_abilities(whole: SequenceLayer, parts: Sequence[SequenceLayer]) -> None:
    """What all of the parts can do, the whole can."""
    for ability in ("causal", "streams", "time_invariant", "resettable", "rescalable"):
        setattr(whole, ability, all(getattr(part, ability) for part in parts))


def _part(state: State, number: int) -> State:
    prefix = f"{number}."
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
