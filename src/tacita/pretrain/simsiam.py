"""SimSiam: one view predicts the embedding of the other, which for its part stands still.

Chen and He, "Exploring Simple Siamese Representation Learning", 2021. Neither negatives nor a
teacher: the stop-gradient alone keeps embeddings from collapsing, so it works with small batches.
Two encoder passes a step.
"""

from __future__ import annotations

from torch import Tensor

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_samples
from tacita.parts.projector import projector as make_projector
from tacita.parts.similarity import negative_cosine
from tacita.views import Views, views_of


@method(
    "simsiam",
    title="SimSiam",
    paper="https://arxiv.org/abs/2011.10566",
    year=2021,
    family="pretrain",
    needs=("views",),
    labels="none",
    summary="Pretrains an encoder without labels: a view predicts the other, without negatives.",
    reuses=("projector", "views", "similarity"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder.",
)
class SimSiam(Objective[Batch]):
    """A predictor and a stop-gradient between the embeddings of two views (equation 2).

    projector: widths of the projector's layers; a batch norm without scale and shift follows the
        last, as in the paper.
    bottleneck: hidden width of the predictor; a quarter of the embeddings', as in the paper.
    views: makes a view of a batch; by default the strong ones of the modality.

    The batch norms are part of the method and see one view at a time. Raises `ConfigError` for a
    batch of one sample, which they cannot normalise.

    Differs from the paper: the predictor's learning rate falls with the others' rather than staying
    constant (section 4.2: constant is slightly better); AdamW rather than SGD; a projector of two
    layers 256 wide rather than three of 2048; the predictor's last layer has no bias.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: tuple[int, ...] = (256, 256),
        bottleneck: int = 64,
        views: Views | None = None,
    ) -> None:
        super().__init__()
        if bottleneck < 1:
            raise ConfigError(
                f"bottleneck={bottleneck} is not a layer width.", remedy="The default is 64."
            )
        self.encoder = encoder
        self.projector = make_projector(encoder.dim, projector, norm_output=True)
        self.predictor = make_projector(projector[-1], (bottleneck, projector[-1]))
        self.views = views_of(views, encoder.spec, "strong")

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "simsiam", "which its batch norms cannot normalise")
        z_a = self.anchors(self.views(batch))
        z_b = self.anchors(self.views(batch))
        p_a, p_b = self.predictor(z_a), self.predictor(z_b)
        return Losses(prediction=simsiam_loss(p_a, p_b, z_a, z_b))

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector(self.encoder(batch).pooled)


def simsiam_loss(p_a: Tensor, p_b: Tensor, z_a: Tensor, z_b: Tensor) -> Tensor:
    """`D(p_a, stopgrad(z_b)) / 2 + D(p_b, stopgrad(z_a)) / 2` (equation 2), all `(B, D)`.

    `D` is the negative cosine, so that the loss lies between -1 and 1.

    >>> import torch
    >>> z = torch.eye(3)
    >>> simsiam_loss(z, z, z, z).item()
    -1.0
    """
    return negative_cosine(p_a, z_b.detach()) / 2 + negative_cosine(p_b, z_a.detach()) / 2
