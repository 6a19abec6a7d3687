"""The normaliser of tables: numbers are standardised, categories keep their codes."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.batch import InputSpec
from tacita.data.normalise import Standardiser
from tacita.values import Values


class RowNormaliser(Standardiser):
    """A missing number becomes the mean, a category that is none of the column's becomes -1.

    Shapes: `mean`, `std` `(F,)`, of a categorical column 0 and 1.

    >>> normaliser = RowNormaliser(InputSpec("tables", (2,), (0, 3))).fit(torch.tensor([[1.0, 2], [3.0, 0]]))
    >>> normaliser(torch.tensor([[torch.nan, 2.0], [1.0, torch.nan]])).tolist()
    [[0.0, 2.0], [-1.0, -1.0]]
    """

    absent: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec, axis=1)
        # Follows from the input, so it is not among the statistics that a model saves.
        absent = torch.where(torch.tensor(spec.cardinalities) > 0, -1.0, 0.0)
        self.register_buffer("absent", absent, persistent=False)

    def _kept(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        number = torch.tensor(self.spec.cardinalities) == 0
        return mean.where(number, 0), std.where(number, 1)

    def forward(self, samples: Values) -> Values:
        rows = super().forward(samples)
        assert isinstance(rows, Tensor)
        return torch.where(rows.isnan(), self.absent, rows)
