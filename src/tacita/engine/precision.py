"""Of the arithmetic of a training; apart from the engine, so that to name it brings no torch."""

from __future__ import annotations

from typing import Literal

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]
