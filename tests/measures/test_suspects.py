"""Labels that were changed on purpose are found."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from tacita.measures.suspects import suspect_labels


def test_changed_labels_are_found_and_few_others() -> None:
    x, y = load_digits(return_X_y=True)
    x, y = x[:600] / 16, y[:600].copy()
    changed = np.random.default_rng(0).choice(600, 30, replace=False)
    y[changed] = (y[changed] + 3) % 10
    shares = cross_val_predict(LogisticRegression(max_iter=200), x, y, method="predict_proba")
    found = suspect_labels(shares, y)
    hits = np.isin(found, changed)
    assert np.isin(changed, found).mean() > 0.6
    assert hits.mean() > 0.7  # of 30 in 600
    assert hits[:10].mean() > 0.9  # the most suspect first


def test_a_class_without_labels_is_never_meant() -> None:
    shares = np.array([[0.1, 0.0, 0.9], [0.8, 0.1, 0.1], [0.2, 0.8, 0.0]])
    assert suspect_labels(shares, np.array([0, 0, 1])).tolist() == []


def test_they_are_those_of_the_authors_own_library_in_its_order() -> None:
    draw = np.random.default_rng(3)
    shares = draw.dirichlet([0.4] * 4, 60)
    codes = (draw.random(60)[:, None] > shares.cumsum(1)).sum(1).clip(max=3)
    codes[:6] = (codes[:6] + 1) % 4
    # cleanlab 2.9.0: find_label_issues(codes, shares, filter_by="confident_learning",
    # return_indices_ranked_by="normalized_margin")
    expected = [0, 2, 3, 46, 10, 28, 45, 22, 26, 58, 36, 13]
    assert suspect_labels(shares, codes).tolist() == expected
