"""What a model is on disk, written and read.

A folder holds `model.safetensors` (weights and normaliser), beside it `baseline.safetensors` where a
learner is no network, `recipe.yaml` (what it is), `labels.json` (what goes in and what comes out),
`metrics.json` (how good), `history.jsonl` and `report.html`. Reading checks every tensor against the
recipe and never runs code from the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tacita.catalog.recipe import Recipe, dump_recipe, load_recipe
from tacita.data.batch import InputSpec
from tacita.data.learnt import Learnt
from tacita.engine.checkpoint import add_to_digest, check_tensors, read_tensors, write_tensors
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.files import check_plain, read_json, write_text
from tacita.learner import Learner
from tacita.model.build import kept_files, needs_encoder, unfitted
from tacita.model.labels_file import (
    DAMAGED,
    FORMAT,
    LabelsFile,
    check_format,
    empty_dataset,
    labels_file_of,
)
from tacita.model.metrics import Metrics
from tacita.tasks import Task

WEIGHTS = "model.safetensors"
Shapes = dict[str, tuple[int, ...]]


def write_folder(folder: Path, recipe: Recipe, learner: Learner, metrics: Metrics) -> None:
    """Write a model's files, each whole or not at all; the weights last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    write_text(folder / "labels.json", labels_file_of(learner).model_dump_json(indent=1))
    write_text(folder / "metrics.json", metrics.model_dump_json(indent=1))
    learner.save_files(folder)
    tensors = _tensors(_modules(learner))
    metadata = {"format": str(FORMAT), "digest": digest(folder, learner.files, tensors)}
    write_tensors(folder / WEIGHTS, tensors, metadata)


def read_folder(folder: Path) -> tuple[Recipe, Learner, Metrics]:
    """What a model is made of.

    Raises `CheckpointError` naming the file, for a folder that is damaged, not whole, or of another
    version; `MissingExtraError` where it needs a package that is not installed.
    """
    try:
        return _read(folder)
    except (ConfigError, DataError) as error:
        if str(folder) in error.message:
            raise
        # The recipe's methods know nothing of files.
        raise CheckpointError(
            f"{folder / 'recipe.yaml'}: {error.message}", remedy=error.remedy
        ) from error


def _read(folder: Path) -> tuple[Recipe, Learner, Metrics]:
    if not (folder / "recipe.yaml").is_file():
        raise CheckpointError(
            f"{folder}: not a model folder (it has no recipe.yaml).",
            remedy="Give the folder that `tacita fit --out` wrote.",
        )
    for path in (folder / "recipe.yaml", folder / WEIGHTS):
        check_plain(path, DAMAGED)
    check_format(folder / "labels.json")
    recipe = load_recipe(folder / "recipe.yaml")
    labels = read_json(LabelsFile, folder / "labels.json", remedy=DAMAGED)
    recipe.check(labels.modality)
    for each in (recipe, *(member.recipe for member in recipe.members or ())):
        if needs_encoder(each) and each.encoder is None:
            raise CheckpointError(f"{folder / 'recipe.yaml'}: encoder: is missing.", remedy=DAMAGED)
    metrics = read_json(Metrics, folder / "metrics.json", remedy=DAMAGED)
    empty = empty_dataset(folder, labels)
    tensors, metadata = read_tensors(folder / WEIGHTS, remedy=DAMAGED)
    files = kept_files(recipe)
    there = {path.name for path in folder.glob("baseline.*")} | {
        name for name in files if (folder / name).exists()
    }
    if there != set(files):
        raise CheckpointError(
            f"{folder}: the recipe and the files do not belong together.", remedy=DAMAGED
        )
    for name in files:
        check_plain(folder / name, DAMAGED)
    learner = _untrained(recipe, empty.spec, empty.task, tensors, folder)
    learner.task_ = empty.task
    learner.learnt_ = Learnt(labels.learnt)
    learner.data_ = empty.normalised(empty.kind.normaliser(empty.spec))
    modules = _modules(learner)
    check_tensors(folder / WEIGHTS, tensors, _tensors(modules))
    found = metadata.get("format"), metadata.get("digest")
    if found != (str(FORMAT), digest(folder, files, tensors)):
        raise CheckpointError(
            f"{folder}: its files are damaged or of two models (their digest differs).",
            remedy=DAMAGED,
        )
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        module.eval()
    learner.load_files(folder, recipe.seed)
    return recipe, learner, metrics


def digest(folder: Path, files: Sequence[str], tensors: dict[str, Tensor]) -> str:
    """One number for everything that decides a prediction: recipe, labels, the learner's files, weights."""
    made = hashlib.sha256()
    for name in ("recipe.yaml", "labels.json", *files):
        with (folder / name).open("rb") as file:
            made.update(hashlib.file_digest(file, "sha256").digest())
    add_to_digest(made, tensors)
    return made.hexdigest()


def _modules(learner: Learner) -> dict[str, nn.Module]:
    assert learner.data_.normaliser is not None
    return {"normaliser": learner.data_.normaliser, **learner.modules()}


def _tensors(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value.detach()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def _untrained(
    recipe: Recipe, spec: InputSpec, task: Task, tensors: dict[str, Tensor], folder: Path
) -> Learner:
    """The recipe's learner with networks of the file's shapes.

    They are first made without memory, so that a recipe that promises huge networks is refused
    before it takes any.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        with torch.device("meta"):
            outline = _made(recipe, spec, task, shapes)
        expected = {name: tuple(v.shape) for name, v in _tensors(outline.modules()).items()}
    except (RuntimeError, TypeError, OverflowError):
        expected = {}  # A network of another library may need real numbers to be built.
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            raise CheckpointError(
                f"{folder / WEIGHTS}: {name} is not of the recipe's shape {shape}.",
                remedy="The folder is damaged or its files are of two models.",
            )
    try:
        return _made(recipe, spec, task, shapes)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        # torch has its own for each way in which a size can be too large; its stack stays away.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{folder / 'recipe.yaml'}: its networks cannot be built ({reason}).", remedy=DAMAGED
        ) from error


def _made(recipe: Recipe, spec: InputSpec, task: Task, shapes: Shapes) -> Learner:
    learner = unfitted(recipe, spec)
    learner.rebuild(task, shapes)
    return learner
