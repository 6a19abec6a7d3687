"""Who is kept: the best, unless a simpler candidate cannot be told from it."""

from __future__ import annotations

import pytest
import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.data.splits import Fold
from tacita.errors import ConfigError
from tacita.model.metrics import Row
from tacita.verbs.ranking import ranked, standard_error

FOLDS = [Fold(torch.arange(20), torch.arange(5 * i, 5 * i + 5)) for i in range(5)]
DRAWS = [Fold(torch.arange(i, i + 4), torch.arange(50)) for i in range(5)]


def row(name: str, folds: list[float], **kind: bool) -> Row:
    mean = sum(folds) / len(folds) if folds else None
    return Row(name=name, metric="accuracy", mean=mean, std=0.1, folds=folds, **kind)


def kept(rows: list[Row], folds: list[Fold] = FOLDS) -> tuple[str, str, list[str]]:
    recipes = [Recipe(name=each.name, learn=Section(method="knn")) for each in rows]
    found = ranked(rows, recipes, folds)
    return found.winner.name, found.tie, [each.name for each in found.rows]


def test_a_lead_that_the_folds_cannot_tell_goes_to_the_simpler_and_it_is_said() -> None:
    net = row("net", [0.8, 0.9, 1.0, 0.7, 0.9])
    forest = row("forest", [0.9, 0.8, 0.9, 0.8, 0.8], baseline=True)
    name, tie, order = kept([forest, net])
    assert (name, order) == ("forest", ["net", "forest"])
    assert tie.startswith("net is ahead by no more than the folds can tell from chance (by 0.02")


def test_a_steady_lead_wins() -> None:
    net = row("net", [0.85, 0.95, 0.95, 0.85, 0.85])
    forest = row("forest", [0.8, 0.9, 0.9, 0.8, 0.8], baseline=True)
    assert kept([forest, net])[:2] == ("net", "")


def test_the_better_of_equally_simple_ones_is_kept() -> None:
    rows = [
        row("forest", [0.8, 0.8, 0.8, 0.8, 0.8], baseline=True),
        row("boosting", [0.8, 0.8, 0.8, 0.8, 0.85], baseline=True),
        row("fixmatch", [0.8, 0.8, 0.9, 0.8, 0.8], unlabelled=True),
    ]
    assert kept(rows)[0] == "boosting"
    # One that learns from labels alone is simpler than one that needs more.
    assert kept([row("supervised", [0.8, 0.8, 0.8, 0.8, 0.88]), rows[2]])[0] == "supervised"


def test_a_candidate_that_leads_and_is_simplest_has_no_tie() -> None:
    rows = [row("forest", [0.9] * 5, baseline=True), row("net", [0.9, 0.8, 0.9, 0.9, 0.9])]
    assert kept(rows)[:2] == ("forest", "")


def test_less_is_better_where_it_is() -> None:
    better = Row(name="a", metric="log_loss", lower=True, mean=0.2, std=0.0, folds=[0.2] * 5)
    worse = Row(name="b", metric="log_loss", lower=True, mean=0.9, std=0.0, folds=[0.9] * 5)
    assert kept([worse, better]) == ("a", "", ["a", "b"])


def test_the_standard_error_counts_what_folds_share() -> None:
    a, b = [0.9, 0.7, 0.8, 0.9, 0.8], [0.8, 0.7, 0.8, 0.8, 0.8]
    plain = standard_error(a, b, DRAWS)
    assert plain == pytest.approx(torch.tensor([0.1, 0, 0, 0.1, 0]).std().item() / 5**0.5)
    assert standard_error(a, b, FOLDS) == pytest.approx(plain * (5 * (1 / 5 + 5 / 20)) ** 0.5)
    assert standard_error([0.9], [0.8], FOLDS[:1]) == 0


def test_nobody_with_a_score_is_an_error_with_the_reasons() -> None:
    failed = Row(name="net", metric="accuracy", mean=None, std=None, error="it diverged")
    with pytest.raises(ConfigError, match="net: it diverged"):
        kept([failed])
