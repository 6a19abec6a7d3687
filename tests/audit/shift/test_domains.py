"""What goes wrong in domain generalisation: the unseen domain leaks into training, its statistics
included; a sample is its own neighbour; or chance is taken for knowledge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tacita.adapt.knn import Knn
from tacita.audit.shift.domains import (
    DomainScores,
    domain_probe,
    domain_purity,
    leave_one_domain_out,
    split_domains,
)
from tacita.baselines.logistic_regression import LogisticRegression
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.errors import ConfigError, DataError
from tacita.learner import Learner
from tacita.modalities.load import load
from tacita.tasks import Classification


def domain_data(count: int = 60) -> Dataset:
    """Three domains; the class is in column 0, and in the first two domains in column 1 as well."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    groups = torch.arange(count) // 2 % 3
    x = 0.1 * torch.randn(count, 2, generator=generator)
    x[:, 0] += y
    x[:, 1] += torch.where(groups == 2, 1 - y, y) * 5
    return Dataset.of("tables", x, y, Classification(("a", "b")), groups=groups)


def test_a_learner_never_sees_the_domain_that_it_is_scored_on() -> None:
    data = domain_data()
    seen: list[Dataset] = []

    def make(sources: Dataset) -> Learner:
        seen.append(sources)
        return LogisticRegression()

    scores = leave_one_domain_out(data, make)
    for domain, sources in enumerate(seen):
        assert domain not in sources.groups
        assert len(sources) == 40
        own = data.subset(data.groups != domain).x
        assert torch.allclose(sources.normaliser.mean, own.mean(0).double())
        assert torch.allclose(sources.normaliser.std, own.std(0, correction=0).double())
    # A shortcut that holds in the seen domains is turned round in the third.
    assert scores.scores[2] < 0.3
    assert scores.scores[0] == LogisticRegression().fit(seen[0]).score(
        data.subset(data.groups == 0)
    )


def test_the_mean_is_over_domains_and_the_worst_is_one_of_them() -> None:
    scores = DomainScores({0: 0.5, 3: 1.0, 7: 0.6})
    assert scores.mean == pytest.approx(0.7)
    assert scores.worst == 0.5


def test_a_given_normaliser_is_kept_for_an_encoder_that_knows_it() -> None:
    digits = load("digits").normalised()
    digits = replace(digits, groups=torch.arange(len(digits)) % 2)
    encoder = build("residual-cnn", digits.spec, width=4)

    def make(sources: Dataset) -> Learner:
        assert sources.normaliser is digits.normaliser
        return Knn(encoder)

    scores = leave_one_domain_out(digits, make)
    assert scores.worst > 0.5


def test_both_sides_of_a_split_are_whole() -> None:
    data = domain_data()
    seen, unseen = split_domains(data, [0, 2])
    assert set(seen.groups.tolist()) == {1}
    assert set(unseen.groups.tolist()) == {0, 2}
    assert sorted([*seen.index.tolist(), *unseen.index.tolist()]) == list(range(60))


@pytest.mark.parametrize("unseen", [[], [5], [0, 1, 2]])
def test_a_split_with_an_empty_side_is_refused(unseen: list[int]) -> None:
    with pytest.raises(DataError, match="one side has no sample"):
        split_domains(domain_data(), unseen)


def test_data_without_groups_are_refused_and_so_are_domains_without_labels() -> None:
    data = domain_data()
    with pytest.raises(DataError, match="no groups"):
        leave_one_domain_out(replace(data, groups=None), lambda _: LogisticRegression())
    hidden = data.hide_labels((data.groups != 1).nonzero().squeeze(1))
    with pytest.raises(DataError, match="group 1 has a label"):
        leave_one_domain_out(hidden, lambda _: LogisticRegression())


def features_of(kind: str, count: int = 1500) -> tuple[Tensor, Tensor]:
    """Random features, or such that have their domain in one direction of eight."""
    generator = torch.Generator().manual_seed(0)
    domains = torch.randint(3, (count,), generator=generator)
    z = torch.randn(count, 8, generator=generator)
    if kind == "apart":
        z[:, 0] += 100 * (domains - 1)
        z[:, 1] += 100 * (domains == 1)
    return z, domains


@pytest.mark.parametrize("k", [1, 7])
def test_purity_by_a_loop_over_samples(k: int) -> None:
    z, domains = features_of("random")  # more samples than are compared at once
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    similarity = unit @ unit.T
    shares = []
    for i in range(len(z)):
        order = [j for j in np.argsort(-similarity[i]) if j != i][:k]
        shares.append(np.mean([int(domains[j] == domains[i]) for j in order]))
    assert domain_purity(z, domains, k) == pytest.approx(np.mean(shares), abs=1e-9)


def test_features_that_know_nothing_have_the_purity_and_the_probe_of_chance() -> None:
    z, domains = features_of("random")
    assert domain_purity(z, domains) == pytest.approx(1 / 3, abs=0.03)
    assert domain_probe(z, domains) == pytest.approx(1 / 3, abs=0.04)


def test_domains_that_are_apart_are_pure_and_told() -> None:
    z, domains = features_of("apart")
    assert domain_purity(z, domains) > 0.99
    assert domain_probe(z, domains) > 0.99


def test_a_rare_domain_counts_as_much_as_a_common_one_for_the_probe() -> None:
    domains = torch.tensor([0] * 90 + [1] * 10)
    z = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    assert domain_probe(z, domains) < 0.65  # always the common one would be right in 90 %


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match=f"k={k}"):
        domain_purity(torch.eye(4), torch.zeros(4), k)


def test_one_domain_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="1 domains"):
        domain_probe(torch.eye(4), torch.zeros(4, dtype=torch.int64))
    for gauge in (domain_probe, domain_purity):
        with pytest.raises(ConfigError, match="do not fit"):
            gauge(torch.eye(4), torch.zeros(3))
