"""How much a spiking network fires, and what that costs beside a dense one of its size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tacita.data.batch import Batch
from tacita.encoders.snn_delays import SNNDelays
from tacita.values import length_mask


@dataclass(frozen=True)
class Firing:
    """The spikes that one layer sends on, and what they cost, on average over samples.

    rate: share of its neurons and steps with a spike; several of one step are one event.
    synaptic_operations: additions of a weight, one for each event and synapse behind it.
    dense_operations: multiply-adds of a dense layer without delays, which takes every neuron at every step.
    """

    name: str
    rate: float
    synaptic_operations: float
    dense_operations: float


@dataclass(frozen=True)
class Activity:
    """What every layer sends on, from the coded input to the last hidden one."""

    layers: tuple[Firing, ...]

    @property
    def synaptic_operations(self) -> float:
        """Of the whole network, for a sample."""
        return sum(layer.synaptic_operations for layer in self.layers)

    @property
    def dense_operations(self) -> float:
        """Of a dense network of its size, for a sample."""
        return sum(layer.dense_operations for layer in self.layers)

    @property
    def share(self) -> float:
        """Synaptic operations for each dense one."""
        return self.synaptic_operations / max(self.dense_operations, 1.0)


@torch.no_grad()
def activity(encoder: SNNDelays, batch: Batch) -> Activity:
    """Spike rates and operations of a batch as evaluation runs it; batch norm folds into the weights.

    With `code="direct"` the input is no spikes: every value that is not 0 counts as an event.

    >>> from tacita.data.batch import InputSpec
    >>> torch.manual_seed(0) and None
    >>> encoder = SNNDelays(InputSpec("series", (20, 1)), width=8, depth=1, longest_delay=4)
    >>> [firing.name for firing in activity(encoder, Batch.of(torch.randn(3, 20, 1))).layers]
    ['input', 'hidden 1']
    """
    training = encoder.training
    encoder.eval()
    try:
        received = encoder.received(batch)
    finally:
        encoder.train(training)
    found = []
    for at, ((spikes, lengths), synapses) in enumerate(
        zip(received, encoder.synapses(), strict=True)
    ):
        samples, steps, neurons = spikes.shape
        valid = samples * steps
        if lengths is not None:
            valid = int(length_mask(lengths, steps).sum())
        events, reach = int((spikes != 0).sum()), len(synapses.weight)
        found.append(
            Firing(
                f"hidden {at}" if at else "input",
                events / max(valid * neurons, 1),
                events * reach / max(samples, 1),
                valid * neurons * reach / max(samples, 1),
            )
        )
    return Activity(tuple(found))
