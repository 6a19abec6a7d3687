"""Using an encoder: a probe leaves it alone, neighbours vote, fine-tuning starts at the probe."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tacita.adapt.knn import Knn, NearestNeighbours
from tacita.adapt.linear_probe import LinearProbe
from tacita.adapt.trained import FineTune
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.tasks import Classification, Regression
from tests.engine.runs import digits_data, equal, weights

DATA = digits_data(samples=120, labelled=60)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build("residual-cnn", DATA.spec, width=4)


@pytest.mark.parametrize("learner", [LinearProbe, Knn])
def test_a_probe_leaves_the_encoder_as_it_was(
    learner: type[LinearProbe] | type[Knn], encoder: Encoder
) -> None:
    before = weights(encoder.train())
    fitted = learner(encoder).fit(DATA)
    assert equal(weights(fitted.encoder), before)
    assert not any(module.training for module in fitted.encoder.modules())
    assert fitted.predict(DATA).shape == (120,)


def test_fine_tuning_starts_at_the_probes_predictions(encoder: Encoder) -> None:
    probe = LinearProbe(copy.deepcopy(encoder)).fit(DATA)
    objective = FineTune(encoder).build(DATA)
    objective.eval()
    batch = DATA.take(torch.arange(120))
    with torch.no_grad():
        logits = objective.head(objective.encoder(batch).pooled)
    torch.testing.assert_close(logits, probe.logits(DATA), rtol=1e-4, atol=1e-4)


def test_fine_tuning_moves_the_encoder(encoder: Encoder) -> None:
    before = weights(encoder)
    tuned = FineTune(encoder, engine={"steps": 3, "batch_size": 16}).fit(DATA)
    assert not equal(weights(tuned.encoder), before)
    assert tuned.history_.steps == 3


def votes(
    memory: np.ndarray, targets: np.ndarray, query: np.ndarray, k: int, temperature: float
) -> np.ndarray:
    """Weighted votes, one query and one neighbour at a time."""
    found = []
    for q in query:
        cosine = np.array([q @ m / np.linalg.norm(q) / np.linalg.norm(m) for m in memory])
        nearest = np.argsort(-cosine)[:k]
        weight = np.exp(cosine[nearest] / temperature)
        found.append(
            sum(w * targets[i] for w, i in zip(weight, nearest, strict=True)) / weight.sum()
        )
    return np.array(found)


def test_neighbours_vote_as_derived_one_by_one() -> None:
    draw = np.random.default_rng(0)
    memory, query = draw.normal(size=(30, 4)), draw.normal(size=(9, 4))
    y = draw.integers(0, 3, 30)
    task = Classification(("a", "b", "c"))
    head = NearestNeighbours(30, 4, task, k=7, temperature=0.5)
    head.remember(torch.tensor(memory), torch.tensor(y))
    found = task.probabilities(head(torch.tensor(query))).numpy()
    np.testing.assert_allclose(found, votes(memory, np.eye(3)[y], query, 7, 0.5), atol=1e-5)

    values = draw.normal(size=30) * 10
    regression = Regression(mean=3.0, std=2.0)
    head = NearestNeighbours(30, 4, regression, k=7, temperature=0.5)
    head.remember(torch.tensor(memory), torch.tensor(values))
    found = regression.predict(head(torch.tensor(query))).numpy()
    np.testing.assert_allclose(found, votes(memory, values, query, 7, 0.5), rtol=1e-4, atol=1e-4)


def test_neighbours_are_never_more_than_the_labels(encoder: Encoder) -> None:
    few = DATA.hide_labels(torch.arange(3))
    assert Knn(encoder, k=20).fit(few).predict(DATA).shape == (120,)


def test_a_learner_that_was_not_fitted_says_so(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match="has learnt nothing yet"):
        LinearProbe(encoder).predict(DATA)
