"""Mean Teacher: a network agrees with the running average of itself on another view.

Tarvainen and Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results", NeurIPS 2017, arXiv 1703.01780. Use it when guesses
are too unsure for thresholds, and for ordered grades. A step costs a forward and backward pass over
labelled + unlabelled samples, and the teacher's forward pass over the unlabelled ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.catalog.cards import method
from tacita.data.batch import Batch, SemiBatch
from tacita.encoder import Encoder
from tacita.objective import Losses
from tacita.parts.consistency import Distance, RampUp, consistency
from tacita.semisup.base import SemiSupervised, require_probabilities
from tacita.tasks import Task
from tacita.views import Views


@method(
    "mean-teacher",
    title="Mean teachers are better role models: weight-averaged consistency targets",
    paper="https://arxiv.org/abs/1703.01780",
    year=2017,
    family="semisup",
    needs=("views",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="Classes or grades from a few labels and many unlabelled samples that change little when "
    "augmented.",
    reuses=("views", "ema", "consistency"),
    claim="With few labels a class, agreeing with one's own running average on unlabelled samples makes "
    "the classifier more accurate.",
)
class MeanTeacher(SemiSupervised):
    """Classification cost on labels, consistency cost `J` between student and teacher on all (section 2).

    consistency_weight: of the consistency cost after its rise (100 for squared distances that are a
        mean over classes, in the authors' code).
    ramp_up: share of the steps over which the weight rises as `exp(-5 (1 - t)^2)` (appendix B.1).
    distance: between the two predictions: "squared", the paper's choice, or "kl" (section 3.4).
    unlabelled_ratio: unlabelled samples a labelled one in a step.
    momentum: rate of the teacher, which is what is kept; the paper's 0.99 of the rise, with a warm
        start, suits runs of hundreds of steps, where its later 0.999 suits a hundred thousand.
    weak, strong: view makers of the teacher, and of the student; default: those of the modality.

    Works for ordered grades too, whose class probabilities come from the task.

    Differs from the paper: the teacher's view is weaker than the student's, where the paper draws both
    alike (`weak` and `strong` may be one): from the house's strong views a teacher of few steps guesses
    too badly to be followed (measured on digits). The optimiser is AdamW on a cosine to zero, not Adam
    with rates and momenta that rise and fall.

    Raises `ConfigError` for a task without classes or grades, and a share that is none.

    >>> from tacita.encoders import build
    >>> from tacita.data.batch import InputSpec
    >>> from tacita.tasks import Ordinal
    >>> encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=4)
    >>> MeanTeacher(encoder, Ordinal(("none", "mild", "severe"))).head[1].out_features
    2
    """

    deaf = {"consistency_weight": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        consistency_weight: float = 100.0,
        ramp_up: float = 0.4,
        distance: Distance = "squared",
        unlabelled_ratio: int = 7,
        momentum: float = 0.99,
        weak: Views | None = None,
        strong: Views | None = None,
    ) -> None:
        super().__init__(
            encoder,
            require_probabilities("mean-teacher", task),
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            weak=weak,
            strong=strong,
        )
        self.consistency_weight = consistency_weight
        self.distance: Distance = distance
        self.ramp = RampUp(ramp_up)

    def start(self, steps: int) -> None:
        self.ramp.start(steps)

    def loss(self, batch: SemiBatch) -> Losses:
        labelled, seen = self.strong(batch.labelled), self.strong(batch.unlabelled)
        targets = self.targets(self.weak(batch.unlabelled))
        on_labelled, on_unlabelled = self.logits(labelled, seen)
        p = self.task.probabilities(on_unlabelled)
        weight = self.consistency_weight * self.ramp.factor
        metrics = {"ramp_up": self.ramp.factor.clone(), "agreement": agreement(p.detach(), targets)}
        return Losses(
            metrics,
            supervised=self.supervised(on_labelled, labelled),
            consistency=weight * consistency(p, targets, self.distance),
        )

    @torch.no_grad()
    def targets(self, view: Batch) -> Tensor:
        """`(B, K)` probabilities that the teacher gives, with noise and batch statistics of its own."""
        encoder, head = self.average.teacher[:2]
        return self.task.probabilities(head(encoder(view).pooled))

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.ramp.after_step(step)


def agreement(p: Tensor, q: Tensor) -> Tensor:
    """The share of samples of which two predictions `(B, K)` name the same class."""
    return (p.argmax(1) == q.argmax(1)).float().mean()
