"""Samples far from all that is known, by their nearest neighbours in an encoder's feature space.

Sun, Ming, Zhu and Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022. It asks
nothing of how features are distributed, and nothing of the head; it finds what is of another kind, and
not what was made to look alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.audit.poison import Detector
from tacita.catalog.cards import method
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.learner import features
from tacita.parts.similarity import unit

_ROWS = 1024


@method(
    "deep-neighbours",
    title="Deep nearest neighbours",
    paper="https://arxiv.org/abs/2204.06507",
    year=2022,
    family="audit",
    labels="none",
    summary="Finds samples of another kind than those that are known, by the distance to the k-th nearest.",
)
class DeepNeighbours(Detector):
    """The score is the distance of unit features to the `k`-th nearest of the known samples.

    encoder: trained on samples like the known ones; it is not changed.
    known: samples that are trusted, normalised as the encoder was taught.
    k: by default 50, as in the paper for CIFAR-10; with few samples take fewer.

    Raises `ConfigError` unless there are `k` known samples, normalised.

    >>> from tacita.encoders import build
    >>> from tacita.modalities.load import load
    >>> digits = load("digits").normalised()
    >>> encoder = build("residual-cnn", digits.spec, width=4)
    >>> DeepNeighbours(encoder, digits.subset(torch.arange(100)), k=5).scores(digits).shape
    torch.Size([1797])
    """

    def __init__(self, encoder: Encoder, known: Dataset, *, k: int = 50) -> None:
        if known.normaliser is None:
            raise ConfigError(
                f"{known.source}: the known samples are not normalised.",
                remedy="Normalise them as the encoder was taught: data.normalised(...).",
            )
        if not 1 <= k <= len(known):
            raise ConfigError(
                f"k={k} neighbours of {len(known)} known samples.",
                remedy="Give a number from 1 to that of the samples.",
            )
        self.encoder = encoder
        self.k = k
        self.normaliser = known.normaliser
        self.memory = unit(features(encoder, known))

    def scores(self, data: Dataset) -> Tensor:
        found = unit(features(self.encoder, data.normalised(self.normaliser)))
        blocks = (found[start : start + _ROWS] for start in range(0, len(found), _ROWS))
        return torch.cat([self._distances(block) for block in blocks])

    def _distances(self, rows: Tensor) -> Tensor:
        return torch.cdist(rows, self.memory).kthvalue(self.k).values
