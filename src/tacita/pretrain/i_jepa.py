"""I-JEPA: from one large block of an image, a teacher's tokens of other blocks are predicted.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture",
2023. Needs no views, and predicts features rather than pixels, so that nothing is spent on detail.
A step costs the teacher's pass over all tokens, the student's over half of them, and a narrow
predictor's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, TokenEncoder, hide_padding, require_tokens
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.blocks import draw_blocks, positions_of
from tacita.parts.ema import EMA
from tacita.parts.jepa import LatentPredictor, context_tokens, target_tokens
from tacita.processes import mean_of
from tacita.tasks import full_precision


@method(
    "i-jepa",
    title="I-JEPA",
    paper="https://arxiv.org/abs/2301.08243",
    year=2023,
    family="pretrain",
    needs=("patches", "neighbours"),
    labels="none",
    summary="Pretrains an encoder without labels or views, by predicting a teacher's hidden tokens.",
    reuses=("transformer", "masking", "ema", "jepa"),
    claim="Features of held-out digits have far better neighbours and a better linear probe than those "
    "of the untrained ViT, once there are some thousand steps.",
)
class IJEPA(Objective[Batch]):
    """Latent prediction under any encoder of tokens: `vit`, or of series, `series-transformer`.

    targets: blocks to predict (4).
    target_scale: their share of the tokens, drawn once a batch; they may overlap.
    target_aspect: their height by their width, each as a share of the grid's.
    context_scale: share of the block to predict from, before the targets are taken out of it.
    predictor_dim: width of the predictor, which is dropped afterwards.
    predictor_depth: number of its blocks.
    predictor_heads: number of its attention heads.
    momentum: the teacher's rate at the start; it rises to 1 along a line. The paper's 0.996 suits
        hundreds of thousands of steps: runs of thousands need a teacher that follows sooner.

    The loss is no gauge: it falls while only places are learnt, and rises as the targets come to hold
    what is in the image. On digits that took 300 to 500 steps at a rate of 3e-3, and twice as many
    were not enough at 1e-3; features of shorter runs were no better than random ones.

    The teacher's encoder is what is kept. Blocks of a series are spans; a series of a single token
    has nothing to predict. A loop of one's own calls `start(steps)` and `after_step(step)`. Raises
    `ConfigError` for an encoder without tokens or with one, and for ranges that are empty or not
    shares.

    Differs from the paper: a predictor of 2 blocks of width 64 rather than 12 of 384, which gets its
    positions as a linear map of the encoder's; no random crop; the loss is smooth L1, as in the
    authors' code, where the text has the squared distance; samples of a batch keep contexts of
    their own sizes, which that code cuts to the smallest.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 2000,
        "batch_size": 128,
        "learning_rate": 3e-3,  # at 1e-3 a short run hardly leaves the places behind
        "weight_decay": 0.05,
    }
    encoder: TokenEncoder

    def __init__(
        self,
        encoder: Encoder,
        *,
        targets: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        target_aspect: tuple[float, float] = (0.75, 1.5),
        context_scale: tuple[float, float] = (0.85, 1.0),
        predictor_dim: int = 64,
        predictor_depth: int = 2,
        predictor_heads: int = 4,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        encoder = require_tokens(encoder, "i-jepa")
        if not 1 <= targets <= 64:
            raise ConfigError(f"targets={targets} is not from 1 to 64.", remedy="The default is 4.")
        _require_range("target_scale", target_scale, 1.0)
        _require_range("context_scale", context_scale, 1.0)
        _require_range("target_aspect", target_aspect, 100.0)
        self.encoder = encoder
        self.targets = targets
        self.target_scale = target_scale
        self.target_aspect = target_aspect
        self.context_scale = context_scale
        self.predictor = LatentPredictor(
            encoder.dim, dim=predictor_dim, depth=predictor_depth, heads=predictor_heads
        )
        self.average = EMA(encoder, momentum=momentum, rise="linear")

    def start(self, steps: int) -> None:
        self.average.start(steps)

    def loss(self, batch: Batch) -> Losses:
        x, mask = hide_padding(batch.x, batch.mask), self.encoder.token_mask(batch.mask)
        rows, columns = self.encoder.grid
        if mask is None:
            valid = torch.ones(len(batch), rows * columns, dtype=torch.bool, device=x.device)
        else:
            valid, columns = mask, mask.shape[1]
        context, targets = draw_blocks(
            valid,
            (rows, columns),
            targets=self.targets,
            target_scale=self.target_scale,
            target_aspect=self.target_aspect,
            context_scale=self.context_scale,
        )
        context_at, context_valid = positions_of(context)
        target_at, target_valid = positions_of(targets)
        # The teacher first: what its pass takes is free again when the student's is kept.
        target = target_tokens(self.average.teacher, x, target_at, mask)
        seen = context_tokens(self.encoder, x, context_at, context_valid)
        positions = self.encoder.positions
        predicted = self.predictor(
            seen, context_at, target_at, positions, context_valid, target_valid
        )
        return Losses(prediction=i_jepa_loss(predicted, target, target_valid))

    def after_step(self, step: int) -> None:
        self.average.update(self.encoder, step)

    def finish(self) -> None:
        """Keep the teacher's weights, which the paper evaluates."""
        self.encoder.load_state_dict(self.average.teacher.state_dict())


def i_jepa_loss(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Smooth L1 distance of predicted and target tokens `(B, M, n, D)`, mean over the `valid (B, M, n)`.

    In float32. No gradient flows into the targets; zero where nothing is to be predicted.

    >>> target = torch.zeros(1, 1, 2, 3)
    >>> i_jepa_loss(target + 2, target, torch.tensor([[[True, False]]])).item()
    1.5
    """
    error = functional.smooth_l1_loss(
        full_precision(predicted), full_precision(target.detach()), reduction="none"
    )
    return mean_of((error.mean(3) * valid).sum(), valid.sum())


def _require_range(name: str, bounds: tuple[float, float], most: float) -> None:
    if not 0 < bounds[0] <= bounds[1] <= most:
        raise ConfigError(
            f"{name}={tuple(bounds)} is not a range between 0 and {most:g}.",
            remedy="Give the lowest and the highest, for example 0.15 and 0.2.",
        )
