"""Direct forecasts: an encoder reads what is known, and one head gives all steps to come at once.

The window is on its own scale (reversible instance normalisation, Kim et al., 2022). What is learnt is by how
much the steps to come differ from those a season ago, so that what cannot be learnt leaves the seasonal naive
forecast; the head adds a linear map of the window (Zeng et al., 2023) to one of the encoder's features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.adapt.trained import Trained
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.tasks import Task, require_forecast
from tacita.tasks.forecast import MEDIAN, QUANTILES, Forecast
from tacita.values import Values
from tacita.windows import at_the_end


class ForecastHead(nn.Module):
    """Features of a window and the window itself to quantiles of the change over a season, on its scale.

    Shapes: `pooled (B, dim)`, `last (B, dim)`, the last valid token, `context (B, L, K)`, the targets with
    their last step at the end, to `(B, H, K, Q)`. Quantiles rise by how they are made: the median, and
    positive steps up and down from it. Untrained, the median is no change.
    """

    def __init__(self, dim: int, context: int, task: Forecast) -> None:
        super().__init__()
        self.shape = (task.horizon, len(task.names), len(QUANTILES))
        self.of_features = nn.Linear(2 * dim, task.out_dim)
        self.of_context = nn.Linear(context, task.horizon)
        for linear in (self.of_features, self.of_context):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, pooled: Tensor, last: Tensor, context: Tensor) -> Tensor:
        raw = self.of_features(torch.cat([pooled, last], 1)).view(-1, *self.shape)
        median = raw[..., MEDIAN] + self.of_context(context.transpose(1, 2)).transpose(1, 2)
        down = functional.softplus(raw[..., :MEDIAN]).flip(-1).cumsum(-1).flip(-1)
        up = functional.softplus(raw[..., MEDIAN + 1 :]).cumsum(-1)
        median = median[..., None]
        return torch.cat([median - down, median, median + up], -1)


class ForecastWindows(Objective[Batch]):
    """The task's loss, of quantiles, on windows as they are: views would change what they are a past of.

    Raises `ConfigError` for another task than a forecast.
    """

    head: nn.Module
    reads = "labelled"

    def __init__(self, encoder: Encoder, task: Task) -> None:
        super().__init__()
        self.task = required(task)
        self.encoder = encoder
        self.head = ForecastHead(encoder.dim, encoder.spec.context, self.task)

    def loss(self, batch: Batch) -> Losses:
        return Losses(
            forecast=self.task.loss(forecast(self.encoder, self.head, self.task, batch), batch.y)
        )


@method(
    "direct-forecast",
    title="Direct forecasts by an encoder",
    paper="https://openreview.net/forum?id=cGDAkQo1C0p",
    year=2022,
    family="adapt",
    needs=("steps", "numbers"),
    labels="many",
    tasks=("forecast",),
    summary="Forecasts series by any encoder: quantiles of all steps ahead at once, indifferent to level and "
    "unit.",
)
class DirectForecast(Trained):
    """All weights are trained on windows of all series, by the pinball loss on each window's own scale.

    engine: arguments of `tacita.engine.train.train`; they override the method's own.

    Differs from the papers: instance normalisation has no learnt affine map, quantiles are forecast in the
    place of the mean, and the change over a season in the place of the values.
    """

    engine_defaults = {"steps": 150, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 1e-4}

    def __init__(self, encoder: Encoder, *, engine: Mapping[str, Any] | None = None) -> None:
        super().__init__(
            encoder, ForecastWindows, engine={**self.engine_defaults, **(engine or {})}
        )

    def rebuild(self, task: Task, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.head = ForecastHead(self.encoder.dim, self.encoder.spec.context, required(task))

    def try_out(self, data: Dataset, seed: int) -> None:
        required(data.task)
        super().try_out(data, seed)

    def outputs(self, batch: Batch) -> Tensor:
        return forecast(self.encoder, self.head, required(self.task_), batch)

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        return self.outputs(batch)

    def differentiable_logits(self, samples: Values) -> Tensor:
        raise ConfigError(
            "A model of forecasts has no gradients for raw samples: windows come with a past of their own.",
            remedy="Use predict.",
        )


def required(task: Task) -> Forecast:
    """The task. Raises `ConfigError` for any other than a forecast."""
    return require_forecast("direct-forecast forecasts", task)


def forecast(encoder: Encoder, head: nn.Module, task: Forecast, batch: Batch) -> Tensor:
    """`(B, H * K * Q)` float64 quantiles in the data's own units: what was a season ago, and a change of it.

    The change is in deviations of the window (Kim et al., equation 3, whose level is a season ago's here).
    """
    encoding = encoder(batch)
    tokens = encoding.tokens
    x, lengths = batch.x, batch.lengths
    count = x.shape[1]
    if lengths is None:
        lengths = torch.full((len(x),), count, device=x.device)
    # A token may stand for several steps.
    last = ((lengths * tokens.shape[1] + count - 1) // count - 1).clamp(0, tokens.shape[1] - 1)
    row = torch.arange(len(x), device=x.device)
    context = at_the_end(batch.samples)[:, : encoder.spec.context, : encoder.spec.targets]
    relative = head(encoding.pooled, tokens[row, last], context)
    asked = task.asked(batch.y)
    change = relative.to(asked.naive.dtype) * asked.spread[:, None, :, None]
    return (asked.naive[..., None] + change).flatten(1)
