"""The command line: the verbs of `tacita`, with the same names and arguments as in Python.

Results go to stdout, progress and hints to stderr. Exit codes: 0 fine, 1 a check found a problem,
2 the command or its input is wrong, 130 interrupted. Whatever can be said without importing torch
(help, the catalog, a mistyped argument) is said without it. A verb is a file; what verbs share is
declared once, in `options.py`.
"""

from tacita.cli.app import app, main

__all__ = ["app", "main"]
