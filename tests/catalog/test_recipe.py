"""A recipe is refused before anything runs, with the whole key; what is accepted says all there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tacita.catalog.recipe import (
    LARGEST_FILE,
    OF_THE_RUN,
    Recipe,
    built_in_recipes,
    dump_recipe,
    find_recipe,
    load_recipe,
    recipe_from_options,
    training_parameters,
)
from tacita.errors import ConfigError

FULL = """\
format: 1
name: masked + probe
seed: 7
pretrain: {method: tiny-mae, depth: 3, train: {steps: 500}}
learn:
  method: tiny-probe
  sizes: [64, 64]
  pool: null
  train: {learning_rate: 1e-3}
"""


@pytest.fixture
def load(tmp_path: Path):
    def from_text(text: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)

    return from_text


@pytest.mark.usefixtures("house")
def test_a_recipe_gives_the_arguments_that_it_names_in_their_types(load) -> None:
    recipe = load(FULL)
    recipe.check("series")
    assert (recipe.name, recipe.seed, list(recipe.sections)) == (
        "masked + probe",
        7,
        ["pretrain", "learn"],
    )
    assert recipe.arguments("pretrain") == {"depth": 3}
    assert recipe.training("pretrain") == {"steps": 500}
    assert recipe.arguments("learn") == {"sizes": (64, 64), "pool": None}
    assert recipe.training("learn") == {"learning_rate": 1e-3}


def test_what_is_dumped_loads_to_an_equal_recipe(load) -> None:
    recipe = load(FULL)
    assert load(dump_recipe(recipe)) == recipe
    assert "pool: null" in dump_recipe(recipe)
    assert "encoder" not in dump_recipe(recipe)


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize(
    "change, message",
    [
        (("steps: 500", "stepz: 500"), r"pretrain\.train\.stepz: unknown; did you mean steps\?"),
        (("steps: 500", "steps: a"), r"pretrain\.train\.steps: 'a' is not a whole number"),
        (("steps: 500", "seed: 3"), r"pretrain\.train\.seed: unknown"),
        (("steps: 500", "checkpoint: /etc/x"), r"pretrain\.train\.checkpoint: unknown"),
        (("steps: 500", "callbacks: []"), r"pretrain\.train\.callbacks: .* cannot be written down"),
        (("depth: 3", "dpth: 3"), r"pretrain\.dpth: unknown; did you mean depth\?"),
        (("depth: 3", "stepz: 3"), r"stepz: unknown; did you mean pretrain\.train\.steps\?"),
        (("depth: 3", "depth: 1.5"), r"pretrain\.depth: 1\.5 is not a whole number"),
        (("pool: null", "views: null"), r"learn\.views: .* cannot be written down in a recipe"),
        (("tiny-mae", "tiny-mea"), r"pretrain\.method: .*'tiny-mea'; did you mean tiny-mae\?"),
        (("tiny-mae", "tiny-cnn"), r"pretrain\.method: tiny-cnn is of the family encoder"),
        (
            ("pretrain:", "encoder: {method: tiny-cnn}\npretrain:"),
            "tiny-mae reads series, but tiny-",
        ),
        (("learn:", "learn2:"), r"learn2: unknown; did you mean learn\?"),
        (("format: 1", "format: 2"), "format: 2: Input should be 1"),
        (("seed: 7", "seed: -1"), "seed: -1"),
        (("seed: 7", "seed: 1.0"), "seed: 1.0"),
        (("name: masked + probe\n", ""), "name: Field required"),
        (("method: tiny-probe", "width: 3"), r"learn\.method: Field required"),
        (("depth: 3", "depth: {a: 1}"), r"pretrain\.depth: {'a': 1} is not a whole number"),
        (("depth: 3", "depth: {a: [1]}"), r"pretrain\.depth: {'a': \[1\]}: it is not a plain map"),
        (("depth: 3", "depth: {a: .nan}"), r"pretrain\.depth: {'a': nan}: it is not a finite"),
        (("depth: 3", "depth: .nan"), r"pretrain\.depth: nan: it is not a finite number"),
        (("[64, 64]", "[[64], 64]"), r"learn\.sizes: .*it is not a plain list"),
        (("{steps: 500}", "[1]"), r"pretrain\.train: \[1\]: Input should be a valid dict"),
        (("[64, 64]", "[64"), r"recipe\.yaml, line \d+: "),
    ],
)
def test_a_mistake_is_named_with_its_whole_key(load, change: tuple[str, str], message: str) -> None:
    changed = FULL.replace(*change)
    assert changed != FULL
    with pytest.raises(ConfigError, match=message):
        load(changed).check()


def recipe_of(**sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "x", **sections})


@pytest.mark.usefixtures("house")
def test_sections_must_go_together() -> None:
    forest, cnn = {"method": "tiny-forest"}, {"method": "tiny-cnn"}
    recipe_of(learn=forest).check("tables")
    with pytest.raises(ConfigError, match="encoder: tiny-forest uses none"):
        recipe_of(learn=forest, encoder=cnn).check()
    with pytest.raises(ConfigError, match=r"learn\.train: tiny-forest is not trained by steps"):
        recipe_of(learn=forest | {"train": {"steps": 1}}).check()
    with pytest.raises(ConfigError, match="neither a pretrain nor a learn"):
        recipe_of(encoder=cnn).check()
    with pytest.raises(ConfigError, match="reads images, tables, but the data are series"):
        recipe_of(learn=forest).check("series")


@pytest.mark.usefixtures("house")
def test_flat_options_go_to_the_section_that_knows_them() -> None:
    options = {
        "encoder": "tiny-cnn",
        "width": 4,
        "steps": 10,
        "train.batch_size": 2,
    }
    recipe = recipe_from_options("learn", "tiny-probe", options, seed=3)
    assert recipe.seed == 3
    assert recipe.encoder is not None
    assert recipe.encoder.method == "tiny-cnn"
    assert recipe.arguments("learn") == {"width": 4}
    assert recipe.training("learn") == {"steps": 10, "batch_size": 2}
    with pytest.raises(ConfigError, match=r"encoder\.width is given but no encoder is named"):
        recipe_from_options("learn", "tiny-probe", {"encoder.width": 3})
    with pytest.raises(ConfigError, match=r"encoder\.width: unknown"):
        recipe_from_options("learn", "tiny-probe", {"encoder": "tiny-cnn", "encoder.width": 3})


def test_a_file_that_is_no_recipe_is_named(load, tmp_path: Path) -> None:
    for text in ("", "- a", "3"):
        with pytest.raises(ConfigError, match=r"recipe\.yaml: a recipe is a mapping"):
            load(text)
    with pytest.raises(ConfigError, match="No such file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="directory"):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: is not text in UTF-8 \(byte 6\)"):
        load_recipe(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_recipe(tmp_path / "big.yaml")


def test_a_recipe_is_found_by_name_by_method_or_by_file(tmp_path: Path) -> None:
    assert find_recipe("mae-fine-tune").name == "mae + fine-tune"
    assert find_recipe("random-forest").sections["learn"].method == "random-forest"
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nlearn: {method: knn}", encoding="utf-8")
    assert find_recipe(path).name == "mine"
    with pytest.raises(ConfigError, match="there is no recipe 'residual-cnn'"):
        find_recipe("residual-cnn")
    with pytest.raises(ConfigError, match=r"'fixmach'; did you mean fixmatch\?"):
        find_recipe("fixmach")


@pytest.mark.parametrize("name", built_in_recipes())
def test_a_recipe_that_comes_with_tacita_is_right(name: str) -> None:
    recipe = find_recipe(name)
    recipe.check()
    assert set(yaml.safe_load(built_in_recipes()[name].read_text())) - {"format", "name"}
    for key in recipe.sections:
        assert recipe.training(key) == {}
        # Defaults are the constructor's; an encoder may be of a kind, such as one with a token a step.
        assert key == "encoder" or recipe.arguments(key) == {}


def test_there_are_recipes_for_every_way_to_learn() -> None:
    learners = {find_recipe(name).sections["learn"].method for name in built_in_recipes()}
    assert {"supervised", "linear-probe", "fine-tune", "fixmatch", "flexmatch"} <= learners


def test_a_recipe_sets_the_training_and_not_the_run() -> None:
    assert {"steps", "batch_size", "learning_rate"} <= set(training_parameters())
    assert not OF_THE_RUN & set(training_parameters())


WORDS = st.sampled_from(
    ["format", "name", "seed", "encoder", "pretrain", "learn", "method", "train", "steps", "mae"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(TREES.map(lambda tree: yaml.safe_dump(tree).encode()) | st.binary(max_size=60))
@example(b"name: x\nlearn: {method: fixmatch, options: 3, '[key]': 1}")
@example(b"name: x\nlearn: {method: fixmatch, train: {steps: [[]]}}")
@example(b"\xef\xbb\xbfname: x")
@FUZZ
def test_any_bytes_give_a_checked_recipe_or_a_config_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(raw)
    with suppress(ConfigError):
        recipe = load_recipe(path)
        path.write_text(dump_recipe(recipe), encoding="utf-8")
        assert load_recipe(path) == recipe
        recipe.check()
        assert set(recipe.sections) <= {"encoder", "pretrain", "learn"}


@given(st.dictionaries(WORDS, st.none() | st.integers() | st.text(max_size=5) | st.floats()))
@FUZZ
def test_any_options_give_a_recipe_or_a_config_error(options: dict[str, Any]) -> None:
    with suppress(ConfigError):
        recipe = recipe_from_options("learn", "fixmatch", options)
        assert recipe.sections["learn"].method == "fixmatch"
