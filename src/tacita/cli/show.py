"""`tacita show`."""

from __future__ import annotations

import shutil
import sys

from tacita.cli.options import Method


def show(method: Method) -> None:
    """Print all about one method: paper, options, measured figures.

    \b
    tacita show barlow-twins
    tacita show fixmatch
    """
    from tacita.catalog import pages

    width = min(100, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 100
    print(pages.method_page(method, width))
