"""Self-pretraining: a sequence model first learns the inputs of its own task, then the labels.

Amos et al., "Never Train from Scratch: Fair Comparison of Long-Sequence Models Requires Data-Driven
Priors", 2024. No other data is needed: steps are hidden and reconstructed, or each step is predicted
from those before it. For any sequence layer, most of all for attention and where labels are few; a
step costs what a supervised one does.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, hide_padding
from tacita.encoders.sequence_model import SequenceModel
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.masking import gather_tokens, hide_spans
from tacita.processes import mean_of, rand
from tacita.tasks import full_precision

SPAN, TOKEN_SPAN = 0.03, 1.0
"""Of numbers a share of the length: neighbours of a smooth signal give a step away. Of tokens, one."""


@method(
    "self-pretraining",
    title="Self-pretraining of sequence models",
    paper="https://arxiv.org/abs/2310.02980",
    year=2024,
    family="pretrain",
    needs=("steps",),
    labels="none",
    summary="Pretrains any sequence layer on the inputs of its own task, by denoising or prediction.",
    reuses=("masking", "sequence-model"),
    claim="Attention gains from its own inputs, and more than a state-space layer: this does not hold here "
    "on 500 digits at 800 steps in all, where spending every step on the labels is better for both.",
)
class SelfPretraining(Objective[Batch]):
    """Reconstruct hidden steps, or predict each next one: L1 for numbers, cross-entropy for tokens.

    variant: `masked` hides steps and reconstructs them; `causal` predicts each step from those
        before it, for layers that see no others.
    mask_ratio: share of the steps hidden; by default 0.5 for series and 0.15 for text.
    span: how many steps in a row are hidden together; below 1, as a share of the longest length. By
        default 1 for text, and 0.03 for series: of a smooth signal neighbours give the answer away.

    All channels of a step are hidden together. A hidden step enters as zero, with a vector added that
    says so; nothing is left of it afterwards, so the encoder is the one that was given. The metrics are
    the loss relative to that of predicting the batch's median (for tokens: its frequencies) and of
    drawing a line between the visible neighbours (causal: repeating the last step): above 1, nothing
    has been learnt.

    Raises `ConfigError` for an encoder without steps, for options that hide nothing, and for `causal`
    where a step sees later ones. Differs from the paper: the number of hidden steps is exact, not
    random; grey levels are numbers, not classes.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "schedule": "constant",
    }
    encoder: SequenceModel

    def __init__(
        self,
        encoder: Encoder,
        *,
        variant: Literal["masked", "causal"] = "masked",
        mask_ratio: float | None = None,
        span: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, SequenceModel):
            raise ConfigError(
                f"self-pretraining hides steps, and {type(encoder).__name__} has none to hide.",
                remedy="Choose encoder=sequence-model, with any sequence layer.",
            )
        length = encoder.spec.shape[0]
        card = discover.modality(encoder.spec.modality)
        if length < 2:
            raise ConfigError("self-pretraining got series of one step, which nothing predicts.")
        if variant not in ("masked", "causal"):
            raise ConfigError(f"variant={variant!r} is unknown.", remedy="Known: masked, causal.")
        if variant == "causal" and not encoder.causal:
            raise ConfigError(
                "variant=causal predicts the next step, which this encoder sees.",
                remedy="Leave bidirectional out and choose a causal layer, or variant=masked.",
            )
        self.encoder = encoder
        self.variant = variant
        self.tokens = encoder.spec.vocabulary > 0
        self.mask_ratio = card.hidden_share if mask_ratio is None else mask_ratio
        self.span = checked_span(
            self.mask_ratio, (TOKEN_SPAN if self.tokens else SPAN) if span is None else span, length
        )
        self.hidden_step: nn.Parameter | None = None
        if variant == "masked":
            self.hidden_step = nn.Parameter(0.02 * torch.randn(encoder.dim))
        outputs = encoder.spec.vocabulary if self.tokens else encoder.spec.channels
        self.predict = nn.Linear(encoder.dim, outputs)

    def loss(self, batch: Batch) -> Losses:
        x, mask = batch.x, batch.mask
        if mask is not None:
            x = hide_padding(x, mask)
        return self._causal(x, mask) if self.variant == "causal" else self._masked(x, mask)

    def _masked(self, x: Tensor, mask: Tensor | None) -> Losses:
        noise = rand(*x.shape[:2], device=x.device)
        hidden = hide_spans(noise, self.mask_ratio, self.span, mask)
        predicted = self.predict(self.encoder.blocks(self.embed_hidden(x, hidden), mask))
        loss = mean_error(predicted, x, hidden)
        metrics = self._against_constant(loss, x, x, hidden, mask)
        if not self.tokens:
            visible = ~hidden if mask is None else mask & ~hidden
            line = mean_error(interpolated(x, visible), x, hidden)
            metrics["relative_to_interpolation"] = relative(loss, line)
        return Losses(metrics, reconstruction=loss)

    def _causal(self, x: Tensor, mask: Tensor | None) -> Losses:
        target = x[:, 1:]
        counts = torch.ones_like(x[:, 1:, 0] if x.ndim == 3 else target, dtype=torch.bool)
        counts = counts if mask is None else mask[:, 1:]
        predicted = self.predict(self.encoder.blocks(self.encoder.embed(x), mask)[:, :-1])
        loss = mean_error(predicted, target, counts)
        metrics = self._against_constant(loss, target, x, counts, mask)
        if not self.tokens:
            metrics["relative_to_last"] = relative(loss, mean_error(x[:, :-1], target, counts))
        return Losses(metrics, prediction=loss)

    def embed_hidden(self, x: Tensor, hidden: Tensor) -> Tensor:
        """`(B, L, dim)`: the embedded steps, those of `hidden (B, L)` as zero and marked.

        The same as a second input channel that is 1 where a step is hidden: its column of the
        embedding is `hidden_step`, and without hidden steps it adds nothing.
        """
        assert self.hidden_step is not None
        at = hidden[:, :, None]
        if self.tokens:
            embedded = self.encoder.embed(x).masked_fill(at, 0.0)
        else:
            embedded = self.encoder.embed(x.masked_fill(at, 0.0))
        return embedded + at * self.hidden_step

    @torch.no_grad()
    def _against_constant(
        self, loss: Tensor, target: Tensor, x: Tensor, counts: Tensor, mask: Tensor | None
    ) -> dict[str, Tensor]:
        """Against predicting the same of every step: the batch's median, or its frequencies."""
        seen = x.flatten(0, 1) if mask is None else x[mask]
        if not self.tokens:
            median = seen.float().median(0).values if len(seen) else seen.new_zeros(x.shape[2])
            trivial = mean_error(median.expand(target.shape), target, counts)
            return {"relative_to_median": relative(loss, trivial)}
        shares = seen.bincount(minlength=self.predict.out_features) / max(1, len(seen))
        logits = shares.log().expand(*target.shape, -1)
        return {"relative_to_frequency": relative(loss, mean_error(logits, target, counts))}


def checked_span(ratio: float, span: float, length: int) -> int:
    """The span in steps. Raises `ConfigError` where nothing or everything would be hidden.

    >>> checked_span(0.5, 0.05, 100)
    5
    """
    steps = max(1, round(span * length)) if 0 < span < 1 else span
    if steps < 1 or steps != int(steps):
        raise ConfigError(
            f"span={span} is neither a whole number of steps nor a share of the length.",
            remedy="1 hides single steps; 0.05 hides 5% of the length together.",
        )
    if not 0 < ratio < 1 or ratio * length < steps - 1e-6:
        raise ConfigError(
            f"mask_ratio={ratio} of {length} steps, {int(steps)} together, hides nothing or all.",
            remedy="Choose a mask_ratio between 0 and 1 that is as long as the span.",
        )
    return int(steps)


def mean_error(predicted: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """The mean over the steps of `counts (B, L)`; 0 where there is none. In float32.

    Of `target (B, L, C)` numbers the absolute error of `predicted (B, L, C)`; of `target (B, L)`
    tokens the cross-entropy of `predicted (B, L, V)` logits.
    """
    predicted = full_precision(predicted)
    if target.ndim == 2:
        errors = functional.cross_entropy(predicted.transpose(1, 2), target, reduction="none")
    else:
        errors = (predicted - target).abs().mean(2)
    return mean_of(errors.masked_fill(~counts, 0.0).sum(), counts.sum())


def interpolated(x: Tensor, visible: Tensor) -> Tensor:
    """`(B, L, C)` with lines between the steps of `visible (B, L)`, level beyond the outermost.

    >>> interpolated(torch.tensor([[[1.0], [9.0], [3.0]]]), torch.tensor([[True, False, True]])).flatten()
    tensor([1., 2., 3.])
    """
    length = x.shape[1]
    steps = torch.arange(length, device=x.device).expand(visible.shape)
    before = torch.where(visible, steps, -1).cummax(1).values
    after = torch.where(visible, steps, length).flip(1).cummin(1).values.flip(1)
    left = torch.where(before < 0, after, before).clamp_max(length - 1)
    right = torch.where(after == length, before, after).clamp_min(0)
    share = (steps - left).to(x.dtype) / (right - left).clamp_min(1)
    begin, end = gather_tokens(x, left), gather_tokens(x, right)
    line = begin + share[:, :, None] * (end - begin)
    return torch.where(visible.any(1)[:, None, None], line, 0.0)


def relative(loss: Tensor, trivial: Tensor) -> Tensor:
    """The loss as a multiple of a trivial predictor's, outside of the graph."""
    return loss.detach() / trivial.clamp_min(1e-6)
