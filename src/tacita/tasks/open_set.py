"""Open-set classification: one of the known classes, or none of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from tacita.catalog.tasks import task
from tacita.tasks.base import full_precision
from tacita.tasks.classification import Classification
from tacita.tasks.labels import UNLABELLED
from tacita.values import Values, as_tensor

UNKNOWN = "unknown"
"""The label, and the answer, for samples of no known class, in open-set tasks."""


@task("open-set", learnt_as="classification")
@dataclass(frozen=True)
class OpenSet(Classification):
    """One of the known classes, or "unknown": `classes` are the K known ones, `unknown` has code K.

    Logits may have K + 1 columns, of which the last is the unknown's, or K, of a classifier that knows
    of no unknown. To the latter one is added, so that the answer is "unknown" where the largest
    softmax is below a `threshold` (Hendrycks and Gimpel, 2017, arXiv 1610.02136): see `opened`.

    The label "unknown" is only for scoring. Where training samples have it, they count as unlabelled.

    >>> task = OpenSet(("cat", "dog"))
    >>> task.decode(task.predict(torch.tensor([[4.0, 0.0], [0.1, 0.0]])))
    ['cat', 'unknown']
    >>> task.decode(task.predict(torch.tensor([[0.2, 0.1, 0.0]]))), task.answers
    (['cat'], ('cat', 'dog', 'unknown'))
    """

    metric = "balanced_accuracy"
    ranking = ("accuracy",)
    lower = ()
    sensitive = ""
    blends = False  # Models that know of an unknown and those whose answer a threshold makes have no mean.
    further = (UNKNOWN,)

    @property
    def threshold(self) -> float:
        """From which softmax on a class is known: half-way from chance, 1 / K, to certainty."""
        return (1 + 1 / len(self.classes)) / 2

    def opened(self, logits: Tensor) -> Tensor:
        """`(B, K)` logits to `(B, K + 1)`, by the rule of the largest softmax; those of K + 1 stay.

        The unknown's logit is the largest one mirrored about `log(threshold sum_k exp(logit_k))`: it is
        above all others where the largest softmax is below the threshold, and falls as that grows.
        """
        logits = full_precision(logits)
        if logits.shape[1] > len(self.classes):
            return logits
        middle = logits.logsumexp(1, keepdim=True) + math.log(self.threshold)
        return torch.cat([logits, 2 * middle - logits.amax(1, keepdim=True)], 1)

    def predict(self, logits: Tensor) -> Tensor:
        return self.opened(logits).argmax(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """`(B, K + 1)`, the last column that of "unknown"."""
        return self.opened(logits).float().softmax(1)

    def learnable(self, y: Values) -> Values:
        known = as_tensor(y)
        return torch.where(known < len(self.classes), known, UNLABELLED)

    def chance(self) -> dict[str, float]:
        return {}

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        """Balanced accuracy over known classes and "unknown", as far as they are among the labels.

        Further, as far as there are such samples: `closed_set_accuracy` of the known ones among the
        known classes alone, and `unknown_auroc`, how well the probability of "unknown" tells the
        unknown from the known (0.5 is chance).
        """
        predicted, known = self.predict(logits), y < len(self.classes)
        right = (predicted == y).float()
        recall = [right[y == code].mean().item() for code in torch.unique(y)]
        scores = {"balanced_accuracy": float(np.mean(recall)), "accuracy": right.mean().item()}
        if bool(known.any()):
            closed = logits[known, : len(self.classes)].argmax(1)
            scores["closed_set_accuracy"] = (closed == y[known]).float().mean().item()
        if bool(known.any()) and not bool(known.all()):
            # In double precision and as a logit: shares near 0 and 1 would be ties.
            opened = self.opened(logits).double()
            odds = opened[:, -1] - opened[:, :-1].logsumexp(1)
            scores["unknown_auroc"] = float(roc_auc_score(~known, odds))
        return scores
