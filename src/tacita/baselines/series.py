"""What baselines for series share: samples as aeon takes them, channels first, and a shortest length."""

from __future__ import annotations

from typing import Any, ClassVar

from tacita.baselines.base import Baseline
from tacita.data.batch import Batch, InputSpec
from tacita.errors import ConfigError


class SeriesBaseline(Baseline):
    """A baseline around one of aeon's transforms."""

    shortest: ClassVar[int]
    """Steps that the transform needs."""

    def require_steps(self, spec: InputSpec) -> None:
        """Raise `ConfigError` for series that are too short."""
        if spec.shape[0] < self.shortest:
            raise ConfigError(
                f"{self.called} needs series of {self.shortest} steps or more, but these have"
                f" {spec.shape[0]}.",
                remedy="Leave it out, or pad the series.",
            )

    def _columns(self) -> int:
        return self.spec_.shape[1]

    def _rows(self, batch: Batch) -> Any:
        return batch.x.transpose(1, 2).contiguous().numpy()
