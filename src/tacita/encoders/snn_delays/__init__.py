"""A spiking network whose synapses have delays, learned with their weights.

Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning Delays in Spiking Neural Networks using Dilated
Convolutions with Learnable Spacings", ICLR 2024. For series in which the order and distance of events tell
what they are, and for hardware that computes on events; after training a synapse is one weight and one
whole delay. A step of training costs as many dense layers as there are delays, evaluation event by event one.

`delays.py` has the synapses, `codes.py` what turns values into spikes, `activity.py` how much a network
fires and computes, and this file the network.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.encoders.snn_delays.codes import Code, make_code
from tacita.encoders.snn_delays.delays import DelayedLinear, Delays
from tacita.errors import ConfigError
from tacita.kernels import lif, linear_scan
from tacita.layers.base import State
from tacita.parts.batch_norm import ValidBatchNorm
from tacita.values import length_mask

Received = tuple[Tensor, Tensor | None]
"""Spikes `(B, T, I)` and their lengths `(B,)`, None where all steps are valid."""


@method(
    "snn-delays",
    title="Spiking network with learned delays",
    paper="https://arxiv.org/abs/2306.17670",
    year=2024,
    family="encoder",
    modalities=("series",),
    summary="Features of series by spiking neurons whose synapses learn delays; few operations on events.",
    reuses=("batch-norm",),
    claim="Learned delays beat drawn ones on spoken vowels, 89.4% against 86.0%, and on patterns of spikes, "
    "67% against 61%. Drawn ones do not beat none (84.5% and 66%), and none twice as wide, of as many "
    "parameters, are better than learned (90.7% and 80%): the claim as a whole fails here.",
)
class SNNDelays(Encoder):
    """Layers of spiking neurons behind delayed synapses, then a delayed layer of leaky integrators.

    width: neurons of a hidden layer.
    depth: hidden layers; the paper's for spoken digits.
    features: integrators of the last layer; by default `width`. The paper has one a class, and no head.
    longest_delay: in steps, even; 0 for no delays. By default a quarter of the longest series, from 2 to 30,
        as the paper has 250 to 300 ms for words of a second.
    delays: `learned`, or `fixed` where they were drawn.
    whole_from: the share of training after which delays are whole in training too; 1 for never, as in the
        paper. A bump may come to lie between two steps, and what weights learn of it rounding undoes: that
        cost 21 points and more on patterns of spikes, and nothing on spoken vowels.
    tau: time constant of a neuron in steps; the paper has 1.005 and 1.5.
    dropout: share of the spikes dropped in training; the paper has 0.4 and 0.25.
    code: how values become spikes. `delta`, the default, keeps the number of steps, is silent where nothing
        happens, and loses nothing coarser than a level; `latency` and `rate` spread a value over a window of
        steps; `direct` gives values to the first synapses as they are.
    level: what a value moves for a spike of `delta`, in standard deviations of its channel.
    window: steps that a value takes in `latency` and `rate`.

    Shapes: `x (B, L, C)`, any L from 1 up; tokens `(B, T, features)`, the integrators' potentials, a window a
    value and half the longest delay more for each layer; features are their mean over the valid ones.
    Raises `ConfigError` for sizes that cannot be.

    In training every delay is a bump, whose width falls in the first quarter of the steps that the engine
    says there are (`tacita.parts.following`); without an engine it stays as wide as half the longest
    delay. In evaluation each is one whole number, and `step` takes events one step at a time.

    Differs from the paper: 64 neurons a layer rather than 256 or 512; features are the mean potential for a
    head that follows, where the paper sums softmaxes of the potentials (`summed_softmax`); one schedule for
    weights and positions, these at 100 times the rate; width falls by the step, not by the epoch.

    >>> encoder = SNNDelays(InputSpec("series", (50, 3)))
    >>> encoder(torch.zeros(2, 50, 3)).tokens.shape
    torch.Size([2, 68, 64])
    """

    tiny = {"width": 24, "longest_delay": 4}
    modalities = ("series",)
    surrogate = True

    def __init__(
        self,
        spec: InputSpec,
        *,
        width: int = 64,
        depth: int = 2,
        features: int | None = None,
        longest_delay: int | None = None,
        delays: Delays = "learned",
        whole_from: float = 0.5,
        tau: float = 1.5,
        dropout: float = 0.25,
        code: Code = "delta",
        level: float = 0.5,
        window: int = 8,
    ) -> None:
        super().__init__()
        self.require(spec)
        self.code = make_code(code, spec.channels, level=level, window=window)
        if longest_delay is None:
            longest_delay = default_delay(spec.shape[0] * self.code.window)
        features = width if features is None else features
        _check(width, depth, features, longest_delay, tau, dropout)
        synapses = partial(
            DelayedLinear, longest=longest_delay, delays=delays, whole_from=whole_from
        )
        self.spec = spec
        self.dim = features
        self.decay = 1 - 1 / tau
        sizes = [self.code.channels, *[width] * depth]
        self.layers = nn.ModuleList(
            SpikingLayer(synapses(inputs, width), self.decay, dropout) for inputs in sizes[:-1]
        )
        self.readout = synapses(sizes[-1], features)

    def received(self, batch: Batch) -> list[Received]:
        """What every layer receives: the coded samples, then the spikes of each hidden layer."""
        x, lengths = batch.x, batch.lengths
        spikes = self.code(hide_padding(x, batch.mask))
        if lengths is not None:
            # A code may fire at the end of a sample, whose values seem to fall to 0, or at 0 itself.
            lengths = lengths * self.code.window
            spikes = hide_padding(spikes, length_mask(lengths, spikes.shape[1]))
        found = [(spikes, lengths)]
        for layer in self._hidden():
            found.append(layer(*found[-1]))
        return found

    def forward(self, batch: Batch) -> Encoding:
        spikes, lengths = self.received(batch)[-1]
        current = self.readout(spikes)
        # A neuron without a threshold (the authors' code has 1e9): V[t] = (1 - 1/tau) V[t-1] + I[t].
        decay = torch.full((1,), self.decay, dtype=current.dtype, device=current.device)
        tokens = linear_scan(decay, current)
        lengths = None if lengths is None else lengths + self.readout.tail
        mask = None if lengths is None else length_mask(lengths, tokens.shape[1])
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))

    def per_step(self, batch: Batch) -> Tensor:
        """The potentials once a value has gone in; what delays hold back shows up later."""
        window, steps = self.code.window, batch.x.shape[1]
        tokens = self(batch).tokens[:, window - 1 : steps * window : window]
        return hide_padding(tokens, batch.mask)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step."""
        state = self.code.initial_state(batch_size)
        for at, synapses in enumerate(self.synapses()):
            potential = synapses.weight.new_zeros(batch_size, len(synapses.weight))
            state |= _named(at, {**synapses.pending(batch_size), "potential": potential})
        return state

    @torch.no_grad()
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One value of each channel, event by event: `(B, C)` to its token `(B, features)` and the state.

        As evaluation has it, whatever the mode: delays are whole, statistics those that are kept. Where a
        value takes a window of steps, the token is that of its last one.
        """
        coded, own = self.code.step(x, state)
        state = {**state, **own}
        hidden = self._hidden()
        for spikes in coded.unbind(1):
            for at, synapses in enumerate(self.synapses()):
                own = {key: state[f"{at}.{key}"] for key in ("pending", "clock", "potential")}
                current, moved = synapses.advance(spikes, own)
                if at < len(hidden):
                    spikes, left = hidden[at].fire(current, own["potential"])
                else:
                    token = left = self.decay * own["potential"] + current
                state |= _named(at, {**moved, "potential": left})
        return token, state

    def _hidden(self) -> list[SpikingLayer]:
        return [layer for layer in self.layers if isinstance(layer, SpikingLayer)]

    def synapses(self) -> list[DelayedLinear]:
        """The delayed synapses of every layer, from the input on."""
        return [*(layer.synapses for layer in self._hidden()), self.readout]


class SpikingLayer(nn.Module):
    """Delayed synapses, batch norm over valid steps, leaky neurons with a hard reset, and dropout."""

    def __init__(self, synapses: DelayedLinear, decay: float, dropout: float) -> None:
        super().__init__()
        self.synapses = synapses
        self.norm = ValidBatchNorm(len(synapses.weight))
        self.dropout = nn.Dropout(dropout)
        self.decay = decay

    def forward(self, spikes: Tensor, lengths: Tensor | None) -> Received:
        current = self.synapses(spikes)
        lengths = None if lengths is None else lengths + self.synapses.tail
        mask = None if lengths is None else length_mask(lengths, current.shape[1])
        current = self.norm(current.transpose(1, 2), mask).transpose(1, 2)
        fired, _ = lif(current, decay=self.decay, lengths=lengths)
        return self.dropout(fired), lengths

    def fire(self, current: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """One step in evaluation: the spikes, and what they leave of the potentials."""
        norm = self.norm
        normed = functional.batch_norm(
            current, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        spikes, potential = lif(normed[:, None], decay=self.decay, state=left)
        return spikes[:, 0], (potential * (1 - spikes))[:, 0]


def summed_softmax(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """`(B, T, C)` potentials to the paper's scores `(B, C)`: softmaxes summed over valid steps.

    They are logits of the cross-entropy, which takes a second softmax of them.

    >>> summed_softmax(torch.zeros(1, 4, 2))
    tensor([[2., 2.]])
    """
    return hide_padding(tokens.softmax(2), mask).sum(1)


def default_delay(length: int) -> int:
    """An even quarter of the length, from 2 to 30.

    >>> [default_delay(length) for length in (1, 16, 100, 1000)]
    [2, 4, 24, 30]
    """
    return max(2, min(30, length // 8 * 2))


def _named(layer: int, state: State) -> State:
    return {f"{layer}.{key}": value for key, value in state.items()}


def _check(
    width: int, depth: int, features: int, longest_delay: int, tau: float, dropout: float
) -> None:
    if min(width, features) < 1 or not 1 <= depth <= 64:
        raise ConfigError(
            f"width={width} and features={features} must be positive, and depth={depth} from 1 to 64.",
            remedy="The defaults are 64, as many, and 2.",
        )
    if longest_delay < 0 or longest_delay % 2:
        raise ConfigError(
            f"longest_delay={longest_delay} must be even, or 0 for none.",
            remedy=f"Try {2 * max(0, longest_delay // 2)}, or leave it out.",
        )
    if not tau >= 1:
        raise ConfigError(
            f"tau={tau} is less than a step.", remedy="The paper has 1.005 and 1.5 steps."
        )
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout={dropout} is no share.", remedy="The default is 0.25.")
