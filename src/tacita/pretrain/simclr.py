"""SimCLR: two views of a sample find each other among the views of all other samples in a batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020. The
other samples are its negatives, so it gains from large batches. Two encoder passes a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.projector import projector as make_projector
from tacita.parts.similarity import unit
from tacita.processes import gathered
from tacita.views import Views, views_of


@method(
    "simclr",
    title="SimCLR",
    paper="https://arxiv.org/abs/2002.05709",
    year=2020,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: views of a sample attract, other samples repel.",
    reuses=("projector", "views", "similarity"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder.",
)
class SimCLR(Objective[Batch]):
    """Contrast between two views of a sample and the views of the other samples in the batch.

    temperature: sharpness of the contrast, tau; the paper has 0.1 for ImageNet and 0.5 for CIFAR-10
        (appendix B.9), and 0.2 between them suits batches of a hundred or so.
    projector: widths of the projector's layers; the last, 128, is the paper's.
    views: makes a view of a batch; by default the strong ones of the modality.

    Raises `ConfigError` for a batch of one sample, which has no negatives.

    Differs from the paper: each view passes the networks apart, with batch-norm statistics of its
    own (in the authors' code both are one batch; a pass of half the size is faster on a CPU, whose
    caches hold it); AdamW rather than LARS; a hidden layer of 256 rather than 2048.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 1e-6,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.2,
        projector: tuple[int, ...] = (256, 128),
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(
                f"temperature={temperature} is not above 0.", remedy="The default is 0.2."
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector)
        self.views = views_of(views, encoder.spec, "strong")
        self.temperature = temperature

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "simclr", "which has no negatives")
        z_a = gathered(self.anchors(self.views(batch)))
        z_b = gathered(self.anchors(self.views(batch)))
        return Losses(contrast=nt_xent_loss(z_a, z_b, self.temperature))

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def nt_xent_loss(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (equation 1), over the 2N rows of `z_a, z_b (N, D)`.

    `l_i = -log(exp(cos(z_i, z_j) / temperature) / sum_{k != i} exp(cos(z_i, z_k) / temperature))`,
    `j` being the other view of `i`, and the mean of it. In float32, as every softmax.

    >>> z = torch.ones(4, 3)
    >>> torch.isclose(nt_xent_loss(z, z, 0.5), torch.tensor(7.0).log()).item()  # 2N - 1 candidates
    True
    """
    z = unit(torch.cat([z_a, z_b]))
    with torch.autocast(z.device.type, enabled=False):
        logits = z @ z.T / temperature  # (2N, 2N)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = torch.arange(len(z), device=z.device).roll(len(z_a))
    return functional.cross_entropy(logits.masked_fill(itself, -torch.inf), positive)
