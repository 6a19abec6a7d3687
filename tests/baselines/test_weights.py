"""A weight of 2 is a sample twice, where a penalty is as strong beside the loss as it was.

Weights are brought to a mean of 1, so that their scale does not change how strong a penalty is. Beside n
samples of weights whose sum is m, a penalty is m / n times as strong as beside the m samples themselves.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.linear_model import Ridge

from tacita.baselines.logistic_regression import LogisticRegression
from tacita.catalog.discover import load_class
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.modalities.builtin import load_builtin
from tacita.modalities.memory import as_dataset
from tacita.parts.heads import fit_linear_head
from tacita.tasks import Task

TIMES = 1 + (torch.arange(60) % 4 == 0).long() + 2 * (torch.arange(60) % 7 == 0).long()
"""How often each sample is there."""
TWICE = torch.arange(60).repeat_interleave(TIMES)


class Penalised(LogisticRegression):
    """The baseline under a penalty of its own, and with a solution that is exact."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def estimator(self, task: Task, spec: InputSpec, rows: int, seed: int) -> Any:
        linear = SklearnLogisticRegression(C=1 / self.strength, max_iter=10_000, tol=1e-10)
        return task.estimator(linear, Ridge(alpha=self.strength))


def wine(task: str) -> Dataset:
    """Sixty wines, normalised by all of them: their classes, or their alcohol from all else."""
    whole = load_builtin("wine")[0]
    some = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:60]
    data = whole.subset(some)
    if task == "regression":
        data = as_dataset(data.x[:, 1:].numpy(), data.x[:, 0].numpy(), task=task)
    return data.normalised()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_weight_is_how_often_a_sample_is_there(task: str) -> None:
    data = wine(task)
    weighed = Penalised(60 / len(TWICE)).fit(data.weighted(TIMES))
    repeated = Penalised(1.0).fit(data.subset(TWICE))
    predicted, expected = (
        learner.task_.predict(learner.logits(data))
        if task == "regression"
        else learner.logits(data)
        for learner in (weighed, repeated)
    )
    torch.testing.assert_close(predicted, expected, rtol=1e-3, atol=1e-4)
    plain = Penalised(1.0).fit(data).logits(data)
    assert (plain - repeated.logits(data)).abs().max() > 0.01


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_so_it_is_for_a_linear_probe(task: str) -> None:
    data = wine(task)
    x, known = data.take(torch.arange(60)).x, torch.arange(60)
    weights = data.weighted(TIMES).evened().weights
    weighed = fit_linear_head(x, known, data.y, data.task, 60 / len(TWICE), weights)
    repeated = fit_linear_head(x, TWICE, data.y[TWICE], data.task, 1.0)
    torch.testing.assert_close(weighed(x), repeated(x), rtol=1e-3, atol=1e-3)
    assert (fit_linear_head(x, known, data.y, data.task, 1.0)(x) - repeated(x)).abs().max() > 0.01


@pytest.mark.parametrize("name", ["tfidf-logistic-regression", "tfidf-svm"])
def test_baselines_of_texts_weigh_the_labelled_ones_alone(name: str) -> None:
    from tacita.data.modality import find

    whole = find("text").example()
    labelled = torch.arange(0, len(whole), 2)
    data = whole.hide_labels(labelled)
    weights = torch.rand(len(data), generator=torch.Generator().manual_seed(0)) + 0.1
    other = weights.clone()
    other[1::2] = 9.0
    one, two = (load_class(name)().fit(data.weighted(w)).logits(data) for w in (weights, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, load_class(name)().fit(data).logits(data))
