"""Transformation prediction: each sensor is warped in one of six ways, and the encoder tells which.

Saeed et al., "Multi-task Self-Supervised Learning for Human Activity Detection", 2019, in the form of
Corponi et al., 2024: every channel is transformed by itself and has its own answer. For recordings of
sensors; a step costs what a supervised one does.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, hide_padding
from tacita.modalities.series.sensor_views import TRANSFORMATIONS, SensorViews
from tacita.objective import Losses, Objective
from tacita.tasks import full_precision


@method(
    "transform-prediction",
    title="Transformation prediction",
    paper="https://arxiv.org/abs/2311.04215",
    year=2024,
    family="pretrain",
    needs=("sensors",),
    labels="none",
    summary="Pretrains on recordings of sensors, by telling how each of them was transformed.",
    reuses=("views", "rates"),
)
class TransformPrediction(Objective[Batch]):
    """Cross-entropy of six transformations a channel, the mean over samples and channels.

    The six are those of `tacita.modalities.series.sensor_views`: none, a warp of magnitude, a warp of time,
    four pieces in another order, a part stretched to the whole, and noise. The metric is the share of them
    that is told; by chance it is a sixth.

    Differs from the paper: a linear head on the pooled features rather than an MLP a second; the warps
    are those of Um et al., 2017.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 2000,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    }

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        encoder.require(encoder.spec)
        self.encoder = encoder
        self.views = SensorViews(encoder.spec)
        self.answer = nn.Linear(encoder.dim, len(self.views.rates) * len(TRANSFORMATIONS))

    def loss(self, batch: Batch) -> Losses:
        clean = batch.with_x(hide_padding(batch.x, batch.mask))
        kinds = self.views.draw(len(batch), batch.x.device)
        view = self.views.apply_kinds(clean, kinds)
        logits = self.logits(view)
        right = (logits.detach().argmax(2) == kinds).float().mean()
        return Losses({"accuracy": right}, transformation=transformation_loss(logits, kinds))

    def logits(self, batch: Batch) -> Tensor:
        """`(B, channels, 6)`: what each channel was transformed by."""
        answers = self.answer(self.encoder(batch).pooled)
        return answers.unflatten(1, (-1, len(TRANSFORMATIONS)))


def transformation_loss(logits: Tensor, kinds: Tensor) -> Tensor:
    """Cross-entropy of `logits (B, channels, K)` with `kinds (B, channels)`, in float32.

    >>> import torch
    >>> loss = transformation_loss(torch.zeros(2, 3, 6), torch.zeros(2, 3, dtype=torch.int64))
    >>> torch.isclose(loss, torch.tensor(6.0).log()).item()
    True
    """
    return functional.cross_entropy(full_precision(logits).flatten(0, 1), kinds.flatten())
