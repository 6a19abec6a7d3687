"""What is trained: an encoder, a pointer decoder, and the log-likelihood of outputs in some order.

Vinyals et al., "Order Matters: Sequence to Sequence for Sets", 2016, equation (8) and section 5.2.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.encoder import Encoder, Encoding
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.pointer import Memories, PointerDecoder, sample_orders, shuffled


class PointerObjective(Objective[Batch]):
    """Minus the log-likelihood of outputs, a set's summed over its steps, in the mean over sets.

    encoder: any that gives a token for each element (or step).
    outputs: `(N, S)` positions in the set of each sample, by the sample's index; -1 behind the last.
    glimpses, ends: of the decoder, `tacita.parts.pointer.PointerDecoder`.
    search: outputs are sets, and the model finds the order; else it is the one that is given.
    uniform_share: of the steps, the first in which a searched order is an even random one.

    Raises `ConfigError` for options that cannot be, and an encoder whose tokens are not the elements.
    """

    reads = "unlabelled"
    outputs: Tensor
    done: Tensor

    def __init__(
        self,
        encoder: Encoder,
        outputs: Tensor,
        *,
        glimpses: int = 1,
        ends: bool = False,
        search: bool = False,
        uniform_share: float = 0.1,
    ) -> None:
        super().__init__()
        if glimpses not in (0, 1):
            raise ConfigError(f"glimpses={glimpses}: it must be 0 or 1.")
        if not 0 <= uniform_share <= 1:
            raise ConfigError(
                f"uniform_share={uniform_share} is no share.", remedy="Give one from 0 to 1."
            )
        self.encoder = encoder
        self.decoder = PointerDecoder(encoder.dim, glimpses=glimpses, ends=ends)
        self.ends = ends
        self.search = search
        self.uniform_share = uniform_share
        self.uniform_steps = 0
        # A run that is resumed has the same outputs: their digest is among its settings.
        self.told = hashlib.sha256(outputs.numpy().tobytes()).hexdigest()[:16]
        self.register_buffer("outputs", outputs, persistent=False)
        self.register_buffer("done", torch.tensor(0))

    def start(self, steps: int) -> None:
        self.uniform_steps = math.ceil(self.uniform_share * steps)

    def after_step(self, step: int) -> None:
        self.done.fill_(step + 1)

    def loss(self, batch: Batch) -> Losses:
        encoding = self.encoder(batch)
        memories = self.memories(encoding, batch)
        picks, counts = self.told_order(batch.index, memories)
        if self.search:
            if int(self.done) < self.uniform_steps:
                picks = shuffled(picks, counts)
            else:
                chosen = chosen_of(picks, counts, memories)
                picks = sample_orders(
                    self.decoder, memories, encoding.pooled, chosen, picks.shape[1]
                ).picks
        log_p = self.decoder(memories, encoding.pooled, picks)
        steps = counts + int(self.ends)
        there = torch.arange(picks.shape[1], device=picks.device) < steps[:, None]
        write = log_p.gather(2, picks[:, :, None])[:, :, 0].where(there, 0.0)
        right = ((log_p.detach().argmax(2) == picks) | ~there).all(1).float().mean()
        return Losses({"right": right}, write=-write.sum(1).mean())

    def memories(self, encoding: Encoding, batch: Batch) -> Memories:
        """What the decoder points at in an encoded batch.

        Raises `ConfigError` for an encoder whose tokens are not the elements.
        """
        given, elements = encoding.tokens.shape[1], batch.x.shape[1]
        if given != elements:
            raise ConfigError(
                f"{type(self.encoder).__name__} gives {given} tokens for {elements} elements to point at.",
                remedy="Choose an encoder of a token an element, such as set-encoder.",
            )
        return self.decoder.read(encoding.tokens, batch.mask)

    def told_order(self, index: Tensor, memories: Memories) -> tuple[Tensor, Tensor]:
        """`(B, S)` memories to point at, the end among them, and `(B,)` how many elements they are."""
        picks = self.outputs[index]
        counts = (picks >= 0).sum(1)
        return with_end(picks, memories, ends=self.ends), counts


def with_end(picks: Tensor, memories: Memories, *, ends: bool) -> Tensor:
    """Outputs `(B, S)`, -1 behind the last, as memories to point at: the last memory in the place of -1."""
    last = memories.mask.shape[1] - 1
    if ends:
        picks = torch.cat([picks, picks.new_full((len(picks), 1), -1)], 1)
    return picks.where(picks >= 0, last)


def chosen_of(picks: Tensor, counts: Tensor, memories: Memories) -> Tensor:
    """`(B, M)` bool: which memories the first `counts (B,)` of `picks (B, S)` are."""
    there = torch.arange(picks.shape[1], device=picks.device) < counts[:, None]
    chosen = torch.zeros(memories.mask.shape, dtype=torch.int64, device=picks.device)
    return chosen.scatter_add(1, picks, there.long()) > 0
