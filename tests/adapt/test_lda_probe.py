"""Unseen could go: wrong Gaussians, a class without labels that is predicted, a spread of nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from tacita.adapt.lda_probe import LDAProbe, discriminant
from tacita.encoders import build
from tacita.errors import ConfigError, DataError
from tacita.tasks import Ordinal
from tests.engine.runs import digits_data
from tests.helpers import assert_close

DATA = digits_data(samples=120, labelled=60)


def probe() -> LDAProbe:
    torch.manual_seed(0)
    return LDAProbe(build("residual-cnn", DATA.spec, width=4))


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 4), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_logits_differ_as_the_log_densities_of_gaussians(classes, each, dim, seed):
    draw = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), each)
    x = draw.normal(size=(len(y), dim)) + draw.normal(size=(classes, dim))[y]
    weight, bias = discriminant(torch.from_numpy(x), torch.from_numpy(y), classes)
    means = np.stack([x[y == k].mean(0) for k in range(classes)])
    within = ledoit_wolf(x - means[y], assume_centered=True)[0] * len(y) / (len(y) - classes)
    within += 1e-6 * np.eye(dim)
    densities = [multivariate_normal(mean, within).logpdf(x).reshape(-1) for mean in means]
    expected = torch.from_numpy(np.stack(densities, 1))
    found = torch.from_numpy(x) @ weight.double().T + bias.double()
    scale = max(1.0, found.abs().max().item())
    assert_close(
        ((found - found[:, :1]) / scale).float(), ((expected - expected[:, :1]) / scale).float()
    )


def test_a_class_counts_by_its_share_of_the_labels():
    x = torch.tensor([[-1.0], [-1.1], [-0.9], [1.0], [1.1], [0.9]])
    few = torch.tensor([0, 0, 0, 1, 1, 1])
    many = torch.cat([few, few[:3]])
    _, even = discriminant(x, few, 2)
    _, uneven = discriminant(torch.cat([x, x[:3]]), many, 2)
    assert even[0].item() == pytest.approx(even[1].item(), rel=1e-5)
    assert uneven[0] > uneven[1]


def test_a_class_without_labels_is_never_predicted():
    few = DATA.hide_labels((DATA.labelled & (DATA.y != 3)).nonzero()[:, 0])
    predicted = probe().fit(few).predict(DATA)
    assert "3" not in {str(each) for each in predicted}
    assert len(set(predicted.tolist())) > 3


def test_labelled_samples_that_are_alike_give_finite_logits():
    weight, bias = discriminant(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), 2)
    assert weight.isfinite().all()
    assert bias[0] == bias[1]


def test_one_label_a_class_is_refused_with_another_method():
    y = DATA.y
    first = torch.tensor([(y == code).nonzero()[0, 0] for code in torch.unique(y[DATA.labelled])])
    with pytest.raises(DataError, match=r"(?s)no spread.*linear-probe"):
        probe().fit(DATA.hide_labels(first))


def test_grades_are_refused_with_another_method():
    graded = DATA.with_labels(DATA.targets, Ordinal(DATA.task.classes))
    with pytest.raises(ConfigError, match=r"(?s)lda-probe predicts classes.*linear-probe"):
        probe().fit(graded)
