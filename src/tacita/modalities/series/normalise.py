"""Windows of series on a scale of their own: what makes a forecast indifferent to level and unit."""

from __future__ import annotations

from typing import Self

import torch
from torch.nn import functional

from tacita.data.batch import InputSpec
from tacita.data.normalise import Standardiser
from tacita.values import Values, as_tensor, length_mask, lengths_of, with_tensor
from tacita.windows import Windows, level_and_spread


class WindowStandardiser(Standardiser):
    """What is forecast by each window's own mean and deviation, other channels by those of the training data.

    Reversible instance normalisation (Kim et al., 2022, equations 1 and 2) without its learnt affine map; the
    way back, equation 3, is the task's, which keeps level and spread with the targets. A target that is
    constant in a window becomes zeros. Shapes: as `Windows.padded`.
    """

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec, axis=2)

    @torch.no_grad()
    def fit(self, samples: Values) -> Self:
        """Statistics of the channels beside the targets, of each step that a window knows once."""
        if not isinstance(samples, Windows) or not len(samples):
            return self
        course, targets = samples.course, self.spec.targets
        # Each row counts once, however many windows show it.
        edges = torch.zeros(len(course.steps) + 1, dtype=torch.int64)
        first = (samples.ends - course.context).maximum(samples.begins)
        edges.index_add_(0, first, torch.ones_like(first))
        edges.index_add_(0, samples.ends, -torch.ones_like(first))
        rows = course.steps[edges.cumsum(0)[:-1] > 0]
        super().fit(functional.pad(rows, (0, course.width - rows.shape[1]))[:, None])
        apart = [*range(targets), *range(course.steps.shape[1], course.width)]
        self.mean[apart], self.std[apart] = 0.0, 1.0
        return self

    def forward(self, samples: Values) -> Values:
        x, lengths, targets = as_tensor(samples), lengths_of(samples), self.spec.targets
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        level, spread = level_and_spread(x, lengths, self.spec.ahead, targets)
        unit = spread.where(spread > 0, 1)[:, None]
        known = length_mask(lengths - self.spec.ahead, x.shape[1])[:, :, None]
        own = (x[:, :, :targets].double() - level[:, None]) / unit * (spread > 0)[:, None] * known
        others = (x[:, :, targets:].double() - self.mean[targets:]) / self.std[targets:]
        others = others * length_mask(lengths, x.shape[1])[:, :, None]
        if self.spec.ahead:
            # What is not known of the steps to come is 0, and not what 0 would be on its scale.
            hidden = others.shape[2] - 1 - self.spec.known_ahead
            others[:, :, :hidden] *= known
        return with_tensor(samples, torch.cat([own, others], 2).float())
