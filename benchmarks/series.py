"""A step of FixMatch on series with its views and its optimiser, beside the same network written plainly.

The peer is the residual network as one writes it down: `nn.Conv1d` with the time last, a token a step, and
one pass over all views, that which only guesses too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import Result, side_by_side
from tacita.data.batch import Batch, InputSpec, SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder, Encoding
from tacita.encoders.residual_conv import ResidualConv
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import Classification

LABELLED, UNLABELLED, LENGTH, CLASSES = 16, 112, 275, 4


def run() -> list[Result]:
    """Series of one channel and of six, all default options."""
    results = []
    for channels in (1, 6):
        spec = InputSpec("series", (LENGTH, channels))
        times = side_by_side(
            step_of(FixMatch, ResidualConv(spec)), step_of(OnePass, PlainConv(spec)), repeats=5
        )
        what = f"a step of FixMatch, {LABELLED} + {UNLABELLED} series {LENGTH}x{channels}"
        results.append(Result(what, "plain nn.Conv1d, one pass", *times, "3"))
    return results


def step_of(objective: type[FixMatch], encoder: Encoder) -> Callable[[], None]:
    """Views, loss, gradient, optimiser and averaged weights."""
    torch.manual_seed(0)
    count = LABELLED + UNLABELLED
    task = Classification(tuple(str(code) for code in range(CLASSES)))
    labels = torch.arange(count) % CLASSES
    data = Dataset.of("series", torch.randn(count, *encoder.spec.shape), labels, task).normalised()
    batch = SemiBatch(data.take(torch.arange(LABELLED)), data.take(torch.arange(LABELLED, count)))
    learnt = objective(encoder, task).train()
    learnt.prepare(data)
    optimizer = torch.optim.AdamW(learnt.parameters())

    def step() -> None:
        optimizer.zero_grad()
        learnt(batch).total.backward()
        optimizer.step()
        learnt.after_step(1)

    return step


class OnePass(FixMatch):
    """All views in one pass with a gradient."""

    def logits_of_guessed(self, guessed: Batch, *batches: Batch) -> list[Tensor]:
        of_guessed, *others = self.logits(guessed, *batches)
        return [of_guessed.detach(), *others]


class PlainConv(Encoder):
    """The network of `residual-conv` for series of one length, with a token a step."""

    modalities = ("series",)

    def __init__(self, spec: InputSpec, width: int = 64, depth: int = 6) -> None:
        super().__init__()
        self.spec = spec
        self.dim = 2 * width
        self.stem = nn.Conv1d(spec.channels, width, 7, padding=3)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**level, dilation=2**level)
            for level in range(depth)
        )
        self.widen = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.dim))

    def forward(self, batch: Batch) -> Encoding:
        steps = self.stem(batch.x.transpose(1, 2)).transpose(1, 2)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            steps = steps + convolution(torch.relu(norm(steps)).transpose(1, 2)).transpose(1, 2)
        tokens = self.widen(steps)
        average, peak = tokens.chunk(2, 2)
        return Encoding(tokens, torch.cat([average.mean(1), peak.amax(1)], 1))
