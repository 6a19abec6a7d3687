"""Supervised dictionary learning: exponential convergence, and a dictionary that tells classes as well."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import linregress, ttest_rel
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import NMF, PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_curve
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tacita.adapt.supervised_dictionary import SupervisedDictionary
from tacita.adapt.supervised_dictionary.lifted import condition, lifted_steps
from tacita.adapt.supervised_dictionary.objective import (
    Factors,
    Problem,
    largest_eigenvalue,
    value,
)
from tacita.claim.check import Claim, Figures, run
from tacita.claim.data import mnist

Array = NDArray[Any]

CLAIM = Claim(
    slug="supervised-dictionary",
    claim="Low-rank projected gradient descent converges exponentially from any start where L / mu < 3; and "
    "a dictionary learnt with the labels tells classes that one learnt to reconstruct does not.",
    baseline="PCA or NMF of the same rank with logistic regression, whose penalty for NMF is chosen by "
    "cross-validation (the method's is not chosen); logistic regression on all columns is measured too",
    data="A: breast_cancer (569 x 30, of which 3 columns are covariates), L / mu = 2, rank 2, a random start "
    "a seed; B: 50 columns, 500 + 500 rows, 4 strong factors and a weak one, labels by a direction at 0, 45 "
    "and 90 degrees to the strong ones, rank 4; C: MNIST (5,000), 4 against 9 (500 + 500), and 4 "
    "against all others at 5% (2,368 + 2,368), rank 4",
    criterion="A: the distance to the limit falls log-linearly (R^2 > 0.99) to 1e-10 in every seed, no "
    "slower than the bound, and all seeds end at one objective (1e-9 relative). B: at 90 degrees mean "
    "accuracy 10 points or more above PCA's (paired t, p < 0.05) and less than 3 below all columns, with 75% "
    "or more of the variance explained; at 0 degrees less than 2 points below PCA's. C: mean F1 3 or more "
    "points above NMF's in both",
    paper="fake job postings: F1 0.85 against 0.80 of NMF and logistic regression; simulations in which the "
    "gain grows with the mismatch of the two dictionaries",
    differs="real images in place of postings and X-rays; the threshold is that of the best F1 on the "
    "training samples for both; all options at their defaults, by pilots on seeds from 100. The first "
    "measurement, on seeds 0 to 9 and from random starts, failed by B alone, where two of ten stayed at "
    "PCA's dictionary (mean 79%, all columns 86%); since then the start is the better of two that know no "
    "chance, and these seeds are new",
)

RANK = 4
ANGLES = (0, 45, 90)
NINETY = f"{ANGLES[-1]} degrees"


def convergence(seed: int) -> Figures:
    """A: one random start, and the log-distance of its points to the last one."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).T
    X, aux = X[:27], np.concatenate([X[27:], np.ones((1, X.shape[1]))])
    unit = np.sqrt(largest_eigenvalue(X, aux) / 4)
    labels = y[None].astype(np.float64)
    problem = Problem(X / unit, aux / unit, labels, np.arange(len(y)), xi=0.75, nu=1.0)
    draw = np.random.default_rng(seed).standard_normal
    start = Factors(draw((27, 2)), draw((2, len(y))), draw((2, 1)), draw((4, 1)))
    units = condition(problem)
    points = list(islice(lifted_steps(problem, start, units), 120))
    products = [np.hstack([p.W @ p.beta, p.W @ p.H]) for p in points]
    distance = np.array([np.linalg.norm(Z - products[-1]) for Z in products])
    steps = np.arange(np.flatnonzero(distance < 1e-10)[0])
    line = linregress(steps, np.log(distance[steps]))
    return {
        "A: condition": units.number,
        "A: bound of the rate": units.rate,
        "A: rate": float(np.exp(line.slope)),
        "A: R2": float(line.rvalue**2),
        "A: objective": value(problem, points[-1]),
    }


def mismatched(angle: float, seed: int) -> tuple[Array, Array, Array, Array]:
    """B: rows of strong factors and a weak one, of which a direction at an angle makes the labels."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((50, RANK + 1)))[0]
    strong, weak = basis[:, :RANK], basis[:, RANK]
    direction = np.cos(angle) * strong.sum(1) / RANK**0.5 + np.sin(angle) * weak
    X = (rng.standard_normal((1000, RANK)) * [3.0, 2.5, 2.0, 1.5]) @ strong.T
    X += 0.6 * rng.standard_normal((1000, 1)) * weak + 0.2 * rng.standard_normal((1000, 50))
    a = X @ direction
    y = (rng.uniform(size=1000) < 1 / (1 + np.exp(-4 * a / a.std()))).astype(np.int64)
    return X[:500], y[:500], X[500:], y[500:]


def simulated(seed: int) -> Figures:
    """B: accuracies on the held-out half."""
    found = {}
    for angle in ANGLES:
        x, y, held, truth = mismatched(np.deg2rad(angle), seed)
        dictionary = SupervisedDictionary(rank=RANK, random_state=seed).fit(x, y)
        principal = make_pipeline(PCA(RANK), LogisticRegression()).fit(x, y)
        name = f"B: {angle} degrees"
        found[f"{name}, dictionary"] = dictionary.score(held, truth)
        found[f"{name}, PCA"] = principal.score(held, truth)
        found[f"{name}, all columns"] = LogisticRegression().fit(x, y).score(held, truth)
        found[f"{name}, explained"] = dictionary.explained_
        found[f"{name}, explained by PCA"] = float(principal[0].explained_variance_ratio_.sum())
    return found


def f1(model: Any, x: Array, y: Array, held: Array, truth: Array) -> float:
    """On the held-out samples, at the threshold that is best on the training samples."""
    precision, recall, thresholds = precision_recall_curve(y, model.predict_proba(x)[:, 1])
    best = (precision * recall / np.maximum(precision + recall, 1e-12))[:-1].argmax()
    return float(f1_score(truth, model.predict_proba(held)[:, 1] >= thresholds[best]))


def digits(seed: int) -> Figures:
    """C: fours among nines, and fours among all the others, one in twenty."""
    data = mnist()
    pixels = data.x.flatten(1).numpy().astype(np.float64) / 255
    four = data.y.numpy() == 4
    order = np.random.default_rng(seed).permutation(len(four))
    fours, others = order[four[order]], order[~four[order]]
    nines = others[data.y.numpy()[others] == 9]
    found = {}
    for name, positive, negative in (("4 or 9", fours, nines), ("4 at 5%", fours[:236], others)):
        halves = [
            np.concatenate([part[: len(part) // 2] for part in (positive, negative)]),
            np.concatenate([part[len(part) // 2 :] for part in (positive, negative)]),
        ]
        x, held = (pixels[half] for half in halves)
        y, truth = (four[half].astype(np.int64) for half in halves)
        grid = {"logisticregression__C": [0.01, 0.1, 1, 10, 100, 1000]}
        pipeline = make_pipeline(
            NMF(RANK, init="nndsvda", max_iter=1000), StandardScaler(), LogisticRegression()
        )
        models = {
            "dictionary": SupervisedDictionary(rank=RANK, random_state=seed),
            "NMF": GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3),
            "all pixels": LogisticRegression(max_iter=1000),
        }
        for kind, model in models.items():
            found[f"C: {name}, {kind}"] = f1(model.fit(x, y), x, y, held, truth)
    return found


def measure(seed: int) -> Figures:
    """All three with one seed."""
    return {**convergence(seed), **simulated(seed), **digits(seed)}


def judge(figures: Sequence[Figures]) -> bool:
    """A in every seed; B and C by their means, and B by a paired test too."""

    def mean(name: str) -> float:
        return float(np.mean([f[name] for f in figures]))

    objectives = [f["A: objective"] for f in figures]
    converges = all(
        f["A: R2"] > 0.99 and f["A: rate"] <= f["A: bound of the rate"] for f in figures
    )
    converges &= np.ptp(objectives) <= 1e-9 * abs(objectives[0])
    own, other = ([f[f"B: {NINETY}, {kind}"] for f in figures] for kind in ("dictionary", "PCA"))
    finds = (
        np.mean(own) >= np.mean(other) + 0.10
        and ttest_rel(own, other).pvalue < 0.05
        and mean(f"B: {NINETY}, all columns") - np.mean(own) < 0.03
        and mean(f"B: {NINETY}, explained") >= 0.75
        and mean("B: 0 degrees, PCA") - mean("B: 0 degrees, dictionary") < 0.02
    )
    tells = all(
        mean(f"C: {name}, dictionary") >= mean(f"C: {name}, NMF") + 0.03
        for name in ("4 or 9", "4 at 5%")
    )
    return bool(converges and finds and tells)


if __name__ == "__main__":
    run(CLAIM, measure, judge)
