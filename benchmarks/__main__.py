"""Run every benchmark and write `docs/benchmarks.md`: `python -m benchmarks`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmarks import engine, views
from benchmarks.timing import machine
from tacita.files import write_text

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Print and write one table."""
    results = [result for module in (engine, views) for result in module.run()]
    lines = [
        "# Speed, side by side",
        "",
        "Written by `make bench`. Both sides run in turns in one process; medians, milliseconds. A ratio",
        "above 1 means that tacita is faster; the last column is the ratio to reach.",
        "",
        "| what | peer | tacita ms | peer ms | ratio | aim |",
        "|---|---|---|---|---|---|",
        *(result.line() for result in results),
        "",
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}.",
        "",
    ]
    print("\n".join(lines))
    write_text(PAGE, "\n".join(lines))


if __name__ == "__main__":
    main()
