"""Check every claim, then write `docs/claims.md` from the records: `python -m claims [--seeds N]`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tacita.files import write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "claims.md"

HEAD = """# Claims, measured

Each method's central claim, checked at laptop scale on real data. This page is written by
`make claims` from the records in `claims/results`; a claim that fails stays here, with its figures.
How a claim is checked: [how claims work](how-claims-work.md).
"""


def main() -> int:
    """Run the scripts one after another; the exit code is 1 if any claim fails."""
    scripts = sorted(p for p in HERE.glob("*.py") if p.stem not in ("__init__", "__main__"))
    arguments = sys.argv[1:]
    codes = []
    if "--page-only" not in arguments:
        for script in scripts:
            command = [sys.executable, str(script), *arguments]
            codes.append(subprocess.run(command, check=False).returncode)
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    ]
    write_text(PAGE, HEAD + _table(records) + "".join(_section(record) for record in records))
    print(f"wrote {PAGE}")
    return int(any(codes))


def _table(records: list[dict[str, Any]]) -> str:
    rows = ["\n| method | holds | measured (mean of seeds) | seeds |", "|---|---|---|---|"]
    for record in records:
        holds = "yes" if record["holds"] else "**no**"
        anchor = f"[{record['slug']}](#{record['slug']})"
        rows.append(f"| {anchor} | {holds} | {_figures(record)} | {len(record['seeds'])} |")
    return "\n".join(rows) + "\n"


def _figures(record: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3f} ± {record['std'][name]:.3f}" for name, value in record["mean"].items()
    )


def _section(record: dict[str, Any]) -> str:
    lines = [
        f"\n## {record['slug']}\n",
        record["claim"] + "\n",
        f"- **Holds here:** {'yes' if record['holds'] else 'no'}",
        f"- **Against:** {record['baseline']}",
        f"- **Data:** {record['data']}",
        f"- **Criterion:** {record['criterion']}",
        f"- **The paper:** {record['paper']}",
        f"- **Differs from the paper:** {record['differs']}",
        f"- **Run:** seeds {record['seeds'][0]} to {record['seeds'][-1]}, {record['seconds']:.0f} s, "
        f"{record['date']}, {record['machine']}, torch {record['versions']['torch']}; again: "
        f"`tacita claim {record['slug']} --seeds {len(record['seeds'])}`\n",
        "| seed | " + " | ".join(record["mean"]) + " |",
        "|---" * (1 + len(record["mean"])) + "|",
    ]
    for seed, figures in zip(record["seeds"], record["figures"], strict=True):
        lines.append(f"| {seed} | " + " | ".join(f"{v:.4f}" for v in figures.values()) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
