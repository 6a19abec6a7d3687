"""SimCSE: a text finds itself again among others, read twice with other units dropped.

Gao et al., "SimCSE: Simple Contrastive Learning of Sentence Embeddings", 2021, section 3 (unsupervised).
Dropout is the only augmentation, so nothing need be known of what leaves the meaning of a text alone.
Two encoder passes a step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.similarity import unit
from tacita.processes import gathered


@method(
    "simcse",
    title="SimCSE (unsupervised)",
    paper="https://arxiv.org/abs/2104.08821",
    year=2021,
    family="pretrain",
    needs=("tokens", "dropout"),
    labels="none",
    summary="Pretrains an encoder of texts without labels: two readings under dropout attract.",
    reuses=("similarity",),
)
class SimCSE(Objective[Batch]):
    """Contrast between two readings `h, h+` of a text and the second readings of the others (equation 4).

    temperature: sharpness of the contrast, tau.

    Raises `ConfigError` for an encoder without dropout, which reads a text the same twice, and for a batch
    of one text, which has no negatives.

    Differs from the paper: the encoder starts from wherever it is, not always from BERT.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 500,
        "batch_size": 64,
        "learning_rate": 3e-4,
        "weight_decay": 0.0,
    }

    def __init__(self, encoder: Encoder, *, temperature: float = 0.05) -> None:
        super().__init__()
        if not any(isinstance(part, nn.Dropout) and part.p > 0 for part in encoder.modules()):
            raise ConfigError(
                f"simcse reads a text twice under dropout, and {type(encoder).__name__} has none.",
                remedy="Choose encoder=text-transformer, whose dropout is 0.1.",
            )
        if not temperature > 0:
            raise ConfigError(
                f"temperature={temperature} is not above 0.", remedy="The default is 0.05."
            )
        self.encoder = encoder
        self.temperature = temperature
        # A layer on top during training only, as the authors do.
        self.projector = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.Tanh())

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "simcse", "which has no negatives")
        h, h_plus = gathered(self.anchors(batch)), gathered(self.anchors(batch))
        return Losses(contrast=simcse_loss(h, h_plus, self.temperature))

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def simcse_loss(h: Tensor, h_plus: Tensor, temperature: float) -> Tensor:
    """`-log(exp(sim(h_i, h+_i) / tau) / sum_j exp(sim(h_i, h+_j) / tau))`, the mean over `i`; sim = cosine.

    >>> h = torch.eye(4)
    >>> simcse_loss(h, h, 1.0).item() < simcse_loss(h, h.roll(1, 0), 1.0).item()
    True
    """
    h, h_plus = unit(h), unit(h_plus)
    with torch.autocast(h.device.type, enabled=False):
        logits = h @ h_plus.T / temperature  # (N, N)
    return functional.cross_entropy(logits, torch.arange(len(h), device=h.device))
