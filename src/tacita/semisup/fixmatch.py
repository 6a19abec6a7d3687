"""FixMatch: a confident guess on a weak view becomes the label of a strong view.

Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
NeurIPS 2020, arXiv 2001.07685. Use it when a few labels a class are reliable and the unlabelled
samples come from the same classes. A step costs one forward pass over labelled + 2 x unlabelled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import SemiBatch
from tacita.data.views import default_views
from tacita.encoders.base import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.ema import EMA
from tacita.parts.heads import linear_head
from tacita.tasks import Classification, Task


@method(
    "fixmatch",
    title="FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
    paper="https://arxiv.org/abs/2001.07685",
    year=2020,
    family="semisup",
    modalities=("images", "series", "tables"),
    labels="few",
    tasks=("classification",),
    summary="Classify from a few labels a class and many unlabelled samples of the same classes.",
    reuses=("views", "ema"),
    claim="With few labels a class, unlabelled samples make the classifier clearly more accurate.",
)
class FixMatch(Objective[SemiBatch]):
    """Consistency between a weak and a strong view, where the weak view is confident (eq. 4).

    threshold: confidence from which a guess counts, tau (0.95, table 4).
    unlabelled_weight: weight of the unlabelled loss, lambda_u (1, table 4).
    unlabelled_ratio: unlabelled samples a labelled one in a step, mu (7, table 4).
    momentum: rate of the averaged weights that are kept; with the warm start of the official
        code, 0.99 suits runs of hundreds of steps, where the paper's 0.999 suits a million.
    alignment: whether guesses are divided by their running mean, so that classes are guessed
        equally often ("distribution alignment", ReMixMatch, section 3.1; table 5 of FixMatch).
    weak, strong: view makers; default: those of the modality.

    Differs from the paper: the strong view is one affine warp with intensity, noise and erasing
    in place of RandAugment's list of image operations, so that it runs on a whole batch and on any
    image; the optimiser is AdamW on a cosine to zero.

    Raises `ConfigError` for a task that has no classes.
    """

    head: nn.Module
    reads = "both"
    engine_defaults = {"steps": 600, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 5e-4}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        threshold: float = 0.95,
        unlabelled_weight: float = 1.0,
        unlabelled_ratio: int = 7,
        momentum: float = 0.99,
        alignment: bool = True,
        weak: nn.Module | None = None,
        strong: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(task, Classification):
            raise ConfigError(
                f"fixmatch guesses classes, but the task is {task.name}.",
                remedy="Use pretraining and fine-tune for this task.",
            )
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold={threshold} is not a probability.")
        self.encoder = encoder
        self.head = linear_head(encoder.dim, task)
        self.average = EMA(nn.ModuleList([self.encoder, self.head]), momentum=momentum, warm=True)
        self.threshold = threshold
        self.unlabelled_weight = unlabelled_weight
        self.unlabelled_ratio = unlabelled_ratio
        self.alignment = alignment
        self.weak = weak or default_views(encoder.spec, "weak")
        self.strong = strong or default_views(encoder.spec, "strong")
        self.register_buffer("guess_mean", torch.full((task.out_dim,), 1 / task.out_dim))

    guess_mean: Tensor

    def loss(self, batch: SemiBatch) -> Losses:
        labelled = self.weak(batch.labelled)
        weak, strong = self.weak(batch.unlabelled), self.strong(batch.unlabelled)
        # One pass over all three, so that they share batch-norm statistics.
        x = torch.cat([labelled.x, weak.x, strong.x])
        mask = None if weak.mask is None else torch.cat([labelled.mask, weak.mask, strong.mask])
        logits = self.head(self.encoder(x, mask).pooled).float()
        on_labelled, on_weak, on_strong = logits.split([len(labelled), len(weak), len(strong)])

        q = self._guesses(on_weak)
        confidence, pseudo_labels = q.max(1)
        confident = (confidence >= self.threshold).float()
        supervised = functional.cross_entropy(on_labelled, labelled.y)
        # The mean is over the whole batch: what is not confident counts as zero (eq. 4).
        each = functional.cross_entropy(on_strong, pseudo_labels, reduction="none")
        unlabelled = self.unlabelled_weight * (confident * each).mean()
        metrics = {"confident": confident.mean(), "confidence": confidence.mean()}
        return Losses(metrics, supervised=supervised, unlabelled=unlabelled)

    @torch.no_grad()
    def _guesses(self, logits: Tensor) -> Tensor:
        q = logits.softmax(1)
        if self.alignment:
            self.guess_mean.lerp_(q.mean(0).to(self.guess_mean.dtype), 0.01)
            q = q / self.guess_mean
            q = q / q.sum(1, keepdim=True)
        return q

    def after_step(self, step: int) -> None:
        self.average.update(nn.ModuleList([self.encoder, self.head]), step)

    def finish(self) -> None:
        """Keep the averaged weights."""
        nn.ModuleList([self.encoder, self.head]).load_state_dict(self.average.teacher.state_dict())
