"""Linear probe: a linear head on frozen features, the standard test of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping

from tacita.catalog.cards import method
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.learner import NetworkLearner, features
from tacita.parts.heads import fit_linear_head
from tacita.tasks import Task
from tacita.tasks.heads import linear_head


@method(
    "linear-probe",
    title="Linear probe",
    family="adapt",
    labels="few",
    summary="A linear head on the frozen features of an encoder: quick, and hard to overfit.",
)
class LinearProbe(NetworkLearner):
    """Logistic or ridge regression (by the task's loss) on standardised frozen features.

    penalty: strength of the L2 penalty, scikit-learn's `1 / C` (its default, 1).
    """

    weighs = True

    def __init__(self, encoder: Encoder, *, penalty: float = 1.0) -> None:
        self.encoder = encoder
        self.penalty = penalty

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = linear_head(self.encoder.dim, task.out_dim)

    def _fit(self, data: Dataset, seed: int) -> None:
        known = data.labelled.nonzero().squeeze(1)
        values = features(self.encoder, data)
        weights = None if data.weights is None else data.weights[known]
        self.head = fit_linear_head(values, known, data.y[known], data.task, self.penalty, weights)
        self.encoder.eval()
