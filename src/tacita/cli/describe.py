"""`tacita describe`."""

from __future__ import annotations

from typing import Any

import tacita
from tacita.cli.options import READING, Data, with_options
from tacita.words import printable


@with_options(READING)
def describe(data: Data, **options: Any) -> None:
    """Print what is understood of the data, and what is suspicious.

    \b
    tacita describe photos/
    tacita describe sensors.csv --labels state
    """
    print(printable("\n".join(tacita.describe(tacita.load(data, **options)).lines())))
