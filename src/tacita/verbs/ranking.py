"""Which candidate is kept: the best, or a simpler one that the folds cannot tell from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tacita.catalog.recipe import Recipe
from tacita.data.splits import Fold
from tacita.errors import ConfigError
from tacita.model.metrics import Row

SURE = 2.0
"""Standard errors by which the best candidate must be ahead of the ensemble of all."""


class Ranking(NamedTuple):
    """The rows best first, those without a score last; the recipe that is kept; and why, if not the best."""

    rows: list[Row]
    winner: Recipe
    tie: str


def ranked(rows: Sequence[Row], recipes: Sequence[Recipe], folds: Sequence[Fold]) -> Ranking:
    """Candidates by their mean score; of those that noise cannot tell from the best, the simplest is kept.

    Simpler is a baseline than a network, and one that learns from labels alone than one that pretrains
    or learns from unlabelled samples too. Two are told apart where the mean difference over the folds
    exceeds one standard error of it (see `standard_error`), the usual rule for choosing what is simple
    (Breiman et al., 1984). Without folds nobody has a score, and the order stays. Raises `ConfigError`
    where there are folds and nobody has a score.
    """
    if not folds:
        return Ranking(list(rows), recipes[0], "")
    order = sorted(range(len(rows)), key=lambda place: rows[place].merit, reverse=True)
    ordered = [(rows[place], recipes[place]) for place in order]
    if not ordered or ordered[0][0].mean is None:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in rows)
        raise ConfigError(
            f"No candidate gave a score ({reasons}).", remedy="See the reasons given."
        )
    best, winner = ordered[0]
    # Of equally simple ones the first is the best, as they come in their order.
    for row, recipe in sorted(ordered, key=lambda pair: _parts(pair[0], pair[1])):
        if row.mean is None or _parts(row, recipe) >= _parts(best, winner):
            continue
        error = standard_error(best.folds, row.folds, folds)
        gap = abs(float(np.mean(best.folds)) - float(np.mean(row.folds)))
        if gap <= error:
            tie = f"{best.name} is ahead by no more than the folds can tell from chance"
            tie += f" (by {gap:.2g}, standard error {error:.2g}), so the simpler is kept"
            return Ranking([each for each, _ in ordered], recipe, tie)
    return Ranking([each for each, _ in ordered], winner, "")


def with_ensemble(ranking: Ranking, recipe: Recipe, row: Row, folds: Sequence[Fold]) -> Ranking:
    """The ensemble among the others; it is kept, unless the best is ahead by more than chance explains.

    The best of many was lucky besides, so it has to be ahead by two standard errors. Without folds nobody
    has a score, and the ensemble is kept.
    """
    if not folds:
        return Ranking([row, *ranking.rows], recipe, "")
    rows = sorted([row, *ranking.rows], key=lambda each: each.merit, reverse=True)
    best = ranking.rows[0]
    gap, error = best.merit - row.merit, standard_error(best.folds, row.folds, folds)
    if gap > SURE * error and gap > 0:
        return ranking._replace(rows=rows)
    tie = ""
    if gap > 0:
        tie = f"{best.name} is ahead of it by no more than the folds can tell from chance"
        tie += f" (by {gap:.2g}, standard error {error:.2g}), and of many one is the luckiest"
    return Ranking(rows, recipe, tie)


def standard_error(a: Sequence[float], b: Sequence[float], folds: Sequence[Fold]) -> float:
    """Of the mean difference of two candidates' scores on the same folds.

    Folds that are cut from the same labels share what they learn from, so their variance is taken times
    `1 / folds + scored / learnt` (Nadeau and Bengio, 2003); draws scored on the same samples times
    `1 / draws`. One fold has none: 0.
    """
    differences = np.subtract(a, b)
    if len(differences) < 2:
        return 0.0
    overlap = 0.0
    if not _same(folds):
        overlap = float(np.mean([len(fold.score) / max(len(fold.train), 1) for fold in folds]))
    share = 1 / len(differences) + overlap
    return math.sqrt(share) * float(np.std(differences, ddof=1))


def _same(folds: Sequence[Fold]) -> bool:
    """Whether all are scored on the same samples."""
    first = folds[0].score
    return all(
        len(each.score) == len(first) and bool((each.score == first).all()) for each in folds
    )


def _parts(row: Row, recipe: Recipe) -> int:
    """How much there is to a candidate: 0 for a baseline, and 2 where unlabelled samples come in."""
    if row.baseline:
        return 0
    return 1 + (row.unlabelled or recipe.pretrain is not None)
