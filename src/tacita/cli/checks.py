"""What is wrong with a command, said before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tacita.catalog.discover import did_you_mean
from tacita.catalog.durations import parse_duration
from tacita.cli.options import RUNNING
from tacita.errors import ConfigError
from tacita.verbs.options import UNLIMITED


def check_budget(budget: str | None) -> None:
    """Raises `ConfigError` for a budget that is neither a duration nor "none"."""
    if budget not in (None, UNLIMITED):
        parse_duration(budget)


def check_choice(option: str, value: str | None, known: tuple[str, ...]) -> None:
    """Raises `ConfigError` with the nearest name for a value that there is not."""
    if value is not None and value not in known:
        raise ConfigError(
            f"--{option} {value}: unknown{did_you_mean(value, known)}",
            remedy=f"Known: {', '.join(known)}.",
        )


def checked_settings(
    key: str, method: str, assignments: list[str] | None, modality: str | None
) -> dict[str, Any]:
    """The `key=value` arguments, known to fit the method, its encoder and the training."""
    from tacita.catalog.recipe import recipe_from_options
    from tacita.catalog.values import parse_assignments

    settings = parse_assignments(assignments or [])
    for name in settings:
        if name in (*RUNNING.given, "labels", "task"):
            flag = name.replace("_", "-")
            raise ConfigError(f"{name} is an option.", remedy=f"Write --{flag} {settings[name]}.")
    recipe_from_options(key, method, settings).check(modality)
    return settings


def settings_of_recipe(recipe: str, assignments: list[str], modality: str | None) -> dict[str, Any]:
    """The `key=value` arguments beside a recipe, which must be one method; checked as those of a verb."""
    from tacita.catalog.discover import cards
    from tacita.catalog.recipe import FAMILIES

    card = cards().get(recipe)
    if card is None:
        raise ConfigError(
            f"{assignments[0]}: fit takes options of a method where it is given one, by --recipe METHOD.",
            remedy="Write them into a recipe (--recipe FILE.yaml), or train one method with"
            " `tacita adapt METHOD DATA KEY=VALUE`.",
        )
    key = "pretrain" if card.family in FAMILIES["pretrain"] else "learn"
    return checked_settings(key, recipe, assignments, modality)


def checked_contestants(methods: str, modality: str | None) -> list[str]:
    """The names after `--methods`: each is a recipe, a YAML file or a method that learns."""
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError("--methods names no method.", remedy="Write --methods a,b.")
    for name in names:
        check_recipe(name, modality)
    return names


def check_recipe(name: str, modality: str | None) -> None:
    """Raises `ConfigError` for a recipe that there is not, or that reads another modality."""
    from tacita.catalog.recipe import find_recipe

    if not Path(name).is_dir():
        find_recipe(name).check(modality)
