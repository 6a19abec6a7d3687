"""What the verbs share on the command line: each option declared once, with its help.

Names, types and defaults are those of `Reading` and `Running`; here stands what typer needs besides.
Importing this brings no torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import typer

from tacita.catalog.discover import modalities
from tacita.catalog.options import options_of, with_parameters
from tacita.catalog.tasks import task_cards
from tacita.data.reading import Calendar, Decimal, Missing, Reading
from tacita.engine.precision import Precision
from tacita.verbs.options import LARGEST_SEED, Running

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def one_of(names: Iterable[str]) -> Any:
    """The type of an option that is one of these names, which are known when the program runs."""
    return Literal[tuple(names)]


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file, a folder, a built-in set such as digits, or - for a table on standard input.",
    ),
]
ModelFolder = Annotated[str, typer.Argument(metavar="MODEL", help="The folder of a run.")]
Method = Annotated[str, typer.Argument(metavar="METHOD", help="A name from `tacita methods`.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Options of the method, of the encoder (encoder=NAME, encoder.KEY=VALUE) and of the "
        "training (steps=500); `tacita show METHOD` lists the method's.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        "--target",
        help="The column, array or file with the labels, or the folder of label volumes; some may be "
        "missing.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option("--from", metavar="MODEL", help="The run whose encoder is to be used."),
]
Test = Annotated[
    str | None, typer.Option(help="Samples with labels that are only for the last figures.")
]
Unlabelled = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Further samples without labels, to learn from as well."),
]
LabelsPerClass = Annotated[
    int | None, typer.Option(min=1, help="Learn from this many labels a class; hide the rest.")
]
Draws = Annotated[
    int | None, typer.Option(min=1, help="How many draws of these labels to average over.")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse samples that are not quite as the model knows them, such as categories that it "
        "never saw, where there would be a warning.",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The figure that ranks: accuracy, balanced_accuracy, macro_f1, auc, log_loss; r2, "
        "mean_absolute_error, root_mean_squared_error; quadratic_kappa; of steps segment_f1. By default "
        "the task's own; for uneven classes balanced_accuracy.",
    ),
]
EscapeFormulas = Annotated[
    bool,
    typer.Option(
        "--escape-formulas",
        help="Write ' before text in CSV that a spreadsheet would run as a formula.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
OutFile = Annotated[Path, typer.Option(help="The file to write.")]


@dataclass(frozen=True)
class Group:
    """Options that belong together: the class that declares them, and how each is given here."""

    declared: type[Any]
    given: Mapping[str, Any]

    def parameters(self) -> list[inspect.Parameter]:
        """The options as parameters of a function that typer reads."""
        found = options_of(self.declared)
        return [each.replace(annotation=self.given[each.name]) for each in found]


def _columns(what: str) -> Any:
    """The type of an option that names columns, several with commas between them or one after another."""
    return Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help=what, callback=_split),
    ]


def _split(given: list[str] | None) -> list[str] | None:
    return [name.strip() for each in given or () for name in each.split(",")] or None


READING = Group(
    Reading,
    {
        "labels": Labels,
        "unlabelled_as": Annotated[
            list[str] | None,
            typer.Option(
                metavar="WORD",
                help="A label that means that there is none, such as NA; may be given several times.",
            ),
        ],
        "as_class": Annotated[
            list[str] | None,
            typer.Option(
                "--class",
                metavar="WORD",
                help="A label that is a class though it looks like none, such as none or -1; may be "
                "given several times.",
            ),
        ],
        "order": Annotated[
            list[str] | None,
            typer.Option(
                metavar="LOW,...,HIGH",
                help="The classes from the lowest to the highest, which makes them ordinal.",
            ),
        ],
        "task": Annotated[
            one_of(task_cards()) | None,
            typer.Option(help="What the labels are; by default told from the labels."),
        ],
        "group": Annotated[
            str | None,
            typer.Option(
                help="The column of groups (patients, machines) that a split keeps together."
            ),
        ],
        "weight": Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN",
                help="The column or array of how much each label counts in learning; 0: not at all.",
            ),
        ],
        "missing": Annotated[
            one_of(get_args(Missing)), typer.Option(help="What to do about missing values.")
        ],
        "modality": Annotated[
            one_of(modalities()) | None,
            typer.Option(help="What the samples are; by default told from the data."),
        ],
        "image_size": Annotated[
            int | None, typer.Option(min=1, help="Resize images to this side.")
        ],
        "series_id": Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN",
                help="For tables of one row a time step: the column naming the series.",
            ),
        ],
        "time": Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN",
                help="The times, as numbers or dates; irregular series are interpolated at their "
                "median step.",
            ),
        ],
        "text": Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN", help="The column of a table that holds texts to learn from."
            ),
        ],
        "tokeniser": Annotated[
            str | None,
            typer.Option(
                help="Of texts: bytes, words, bpe, or a folder with a transformers tokeniser."
            ),
        ],
        "ignore": _columns("Columns of a table to leave out: a,b or the option again."),
        "categorical": _columns("Columns whose values are categories, whatever they look like."),
        "numeric": _columns("Columns whose values are numbers, whatever they look like."),
        "decimal": Annotated[
            one_of(get_args(Decimal)) | None,
            typer.Option(
                help="The sign before the fraction in a table's cells, where they do not tell it."
            ),
        ],
        "id_column": Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN",
                help="The column that names the rows; by default one called id.",
            ),
        ],
        "resample_labels": Annotated[
            bool,
            typer.Option(
                "--resample-labels",
                help="Resample label volumes that lie elsewhere than their volume onto it.",
            ),
        ],
        "horizon": Annotated[
            int | None,
            typer.Option(
                min=1, help="Steps to forecast of every series; --labels names the target."
            ),
        ],
        "season": Annotated[
            int | None,
            typer.Option(
                min=1,
                help="Of forecasts: steps after which a series repeats itself; by default told by the times.",
            ),
        ],
        "context": Annotated[
            int | None, typer.Option(min=2, help="Of forecasts: steps that a model sees at most.")
        ],
        "known_ahead": _columns(
            "Columns known for the steps to come, such as prices that were set."
        ),
        "calendar": Annotated[
            one_of(get_args(Calendar)) | None,
            typer.Option(help="Of forecasts: rows takes rows as they follow one another."),
        ],
    },
)
RUNNING = Group(
    Running,
    {
        "budget": Annotated[
            str | None,
            typer.Option(
                help="Time to spend: 90s, 5m, 2h. Without one fit and compare take 10 minutes at most;"
                " none lifts that."
            ),
        ],
        "seed": Annotated[
            int, typer.Option(min=0, max=LARGEST_SEED, help="Governs everything random.")
        ],
        "out": Annotated[
            Path | None, typer.Option(help="The folder of the run; must not exist yet.")
        ],
        "resume": Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")],
        "overwrite": Annotated[
            bool, typer.Option("--overwrite", help="Replace the folder of the run.")
        ],
        "dry_run": Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")],
        "quiet": Annotated[
            int,
            typer.Option("--quiet", "-q", count=True, help="The result alone; -qq: nothing."),
        ],
        "device": Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")],
        "precision": Annotated[
            one_of(get_args(Precision)), typer.Option(help="Of the arithmetic.")
        ],
    },
)


def with_options(*groups: Group) -> Callable[[FunctionT], FunctionT]:
    """Give a verb the options of these groups, which reach its function as `**options`."""

    def extend(function: FunctionT) -> FunctionT:
        signature = inspect.signature(function, eval_str=True)
        shared = [parameter for group in groups for parameter in group.parameters()]
        signature = with_parameters(signature, shared)
        parameters = [p for p in signature.parameters.values() if p.name != "options"]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        # typer reads the types here.
        function.__annotations__ = {p.name: p.annotation for p in parameters}
        return function

    return extend
