"""Where a method's claim check and its measured figures are: in the clone, or in the wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tacita.catalog import discover
from tacita.errors import ConfigError

LARGEST_RESULT = 1_000_000


def claim_script(slug: str) -> Path:
    """The script that checks one method's claim. Raises `ConfigError` if there is none."""
    card = discover.get(slug)
    for folder in _folders():
        script = folder / f"{slug.replace('-', '_')}.py"
        if script.is_file():
            return script
    raise ConfigError(
        f"{card.slug} has no claim check.",
        remedy=f"Run `tacita show {slug}` to see its paper.",
    )


def measured(slug: str) -> dict[str, Any]:
    """The figures that the method's claim check wrote last; empty if it never ran."""
    for folder in _folders():
        result = folder / "results" / f"{slug}.json"
        if result.is_file() and result.stat().st_size <= LARGEST_RESULT:
            try:
                figures = json.loads(result.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{result}: is not JSON ({error}).") from error
            return figures if isinstance(figures, dict) else {}
    return {}


def _folders() -> tuple[Path, Path]:
    return discover.ROOT.parents[1] / "claims", discover.ROOT / "_claims"
