"""The command line: the verbs of `tacita`, with the same names and arguments as in Python.

Results go to stdout, progress and hints to stderr. Exit codes: 0 fine, 1 a check found a problem,
2 the command or its input is wrong, 130 interrupted. Whatever can be said without importing torch
(help, the catalog, a mistyped argument) is said without it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import tacita
from tacita.catalog.tasks import task_cards
from tacita.errors import ConfigError, DryRun, TacitaError

app = typer.Typer(
    name="tacita",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(task_cards())]

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder, or a built-in set such as digits.")
]
ModelFolder = Annotated[str, typer.Argument(metavar="MODEL", help="The folder of a run.")]
Method = Annotated[str, typer.Argument(metavar="METHOD", help="A name from `tacita methods`.")]
Options = Annotated[
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
        help="The column, array or file with the labels, or the folder of label volumes; some may be "
        "missing."
    ),
]
Task = Annotated[
    TaskName | None,
    typer.Option(help="What the labels are; by default told from the labels."),
]
Group = Annotated[
    str | None,
    typer.Option(help="The column of groups (patients, machines) that a split keeps together."),
]
Missing = Annotated[
    Literal["refuse", "impute"], typer.Option(help="What to do about missing values.")
]
Modality = Annotated[
    Literal["images", "volumes", "series", "tables"] | None,
    typer.Option(help="What the samples are; by default told from the data."),
]
ImageSize = Annotated[int | None, typer.Option(min=1, help="Resize images to this side.")]
SeriesId = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="For tables of one row a time step: the column naming the series."
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The times, as numbers or dates; irregular series are interpolated at their median step.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option("--from", metavar="MODEL", help="The run whose encoder is to be used."),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Further samples without labels, to learn from as well."),
]
Budget = Annotated[str | None, typer.Option(help="Time to spend: 90s, 5m, 2h.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Governs everything random.")]
Out = Annotated[Path | None, typer.Option(help="The folder of the run; must not exist yet.")]
OutFile = Annotated[Path, typer.Option(help="The file to write.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder of the run.")]
PlanOnly = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    Literal["32-true", "16-mixed", "bf16-mixed", "64-true"],
    typer.Option(help="Of the arithmetic."),
]


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


@app.command()
def fit(
    data: Data,
    labels: Labels = None,
    task: Task = None,
    recipe: Annotated[
        str, typer.Option(help="auto, a recipe, a YAML file, or a run to repeat.")
    ] = "auto",
    budget: Budget = None,
    seed: Seed = 0,
    out: Out = None,
    test: Annotated[
        str | None, typer.Option(help="Samples with labels that are only for the last figures.")
    ] = None,
    unlabelled: Unlabelled = None,
    labels_per_class: Annotated[
        int | None, typer.Option(min=1, help="Learn from this many labels a class; hide the rest.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="How many draws of these labels to average over.")
    ] = None,
    group: Group = None,
    missing: Missing = "refuse",
    modality: Modality = None,
    image_size: ImageSize = None,
    series_id: SeriesId = None,
    time: Time = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: PlanOnly = False,
    quiet: Quiet = False,
    device: Device = "auto",
    precision: Precision = "32-true",
) -> None:
    """Compare what could learn from the data, and keep the best.

    \b
    tacita fit photos/ --budget 5m --out runs/photos
    tacita fit sensors.csv --labels state --group machine
    """
    _check_budget(budget)
    if recipe != "auto" and not Path(recipe).is_dir():
        _check_recipe(recipe, modality)
    tacita.fit(
        data,
        labels=labels,
        task=task,
        recipe=recipe,
        budget=budget,
        seed=seed,
        out=out,
        test=test,
        unlabelled=unlabelled,
        labels_per_class=labels_per_class,
        draws=draws,
        group=group,
        missing=missing,
        modality=modality,
        image_size=image_size,
        series_id=series_id,
        time=time,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        quiet=quiet,
        device=device,
        precision=precision,
    )


@app.command()
def pretrain(
    method: Method,
    data: Data,
    options: Options = None,
    start: Start = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA", help="Earlier data to mix into every batch; may be given several times."
        ),
    ] = None,
    labels: Labels = None,
    task: Task = None,
    budget: Budget = None,
    seed: Seed = 0,
    out: Out = None,
    group: Group = None,
    missing: Missing = "refuse",
    modality: Modality = None,
    image_size: ImageSize = None,
    series_id: SeriesId = None,
    time: Time = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: PlanOnly = False,
    quiet: Quiet = False,
    device: Device = "auto",
    precision: Precision = "32-true",
) -> None:
    """Pretrain an encoder on all of the data, without labels.

    Labels, if there are any, are only used to see how good its features are.

    With --from, the encoder of that run is trained on. Where data come one set after another, begin
    with schedule=infinite: the run keeps its state before the last steps make the model ready for use
    (constant.safetensors), and --from with the same method goes on from there, at a constant rate and
    with all of its options; --replay keeps earlier data in mind. That run is never changed.

    \b
    tacita pretrain mae photos/ steps=2000 schedule=infinite encoder=vit encoder.depth=6
    tacita pretrain mae new_photos/ --from runs/photos --replay photos/ replay_share=0.05
    """
    _check_budget(budget)
    settings = _checked_options("pretrain", method, options, modality)
    tacita.pretrain(
        method,
        data,
        start=start,
        replay=replay,
        labels=labels,
        task=task,
        budget=budget,
        seed=seed,
        out=out,
        group=group,
        missing=missing,
        modality=modality,
        image_size=image_size,
        series_id=series_id,
        time=time,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        quiet=quiet,
        device=device,
        precision=precision,
        **settings,
    )


@app.command()
def adapt(
    method: Method,
    data: Data,
    options: Options = None,
    start: Start = None,
    unlabelled: Unlabelled = None,
    labels: Labels = None,
    task: Task = None,
    budget: Budget = None,
    seed: Seed = 0,
    out: Out = None,
    group: Group = None,
    missing: Missing = "refuse",
    modality: Modality = None,
    image_size: ImageSize = None,
    series_id: SeriesId = None,
    time: Time = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: PlanOnly = False,
    quiet: Quiet = False,
    device: Device = "auto",
    precision: Precision = "32-true",
) -> None:
    """Learn from the labels, on top of a pretrained encoder or not.

    \b
    tacita adapt fine-tune sensors.npz --from runs/sensors
    tacita adapt fixmatch photos/ steps=3000 threshold=0.9
    """
    _check_budget(budget)
    settings = _checked_options("learn", method, options, modality)
    tacita.adapt(
        method,
        data,
        start=start,
        unlabelled=unlabelled,
        labels=labels,
        task=task,
        budget=budget,
        seed=seed,
        out=out,
        group=group,
        missing=missing,
        modality=modality,
        image_size=image_size,
        series_id=series_id,
        time=time,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        quiet=quiet,
        device=device,
        precision=precision,
        **settings,
    )


@app.command()
def predict(
    model: ModelFolder,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(help="A CSV file (by default the screen); for volumes a folder, or a .npz."),
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="A probability a class as well.")] = False,
) -> None:
    """Predict a label for every sample.

    \b
    tacita predict runs/photos new_photos/
    tacita predict runs/sensors new.csv --proba --out predicted.csv
    """
    rows = tacita.Model.load(model).predict_file(data, out, proba)
    print(f"{rows} rows predicted", file=sys.stderr)


@app.command()
def embed(model: ModelFolder, data: Data, out: OutFile) -> None:
    """Write the features of every sample to a .npy file.

    \b
    tacita embed runs/photos photos/ --out features.npy
    tacita embed runs/sensors new.csv --out features.npy
    """
    rows = tacita.Model.load(model).embed_file(data, out)
    print(f"{rows} rows of features: {out}", file=sys.stderr)


@app.command()
def evaluate(model: ModelFolder, data: Data, labels: Labels = None) -> None:
    """Score a model on samples with labels.

    \b
    tacita evaluate runs/photos held_out/
    tacita evaluate runs/sensors test.csv --labels state
    """
    scores = tacita.Model.load(model).evaluate_file(data, labels)
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        print(f"{name:{width}}  {value:.4f}")


@app.command()
def compare(
    data: Data,
    methods: Annotated[
        str, typer.Option(help="Recipes, YAML files and methods to compare, joined by commas.")
    ],
    labels: Labels = None,
    unlabelled: Unlabelled = None,
    task: Task = None,
    budget: Budget = None,
    seed: Seed = 0,
    out: Out = None,
    group: Group = None,
    missing: Missing = "refuse",
    modality: Modality = None,
    image_size: ImageSize = None,
    series_id: SeriesId = None,
    time: Time = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    device: Device = "auto",
    precision: Precision = "32-true",
) -> None:
    """Run several methods on the same splits and print a leaderboard.

    Methods that pretrain are compared with each other, and need no labels.

    \b
    tacita compare photos/ --methods fixmatch,supervised,random-forest
    tacita compare photos/ --methods barlow-twins,simclr,vicreg --budget 30m
    tacita compare sensors.csv --labels state --methods mine.yaml,minirocket --budget 10m
    """
    _check_budget(budget)
    contestants = _checked_contestants(methods, modality)
    tacita.compare(
        data,
        contestants,
        labels=labels,
        unlabelled=unlabelled,
        task=task,
        budget=budget,
        seed=seed,
        out=out,
        group=group,
        missing=missing,
        modality=modality,
        image_size=image_size,
        series_id=series_id,
        time=time,
        overwrite=overwrite,
        quiet=quiet,
        device=device,
        precision=precision,
    )


@app.command()
def describe(
    data: Data,
    labels: Labels = None,
    task: Task = None,
    group: Group = None,
    missing: Missing = "refuse",
    modality: Modality = None,
    image_size: ImageSize = None,
    series_id: SeriesId = None,
    time: Time = None,
) -> None:
    """Print what is understood of the data, and what is suspicious.

    \b
    tacita describe photos/
    tacita describe sensors.csv --labels state
    """
    loaded = tacita.load(
        data,
        labels=labels,
        task=task,
        group=group,
        missing=missing,
        modality=modality,
        image_size=image_size,
        series_id=series_id,
        time=time,
    )
    print("\n".join(tacita.describe(loaded).lines()))


@app.command()
def report(
    run: ModelFolder,
    out: Annotated[Path | None, typer.Option(help="By default report.html in the run.")] = None,
) -> None:
    """Write the report of a run again, as one HTML page.

    \b
    tacita report runs/photos
    tacita report runs/photos --out photos.html
    """
    print(tacita.Model.load(run).write_report(out))


@app.command()
def export(
    model: ModelFolder,
    out: OutFile,
    format: Annotated[Literal["onnx", "torch"], typer.Option(help="Of the file.")] = "onnx",
) -> None:
    """Export a model, to run without tacita.

    The exported model is checked to give the same output.

    \b
    tacita export runs/photos --out photos.onnx
    tacita export runs/photos --format torch --out photos.pt2
    """
    print(tacita.Model.load(model).export(out, format))


@app.command()
def methods(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Words to look for.")
    ] = None,
    task: Task = None,
    modality: Annotated[str | None, typer.Option(help="images, series, tables, ...")] = None,
    labels: Annotated[
        Literal["none", "few", "many"] | None, typer.Option(help="How many labels there are.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="encoder, pretrain, adapt, ...")] = None,
) -> None:
    """List the methods, or search for some by words.

    \b
    tacita methods
    tacita methods masked reconstruction --modality series
    """
    from tacita.catalog import cards, discover, pages

    _check_choice("modality", modality, tuple(discover.modalities()))
    _check_choice("family", family, cards.FAMILIES)
    found = discover.search(
        " ".join(query or []), family=family, modality=modality, labels=labels, task=task
    )
    if not found:
        print("no method matches; `tacita methods` lists all of them.", file=sys.stderr)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(pages.method_list(found, width))


@app.command()
def show(method: Method) -> None:
    """Print all about one method: paper, options, measured figures.

    \b
    tacita show barlow-twins
    tacita show fixmatch
    """
    from tacita.catalog import pages

    width = min(100, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 100
    print(pages.method_page(method, width))


@app.command()
def claim(
    method: Method,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to repeat it over.")] = 3,
) -> None:
    """Check the claim of a method's paper, against a baseline.

    The exit code is 1 where the claim does not hold here.

    \b
    tacita claim barlow-twins
    tacita claim fixmatch --seeds 5
    """
    from tacita.catalog.claims import claim_script

    command = [sys.executable, str(claim_script(method)), "--seeds", str(seeds)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit; a mistake of the user is one line with its remedy on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name="tacita", standalone_mode=False) or 0
    except DryRun as planned:
        print(planned, file=sys.stderr)
        code = 0
    except TacitaError as error:
        code = _complain(str(error))
    except typer.TyperException as error:
        verb = given[0] if given and not given[0].startswith("-") else ""
        command = f"tacita {verb}" if verb in _verbs() else "tacita"
        message = error.format_message().replace("Value error, ", "")
        code = _complain(f"{message}\n       Try: {command} --help")
    except typer.Abort:
        code = 130
    if code == 130:
        hint = (
            "; run it again with --resume to go on" if given[:1] and given[0] in _RESUMABLE else ""
        )
        print(f"\ninterrupted{hint}", file=sys.stderr)
    sys.exit(code)


_RESUMABLE = ("fit", "pretrain", "adapt")


def _verbs() -> list[str]:
    return [command.callback.__name__ for command in app.registered_commands if command.callback]


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _check_budget(budget: str | None) -> None:
    if budget is not None:
        from tacita.catalog.values import parse_duration

        parse_duration(budget)


def _check_choice(option: str, value: str | None, known: tuple[str, ...]) -> None:
    from tacita.catalog.discover import did_you_mean

    if value is not None and value not in known:
        raise ConfigError(
            f"--{option} {value}: unknown{did_you_mean(value, known) or '.'}",
            remedy=f"Known: {', '.join(known)}.",
        )


def _checked_options(
    key: str, method: str, assignments: list[str] | None, modality: str | None
) -> dict[str, Any]:
    """The `key=value` arguments, known to fit the method, its encoder and the training."""
    from tacita.catalog.recipe import recipe_from_options
    from tacita.catalog.values import parse_assignments

    options = parse_assignments(assignments or [])
    for name in options:
        if name in ("budget", "device", "labels", "out", "precision", "seed", "task"):
            raise ConfigError(f"{name} is an option.", remedy=f"Write --{name} {options[name]}.")
    recipe_from_options(key, method, options).check(modality)
    return options


def _checked_contestants(methods: str, modality: str | None) -> list[str]:
    """The names after `--methods`: each is a recipe, a YAML file or a method that learns."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError("--methods names no method.", remedy="Write --methods a,b.")
    for name in names:
        _check_recipe(name, modality)
    return names


def _check_recipe(name: str, modality: str | None) -> None:
    from tacita.catalog.recipe import find_recipe

    find_recipe(name).check(modality)


if __name__ == "__main__":
    main()
