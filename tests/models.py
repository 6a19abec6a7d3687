"""Models of every kind, trained for a moment on tiny real data, for the tests of what becomes of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from tacita.catalog.recipe import Member, Recipe, Section
from tacita.data.dataset import Dataset
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.model.build import (
    encoder_for,
    ensemble_of,
    is_baseline,
    learner_for,
    needs_encoder,
)
from tacita.model.metrics import Metrics, Row
from tacita.model.model import Model

WORDS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
ENCODERS = {
    "images": {"method": "residual-cnn", "width": 4},
    "series": {"method": "residual-conv", "width": 8},
    "tables": {"method": "feature-tokens", "dim": 16, "depth": 1},
}


@cache
def data_of(modality: str) -> Dataset:
    """Sixty real samples with labels in words, a third of which are hidden."""
    digits = load("digits")
    if modality == "images":
        words = [WORDS[code] for code in digits.y[:60]]
        words[40:] = [None] * 20  # type: ignore[list-item]
        return as_dataset(digits.x[:60].numpy(), words, modality="images")
    if modality == "series":
        rows = digits.x[:60, 0].numpy().astype(np.float32)
        # Digits as series of pixel rows; each third one stops before its end.
        items = [np.repeat(row, 2, 0)[: 16 - 3 * (i % 3 == 0)] for i, row in enumerate(rows)]
        words = ["low" if code < 5 else "high" for code in digits.y[:60]]
        words[40:] = [None] * 20  # type: ignore[list-item]
        return as_dataset(items, words, modality="series")
    if modality == "tables":
        wine = load("wine")
        order = torch.randperm(178, generator=torch.Generator().manual_seed(0))[:60]
        part = wine.subset(order)
        return part.hide_labels(torch.arange(40))
    diabetes = load("diabetes")
    return diabetes.subset(torch.arange(60)).hide_labels(torch.arange(40))


def quick_model(method: str, kind: str, **options: Any) -> Model:
    """A model of one method; a trained one takes three steps."""
    if method == "ensemble":
        return quick_ensemble(kind)
    data = data_of(kind)
    key = "pretrain" if method in ("barlow-twins", "mae") else "learn"
    section = {"method": method, **options}
    recipe = Recipe.model_validate({"name": method, key: section})
    if needs_encoder(recipe):
        encoder = Section.model_validate(ENCODERS[data.modality])
        recipe = recipe.model_copy(update={"encoder": encoder})
    network = encoder_for(recipe, data.spec) if needs_encoder(recipe) else None
    training = {"steps": 3, "batch_size": 8} if method in TRAINED else {}
    learner = learner_for(recipe, network, training).fit(data)
    row = Row(
        name=method,
        metric=data.task.metric,
        mean=0.5,
        std=0.1,
        folds=[0.4, 0.6],
        seconds=0.1,
        peak_mb=100.0,
        baseline=is_baseline(recipe),
    )
    return Model(recipe, learner, Metrics(winner=method, leaderboard=[row]))


def quick_ensemble(kind: str) -> Model:
    """Two models that answer together: on images both are networks."""
    members = {
        "images": ("supervised", "knn"),
        "tables": ("supervised", "random-forest"),
        "regression": ("linear-probe", "ridge"),
    }[kind]
    models = [model_of(name, kind) for name in members]
    both = [Member(weight=0.25, temperature=2.0, recipe=models[0].recipe),
            Member(weight=0.75, recipe=models[1].recipe)]  # fmt: skip
    recipe = Recipe(name="ensemble", members=both)
    learner = ensemble_of(recipe, [each.learner for each in models]).of_fitted()
    row = models[0].metrics.leaderboard[0].model_copy(update={"name": "ensemble"})
    return Model(recipe, learner, Metrics(winner="ensemble", leaderboard=[row]))


TRAINED = ("supervised", "fixmatch", "fine-tune")

KINDS: list[tuple[str, str]] = [
    *((method, "images") for method in (*TRAINED, "linear-probe", "knn", "barlow-twins")),
    ("fixmatch", "series"),
    ("knn", "series"),
    ("supervised", "tables"),
    ("fine-tune", "regression"),
    ("linear-probe", "regression"),
    ("knn", "regression"),
    *(("logistic-regression", kind) for kind in ("images", "series", "tables")),
    ("ridge", "regression"),
    ("random-forest", "tables"),
    ("random-forest", "regression"),
    ("gradient-boosting", "tables"),
    ("gradient-boosting", "regression"),
    ("label-spreading", "images"),
    ("label-spreading", "tables"),
    ("minirocket", "series"),
    *(("ensemble", kind) for kind in ("images", "tables", "regression")),
    ("minirocket-self-training", "series"),
    ("quant", "series"),
]
"""Method and data of every kind of model."""


@cache
def model_of(method: str, kind: str) -> Model:
    """One model of a kind, made once."""
    return quick_model(method, kind)
