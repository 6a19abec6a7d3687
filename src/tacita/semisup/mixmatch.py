"""MixMatch: guesses averaged over views and sharpened, then everything mixed with everything.

Berthelot et al., "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019, arXiv
1905.02249. Use it when no guess is sure enough for a threshold: all of them count, the unsure ones as
they are. A step costs two forward passes over the views, one of them with a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, SemiBatch, of_all, together
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.consistency import RampUp, consistency
from tacita.parts.mixup import draw_share, mixed, require_alpha
from tacita.processes import gathered, kinds, own, randperm
from tacita.semisup.base import SemiSupervised, require_classes
from tacita.tasks import Task
from tacita.views import Views


@method(
    "mixmatch",
    title="MixMatch: A Holistic Approach to Semi-Supervised Learning",
    paper="https://arxiv.org/abs/1905.02249",
    year=2019,
    family="semisup",
    needs=("views", "numbers"),
    labels="few",
    tasks=("classification",),
    summary="Classify from a few labels a class and many unlabelled samples whose mixtures make sense.",
    reuses=("views", "ema", "mixup", "consistency"),
    claim="With two labels a class, sharpened guesses on unlabelled samples that are mixed with the "
    "labelled ones beat mixup on the labels alone in every seed, by 2.96 points where 3 were asked.",
)
class MixMatch(SemiSupervised):
    """Cross-entropy on mixed labelled views, squared error on mixed unlabelled ones (eqs. 2 to 5).

    guesses: views of an unlabelled sample whose predictions are averaged, K (2, section 3.5).
    temperature: of the sharpening, T (0.5, section 3.5).
    alpha: of the Beta distribution of shares, one a sample (0.75, section 3.5).
    unlabelled_weight: weight of the unlabelled loss after its rise, lambda_U. The paper tunes it a data
        set, 75 for CIFAR-10 (section 4.2); in runs of hundreds of steps 25 did better on digits, and
        75 could bring all guesses onto few classes. With a weight of 0 guesses count nowhere: labelled
        views are mixed with each other alone.
    ramp_up: share of the steps over which that weight rises along a line (the first 16,000 steps of the
        paper's runs, section 3.5).
    unlabelled_ratio: unlabelled samples a labelled one in a step (1, algorithm 1).
    momentum: rate of the averaged weights that are kept; 0.99 with a warm start suits runs of hundreds
        of steps, where the paper's 0.999 suits a million.
    views: view maker; default: the modality's strong views, as those of the supervised network are.

    Differs from the paper: the optimiser is AdamW on a cosine to zero; all views pass together, so
    that batch norm needs no interleaving; a step's unlabelled loss is a mean over all `K B` views.

    Raises `ConfigError` for a task that has no classes and for options that cannot be.
    """

    deaf = {"unlabelled_weight": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        guesses: int = 2,
        temperature: float = 0.5,
        alpha: float = 0.75,
        unlabelled_weight: float = 25.0,
        ramp_up: float = 0.4,
        unlabelled_ratio: int = 1,
        momentum: float = 0.99,
        views: Views | None = None,
    ) -> None:
        super().__init__(
            encoder,
            require_classes("mixmatch", task),
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            strong=views,
        )
        if guesses < 1 or not temperature > 0:
            raise ConfigError(
                f"guesses={guesses} must be 1 or more, and temperature={temperature} above 0.",
                remedy="The paper has 2 and 0.5.",
            )
        self.guesses = guesses
        self.temperature = temperature
        self.alpha = require_alpha(alpha)
        self.unlabelled_weight = unlabelled_weight
        self.ramp = RampUp(ramp_up, shape="linear")

    def start(self, steps: int) -> None:
        self.ramp.start(steps)

    def loss(self, batch: SemiBatch) -> Losses:
        labelled = self.strong(batch.labelled)
        views = [self.strong(batch.unlabelled) for _ in range(self.guesses)]
        q = self.guess(views)

        # Algorithm 1: every view and its (guessed) label is mixed with one drawn from all of them.
        parts = [labelled, *views]
        whole, others = together(parts), together([of_all(part) for part in parts])
        truth = functional.one_hot(labelled.y, q.shape[1]).to(q.dtype)
        counted = truth if labelled.weights is None else truth * labelled.weights[:, None]
        guesses = [gathered(q)] * self.guesses
        with kinds(*map(len, parts)):
            order = randperm(len(whole), q.device)
            if self.unlabelled_weight == 0:
                first = len(gathered(labelled.index))
                order = torch.cat([order[order < first], order[order >= first]])
            order = own(order)
            share = own(draw_share(self.alpha, len(others), device=q.device)).to(q.dtype)
            (logits,) = self.logits(mixed(whole, others, order, share, self.encoder.spec))
            # In what is learnt of labels, each counts by its sample's weight; a guess counts once.
            labels, counted = (
                torch.lerp(each[order], own(each), share[:, None])
                for each in (
                    torch.cat([gathered(truth), *guesses]),
                    torch.cat([gathered(counted), *guesses]),
                )
            )

        known = len(labelled)
        supervised = functional.cross_entropy(logits[:known], counted[:known])
        guessed = consistency(logits[known:].softmax(1), labels[known:])
        metrics = {"confidence": q.amax(1).mean(), "ramp_up": self.ramp.factor.clone()}
        return Losses(
            metrics,
            supervised=supervised,
            unlabelled=self.unlabelled_weight * self.ramp.factor * guessed,
        )

    @torch.no_grad()
    def guess(self, views: list[Batch]) -> Tensor:
        """`(B, K)` sharpened mean of the predictions for several views of the same samples (eq. 6)."""
        p = torch.stack([logits.softmax(1) for logits in self.logits(*views)]).mean(0)
        return sharpened(p, self.temperature)

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.ramp.after_step(step)


def sharpened(p: Tensor, temperature: float) -> Tensor:
    """Class probabilities `(B, K)` to the power `1 / temperature`, renormalised (eq. 7).

    >>> sharpened(torch.tensor([[0.75, 0.25]]), 0.5)
    tensor([[0.9000, 0.1000]])
    """
    return (p.log() / temperature).softmax(1)
