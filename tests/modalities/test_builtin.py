"""The data sets that ship with installed packages: they are there, and as published."""

import sys

import pytest
from sklearn.datasets import load_digits

from tacita import errors
from tacita.modalities.builtin import BUILTIN, load_builtin
from tacita.modalities.load import load


@pytest.mark.parametrize(
    ("name", "samples", "shape", "classes", "test"),
    [
        ("digits", 1797, (1, 8, 8), 10, None),
        ("breast-cancer", 569, (30,), 2, None),
        ("wine", 178, (13,), 3, None),
        ("diabetes", 442, (10,), 0, None),
        ("basic-motions", 80, (100, 6), 4, 40),
        ("japanese-vowels", 640, (29, 12), 9, 370),
        ("gunpoint", 200, (150, 1), 2, 150),
        ("italy-power-demand", 1096, (24, 1), 2, 1029),
        ("arrow-head", 211, (251, 1), 3, 175),
        ("osu-leaf", 442, (427, 1), 6, 242),
    ],
)
def test_each_set_has_its_published_size(name, samples, shape, classes, test):
    data, positions = load_builtin(name)
    assert len(data) == samples
    assert data.spec.shape == shape
    assert len(data.task.classes) == classes
    assert bool(data.labelled.all())
    assert (None if positions is None else len(positions)) == test
    assert (data.lengths is not None) == (name == "japanese-vowels")


def test_digits_keep_their_grey_levels():
    data = load("digits")
    assert (data.x[:, 0].double() * 16 / 255).round().tolist() == load_digits().images.tolist()


def test_few_labels_of_a_built_in_set_may_come_from_a_file(tmp_path):
    (tmp_path / "few.csv").write_text("row,label\n3,class_0\n170,class_2\n")
    data = load("wine", labels=tmp_path / "few.csv")
    assert data.labelled.nonzero().flatten().tolist() == [3, 170]
    order = "class_0,class_1,class_2"
    assert load("wine", order=order).task.name == "ordinal"


def test_an_existing_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wine").mkdir()
    (tmp_path / "wine" / "a.csv").write_text("v\n1\n2\n")
    assert load("wine").modality == "series"


def test_without_aeon_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aeon", None)
    with pytest.raises(errors.MissingExtraError, match=r"tacita\[series\]"):
        load_builtin("gunpoint")


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(errors.ConfigError, match="Did you mean 'gunpoint'"):
        load_builtin("gun-point")
    with pytest.raises(errors.ConfigError, match="images"):
        load("digits", modality="series")
    assert "digits" in BUILTIN


def test_options_that_do_not_fit_are_not_ignored():
    assert load("digits", image_size=16).spec.shape == (1, 16, 16)
    with pytest.raises(errors.ConfigError, match="holds tables"):
        load("wine", image_size=16)
    with pytest.raises(errors.ConfigError, match="no groups"):
        load("wine", group="subject")
