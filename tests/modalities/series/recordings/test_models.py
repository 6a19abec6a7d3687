"""Rates that were lost on the way to disk, or in an exported file, would turn signals into noise."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.errors import CheckpointError
from tacita.modalities.series.recordings import read_recordings, windows
from tacita.model.build import encoder_for, learner_for
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tests.modalities.series.recordings.sessions import files_of, write


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of a few steps on windows of 20 seconds, its folder, its recordings and its data."""
    folder = tmp_path_factory.mktemp("wearables")
    for number in range(4):
        write(folder / f"S{number}", files_of(320, seed=number, still=number % 2 == 1))
    labels = {f"S{number}": ("up", "still")[number % 2] for number in range(4)}
    channels = ("acc_x", "acc_z", "eda", "temp", "hr")
    data = windows(
        read_recordings(folder), length=20, step=20, channels=channels, labels=labels
    ).data
    recipe = Recipe(
        name="supervised",
        encoder=Section.model_validate({"method": "e4mer", "dim": 8, "depth": 1}),
        learn=Section(method="supervised"),
    )
    learner = learner_for(recipe, encoder_for(recipe, data.spec), {"steps": 3, "batch_size": 8})
    model = Model(recipe, learner.fit(data), Metrics(winner="supervised", leaderboard=[]))
    return model.save(tmp_path_factory.mktemp("model")), folder, data


def test_a_saved_model_knows_its_rates(trained):
    model, _, data = trained
    loaded = Model.load(model.folder)
    assert loaded.schema == model.schema
    assert loaded.schema.spec.rates == (32, 32, 4, 4, 1)
    assert loaded.learner.encoder.spec == data.spec
    std = loaded.learner.data_.normaliser.std
    assert len(std[:32].unique()) == len(std[64:68].unique()) == 1
    assert np.array_equal(loaded.predict_proba(data), model.predict_proba(data))


def test_a_saved_model_predicts_from_a_folder_what_it_does_from_memory(trained, tmp_path):
    model, folder, data = trained
    loaded = Model.load(model.folder)
    loaded.predict_file(folder, tmp_path / "p.csv", proba=True)
    text = (tmp_path / "p.csv").read_text()
    rows = {row["id"]: row for row in csv.DictReader(text.splitlines())}
    assert set(data.ids) <= set(rows)  # a window begins every five seconds there
    found = np.array([[float(rows[name]["up"]), float(rows[name]["still"])] for name in data.ids])
    expected = model.predict_proba(data)[:, [data.task.classes.index(c) for c in ("up", "still")]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rates_that_do_not_fill_the_rows_are_a_damaged_folder(trained, tmp_path):
    model, _, _ = trained
    model.save(tmp_path)
    path = tmp_path / "labels.json"
    for rates in ([32, 32, 4, 4], [32, 32, 4, 5, 0], [32, 32, 4, 4, 2]):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"rates": rates}))
        with pytest.raises(CheckpointError, match=r"labels\.json"):
            Model.load(tmp_path)


def test_an_exported_model_gives_the_same(trained, tmp_path):
    model, _, data = trained
    program = torch.export.load(model.export(tmp_path / "a.pt2", "torch")).module()
    for count in (1, 5):
        part = data.subset(torch.arange(count))
        found = program(part.x).detach().numpy()
        np.testing.assert_allclose(found, model.predict_proba(part), atol=1e-5)
