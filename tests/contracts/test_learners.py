"""What holds for every learner and baseline in the catalog, on the example of each modality that it reads.

Each is fitted once to few labels and few steps, and what becomes of it is looked at from all sides.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.validation import has_fit_parameter

from tacita.catalog.cards import Card
from tacita.catalog.discover import cards, load_class, reads
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.encoders import default_encoder
from tacita.errors import ConfigError, DataError
from tacita.learner import Learner, NetworkLearner
from tacita.model.build import encoder_for, learner_for, needs_encoder, trains
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tacita.tasks import encode
from tests.helpers import example, labelled_steps, same_values, voxel_volumes, with_examples

COUNT = 40
TRAINING = {"steps": 3, "batch_size": 8}
SEEN = {**{name: name for name in with_examples()}, "voxels": "volumes", "steps": "series"}
DENSE = ("voxels", "steps")
"""Those with as many labels as a sample has parts; they are learnt by those alone that say so."""
"""What learners are tried on, and the modality of it."""


@cache
def data_of(name: str) -> Dataset:
    """At most forty samples, two thirds of them labelled, as they were read."""
    dense = {"voxels": voxel_volumes, "steps": labelled_steps}
    whole = dense[name]() if name in dense else replace(example(name), normaliser=None)
    data = whole.subset(torch.arange(min(COUNT, len(whole))))
    return data.hide_labels(torch.arange(2 * len(data) // 3))


def learners() -> list[Card]:
    return [card for card in cards().values() if card.family in ("adapt", "semisup", "baseline")]


def forecasts(method: str) -> bool:
    """Whether it does nothing else, and is looked at in `test_forecasters`."""
    return cards()[method].tasks == ("forecast",)


READ = [
    pytest.param(card.slug, name, id=f"{card.slug}-{name}")
    for card in learners()
    for name, modality in SEEN.items()
    if modality in reads(card)
]


def learns(case: Any) -> bool:
    method, name = case.values
    task = data_of(name).task.name
    return cards()[method].learns(task) and (name not in DENSE or task in cards()[method].tasks)


CASES = [case for case in READ if learns(case)]
every_learner = pytest.mark.parametrize("method, name", CASES)


def recipe_of(method: str, name: str) -> Recipe:
    card, spec = cards()[method], data_of(name).spec
    sections = {"learn": {"method": method, **load_class(method).tiny}}
    if card.needs_encoder:
        slug = default_encoder(spec, card.needs)
        sections["encoder"] = {"method": slug, **load_class(slug).tiny}
    return Recipe.model_validate({"name": method, **sections})


def unfitted(method: str, name: str) -> tuple[Recipe, Encoder | None, Learner]:
    recipe = recipe_of(method, name)
    encoder = encoder_for(recipe, data_of(name).spec) if needs_encoder(recipe) else None
    training = TRAINING if trains(recipe, "learn") else {}
    return recipe, encoder, learner_for(recipe, encoder, training)


@cache
def model_of(method: str, name: str) -> Model:
    recipe, _, learner = unfitted(method, name)
    return Model(recipe, learner.fit(data_of(name)), Metrics(winner=method, leaderboard=[]))


def test_every_learner_is_tried() -> None:
    # Those that predict numbers alone are tried where the tasks take turns; of steps, in tests/adapt.
    tried = {case.values[0] for case in (*CASES, *OTHER_TASKS)} | {"step-ridge"}
    wanted = {card.slug for card in learners() if set(reads(card)) & set(SEEN.values())}
    assert {slug for slug in wanted if not forecasts(slug)} == tried


@every_learner
def test_it_predicts_classes_that_it_knows(method: str, name: str) -> None:
    learner, data = model_of(method, name).learner, data_of(name)
    predicted, probabilities = learner.predict(data), learner.predict_proba(data)
    assert len(predicted) == len(data)
    if name == "steps":
        predicted = np.concatenate(list(predicted))
    assert set(map(str, np.unique(predicted))) <= set(learner.task_.answers)
    assert probabilities.shape[:2] == (len(data), len(learner.task_.answers))
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-4)
    if name not in DENSE:
        known = np.array(learner.task_.answers)[probabilities.argmax(1)]
        assert (
            known == np.array(list(map(str, predicted)))
        ).mean() > 0.9  # ties may fall either way


@every_learner
def test_a_loaded_model_predicts_the_same(method: str, name: str, tmp_path: Path) -> None:
    model, data = model_of(method, name), data_of(name)
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert torch.equal(loaded.learner.logits(data), model.learner.logits(data))
    assert (loaded.recipe, loaded.schema) == (model.recipe, model.schema)
    assert type(loaded.learner) is type(model.learner)
    if isinstance(model.learner, NetworkLearner):
        assert np.array_equal(loaded.learner.embed(data), model.learner.embed(data))


RAW: dict[str, list[Any]] = {
    "classification": ["p", "q", "r"],
    "open-set": ["p", "q", "r"],
    "ordinal": [1, 2, 3],
    "regression": [0.25, -1.5, 3.0],
}
"""Labels of the tasks of which samples of any modality can be."""


def of_task(name: str, task: str) -> Dataset:
    """The samples with labels of another task; the last third has none."""
    data = data_of(name)
    labelled = 2 * len(data) // 3
    raw = [RAW[task][i % 3] if i < labelled else None for i in range(len(data))]
    return data.with_labels(*encode(raw, task, data.samples, data.source))


OTHER_TASKS = [
    pytest.param(
        card.slug, name, task, id=f"{card.slug}-{name}-{task}",
        marks=[] if card.family == "baseline" and name in ("tables", "text") else pytest.mark.slow,
    )
    for card in learners()
    for name, modality in SEEN.items()
    for task in RAW
    if modality in reads(card) and card.learns(task)
    if name not in DENSE and task != data_of(name).task.name
]  # fmt: skip


@pytest.mark.parametrize("method, name, task", OTHER_TASKS)
def test_a_loaded_model_of_any_task_predicts_the_same(
    method: str, name: str, task: str, tmp_path: Path
) -> None:
    data = of_task(name, task)
    recipe, _, learner = unfitted(method, name)
    Model(recipe, learner.fit(data), Metrics(winner=method)).save(tmp_path)
    loaded = Model.load(tmp_path)
    assert torch.equal(loaded.learner.logits(data), learner.logits(data))
    assert (loaded.task, loaded.schema) == (learner.task_, learner.data_.schema)


@every_learner
def test_a_sample_is_predicted_apart_from_others(method: str, name: str) -> None:
    learner, data = model_of(method, name).learner, data_of(name)
    some = torch.tensor([5, 2])
    torch.testing.assert_close(
        learner.logits(data.subset(some)), learner.logits(data)[some], rtol=1e-3, atol=1e-4
    )


@every_learner
def test_a_fit_repeats_and_leaves_the_data_and_the_encoder_as_they_were(
    method: str, name: str
) -> None:
    data = data_of(name)
    before = copy.deepcopy(data)
    _, encoder, learner = unfitted(method, name)
    weights = None if encoder is None else copy.deepcopy(encoder.state_dict())
    learner.fit(data)
    assert torch.equal(learner.logits(data), model_of(method, name).learner.logits(data))
    same_values(data.samples, before.samples)
    same_values(data.targets, before.targets)
    assert (data.meta, data.task) == (before.meta, before.task)
    if encoder is not None and weights is not None:
        for key, value in encoder.state_dict().items():
            assert torch.equal(value, weights[key]), key


@every_learner
def test_an_unknown_class_is_refused(method: str, name: str) -> None:
    learner, data = model_of(method, name).learner, data_of(name)
    renamed = ("977", *data.task.answers[1:])  # A name that labels of any type may have.
    with pytest.raises(DataError, match="977"):
        learner.score(data.with_labels(data.targets, replace(data.task, classes=renamed)))


@every_learner
def test_it_scores_itself_between_nothing_and_all(method: str, name: str) -> None:
    assert 0 <= model_of(method, name).learner.score(data_of(name)) <= 1


@pytest.mark.parametrize("method, name", [case for case in READ if not learns(case)])
def test_a_task_that_it_does_not_learn_is_refused(method: str, name: str) -> None:
    _, _, learner = unfitted(method, name)
    with pytest.raises(ConfigError, match=data_of(name).task.name):
        learner.fit(data_of(name))


@every_learner
def test_what_has_learnt_nothing_predicts_nothing(method: str, name: str) -> None:
    _, _, learner = unfitted(method, name)
    with pytest.raises(ConfigError, match="learnt nothing yet"):
        learner.predict(data_of(name))


def weighted(name: str) -> Dataset:
    """The samples where labels of weight 1 and 8 take turns."""
    data = data_of(name)
    return data.weighted(1 + 7 * (torch.arange(len(data)) // 3 % 2))


FIRST = list({case.values[0]: case for case in reversed(CASES)}.values())
"""Every learner once."""
UNWEIGHED = {
    "linear-discriminant", "lda-probe", "minirocket-self-training",
    "label-spreading", "tfidf-label-spreading", "knn", "wad", "supervised-dictionary", "segmentation",
}  # fmt: skip
"""Those that cannot weigh samples."""


@pytest.mark.parametrize("method, name", FIRST)
def test_weights_count_by_their_ratios_or_are_refused_by_name(method: str, name: str) -> None:
    learner = unfitted(method, name)[2]
    assert learner.weighs == (method not in UNWEIGHED)
    data, plain = weighted(name), model_of(method, name).learner.logits(data_of(name))
    if not learner.weighs:
        with pytest.raises(ConfigError, match=f"^{method} cannot weigh samples"):
            learner.fit(data)
        assert not hasattr(learner, "task_")
    else:
        logits = learner.fit(data).logits(data)
        assert not torch.equal(logits, plain)
        larger = replace(data, weights=4 * data.weights)  # type: ignore[operator]
        assert torch.equal(unfitted(method, name)[2].fit(larger).logits(data), logits)
    # Weights that are all alike are none, also for those that cannot weigh.
    alike = data_of(name).weighted(torch.full((len(data),), 0.3))
    assert torch.equal(unfitted(method, name)[2].fit(alike).logits(data), plain)


@pytest.mark.parametrize(
    "method, name", [case for case in FIRST if "baseline" in cards()[case.values[0]].family]
)
def test_a_baseline_weighs_where_its_estimator_does(method: str, name: str) -> None:
    learner, data = unfitted(method, name)[2], data_of(name)
    estimator = learner.estimator(data.task, data.spec, 8, 0)  # type: ignore[attr-defined]
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    assert has_fit_parameter(last, "sample_weight") == learner.weighs


@pytest.mark.parametrize("method, name", FIRST)
def test_a_sample_of_weight_zero_is_as_if_it_were_not_there(method: str, name: str) -> None:
    data = data_of(name)
    keep = torch.arange(len(data)) % 5 != 1
    absent = unfitted(method, name)[2].fit(data.subset(keep))
    zero = unfitted(method, name)[2].fit(data.weighted(keep.double()))
    assert torch.equal(zero.logits(data), absent.logits(data))
