"""FixMatch: a confident guess on a weak view becomes the label of a strong view.

Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
NeurIPS 2020, arXiv 2001.07685. Use it when a few labels a class are reliable and the unlabelled
samples come from the same classes. A step costs one forward pass over labelled + 2 x unlabelled.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.alignment import Alignment, Prior
from tacita.semisup.base import SemiSupervised, require_classes
from tacita.tasks import Task
from tacita.views import Views


@method(
    "fixmatch",
    title="FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
    paper="https://arxiv.org/abs/2001.07685",
    year=2020,
    family="semisup",
    needs=("views",),
    labels="few",
    tasks=("classification",),
    summary="Classify from a few labels a class and many unlabelled samples of the same classes.",
    reuses=("views", "ema", "alignment"),
    claim="With few labels a class, unlabelled samples make the classifier clearly more accurate.",
)
class FixMatch(SemiSupervised):
    """Consistency between a weak and a strong view, where the weak view is confident (eq. 4).

    threshold: confidence from which a guess counts, tau (0.95, table 4).
    unlabelled_weight: weight of the unlabelled loss, lambda_u (1, table 4).
    unlabelled_ratio: unlabelled samples a labelled one in a step, mu (7, table 4).
    momentum: rate of the averaged weights that are kept; with the warm start of the official
        code, 0.99 suits runs of hundreds of steps, where the paper's 0.999 suits a million.
    alignment: which shares of classes guesses are brought to ("distribution alignment", ReMixMatch,
        section 3.1): equal ones, those of the labels, or as they come, which is the paper's method.
    weak, strong: view makers; default: those of the modality.

    Differs from the paper: guesses are aligned to equal shares of the classes by default, which the paper
    has as an addition only (table 5) and which does harm where shares are far from equal
    (`alignment="none"` is the paper's); the strong view is one affine warp with intensity, noise and erasing
    in place of RandAugment's list of image operations, so that it runs on a whole batch and on any
    image; the optimiser is AdamW on a cosine to zero.

    Raises `ConfigError` for a task that has no classes.
    """

    deaf = {"unlabelled_weight": 0.0}
    tiny = {"threshold": 0.05}  # else no guess of an untrained network counts

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
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
            require_classes("fixmatch", task),
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            weak=weak,
            strong=strong,
        )
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold={threshold} is not a probability.")
        self.threshold = threshold
        self.unlabelled_weight = unlabelled_weight
        self.alignment = Alignment(task.out_dim, prior=alignment)

    def prepare(self, data: Dataset) -> None:
        self.alignment.prepare(data)

    def loss(self, batch: SemiBatch) -> Losses:
        labelled = self.weak(batch.labelled)
        weak, strong = self.weak(batch.unlabelled), self.strong(batch.unlabelled)
        on_weak, on_labelled, on_strong = self.logits_of_guessed(weak, labelled, strong)

        q = self.alignment(on_weak.softmax(1))
        confidence, guesses = q.max(1)
        confident = (confidence >= self.thresholds(guesses)).float()
        supervised = self.supervised(on_labelled, labelled)
        # The mean is over the whole batch: what is not confident counts as zero (eq. 4).
        each = functional.cross_entropy(on_strong, guesses, reduction="none")
        unlabelled = self.unlabelled_weight * (confident * each).mean()
        if self.training:
            self.observe(batch.unlabelled.index, confidence, guesses, each.detach())
        metrics = {"confident": confident.mean(), "confidence": confidence.mean()}
        return Losses(metrics, supervised=supervised, unlabelled=unlabelled)

    def thresholds(self, guesses: Tensor) -> Tensor | float:
        """From which confidence a guess counts, `(B,)` where it depends on the guessed class."""
        return self.threshold

    def observe(self, index: Tensor, confidence: Tensor, guesses: Tensor, each: Tensor) -> None:
        """What a step showed of its unlabelled samples, for methods that remember it.

        each: `(B,)` cross-entropy of the strong view to the guess, before any mask.
        """
