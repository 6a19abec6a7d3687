"""Supervised dictionary learning as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tacita.adapt.supervised_dictionary.block import block_steps, random_start
from tacita.adapt.supervised_dictionary.codes import joint_values, reconstruction_codes
from tacita.adapt.supervised_dictionary.lifted import best_start, condition, lifted_steps
from tacita.adapt.supervised_dictionary.objective import (
    Array,
    Factors,
    Problem,
    Variant,
    normalised,
    probabilities,
    squared_norm,
    value,
)
from tacita.errors import ConfigError, DataError
from tacita.tasks import UNLABELLED


class Settings:
    """The options of the estimator, and of the method that is made of it.

    rank: r, the number of dictionary elements (20 topics or patches, 2 groups of genes in the paper);
        where the data have fewer columns or rows, as many as these.
    variant: `filter` reads the label from the samples filtered by the dictionary, W^T x, which needs no
        codes of new samples; `feature` from the codes h, which are other ones without a label.
    algorithm: `block`, block coordinate descent; or `lifted`, low-rank projected gradient descent, which
        finds the one solution where the penalty is strong for the data (see
        `condition_`) and is slower where it is not.
    non_negative: whether dictionary and codes stay so, as in non-negative matrix factorisation; needs
        `block` and samples without negative values.
    reconstruction_weight: of the unexplained share of |X|^2 against the mean loss of a label. The paper's
        xi is this times labels / |X|^2, so that neither the unit of X nor how many samples have no
        label moves the balance.
    penalty: nu, of |A|^2 / 2 and |gamma|^2 / 2; 1 is that of scikit-learn's logistic regression. Of a
        feature, where A has a number a label, it is divided by their number.
    codes: of new samples of a feature: by `reconstruction` alone; or `joint` with each class in turn,
        of which that with the least objective is predicted: for two classes, with more it fails.
    max_iter: iterations (100 to 500 in the paper).
    tol: the relative change of the objective at which they end.
    random_state: of the start where factors are non-negative; else it is found without chance.
    """

    def __init__(
        self,
        *,
        rank: int = 10,
        variant: Variant = "filter",
        algorithm: Literal["block", "lifted"] = "block",
        non_negative: bool = False,
        reconstruction_weight: float = 1.0,
        penalty: float = 1.0,
        codes: Literal["reconstruction", "joint"] = "reconstruction",
        max_iter: int = 300,
        tol: float = 1e-6,
        random_state: int | None = None,
    ) -> None:
        self.rank = rank
        self.variant = variant
        self.algorithm = algorithm
        self.non_negative = non_negative
        self.reconstruction_weight = reconstruction_weight
        self.penalty = penalty
        self.codes = codes
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def check_options(self) -> None:
        """Raise `ConfigError` for an option that cannot be."""
        for name, known in {
            "variant": ("filter", "feature"),
            "algorithm": ("lifted", "block"),
            "codes": ("reconstruction", "joint"),
        }.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}={getattr(self, name)!r}: it is {' or '.join(known)}.",
                )
        for name, least in {"rank": 1, "max_iter": 1, "penalty": 0, "tol": 0}.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be {least} or more.")
        if not 0 < self.reconstruction_weight < np.inf:
            raise ConfigError(
                f"reconstruction_weight={self.reconstruction_weight}: it must be above 0."
            )
        if self.non_negative and self.algorithm != "block":
            raise ConfigError(
                "non_negative=True: the lifted descent cannot hold the factors non-negative.",
                remedy="Take algorithm=block.",
            )


class SupervisedDictionary(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, Settings, BaseEstimator
):
    """A dictionary that reconstructs the samples and tells their classes, with covariates beside.

    `X (n, p)` dense or sparse; `y (n,)` any labels, of which -1 (or None) marks a sample that takes part
    in the reconstruction alone; `covariates (n, q)` act on the label and are not reconstructed. An
    intercept is always among them. The options are those of `Settings`; in a pipeline covariates travel
    by scikit-learn's metadata routing.

    After `fit`: `components_ (r, p)`, the dictionary, |W| = 1; `weights_ (r, K - 1)` of its elements and
    `covariate_weights_ (q + 1, K - 1)`, the intercept first, against the first of `classes_`;
    `objective_`, its history; `n_iter_`; `explained_`, the share of |X|^2 that is reconstructed; and
    `condition_`, a bound of L / mu: below 3 the convergence of the lifted descent is exponential.

    Raises `ConfigError` and `DataError`, both of which are `ValueError`.

    >>> X = np.repeat(np.eye(3), 4, axis=0)
    >>> y = np.array(["a"] * 4 + ["b"] * 8)
    >>> sdl = SupervisedDictionary(rank=2).fit(X, y)
    >>> sdl.predict(X[[0, 5]]).tolist(), sdl.components_.shape, sdl.transform(X).shape
    (['a', 'b'], (2, 3), (12, 2))
    """

    classes_: NDArray[Any]
    n_features_in_: int

    def fit(self, X: Any, y: Any, covariates: Any = None) -> Self:
        """Learn dictionary and weights."""
        self.check_options()
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, ensure_min_samples=2
        )
        least = (X.data if issparse(X) else X).min(initial=0)
        if self.non_negative and least < 0:
            raise DataError(
                "X: non_negative=True was given, but it has negative values.",
                remedy="Leave out what centres the samples, or non_negative.",
            )
        known = _known(y)
        check_classification_targets(y[known])
        self.classes_, codes = np.unique(y[known], return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"y: the labels are of {len(self.classes_)} class, and it takes two to tell them apart.",
                remedy=f"Give samples of another class; {UNLABELLED} or None marks those without a label.",
            )
        aux = _with_intercept(covariates, X)
        labelled = np.flatnonzero(known)
        energy = squared_norm(X) or 1.0
        nu = self.penalty if self.variant == "filter" else self.penalty / len(labelled)
        problem = Problem(
            X.T,
            aux[:, labelled],
            (codes == np.arange(1, len(self.classes_))[:, None]).astype(np.float64),
            labelled,
            self.reconstruction_weight * len(labelled) / energy,
            float(nu),
            self.variant,
        )
        self.n_covariates_ = len(aux) - 1
        point = normalised(self._descend(problem), self.variant)
        self.components_ = np.ascontiguousarray(point.W.T)
        self.weights_, self.covariate_weights_ = point.beta, point.gamma
        self.xi_, self.nu_ = problem.xi, problem.nu
        missed = energy - 2 * np.vdot(X.T @ point.H.T, point.W)
        self.explained_ = (
            1 - float(missed + np.vdot(point.W.T @ point.W, point.H @ point.H.T)) / energy
        )
        return self

    def _descend(self, problem: Problem) -> Factors:
        rank = min(self.rank, *problem.X.shape)
        steps: Iterator[Factors]
        units = condition(problem)
        self.condition_ = float(units.number)
        if self.non_negative:
            point = random_start(problem, rank, check_random_state(self.random_state))
        else:
            point = best_start(problem, rank, units)
        if self.algorithm == "lifted":
            steps = lifted_steps(problem, point, units)
        else:
            steps = block_steps(problem, point, non_negative=self.non_negative)
        objective = [value(problem, point)]
        for point in islice(steps, self.max_iter):
            objective.append(value(problem, point))
            if abs(objective[-2] - objective[-1]) <= self.tol * abs(objective[-1]):
                break
        self.objective_ = np.array(objective)
        self.n_iter_ = len(objective) - 1
        return point

    def predict_proba(self, X: Any, covariates: Any = None) -> Array:
        """`(n, K)` in the order of `classes_`."""
        X = self._checked(X)
        of_covariates = self.covariate_weights_.T @ self._covariates(covariates, X)
        W = self.components_.T
        if self.variant == "feature" and self.codes == "joint":
            values = joint_values(
                W, self.weights_, of_covariates, X.T, self.xi_, self.nu_, self.non_negative
            )
            likelihood = np.exp(values.min(0) - values)
            joint: Array = (likelihood / likelihood.sum(0)).T
            return joint
        return probabilities(self.weights_.T @ self._loadings(X) + of_covariates).T

    def predict(self, X: Any, covariates: Any = None) -> NDArray[Any]:
        """`(n,)` the likeliest class of each sample."""
        likeliest = self.predict_proba(X, covariates).argmax(1)
        found: NDArray[Any] = self.classes_[likeliest]
        return found

    def transform(self, X: Any) -> Array:
        """`(n, r)`: samples filtered by the dictionary, or of a feature their codes."""
        return self._loadings(self._checked(X)).T

    def _loadings(self, X: Any) -> Array:
        W = self.components_.T
        if self.variant == "filter":
            return np.asarray(X @ W).T
        return reconstruction_codes(W, X.T, self.non_negative)

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)

    def _covariates(self, covariates: Any, X: Any) -> Array:
        aux = _with_intercept(covariates, X)
        if len(aux) - 1 != self.n_covariates_:
            raise DataError(
                f"covariates: {len(aux) - 1} were given, but {self.n_covariates_} were learnt from.",
                remedy="Give the same columns as to fit.",
            )
        return aux

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.non_negative
        return tags


def _known(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels are not missing."""
    if y.dtype.kind in "OUS":
        return np.array([label is not None and label != UNLABELLED for label in y.tolist()], bool)
    return np.asarray(y != UNLABELLED)


def _with_intercept(covariates: Any, X: Any) -> Array:
    """`(q + 1, n)`: ones, and the covariates if there are any."""
    ones = np.ones((1, X.shape[0]))
    if covariates is None:
        return ones
    covariates = check_array(covariates, dtype=np.float64, input_name="covariates")
    check_consistent_length(X, covariates)
    return np.concatenate([ones, covariates.T])
