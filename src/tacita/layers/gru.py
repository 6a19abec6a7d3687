"""A gated recurrent unit as a sequence layer: the baseline that every recurrence is compared with.

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014. Not linear, so its steps
come one after another: time in the parallel form grows with the length on any number of cores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.layers.base import Run, SequenceLayer, State, last_valid


@method(
    "gru",
    title="Gated recurrent unit (GRU)",
    paper="https://arxiv.org/abs/1406.1078",
    year=2014,
    family="layer",
    needs=("steps",),
    summary="A classic recurrent network, as the baseline for layers with a state.",
)
class GRU(SequenceLayer):
    """torch's fused GRU with as many hidden units as channels; its output is its state.

    d_model: channels, and hidden units.

    Resets cut the sequences into pieces, which are run side by side as a packed batch, so the fused loop
    is used with resets as well, and has as many turns as the longest piece has steps.

    >>> layer = GRU(4)
    >>> y, state = layer(torch.zeros(2, 5, 4), return_state=True)
    >>> torch.equal(state["hidden"], y[:, -1])
    True
    """

    resettable = True

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model
        bound = d_model**-0.5  # torch's own start
        shapes = ((3 * d_model, d_model), (3 * d_model, d_model), (3 * d_model,), (3 * d_model,))
        weights = [nn.Parameter(torch.empty(shape).uniform_(-bound, bound)) for shape in shapes]
        self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden = weights

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        self._check_fixed(x.shape[1])
        if x.shape[0] == 0:
            return x * self.weight_hidden.sum(), self.initial_state(0)
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.weight_hidden.dtype)
            state = run.state or self.initial_state(x.shape[0], device=x.device)
            begun = state["hidden"]
            resets = run.resets
            y = self._run(u, begun) if resets is None else self._in_pieces(u, resets, begun)
        last = {"hidden": last_valid(y, begun, run.lengths)} if run.return_state else None
        return y.to(x.dtype), last

    def _run(self, u: Tensor, begun: Tensor) -> Tensor:
        # Biases, one layer, no dropout, in training or not, one direction, batch first.
        y, _ = torch.gru(
            u, begun[None].contiguous(), self._weights(), True, 1, 0.0, False, False, True
        )
        return y

    def _weights(self) -> list[Tensor]:
        return [self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden]

    def _cell(self, u: Tensor, hidden: Tensor) -> Tensor:
        """One step: a reset gate, an update gate, and a candidate for the next state."""
        from_input = functional.linear(u, self.weight_input, self.bias_input)
        from_hidden = functional.linear(hidden, self.weight_hidden, self.bias_hidden)
        reset_input, update_input, new_input = from_input.chunk(3, 1)
        reset_hidden, update_hidden, new_hidden = from_hidden.chunk(3, 1)
        update = torch.sigmoid(update_input + update_hidden)
        candidate = torch.tanh(new_input + torch.sigmoid(reset_input + reset_hidden) * new_hidden)
        return torch.lerp(candidate, hidden, update)

    def _in_pieces(self, u: Tensor, resets: Tensor, begun: Tensor) -> Tensor:
        """Pieces as a packed batch: the longest first, all first steps before all second ones."""
        starts = resets.clone()
        starts[:, 0] = True
        piece = starts.flatten().cumsum(0) - 1  # (B L,): which piece a step is in
        steps = torch.arange(len(piece), device=u.device)
        place = steps - steps[starts.flatten()][piece]  # and which step of it
        by_length = piece.bincount().argsort(descending=True)
        rank = by_length.argsort()
        order = (place * len(rank) + rank[piece]).argsort()
        first = rank[piece.view(resets.shape)[:, 0]]
        hidden = u.new_zeros(len(rank), u.shape[2]).index_put((first,), begun * ~resets[:, :1])
        sizes = place.bincount().cpu()  # how many pieces there are at each step
        # Biases, one layer, no dropout, in training or not, one direction.
        y, _ = torch.gru(
            u.flatten(0, 1)[order], sizes, hidden[None], self._weights(), True, 1, 0.0, False, False
        )
        return y[order.argsort()].view_as(u)

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return {"hidden": like.new_zeros(batch_size, self.d_model)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            y = self._cell(x.to(self.weight_hidden.dtype), state["hidden"])
        return y.to(x.dtype), {"hidden": y}
