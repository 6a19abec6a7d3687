"""The program: its verbs, and what an error or an interruption looks like."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

import tacita
from tacita.cli.adapt import adapt
from tacita.cli.claim import claim
from tacita.cli.compare import compare
from tacita.cli.describe import describe
from tacita.cli.embed import embed
from tacita.cli.evaluate import evaluate
from tacita.cli.export import export
from tacita.cli.fit import fit
from tacita.cli.future import future
from tacita.cli.label_next import label_next
from tacita.cli.methods import methods
from tacita.cli.predict import predict
from tacita.cli.pretrain import pretrain
from tacita.cli.process import Terminated, at_ease, out_of_reach, terminable
from tacita.cli.report import report
from tacita.cli.show import show
from tacita.data.notes import LearntWarning, ReadingWarning
from tacita.errors import DryRun, TacitaError
from tacita.words import printable

VERBS = {
    verb.__name__.replace("_", "-"): verb
    for verb in (
        fit, pretrain, adapt, predict, future, embed, evaluate, label_next, compare, describe, report, export,
        methods, show, claim,
    )
}  # fmt: skip
"""In the order of the help."""
RESUMABLE = ("fit", "compare", "pretrain", "adapt")

app = typer.Typer(
    name="tacita",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Learn from much data and few labels.

    \b
    tacita fit DATA --labels COLUMN      a model, a comparison and a report
    tacita methods                       what there is
    """
    if version:
        print(f"tacita {tacita.__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


for verb in VERBS.values():
    app.command()(verb)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit; a mistake of the user is one line with its remedy on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    warnings.showwarning = _show
    # Before torch is loaded: threads that wait for work let others have the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    at_ease(sys.stdout, sys.stderr)
    if name in RESUMABLE and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.exit(
            _complain(
                f"tacita {name} runs in one process, and torchrun started several.\n       "
                "Run it without torchrun, or call tacita.train in a script of your own."
            )
        )
    try:
        with terminable():
            code = app(given, prog_name="tacita", standalone_mode=False) or 0
        sys.stdout.flush()
    except Terminated:
        code = 143
    except (BrokenPipeError, SystemExit):
        # Whoever read along has had enough, such as `head`; typer and rich make an exit of it.
        out_of_reach(sys.stdout)
        code = 141
    except DryRun as planned:
        print(planned, file=sys.stderr)
        code = 0
    except TacitaError as error:
        code = _complain(str(error))
    except typer.TyperException as error:
        command = f"tacita {name}" if name in VERBS else "tacita"
        message = error.format_message().replace("Value error, ", "")
        if "unexpected extra argument" in message and "=" in message:
            message += (
                f". {name} takes no options of a method: write them into a recipe (--recipe FILE.yaml),"
                " or train one method with `tacita adapt METHOD DATA KEY=VALUE`"
            )
        code = _complain(f"{message}\n       Try: {command} --help")
    except typer.Abort:
        code = 130
    except OSError as error:
        if error.errno == errno.ENOSPC:
            out_of_reach(sys.stdout)
            code = _complain(f"the output could not be written ({error.strerror}).")
        else:
            code = _fault()
    except Exception:
        code = _fault()
    if code in (130, 143):
        hint = "; run it again with --resume to go on" if name in RESUMABLE else ""
        print(f"\ninterrupted{hint}", file=sys.stderr)
    sys.exit(code)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What a warning looks like: one of ours is a line of its own, any other as Python has it."""
    if issubclass(category, ReadingWarning | LearntWarning):
        print(printable(f"warning   {message}"), file=sys.stderr)
    else:
        # Decoders quote the files that they warn of.
        text = warnings.formatwarning(message, category, filename, lineno)
        print(printable(text), file=sys.stderr, end="")


def _fault() -> int:
    """What a mistake of the program looks like: Python's own traceback, which quotes what it failed at."""
    print(printable(traceback.format_exc()), file=sys.stderr, end="")
    return 1


def _complain(message: str) -> int:
    print(printable(f"error: {message}"), file=sys.stderr)
    return 2
