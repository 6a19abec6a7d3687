"""Semixup: an image, a view of it and its mixture with another are tied together, pair by pair.

Nguyen, Saarakkala, Blaschko and Tiulpin, "Semixup: In- and Out-of-Manifold Regularization for Deep
Semi-Supervised Knee Osteoarthritis Severity Grading from Plain Radiographs", IEEE TMI 2020, arXiv
2003.01944. Use it for few labels whose classes or grades shade into each other, as in medical
images. A step costs one pass over labelled + 3 x unlabelled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.catalog.cards import method
from tacita.data.batch import SemiBatch, of_all
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.consistency import Distance, consistency
from tacita.parts.mixup import draw_share, mixed, mixed_loss, require_alpha
from tacita.processes import gathered, own, randperm
from tacita.semisup.base import SemiSupervised, require_probabilities
from tacita.tasks import Task
from tacita.views import Views


@method(
    "semixup",
    title="Semixup: In- and Out-of-Manifold Regularization for Semi-Supervised Grading",
    paper="https://arxiv.org/abs/2003.01944",
    year=2020,
    family="semisup",
    needs=("views", "numbers"),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="Classes or grades that shade into each other, from a few labels and many unlabelled "
    "samples.",
    reuses=("views", "mixup", "consistency"),
    claim="With five labels a class, agreement on and off the data's manifold beats mixup on the labels "
    "alone.",
)
class Semixup(SemiSupervised):
    """Mixup on labels; `L_in`, `L_int` and `L_out` between three points a sample (section III).

    in_weight: of the agreement of a sample and a view of it (2, the authors' training script).
    interpolation_weight: of the agreement of a mixture and the mixed logits (4, the same).
    out_weight: of the agreement of a mixture and each version of its larger part (2, the same).
    alpha: of the Beta distribution of shares, one a batch (0.75).
    least_share: smallest share of a sample in its unlabelled mixture, without which tying the two
        would make no sense (0.55, the authors' code).
    distance: between predictions: "squared", or "kl".
    unlabelled_ratio: unlabelled samples a labelled one in a step (1).
    momentum: rate of the averaged weights that are kept; 0 keeps the last ones.
    views: view maker, T; default: the modality's strong views, as those of the supervised network are.

    Works for ordered grades too: cumulative logits are mixed, class probabilities compared.

    Differs from the paper: the logits of the other sample are those of the batch in another order, not
    run anew, which would only draw other dropout; any encoder in place of the paired patches of
    knees; averaged weights are kept in place of those best on a validation fold; the optimiser is
    AdamW on a cosine to zero.

    Raises `ConfigError` for a task without classes or grades, and for options that cannot be.

    >>> from tacita.encoders import build
    >>> from tacita.data.batch import InputSpec
    >>> from tacita.tasks import Ordinal
    >>> encoder = build("residual-cnn", InputSpec("images", (1, 8, 8)), width=4)
    >>> Semixup(encoder, Ordinal(("0", "1", "2", "3", "4"))).head[1].out_features
    4
    """

    deaf = {"in_weight": 0.0, "interpolation_weight": 0.0, "out_weight": 0.0}

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        in_weight: float = 2.0,
        interpolation_weight: float = 4.0,
        out_weight: float = 2.0,
        alpha: float = 0.75,
        least_share: float = 0.55,
        distance: Distance = "squared",
        unlabelled_ratio: int = 1,
        momentum: float = 0.99,
        views: Views | None = None,
    ) -> None:
        super().__init__(
            encoder,
            require_probabilities("semixup", task),
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            strong=views,
        )
        if not 0.5 <= least_share <= 1:
            raise ConfigError(
                f"least_share={least_share} is not from 0.5 to 1.", remedy="The paper's is 0.55."
            )
        self.in_weight = in_weight
        self.interpolation_weight = interpolation_weight
        self.out_weight = out_weight
        self.alpha = require_alpha(alpha)
        self.least_share = least_share
        self.distance: Distance = distance

    def loss(self, batch: SemiBatch) -> Losses:
        spec = self.encoder.spec
        labelled, x = self.strong(batch.labelled), self.strong(batch.unlabelled)
        all_labelled, everyone = of_all(labelled), of_all(x)
        l_order = own(randperm(len(labelled), x.x.device))
        order = own(randperm(len(x), x.x.device))
        l_share = draw_share(self.alpha, device=x.x.device)
        share = draw_share(self.alpha, least=self.least_share, device=x.x.device)
        x_m = mixed(x, everyone, order, share, spec)
        on_labelled, a, a_view, m = self.logits(
            mixed(labelled, all_labelled, l_order, l_share, spec), x, self.strong(x), x_m
        )
        # Logits are mixed, not probabilities, and gradients flow through every branch.
        a_mixed = torch.lerp(gathered(a)[order], a, share.to(a.dtype))
        return Losses(
            supervised=mixed_loss(
                self.task,
                on_labelled,
                labelled.y,
                all_labelled.y[l_order],
                l_share,
                labelled.weights,
                all_labelled.weights_at(l_order),
            ),
            in_manifold=self.in_weight * self.d(a_view, a),
            interpolation=self.interpolation_weight * self.d(m, a_mixed),
            out_of_manifold=self.out_weight * (self.d(a, m) + self.d(m, a_view)),
        )

    def d(self, u: Tensor, v: Tensor) -> Tensor:
        """How far the predictions of two `(B, out_dim)` logits are apart."""
        return consistency(self.task.probabilities(u), self.task.probabilities(v), self.distance)
