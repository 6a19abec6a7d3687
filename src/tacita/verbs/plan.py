"""What a run will do, with nothing left "auto": the candidates, the splits, and the steps that fit.

The plan is written into the run's folder before training starts, so that the run can be resumed
after a kill and replayed from its own folder (`--recipe runs/NAME`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacita.catalog import discover
from tacita.catalog.recipe import Recipe, Section, find_recipe
from tacita.catalog.tasks import task_cards
from tacita.data.dataset import Dataset
from tacita.data.normalise import Normaliser
from tacita.data.splits import (
    HELD_OUT,
    Fold,
    cross_validation,
    draw_labels,
    enough_to_hold_out,
    hold_out,
)
from tacita.encoders import default_encoder
from tacita.engine.train import check_options
from tacita.errors import ConfigError, MissingExtraError
from tacita.files import write_text
from tacita.model.build import (
    encoder_for,
    learner_for,
    needs_encoder,
    pretraining_for,
    training_options,
    trains,
)
from tacita.verbs.budget import Cost
from tacita.views import try_views
from tacita.windows import Windows

FORMAT = 1
DRAWS = 5
DRAWN_HELD_OUT = 0.3
"""Share held out where labels are hidden on purpose; there are plenty then."""
LARGEST_PLAN = 2**30


class Splits(BaseModel):
    """Stable indices of the samples: of the training data for `train`, of `score_on` for `score`.

    dropped: those neither learnt from nor held out, as they lie across the cut between both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    held_out: list[int] = []
    dropped: list[int] = []
    score_on_held_out: bool = False
    train: list[list[int]]
    score: list[list[int]]


class Plan(BaseModel):
    """The whole of a run's decisions.

    metric: the figure that ranks them; empty for the task's usual one. ranked_by: why, in words.
    start: what tells the encoder that the candidates start from, if they start from a model's.
    recipes: the candidates, every section with its method and all of its training options.
    skipped: candidates that cannot run here or have no room in the budget, with the reason.
    ensemble: whether the candidates may be kept together, as one model.
    expected: by name, what the candidates that are trained by steps take on one thread; empty where that
        was not looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    seed: int = 0
    protocol: str
    metric: str = ""
    ranked_by: str = ""
    start: str = ""
    recipes: list[Recipe]
    skipped: dict[str, str] = Field(default_factory=dict)
    ensemble: bool = False
    expected: dict[str, Cost] = Field(default_factory=dict)
    splits: Splits

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        write_text(path, self.model_dump_json(exclude_none=True) + "\n")


def load_plan(path: Path) -> Plan:
    """Read a plan; raises `ConfigError` naming the file and the key."""
    try:
        if path.stat().st_size > LARGEST_PLAN:
            raise ConfigError(f"{path}: is larger than {LARGEST_PLAN} bytes; no plan is.")
        plan = Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: {where}: {first['msg']}.",
            remedy="Put back the plan as it was written, or start anew with --overwrite.",
        ) from error
    if not plan.recipes or len(plan.splits.train) != len(plan.splits.score):
        raise ConfigError(
            f"{path}: has no recipe, or not as many parts to score as to learn from.",
            remedy="Put back the plan as it was written, or start anew with --overwrite.",
        )
    for recipe in plan.recipes:
        recipe.check()
    return plan


def make_splits(
    data: Dataset,
    test: Dataset | None,
    labels_per_class: int | None,
    draws: int | None,
    seed: int,
) -> tuple[Splits, str]:
    """Held-out part and folds, and the protocol in words.

    Test samples given apart are the held-out part. Where `labels_per_class` is given, labels are
    hidden: every draw learns from that many a class and is scored on the held-out part. Else
    labels that suffice are held out, and candidates are compared by cross-validation on the rest.
    """
    index = data.index
    if labels_per_class is not None:
        count = draws or DRAWS
        pool, held = _pool(data, test, DRAWN_HELD_OUT, seed)
        visible = data.hide_labels(pool)
        train = [draw_labels(visible, labels_per_class, seed + i) for i in range(count)]
        score = held if test is None else test.labelled.nonzero().squeeze(1)
        protocol = (
            f"{count} draws of {labels_per_class} labels a class, "
            f"each scored on the same {len(score)} held-out samples"
        )
        scored = index if test is None else test.index
        return Splits(
            held_out=[] if test is not None else index[held].tolist(),
            score_on_held_out=True,
            train=[index[part].tolist() for part in train],
            score=[scored[score].tolist()] * count,
        ), protocol
    if draws is not None:
        raise ConfigError(
            "draws was given without labels_per_class.",
            remedy="Give both, to see how few labels would do; or neither.",
        )
    held = torch.empty(0, dtype=torch.int64)
    rest = data
    dropped: list[int] = []
    if test is None and enough_to_hold_out(data):
        kept, held = hold_out(data, HELD_OUT, seed)
        rest = data.hide_labels(kept)
        if isinstance(data.samples, Windows):
            # Any other window knows of what is held out, or is asked about it.
            both = torch.cat([kept, held])
            dropped = index[~torch.isin(torch.arange(len(data)), both)].tolist()
    folds = cross_validation(rest, seed)
    protocol = f"{len(folds)} folds of cross-validation over {int(rest.labelled.sum())} labels"
    if not folds:
        protocol = (
            "no cross-validation, as fewer than two classes have two labels; nobody has a score"
        )
    if len(held) or test is not None:
        protocol += f"; {len(held) or len(test or ())} held out for the last figure"
    return Splits(
        held_out=index[held].tolist(),
        dropped=dropped,
        train=[index[fold.train].tolist() for fold in folds],
        score=[index[fold.score].tolist() for fold in folds],
    ), protocol


def _pool(
    data: Dataset, test: Dataset | None, share: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if test is not None:
        return data.labelled.nonzero().squeeze(1), torch.empty(0, dtype=torch.int64)
    return hold_out(data, share, seed)


def candidates(
    data: Dataset,
    names: str | Sequence[str | Recipe],
    seed: int,
    begin: Callable[[Recipe], Recipe] | None = None,
) -> tuple[list[Recipe], dict[str, str]]:
    """The recipes that a run compares, and those left out with the reason.

    `names`: "auto" for the usual ones of the modality and every baseline for such samples and such a
    task; or the names of recipes, methods or YAML files.
    `begin`: gives a recipe the encoder that all start from; those that are usual then pretrain no more.
    """
    if names == "auto":
        card = data.kind.card
        if not card.usual:
            raise ConfigError(
                f"There are no usual candidates for {card.name} to compare.",
                remedy="Name a method: tacita adapt segmentation DATA --labels FOLDER, or fit --recipe.",
            )
        baselines = [
            each.slug
            for each in discover.cards().values()
            if each.family == "baseline"
            and card.name in discover.reads(each)
            and each.learns(data.task.name)
        ]
        usual = [named_recipe(name) for name in card.usual]
        if begin is not None:
            learners = dict.fromkeys(each.learn.method for each in usual if each.learn is not None)
            usual = [named_recipe(name) for name in learners]
        usual = [each for each in usual if _concerns(each, data.task.name)]
        chosen = [*usual, *(named_recipe(name) for name in sorted(baselines))]
    else:
        chosen = [named_recipe(name) for name in ([names] if isinstance(names, str) else names)]
    recipes, skipped = [], {}
    for recipe in (each.model_copy(update={"seed": seed}) for each in chosen):
        try:
            recipe = recipe if begin is None else begin(recipe)
            recipe.check(data.modality)
            recipes.append(resolved(recipe, data))
        except (ConfigError, MissingExtraError) as error:
            if names != "auto":
                raise
            skipped[recipe.name] = f"{error.message} {error.remedy}".strip()
    return recipes, skipped


def _concerns(recipe: Recipe, task: str) -> bool:
    """Whether it is a candidate for a task: one apart has its own, which are of no concern to others."""
    if recipe.learn is None:
        return True
    card, known = discover.get(recipe.learn.method), task_cards()
    if card.learns(task):
        return True
    return not known[task].apart and not all(known[each].apart for each in card.tasks)


def named_recipe(name: str | Recipe) -> Recipe:
    """What a name stands for: a method, which learns or pretrains, or a recipe."""
    if isinstance(name, Recipe):
        return name
    card = discover.cards().get(name)
    if card is None:
        return find_recipe(name)
    section = Section(method=name)
    if card.family == "pretrain":
        return Recipe(name=name, pretrain=section)
    return Recipe(name=name, learn=section)


def resolved(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe with its encoder and all training options written out, tried on the data."""
    if not needs_encoder(recipe):
        _try_learner(recipe, data)
        return recipe
    encoder = recipe.encoder or Section(method=_usual_encoder(recipe, data))
    recipe = recipe.model_copy(update={"encoder": encoder})
    for key in ("pretrain", "learn"):
        if trains(recipe, key):
            options = training_options(recipe, key)
            options.pop("seed")
            if key == "pretrain" and "batch_size" not in recipe.sections[key].train:
                options["batch_size"] = min(options.get("batch_size", 64), max(2, len(data) // 2))
            section = recipe.sections[key].model_copy(update={"train": options})
            recipe = recipe.model_copy(update={key: section})
    _try_learner(recipe, data)
    return recipe


def _usual_encoder(recipe: Recipe, data: Dataset) -> str:
    """Some objectives need an encoder of a certain kind, such as one with tokens to hide."""
    section = recipe.pretrain or recipe.learn
    needs = () if section is None else discover.get(section.method).needs
    return default_encoder(data.spec, needs)


@torch.random.fork_rng(devices=[])
def _try_learner(recipe: Recipe, data: Dataset) -> None:
    """Build everything once, so that what does not fit is known before any training."""
    cards = [discover.get(section.method) for section in recipe.sections.values()]
    for card in cards:
        if not card.learns(data.task.name):
            raise ConfigError(
                f"{card.slug} does not do {data.task.name}.",
                remedy=f"See what does: tacita methods --task {data.task.name}",
            )
    encoder = encoder_for(recipe, data.spec) if needs_encoder(recipe) else None
    if recipe.pretrain is not None and encoder is not None:
        objective = pretraining_for(recipe, encoder)
        train = recipe.pretrain.train
        check_options(objective, data, train["steps"], train["batch_size"])
        try_views(objective, data)
    if recipe.learn is not None:
        learner = learner_for(recipe, encoder)
        learner.try_out(learner.accepted(data), recipe.seed)


def folds_of(plan: Plan, data: Dataset, scored: Dataset) -> list[Fold]:
    """The plan's folds as positions in the data sets at hand."""
    train, score = _positions(data), _positions(scored)
    try:
        return [
            Fold(
                torch.tensor([train[i] for i in a], dtype=torch.int64),
                torch.tensor([score[i] for i in b], dtype=torch.int64),
            )
            for a, b in zip(plan.splits.train, plan.splits.score, strict=True)
        ]
    except KeyError as error:
        raise ConfigError(
            f"The plan names sample {error.args[0]}, which {data.source} does not have.",
            remedy="Replay it with the data it was made for.",
        ) from error


def parts(
    whole: Dataset, held: Dataset | None, plan: Plan, by: Normaliser | None = None
) -> tuple[Dataset, Dataset | None]:
    """The samples to learn from, normalised by themselves alone, and the held-out ones.

    by: the normaliser of a model to start from, in the place of their own.
    """
    aside = torch.isin(whole.index, torch.tensor(plan.splits.held_out, dtype=torch.int64))
    dropped = torch.isin(whole.index, torch.tensor(plan.splits.dropped, dtype=torch.int64))
    pool = whole.subset(~(aside | dropped)).normalised(by)
    if held is None and bool(aside.any()):
        held = whole.subset(aside)
    return pool, None if held is None else held.normalised(pool.normaliser)


def _positions(data: Dataset) -> dict[int, int]:
    return {int(index): position for position, index in enumerate(data.index)}
