"""Run every benchmark and write `docs/benchmarks.md`: `python -m benchmarks [NAME ...]`.

A benchmark is a module of this folder with `run() -> list[Result]`. With names, only these are run
and printed, and the page stays as it is.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks.timing import Result, machine
from tacita.files import write_text

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
NOT_RUN = {
    "__init__", "__main__", "timing", "gpu_kernels", "semilearn_fixmatch", "semisup_quality",
    "autogluon_peer", "choice", "choice_fit", "choice_page", "choice_peers", "choice_sums",
    "few_label_sources", "forecast_sources", "forecasting", "few_label_tasks", "priors",
}  # fmt: skip
"""`gpu_kernels` needs a GPU and prints its own table, `semisup_quality` and `choice` take hours for
pages, and `priors` makes what `fit` begins from."""


def main() -> None:
    """Print one table, and write it if it is whole."""
    asked = sys.argv[1:]
    names = asked or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_RUN)
    results: list[Result] = []
    for name in names:
        found: list[Result] = import_module(f"benchmarks.{name}").run()
        for result in found:
            print(result.line(), flush=True)
        results += found
    lines = [
        "# Speed and memory, side by side",
        "",
        "Written by `make bench`. Both sides run in turns in one process, medians; memory is measured in a",
        "process for each side. A ratio above 1 means that tacita is faster or smaller; the last column is",
        "the ratio to reach. Accuracy with few labels has pages of its own: of",
        "[methods](semi-supervised-quality.md) and of [what `fit` chooses](choice.md).",
        "",
        "| what | peer | tacita | peer | ratio | aim |",
        "|---|---|---|---|---|---|",
        *(result.line() for result in results),
        "",
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}.",
        "",
    ]
    if not asked:
        write_text(PAGE, "\n".join(lines))


if __name__ == "__main__":
    main()
