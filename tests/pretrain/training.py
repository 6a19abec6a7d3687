"""A loop of ten lines for the tests of objectives, and the figure by which features are judged."""

from __future__ import annotations

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional

from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.objective import Objective
from tacita.tasks import UNLABELLED
from tests.helpers import digits

TRAIN, HELD_OUT = slice(0, 1200), slice(1200, None)
LABELLED = 100
"""How many of the training digits show their label to the nearest neighbours."""


def train_on_digits(objective: Objective, *, steps: int, rate: float, batch: int = 64) -> None:
    """Adam on random batches of the training digits; the learning rate rises for 30 steps."""
    x, _ = digits()
    optimiser = torch.optim.Adam(objective.parameters(), lr=rate)
    objective.start(steps)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 30)
        index = torch.randint(TRAIN.stop, (batch,))
        optimiser.zero_grad()
        objective(Batch(x[index], torch.full((batch,), UNLABELLED), index)).total.backward()
        optimiser.step()
        objective.after_step(step)


@torch.no_grad()
def neighbour_accuracy(encoder: Encoder) -> float:
    """Accuracy of 5 nearest neighbours among the labelled digits, on held-out ones."""
    x, y = digits()
    # Running statistics of an untrained encoder are fitted to the data, so that it is not beaten
    # for want of normalisation.
    encoder.train()
    for _ in range(30):
        encoder(x[:256])
    encoder.eval()
    features, unseen = encoder(x[:LABELLED]).pooled, encoder(x[HELD_OUT]).pooled
    neighbours = KNeighborsClassifier(5).fit(features.numpy(), y[:LABELLED].numpy())
    encoder.train()
    return float(neighbours.score(unseen.numpy(), y[HELD_OUT].numpy()))


@torch.no_grad()
def embedded(objective: Objective) -> torch.Tensor:
    """`(256, D)` embeddings of training digits, where the objective's loss acts."""
    x, _ = digits()
    index = torch.arange(256)
    return objective.anchors(Batch(x[index], torch.full((256,), UNLABELLED), index))


def spread(z: torch.Tensor) -> float:
    """Mean deviation of a feature on the sphere, as a share of the largest that is possible.

    1 is an even spread, 0 a collapse: `std(z / |z|) * sqrt(D)`, the gauge of SimSiam (figure 2).
    """
    return float(functional.normalize(z, dim=1).std(0).mean() * z.shape[1] ** 0.5)
