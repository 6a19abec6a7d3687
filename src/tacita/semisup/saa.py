"""SAA: samples that have become too easy are shown in stronger views, and only these.

Gui, Zhao, Qi, Zhou, Wang and Shi, "Enhancing Sample Utilization through Sample Adaptive Augmentation
in Semi-Supervised Learning", ICCV 2023, arXiv 2309.03598. Many unlabelled samples soon have a loss near
nothing under any strong view, and teach nothing more. Use it on top of FixMatch or FlexMatch where
training goes on long after that: in the 600 steps of its claim such samples are found and teach more,
but the classifier was half a point less accurate than FixMatch's. It costs a number and a flag a
sample, and a second strong view of the unlabelled batch a step; no further pass through a network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec, SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.alignment import Prior
from tacita.parts.otsu import otsu
from tacita.parts.sample_state import SampleState
from tacita.processes import rand, undrawn
from tacita.semisup.base import require_classes
from tacita.semisup.flexmatch import FlexMatch
from tacita.tasks import Task
from tacita.views import Views


@method(
    "saa",
    title="Enhancing Sample Utilization through Sample Adaptive Augmentation in Semi-Supervised "
    "Learning",
    paper="https://arxiv.org/abs/2309.03598",
    year=2023,
    family="semisup",
    needs=("views", "halves"),
    labels="few",
    tasks=("classification",),
    summary="Classify from a few labels a class, with stronger views of samples that became easy.",
    reuses=("fixmatch", "flexmatch", "otsu", "sample-state", "views"),
    claim="Samples that no longer teach are found by their losses, and regrouped views make them "
    "teach again.",
)
class SAA(FlexMatch):
    """FixMatch or FlexMatch, where naive samples get regrouped strong views (section 3).

    flexible: whether thresholds are FlexMatch's, a class its own, or FixMatch's one.
    history_rate: weight of the new loss in a sample's history, alpha (0.999, section 4).
    update_every: steps from one choice of naive samples to the next: 256, an epoch of the authors'
        code, or a hundredth of the steps where these are fewer than 25,600.
    warmup: share of the steps before the first choice (0.1: 400 of the 4,096 epochs of that code).
    threshold, unlabelled_weight, unlabelled_ratio, momentum, alignment, weak: as in FixMatch.
    strong: the view maker of which naive samples get two views at once.

    Until samples are chosen training is that of FixMatch or FlexMatch, bit for bit, and afterwards
    the views of samples that are not naive are as they were.

    Differs from the paper: as FixMatch does. The paper weakly warps what it has regrouped; here one
    warp holds weak and strong changes, so that the two halves are shifted apart. For series halves are
    the first half in time or of the channels, for tables the first half of the columns. Otsu's
    threshold is over the samples seen so far, which after the warm-up of a long run are all of them.

    Raises `ConfigError` for a task that has no classes, and for rates that cannot be.
    """

    strong: Regrouped

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        flexible: bool = False,
        history_rate: float = 0.999,
        update_every: int = 256,
        warmup: float = 0.1,
        threshold: float = 0.95,
        unlabelled_weight: float = 1.0,
        unlabelled_ratio: int = 7,
        momentum: float = 0.99,
        alignment: Prior = "uniform",
        weak: Views | None = None,
        strong: Views | None = None,
    ) -> None:
        super().__init__(
            encoder,
            require_classes("saa", task),
            threshold=threshold,
            unlabelled_weight=unlabelled_weight,
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            alignment=alignment,
            weak=weak,
            strong=strong,
        )
        for name, share in (("history_rate", history_rate), ("warmup", warmup)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name}={share} is not between 0 and 1.")
        if update_every < 1:
            raise ConfigError(f"update_every={update_every}: it must be 1 or more.")
        self.flexible = flexible
        self.history_rate = history_rate
        self.update_every = update_every
        self.warmup = warmup
        self.first, self.every = 0, update_every
        self.strong = Regrouped(self.strong, encoder.spec)
        # A loss is never negative: -1 is a sample that was not seen.
        self.history = SampleState(-1.0)

    def prepare(self, data: Dataset) -> None:
        super().prepare(data)
        self.history.prepare(data.index)
        self.strong.naive.prepare(data.index)

    def start(self, steps: int) -> None:
        super().start(steps)
        self.first = math.ceil(self.warmup * steps)
        self.every = max(1, min(self.update_every, steps // 100))

    def loss(self, batch: SemiBatch) -> Losses:
        losses = super().loss(batch)
        naive = self.strong.naive.read(batch.unlabelled.index)
        losses.metrics["naive"] = naive.float().mean()
        return losses

    def thresholds(self, guesses: Tensor) -> Tensor | float:
        return super().thresholds(guesses) if self.flexible else self.threshold

    def observe(self, index: Tensor, confidence: Tensor, guesses: Tensor, each: Tensor) -> None:
        if self.flexible:
            super().observe(index, confidence, guesses, each)
        # Of every sample, confident or not: else what is never confident would seem easy.
        before = self.history.read(index).clamp_min(0.0)
        self.history.write(index, torch.lerp(before, each, self.history_rate))

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if step + 1 > self.first and (step + 1) % self.every == 0:
            self.choose()

    @torch.no_grad()
    def choose(self) -> None:
        """Flag as naive what lies below Otsu's threshold of the histories; on it, flags stay."""
        h, flags = self.history.values, self.strong.naive.values
        seen = h >= 0
        threshold = otsu(h[seen])
        flags.copy_(torch.where(h == threshold, flags, seen & (h < threshold)))


class Regrouped(nn.Module):
    """A view maker whose views of naive samples are a half of one view beside a half of another.

    views: the view maker.
    naive: by the samples' index, which are naive; none at first.

    The views of all other samples, and what is drawn from the generator, are those of `views` alone.
    Shapes: those of `views`, for images, series and tables.
    """

    def __init__(self, views: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.views = views
        self.spec = spec
        self.naive = SampleState(False)

    def forward(self, batch: Batch) -> Batch:
        a = self.views(batch)
        # Drawn for all, so that a GPU is not asked who is naive; then the generator goes back.
        with undrawn(batch.x.device):
            b = self.views(batch)
            other = rand(len(batch), device=batch.x.device) < 0.5
        naive = self.naive.read(batch.index).view(-1, *[1] * (batch.x.ndim - 1))
        half = find(self.spec.modality).first_half(batch, self.spec, other.view(naive.shape))
        return a.with_x(torch.where(naive & half, b.x, a.x))
