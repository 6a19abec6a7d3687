"""A card with a mistake in it must not get into the catalog."""

from __future__ import annotations

from typing import Any

import pytest

from tacita.catalog import cards
from tacita.catalog.cards import Card, method
from tacita.catalog.tasks import task_cards
from tacita.errors import ConfigError
from tacita.tasks import kinds

RIGHT: dict[str, Any] = {
    "title": "Twice",
    "family": "layer",
    "modalities": ("series",),
    "summary": "Doubles what comes in.",
}


@pytest.mark.parametrize(
    "field, value",
    [
        ("title", ""),
        ("summary", 3),
        ("family", "magic"),
        ("needs", "views"),
        ("modalities", "series"),
        ("labels", "some"),
        ("tasks", ("guessing",)),
        ("reuses", ["projector"]),
        ("paper", "arxiv 2103.03230"),
        ("year", 1),
        ("year", True),
        ("claim", None),
        ("encoder", "no"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"'twice' has {field}="):
        Card("twice", **(RIGHT | {field: value}))


@pytest.mark.parametrize("slug", ["", "Twice", "two words", "under_score", "-x", "a--b"])
def test_a_slug_is_words_joined_by_hyphens(slug: str) -> None:
    with pytest.raises(ConfigError, match="slug"):
        Card(slug, **RIGHT)


def test_a_decorated_class_is_registered_and_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "REGISTERED", {})

    class Twice:
        """Doubles."""

    assert method("twice", **RIGHT)(Twice) is Twice
    card, cls = cards.REGISTERED["twice"]
    assert cls is Twice
    assert card.target.endswith(
        ":test_a_decorated_class_is_registered_and_unchanged.<locals>.Twice"
    )
    assert (card.doc, card.path) == ("Doubles.", __file__)


def test_a_cell_run_twice_replaces_and_another_class_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cards, "REGISTERED", {})
    first, again = (type("Twice", (), {}) for _ in range(2))
    method("twice", **RIGHT)(first)
    method("twice", **RIGHT)(again)
    assert cards.REGISTERED["twice"][1] is again
    with pytest.raises(ConfigError, match=r"'twice' is the name of both .*Twice and .*Other"):
        method("twice", **RIGHT)(type("Other", (), {}))


def test_every_task_can_stand_on_a_card() -> None:
    assert kinds().keys() == task_cards().keys()
    for name, card in task_cards().items():
        assert kinds()[name].name == name
        assert card.target == f"{kinds()[name].__module__}:{kinds()[name].__qualname__}"
