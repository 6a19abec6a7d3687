"""Durations as people write them."""

from __future__ import annotations

import math
import re

from tacita.errors import ConfigError

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_BUDGET = 365 * SECONDS["d"]


def parse_duration(text: str | float) -> float:
    """A duration in seconds, from `"90s"`, `"5m"`, `"1h30m"` or a number of seconds.

    Raises `ConfigError` where it is not a duration above zero and of at most a year.

    >>> parse_duration("1h30m"), parse_duration(90)
    (5400.0, 90.0)
    """
    if isinstance(text, str):
        compact = text.strip().lower()
        parts = re.findall(r"(\d+(?:\.\d+)?|\.\d+)([smhd])", compact, flags=re.ASCII)
        if parts and "".join(number + unit for number, unit in parts) == compact:
            seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
        elif re.fullmatch(r"\d+(\.\d+)?", compact, flags=re.ASCII):
            seconds = float(compact)
        else:
            seconds = math.nan
    else:
        seconds = math.nan if isinstance(text, bool) else float(text)
    if not 0 < seconds <= LONGEST_BUDGET:
        raise ConfigError(
            f"{text!r} is not a duration.",
            remedy="Write for example 90s, 5m, 2h or 1h30m: above zero and at most a year.",
        )
    return seconds
