"""`tacita claim`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tacita.cli.options import Method


def claim(
    method: Method,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to repeat it over.")] = 3,
) -> None:
    """Check the claim of a method's paper, against a baseline.

    The figures are written into METHOD-claim.json here, unless it has more seeds.
    The exit code is 1 where the claim does not hold here.

    \b
    tacita claim barlow-twins
    tacita claim fixmatch --seeds 5
    """
    from tacita.catalog.claims import claim_script

    out = Path(f"{method}-claim.json").resolve()
    command = [sys.executable, str(claim_script(method)), "--seeds", str(seeds), "--out", str(out)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
