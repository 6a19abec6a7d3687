"""T-JEPA: from some columns of a row, a teacher's tokens of other columns are predicted.

Thimonier et al., "T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data", 2025. For
tables, of which nobody can say what leaves a row's meaning unchanged: it needs no views. A step costs
the teacher's pass over all columns, the student's over a few, and a narrow predictor's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, TokenEncoder, require_tokens
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.ema import EMA
from tacita.parts.jepa import LatentPredictor, context_tokens, target_tokens
from tacita.processes import alike, rand
from tacita.tasks import full_precision

Range = tuple[float, float]


@method(
    "t-jepa",
    title="T-JEPA",
    paper="https://arxiv.org/abs/2410.05016",
    year=2025,
    family="pretrain",
    needs=("columns",),
    labels="none",
    summary="Pretrains an encoder of table rows without labels, by predicting columns from others.",
    reuses=("transformer", "masking", "ema", "jepa", "ft-transformer"),
    claim="A linear probe of its tokens beats one of the raw columns by 4 points and one of an untrained "
    "encoder by 1, on pen-based digits with 30 labels a class; a [REG] token made no difference there.",
)
class TJEPA(Objective[Batch]):
    """Latent prediction of columns, under `ft-transformer` or another encoder of columns as tokens.

    targets: sets of columns to predict (4), each drawn apart from the others.
    context: share of the columns to predict from, between its lowest and highest; one at least.
    target: share of the columns in a set of targets, likewise.
    predictor_dim: width of the predictor, which is dropped afterwards.
    predictor_depth: number of its blocks.
    predictor_heads: number of its attention heads.
    momentum: the teacher's rate at the start; it rises to 1 along a line. The paper's 0.996 suits
        long runs: those of hundreds of steps need a teacher that follows sooner.

    The teacher's encoder is what is kept. Its features are the mean of the tokens; `Flattened` gives
    the tokens end to end, as the paper's downstream models read them. The paper's [REG] tokens are
    the `registers` of `ft-transformer`: always among the context, never a target. A missing number
    is read as its column's mean and a missing category as a category; neither has a mask vector.
    Raises `ConfigError` for an encoder without tokens, a single column, or shares that leave no
    room for one another.

    Differs from the paper: pre-norm blocks, no dropout; the predictor has 2 blocks of width 32, gets
    its positions as a linear map of the columns' vectors and sees the columns' tokens alone, not the
    registers'. Differs from the authors' code: there a mask's numbers run over [REG] and all columns
    but the last, so that [REG] can be hidden and the last column is never drawn, and the four sets of
    targets are one and the same.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    }
    encoder: TokenEncoder

    def __init__(
        self,
        encoder: Encoder,
        *,
        targets: int = 4,
        context: tuple[float, float] = (0.1, 0.4),
        target: tuple[float, float] = (0.15, 0.5),
        predictor_dim: int = 32,
        predictor_depth: int = 2,
        predictor_heads: int = 4,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        encoder = require_tokens(encoder, "t-jepa")
        if not 1 <= targets <= 64:
            raise ConfigError(f"targets={targets} is not from 1 to 64.", remedy="The default is 4.")
        for name, share in (("context", context), ("target", target)):
            if not 0 < share[0] <= share[1] < 1:
                raise ConfigError(
                    f"{name}={tuple(share)} is not a range between 0 and 1.",
                    remedy="Give the lowest and the highest share, for example 0.1 and 0.4.",
                )
        columns = encoder.positions.shape[0]
        if bounds(context, columns)[0] + bounds(target, columns)[0] > columns:
            raise ConfigError(
                f"context={tuple(context)} and target={tuple(target)} take more than the {columns} "
                "columns that there are.",
                remedy="Lower the lowest share of one of them.",
            )
        self.encoder = encoder
        self.targets = targets
        self.context = context
        self.target = target
        self.predictor = LatentPredictor(
            encoder.dim, dim=predictor_dim, depth=predictor_depth, heads=predictor_heads
        )
        self.average = EMA(encoder, momentum=momentum, rise="linear")

    def start(self, steps: int) -> None:
        self.average.start(steps)

    def loss(self, batch: Batch) -> Losses:
        positions = self.encoder.positions
        context_at, target_at = draw_columns(
            len(batch),
            positions.shape[0],
            targets=self.targets,
            context=self.context,
            target=self.target,
            device=batch.x.device,
        )
        # The teacher first: what its pass takes is free again when the student's is kept.
        target = target_tokens(self.average.teacher, batch.x, target_at)
        seen = context_tokens(self.encoder, batch.x, context_at)
        predicted = self.predictor(seen, context_at, target_at, positions)
        return Losses(prediction=t_jepa_loss(predicted, target))

    def after_step(self, step: int) -> None:
        self.average.update(self.encoder, step)

    def finish(self) -> None:
        """Keep the teacher's weights, whose tokens the paper's downstream models read."""
        self.encoder.load_state_dict(self.average.teacher.state_dict())


class ColumnDraw(NamedTuple):
    """Shapes: `context (B, n_c)` and `targets (B, M, n_t)` int64 columns; none of a row in both."""

    context: Tensor
    targets: Tensor


def draw_columns(
    samples: int,
    columns: int,
    *,
    targets: int = 4,
    context: Range = (0.1, 0.4),
    target: Range = (0.15, 0.5),
    device: torch.device | None = None,
) -> ColumnDraw:
    """For each row a subset of the columns to see, and `targets` subsets of the others to predict.

    Sizes are whole numbers drawn once for the batch, each as likely as any other between the lowest
    and the highest share; that of the targets has the room that the context leaves. Every subset
    of a size is as likely as any other, and the sets of targets are independent and may overlap.

    >>> context, sets = draw_columns(3, 10, context=(0.4, 0.4), target=(0.5, 0.5))
    >>> context.shape, sets.shape
    (torch.Size([3, 4]), torch.Size([3, 4, 5]))
    """
    least, most = bounds(target, columns)
    low, high = bounds(context, columns)
    seen = _between(low, min(high, columns - least))
    hidden = _between(least, min(most, columns - seen))
    order = rand(samples, columns, device=device).argsort(1)
    others = order[:, None, seen:].expand(-1, targets, -1)
    drawn = rand(*others.shape, device=device).argsort(2)[:, :, :hidden]
    return ColumnDraw(order[:, :seen], others.gather(2, drawn))


def bounds(share: Range, columns: int) -> tuple[int, int]:
    """The fewest and the most columns that a range of shares means: one at least.

    >>> bounds((0.1, 0.4), 13), bounds((0.1, 0.4), 3)
    ((1, 5), (1, 1))
    """
    least = max(1, round(share[0] * columns))
    return least, max(least, round(share[1] * columns))


def t_jepa_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of predicted and target tokens `(B, M, n, D)`, in float32 (section 3).

    No gradient flows into the targets.

    >>> t_jepa_loss(torch.zeros(1, 1, 2, 3), torch.full((1, 1, 2, 3), 2.0)).item()
    4.0
    """
    return functional.mse_loss(full_precision(predicted), full_precision(target.detach()))


def _between(low: int, high: int) -> int:
    # Sizes are shapes, so they are drawn where Python reads them, on any device.
    with alike():
        return int(torch.randint(low, high + 1, ()))
