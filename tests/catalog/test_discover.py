"""Cards are found by reading; a broken one is an error with its place, never a method left out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tacita.catalog import discover
from tacita.catalog.cards import REGISTERED, Card
from tacita.errors import ConfigError, MissingExtraError

HEAD = "from tacita.catalog.cards import method\n"
GOOD = 'title="T", family="layer", modalities=("series",), summary="S."'


@pytest.mark.usefixtures("house")
def test_files_and_folders_are_scanned_without_running_them() -> None:
    found = discover.cards()
    assert sorted(found) == ["tiny-cnn", "tiny-forest", "tiny-mae", "tiny-probe"]
    card = found["tiny-probe"]
    assert card.target == "tacita.adapt.tiny_probe:TinyProbe"
    assert (card.year, card.labels, card.reuses) == (2020, "few", ("projector",))
    assert card.doc.startswith("A probe.")
    assert Path(card.path).name == "tiny_probe.py"
    assert found["tiny-mae"].target == "tacita.pretrain.tiny_mae:TinyMae"


@pytest.mark.parametrize(
    "decorator, reason",
    [
        (f'@method("a", {GOOD}, year=THIS_YEAR)', "malformed node"),
        (f'@method("a", {GOOD}, colour="red")', "colour"),
        ('@method("a", title="T")', "missing"),
        (f'@method("a", "b", {GOOD})', "title"),
        (f'@method("a", {GOOD}, **more)', "malformed node"),
        (f'@method("A", {GOOD})', "'A' has slug='A'"),
    ],
)
def test_a_card_that_cannot_be_read_is_an_error(write, decorator: str, reason: str) -> None:
    write("layers/bad.py", f"{HEAD}{decorator}\nclass Bad: ...\n")
    with pytest.raises(ConfigError, match=reason):
        discover.cards()


def test_a_source_that_does_not_parse_is_named_with_its_line(write) -> None:
    write("layers/bad.py", f'{HEAD}@method("a", {GOOD})\nclass Bad(:\n')
    with pytest.raises(ConfigError, match=r"bad\.py, line 3"):
        discover.cards()


def test_two_classes_of_one_name_are_refused(write) -> None:
    for name in ("one", "two"):
        write(f"layers/{name}.py", f'{HEAD}@method("a", {GOOD})\nclass {name.title()}: ...\n')
    with pytest.raises(ConfigError, match=r"layers\.one:One and tacita\.layers\.two:Two"):
        discover.cards()


@pytest.mark.usefixtures("house")
def test_a_class_defined_by_the_user_joins_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(
        "mine",
        title="Mine",
        family="adapt",
        modalities=("tables",),
        summary="Mine.",
        target="__main__:Mine",
    )
    mine = type("Mine", (), {})
    monkeypatch.setattr(discover, "REGISTERED", {"mine": (card, mine)})
    assert discover.get("mine") is card
    assert discover.load_class("mine") is mine


@pytest.mark.usefixtures("house")
def test_a_user_cannot_take_the_name_of_a_method_of_the_house(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Card(
        "tiny-mae",
        title="Mine",
        family="adapt",
        modalities=("tables",),
        summary="Mine.",
        target="__main__:Mine",
    )
    monkeypatch.setattr(discover, "REGISTERED", {"tiny-mae": (card, object)})
    with pytest.raises(ConfigError, match="__main__:Mine"):
        discover.cards()


@pytest.mark.usefixtures("house")
def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"'tiny-prob'; did you mean tiny-probe\?"):
        discover.get("tiny-prob")
    with pytest.raises(ConfigError, match=r"'xyzzy'\."):
        discover.get("xyzzy")


@pytest.mark.usefixtures("house")
def test_a_search_needs_every_word_and_ranks_names_first() -> None:
    def slugs(query: str = "", **filters: str) -> list[str]:
        return [card.slug for card in discover.search(query, **filters)]

    assert slugs("probe") == ["tiny-probe"]
    assert slugs("classes FEATURES") == ["tiny-probe"]
    assert slugs("classes nonsense") == []
    assert slugs("cnn images")[0] == "tiny-cnn"
    assert set(slugs("images")) == {"tiny-cnn", "tiny-probe", "tiny-forest"}
    assert slugs("images")[0] == "tiny-cnn"  # in its summary, not only among its modalities
    assert slugs(family="baseline") == ["tiny-forest"]
    assert slugs(modality="series", labels="few") == ["tiny-probe"]
    assert len(slugs(task="regression")) == len(slugs()) == 4


def test_the_class_of_every_method_of_the_house_is_where_its_card_says() -> None:
    found = discover.cards()
    assert found
    for slug, card in found.items():
        module, _, name = card.target.partition(":")
        cls = discover.load_class(slug)
        assert (cls.__module__, cls.__qualname__) == (module, name)
        assert replace(REGISTERED[slug][0], doc=card.doc) == card


@pytest.mark.parametrize(
    "package, error, message",
    [
        ("torch_geometric", MissingExtraError, r"torch_geometric.*\n.*tacita\[graph\]"),
        ("no_such_thing", ModuleNotFoundError, "no_such_thing"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    error: type[Exception],
    message: str,
) -> None:
    module = tmp_path / "other_house" / "layers" / "tiny_graph.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        f'{HEAD}import {package}\n@method("tiny-graph", {GOOD})\nclass TinyGraph: ...\n'
    )
    monkeypatch.setattr(discover, "ROOT", tmp_path / "other_house")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(error, match=message):
        discover.load_class("tiny-graph")
