"""Areas and thresholds against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from tacita.measures.errors import confusion, macro_f1
from tacita.measures.ranks import POINTS, aucs, operating

DRAW = np.random.default_rng(0)
# Rounded, so that there are ties.
SHARES = DRAW.dirichlet(np.ones(3), 500).round(2)
CODES = (DRAW.random(500)[:, None] > SHARES.cumsum(1)).sum(1).clip(max=2)


def test_areas_are_those_of_scikit_learn() -> None:
    expected = [roc_auc_score(k == CODES, SHARES[:, k]) for k in range(3)]
    assert aucs(SHARES, CODES) == pytest.approx(expected)
    assert np.isnan(aucs(SHARES, np.zeros(500))).all()


def test_every_threshold_is_what_it_says() -> None:
    found = operating("x", SHARES[:, 1], CODES == 1)
    assert found is not None
    assert len(found.threshold) <= POINTS
    assert (np.diff(found.threshold) < 0).all()
    for at, recall, precision in zip(found.threshold, found.recall, found.precision, strict=True):
        taken = SHARES[:, 1] >= at
        assert recall == pytest.approx(recall_score(CODES == 1, taken))
        assert precision == pytest.approx(precision_score(CODES == 1, taken))
    assert found.recall[-1] == found.false_alarms[-1] == 1
    assert (found.positives, found.negatives) == ((CODES == 1).sum(), (CODES != 1).sum())
    assert operating("x", SHARES[:, 1], CODES < 9) is None


def test_many_thresholds_are_thinned_and_keep_their_ends() -> None:
    score = DRAW.random(5000)
    found = operating("x", score, DRAW.random(5000) < score)
    assert found is not None
    assert len(found.threshold) == POINTS
    assert (found.threshold[0], found.threshold[-1]) == (score.max(), score.min())


def test_macro_f1_is_that_of_scikit_learn() -> None:
    predicted = SHARES.argmax(1)
    expected = f1_score(CODES, predicted, average="macro")
    assert macro_f1(confusion(predicted, CODES, 3)) == pytest.approx(expected)
    # A class that is nowhere counts for nothing.
    assert macro_f1(confusion(predicted, CODES, 4)) == pytest.approx(expected)
