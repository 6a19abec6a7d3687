"""Pointing at the elements of a set, one after another, and the search for an order to do it in.

Vinyals et al., "Pointer Networks", 2015, and "Order Matters: Sequence to Sequence for Sets", 2016
(sections 4.2 and 5.2 of the latter). `B` sets of up to `T` elements, `S` pointers, tokens `D` wide; where
outputs end before the set does, the end is one more memory, behind the padding, so that `M` memories are
`T` or `T + 1`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from tacita.processes import rand
from tacita.tasks import full_precision

State: TypeAlias = tuple[Tensor, Tensor]
"""Output and cell of an LSTM, `(1, B, D)` each."""


class Memories(NamedTuple):
    """What a decoder points at: `values (B, M, D)`, `mask (B, M)` True = valid, and their keys."""

    values: Tensor
    mask: Tensor
    glimpse: Tensor | None
    """`W_1 m_i`, `(B, M, D)`; None without a glimpse."""
    pointer: Tensor
    """`W_3 m_i`, `(B, M, D)`."""


class AdditiveAttention(nn.Module):
    """`u_i = v' tanh(W m_i + W' q)`: `queries (B, S, Q)` and `keys (B, M, D)` to scores `(B, S, M)`.

    Keys are `attention.key(memories)`, made once for all queries. Scores of what is not valid are -inf.

    >>> attention = AdditiveAttention(4, 6)
    >>> keys = attention.key(torch.zeros(2, 3, 4))
    >>> attention(torch.zeros(2, 5, 6), keys, torch.ones(2, 3, dtype=torch.bool)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, dim: int, query_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(dim, dim, bias=False)
        self.query = nn.Linear(query_dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        mixed = torch.tanh(keys[:, None] + self.query(queries)[:, :, None])
        return valid_scores(full_precision(self.score(mixed)[..., 0]), mask[:, None])


class PointerDecoder(nn.Module):
    """An LSTM that points at one memory a step and reads the last one it pointed at.

    dim: width of tokens, of pooled features and of the LSTM.
    glimpses: 0 or 1 looks at the memories before each pointer; a look is part of the pointer's query and
        not of the LSTM's state, so that all steps of a known output run at once.
    ends: whether there is a memory for "the end".

    As in the paper, nothing keeps it from pointing at an element twice; `point_out` can. Time and memory
    of a pass are `O(B S M dim)`, those of the additive scores.

    >>> decoder = PointerDecoder(4)
    >>> memories = decoder.read(torch.zeros(2, 3, 4))
    >>> decoder(memories, torch.zeros(2, 4), torch.tensor([[0, 2], [1, 0]])).shape
    torch.Size([2, 2, 3])
    """

    def __init__(self, dim: int, *, glimpses: int = 1, ends: bool = False) -> None:
        super().__init__()
        self.begin = nn.Linear(dim, 2 * dim)
        self.first = nn.Parameter(0.1 * torch.randn(dim))
        self.end = nn.Parameter(0.1 * torch.randn(dim)) if ends else None
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        start_lstm(self.lstm)
        self.glimpse = AdditiveAttention(dim, dim) if glimpses else None
        self.pointer = AdditiveAttention(dim, 2 * dim if glimpses else dim)

    def read(self, tokens: Tensor, mask: Tensor | None = None) -> Memories:
        """What is pointed at in sets of tokens `(B, T, D)`, of which `mask (B, T)` are there."""
        values = tokens
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if self.end is not None:
            end = self.end.to(tokens.dtype).expand(len(tokens), 1, -1)
            values = torch.cat([values, end], 1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        keys = None if self.glimpse is None else self.glimpse.key(values)
        return Memories(values, mask, keys, self.pointer.key(values))

    def forward(self, memories: Memories, pooled: Tensor, picks: Tensor) -> Tensor:
        """`(B, S, M)`: log p(y_t = i | y_<t, X) of every memory at every step of `picks (B, S)`."""
        read = picks[:, :-1, None].expand(-1, -1, memories.values.shape[2])
        first = self.first.to(memories.values.dtype).expand(len(picks), 1, -1)
        inputs = torch.cat([first, memories.values.gather(1, read)], 1)
        states, _ = self._run(inputs, self.start(pooled))
        return self._point(states, memories)

    def start(self, pooled: Tensor) -> State:
        """The state before the first step, of pooled features `(B, D)`."""
        output, cell = self.begin(pooled).chunk(2, 1)
        return output[None].contiguous(), cell[None].contiguous()

    def step(self, memories: Memories, state: State, last: Tensor | None) -> tuple[Tensor, State]:
        """`(B, M)` log probabilities after pointing at `last (B,)`, None at first; and the state."""
        count, _, dim = memories.values.shape
        if last is None:
            inputs = self.first.to(memories.values.dtype).expand(count, 1, -1)
        else:
            inputs = memories.values.gather(1, last[:, None, None].expand(-1, 1, dim))
        states, state = self._run(inputs, state)
        return self._point(states, memories)[:, 0], state

    def _run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        # A recurrence in half precision would lose what it adds up.
        with torch.autocast(inputs.device.type, enabled=False):
            dtype = self.first.dtype
            states, (output, cell) = self.lstm(
                inputs.to(dtype), (state[0].to(dtype), state[1].to(dtype))
            )
        return states, (output, cell)

    def _point(self, states: Tensor, memories: Memories) -> Tensor:
        if self.glimpse is not None and memories.glimpse is not None:
            weights = self.glimpse(states, memories.glimpse, memories.mask).softmax(2)
            # s~_t = [s_t; g_t]
            states = torch.cat(
                [states, weights.to(states.dtype) @ memories.values.to(states.dtype)], 2
            )
        return self.pointer(states, memories.pointer, memories.mask).log_softmax(2)


class Found(NamedTuple):
    """Orders that were sampled: `picks (B, S)`, and the log of the `share (B, S)` of each step.

    share: the probability that the model gave to all elements that were left, by which it was
        renormalised; `p(picks) / q(picks)`, q the law they were drawn by, is the product of a row.
    """

    picks: Tensor
    share: Tensor


@torch.no_grad()
def sample_orders(
    decoder: PointerDecoder, memories: Memories, pooled: Tensor, chosen: Tensor, steps: int
) -> Found:
    """Orders of sets of outputs, about as often as the model thinks them likely.

    Ancestral sampling: at each step one of the elements of `chosen (B, M)` that are not yet emitted is
    drawn by the model's probabilities, renormalised among these; then, for as many `steps` as there are,
    the last memory, which is the end where there is one. Without gradient: an order is a constant.
    """
    left, state = chosen, decoder.start(pooled)
    last_memory = torch.zeros_like(chosen)
    last_memory[:, -1] = True
    picks, shares = list[Tensor](), list[Tensor]()
    for _ in range(steps):
        log_p, state = decoder.step(memories, state, picks[-1] if picks else None)
        candidates = left.where(left.any(1, keepdim=True), last_memory)
        within = log_p.masked_fill(~candidates, -torch.inf)
        shares.append(within.logsumexp(1))
        # The largest of log p + Gumbel noise is a draw by p.
        noise = rand(*log_p.shape, device=log_p.device).clamp_min(1e-20).log().neg().log().neg()
        picks.append((within + noise).argmax(1))
        left = left.scatter(1, picks[-1][:, None], False)
    return Found(torch.stack(picks, 1), torch.stack(shares, 1))


def shuffled(picks: Tensor, counts: Tensor) -> Tensor:
    """`picks (B, S)` with the first `counts (B,)` of each row in an even random order."""
    place = torch.arange(picks.shape[1], device=picks.device)
    noise = rand(*picks.shape, device=picks.device)
    # What comes behind the count stays where it is.
    return picks.gather(1, noise.where(place < counts[:, None], 1.0 + place).argsort(1))


@torch.no_grad()
def point_out(
    decoder: PointerDecoder,
    memories: Memories,
    pooled: Tensor,
    steps: int,
    *,
    repeats: bool = False,
) -> Tensor:
    """`(B, steps)`: the likeliest memory, step by step.

    repeats: whether an element may come again, as in the paper's training; the end always may.
    """
    state, free = decoder.start(pooled), memories.mask
    picks = list[Tensor]()
    for _ in range(steps):
        log_p, state = decoder.step(memories, state, picks[-1] if picks else None)
        picks.append(log_p.masked_fill(~free, -torch.inf).argmax(1))
        if not repeats:
            free = free.scatter(1, picks[-1][:, None], False)
            if decoder.end is not None:
                free = torch.cat([free[:, :-1], torch.ones_like(free[:, -1:])], 1)
    return torch.stack(picks, 1)


def valid_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores with -inf where `mask` is False, so that a softmax over the last axis gives exactly 0 there.

    A row without anything valid is left as it is: a softmax over nothing would be NaN.

    >>> valid_scores(torch.zeros(2), torch.tensor([True, False])).softmax(0)
    tensor([1., 0.])
    """
    return scores.masked_fill(~(mask | ~mask.any(-1, keepdim=True)), -torch.inf)


def start_lstm(lstm: nn.LSTM | nn.LSTMCell) -> None:
    """Weights even within 0.08, biases 0 but for the forget gate's, which is 1."""
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            if "weight" in name:
                parameter.uniform_(-0.08, 0.08)
            else:
                parameter.zero_()
            if "bias_ih" in name:
                # Gates lie in the order input, forget, cell, output.
                parameter.view(4, -1)[1] = 1.0
