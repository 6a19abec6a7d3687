"""Masked sensors: stretches of each channel are silenced, and their samples predicted from the rest.

Corponi et al., "Wearable Data From Subjects Playing Super Mario, Taking University Exams, or Performing
Physical Exercise Help Detect Acute Mood Episodes via Self-Supervised Learning", 2024: the best of its
pretext tasks. For recordings of several sensors of any rates; a step costs what a supervised one does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.encoder import Encoder, hide_padding
from tacita.errors import ConfigError
from tacita.modalities.series.rates import channel_rates, per_column
from tacita.objective import Losses, Objective
from tacita.parts.batch_norm import ValidBatchNorm
from tacita.parts.masking import chain, markov_mask
from tacita.processes import processes, sum_over_processes
from tacita.tasks import full_precision
from tacita.values import Ragged


@method(
    "masked-sensors",
    title="Masked prediction of sensors",
    paper="https://arxiv.org/abs/2311.04215",
    year=2024,
    family="pretrain",
    needs=("sensors",),
    labels="none",
    summary="Pretrains on recordings of many sensors, by predicting silenced stretches of each from all.",
    reuses=("masking", "rates", "batch-norm"),
    claim="Pretrained and then fine-tuned on one label a class, E4mer tells motions of the wrist better than "
    "one trained from scratch; on new people's exercises with a watch it does not.",
)
class MaskedSensors(Objective[Batch]):
    """Root mean squared error of each channel's silenced samples, the mean over channels.

    mask_ratio: share of the seconds of each channel that are silenced.
    mean_run: how many seconds are silenced together on average.
    decoder: widths of the layers from a token to what the second's samples are read from.

    Channels are silenced independently of each other, so that one tells of another. The metric is the
    loss relative to that of predicting every channel's mean: above 1, nothing has been learnt.

    Works under any encoder that gives a token a row: `e4mer`, `residual-conv`, `sequence-model`, and
    `series-transformer` with patch=1. Raises `ConfigError` for another, and for a share that runs of
    that length cannot have.

    Differs from the paper: masks are drawn at every step rather than from a million made before; the
    decoder's batch norms are over all seconds rather than apart for each.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 2000,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    }

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_ratio: float = 0.15,
        mean_run: float = 3.0,
        decoder: tuple[int, ...] = (32, 16),
    ) -> None:
        super().__init__()
        if not decoder or min(decoder) < 1:
            raise ConfigError(
                f"decoder={decoder} is not a list of layer widths.", remedy="(32, 16) is usual."
            )
        if mask_ratio == 0:
            raise ConfigError("mask_ratio=0 hides nothing.", remedy="The default is 0.15.")
        chain(mask_ratio, mean_run)
        require_token_a_row(encoder)
        self.encoder = encoder
        self.mask_ratio = mask_ratio
        self.mean_run = mean_run
        self.rates = channel_rates(encoder.spec)
        widths = (encoder.dim, *decoder)
        self.decoder = nn.ModuleList(
            SecondLayer(before, after) for before, after in zip(widths, decoder, strict=False)
        )
        # A transposed convolution whose kernel and stride are one second, for all channels at once.
        self.samples = nn.Linear(decoder[-1], encoder.spec.channels)

    def loss(self, batch: Batch) -> Losses:
        x, mask = hide_padding(batch.x, batch.mask), batch.mask
        hidden = self.draw(x, mask)
        predicted = self.reconstruct(x.masked_fill(hidden, 0.0), mask)
        loss = masked_rmse(predicted, x, hidden, self.rates, mask)
        constant = masked_rmse(torch.zeros_like(x), x, hidden, self.rates, mask)
        relative = loss.detach() / constant.clamp_min(1e-6)
        return Losses({"relative_to_mean": relative}, reconstruction=loss)

    def draw(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, S, C)` bool: the samples that are silenced, whole seconds of a channel at a time."""
        batch, seconds = x.shape[:2]
        chains = markov_mask(
            batch * len(self.rates),
            seconds,
            ratio=self.mask_ratio,
            mean_run=self.mean_run,
            device=x.device,
        )
        hidden = chains.view(batch, len(self.rates), seconds).transpose(1, 2)
        if mask is not None:
            hidden = hidden & mask[:, :, None]
        return per_column(hidden, self.rates)

    def reconstruct(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, S, C)`: all samples as predicted from the rows of `x (B, S, C)`."""
        samples = x if mask is None else Ragged.of(x, mask.sum(1))
        tokens = self.encoder(samples).tokens
        for layer in self.decoder:
            tokens = layer(tokens, mask)
        return self.samples(tokens)


class SecondLayer(nn.Module):
    """A linear map of every second, batch norm over the valid ones, and GELU: `(B, S, D)` to `(B, S, D')`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after, bias=False)
        self.norm = ValidBatchNorm(after)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        normalised = self.norm(self.linear(x).transpose(1, 2), mask).transpose(1, 2)
        return nn.functional.gelu(normalised)


def masked_rmse(
    predicted: Tensor,
    target: Tensor,
    hidden: Tensor,
    rates: tuple[int, ...],
    mask: Tensor | None = None,
) -> Tensor:
    """Mean over channels of `sqrt(sum of squared errors where hidden / all valid samples)`, in float32.

    `predicted`, `target` and `hidden` are `(B, S, C)`, `mask (B, S)` True = valid. Divided by all
    samples and not by those hidden, as published: the figure depends on the share that is hidden. Zero
    where nothing is, and so is its gradient.

    >>> x, all_hidden = torch.zeros(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.bool)
    >>> masked_rmse(x + torch.tensor([2.0, 4.0, 4.0]), x, all_hidden, (1, 2)).item()
    3.0
    """
    squares = (full_precision(predicted) - full_precision(target)).square() * hidden
    columns = sum_over_processes(squares.sum((0, 1)))  # (C,)
    owner = per_column(torch.arange(len(rates), device=columns.device), rates)
    errors = columns.new_zeros(len(rates)).index_add(0, owner, columns)
    valid = target.shape[0] * target.shape[1] * processes()
    rows = valid if mask is None else sum_over_processes(mask.sum()).clamp_min(1)
    mean = errors / (rows * torch.tensor(rates, device=columns.device))
    # The slope of a root at 0 is infinite: a channel without an error takes no part.
    wrong = mean > 0
    return torch.where(wrong, mean.where(wrong, 1.0).sqrt(), 0.0).mean()


@torch.no_grad()
def require_token_a_row(encoder: Encoder) -> None:
    """Refuse an encoder that does not give a token for each row of a series, or none that knows of others."""
    training = encoder.training
    encoder.eval()
    rows = encoder.spec.shape[0]
    device = next((p.device for p in encoder.parameters()), None)
    x = torch.zeros(2, *encoder.spec.shape, device=device)
    x[1, 0] = 1.0
    tokens = encoder(x).tokens
    encoder.train(training)
    name = type(encoder).__name__
    remedy = "Choose e4mer, residual-conv with stride=1, or series-transformer with patch=1."
    if tokens.shape[1] != rows:
        raise ConfigError(
            f"masked-sensors needs a token a row, and {name} gives {tokens.shape[1]} for {rows}.",
            remedy=remedy,
        )
    if rows > 1 and torch.allclose(tokens[0, 1:], tokens[1, 1:]):
        raise ConfigError(
            f"masked-sensors tells a row from others, and a token of {name} knows of its own alone.",
            remedy=remedy,
        )
