"""Two algorithms for one objective: its two forms agree, gradients are those of finite differences, what
the theory says of convergence is seen, and what a limit makes of it is what it must be there."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import NMF
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tacita
from tacita.adapt.supervised_dictionary import SupervisedDictionary, SupervisedDictionaryLearner
from tacita.adapt.supervised_dictionary import lifted as lifted_module
from tacita.adapt.supervised_dictionary.block import (
    block_steps,
    classifier,
    least_squares,
    radius,
    random_start,
)
from tacita.adapt.supervised_dictionary.codes import joint_values
from tacita.adapt.supervised_dictionary.lifted import (
    best_start,
    condition,
    lifted_steps,
    truncated,
)
from tacita.adapt.supervised_dictionary.objective import (
    Array,
    Factors,
    Problem,
    Variant,
    activation,
    gradients,
    largest_eigenvalue,
    lifted,
    lifted_activation,
    lifted_gradients,
    lifted_value,
    logistic_loss,
    normalised,
    probabilities,
    squared_norm,
    value,
)
from tacita.catalog.pages import method_page
from tacita.errors import ConfigError, DataError

VARIANTS: tuple[Variant, ...] = ("filter", "feature")
both = pytest.mark.parametrize("variant", VARIANTS)


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((*shape, seed)).standard_normal(shape)


def problem_of(variant: Variant, kappa: int = 2, **options: Any) -> Problem:
    """Seven columns, twelve samples of which nine have a label, two covariates."""
    labelled = np.array([0, 1, 2, 4, 5, 7, 8, 9, 11])
    y = np.arange(9) % (kappa + 1)
    Y = (y == np.arange(1, kappa + 1)[:, None]).astype(np.float64)
    settings = {"xi": 0.3, "nu": 0.7} | options
    return Problem(draw(7, 12), draw(2, 9), Y, labelled, variant=variant, **settings)


def point_of(problem: Problem, rank: int = 3, seed: int = 0) -> Factors:
    (p, n), kappa, q = problem.X.shape, len(problem.Y), len(problem.X_aux)
    return Factors(
        draw(p, rank, seed=seed),
        draw(rank, n, seed=seed),
        draw(rank, kappa, seed=seed),
        draw(q, kappa, seed=seed),
    )


def cancer(xi: float = 0.75, nu: float = 1.0) -> Problem:
    """Real data in which L / mu is 2 for nu = 1."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).T
    X, aux = X[:27], np.concatenate([X[27:], np.ones((1, X.shape[1]))])
    unit = np.sqrt(largest_eigenvalue(X, aux) / 4)
    return Problem(X / unit, aux / unit, y[None].astype(float), np.arange(len(y)), xi, nu)


# The objective


@both
def test_the_value_is_the_sum_written_out(variant: Variant) -> None:
    problem = problem_of(variant)
    W, H, beta, gamma = point_of(problem)
    total = problem.xi * sum(((problem.X - W @ H) ** 2).ravel())
    A = []
    for place, s in enumerate(problem.labelled):
        own = beta.T @ (W.T @ problem.X[:, s] if variant == "filter" else H[:, s])
        a = own + gamma.T @ problem.X_aux[:, place]
        label = int(problem.Y[:, place] @ np.arange(1, 3))
        total += np.log(1 + np.exp(a).sum()) - (a[label - 1] if label else 0.0)
        A.append(beta.T @ H[:, s])
    penalised = W @ beta if variant == "filter" else np.array(A)
    total += problem.nu / 2 * ((penalised**2).sum() + (gamma**2).sum())
    assert value(problem, Factors(W, H, beta, gamma)) == pytest.approx(total, rel=1e-12)


@both
def test_factors_and_products_have_one_value(variant: Variant) -> None:
    problem = problem_of(variant)
    point = point_of(problem)
    A = lifted(problem, point)
    by_products = lifted_value(problem, A, point.W @ point.H, point.gamma)
    assert value(problem, point) == pytest.approx(by_products, rel=1e-12)
    a = lifted_activation(problem, A, point.gamma)
    np.testing.assert_allclose(activation(problem, point), a, rtol=1e-12)


@both
def test_any_basis_of_the_dictionary_has_one_value(variant: Variant) -> None:
    problem = problem_of(variant)
    point = point_of(problem)
    R = draw(3, 3, seed=5)
    # A filter's code is W^T x, so that W -> W R turns beta by the inverse; so it does a feature's
    # H -> R^-1 H by the transpose.
    back = np.linalg.inv(R)
    turned = back @ point.beta if variant == "filter" else R.T @ point.beta
    other = Factors(point.W @ R, back @ point.H, turned, point.gamma)
    assert value(problem, other) == pytest.approx(value(problem, point), rel=1e-9)
    unit = normalised(point, variant)
    assert value(problem, unit) == pytest.approx(value(problem, point), rel=1e-12)
    assert np.linalg.norm(unit.W) == pytest.approx(1)


@both
@pytest.mark.parametrize("kappa", [1, 2])
def test_gradients_are_those_of_finite_differences(variant: Variant, kappa: int) -> None:
    problem = problem_of(variant, kappa)
    point = point_of(problem)
    for number, slope in enumerate(gradients(problem, point)):
        step = draw(*slope.shape, seed=7)
        ends = [
            value(
                problem,
                Factors(*(f + e * step if i == number else f for i, f in enumerate(point))),
            )
            for e in (1e-6, -1e-6)
        ]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(np.vdot(slope, step), rel=1e-6, abs=1e-6)
    A, B, gamma = lifted(problem, point), point.W @ point.H, point.gamma
    to_A, to_gamma = lifted_gradients(problem, A, gamma, lifted_activation(problem, A, gamma))
    to_B = 2 * problem.xi * (B - problem.X)
    move = draw(*A.shape, seed=8), draw(*B.shape, seed=9), draw(*gamma.shape, seed=10)
    ends = [
        lifted_value(problem, A + e * move[0], B + e * move[1], gamma + e * move[2])
        for e in (1e-6, -1e-6)
    ]
    slope = np.vdot(to_A, move[0]) + np.vdot(to_B, move[1]) + np.vdot(to_gamma, move[2])
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_two_classes_are_the_binary_loss() -> None:
    a, y = draw(1, 20), (draw(20, seed=1) > 0).astype(float)
    np.testing.assert_allclose(probabilities(a)[1], 1 / (1 + np.exp(-a[0])))
    binary = np.log1p(np.exp(-(2 * y - 1) * a[0])).sum()
    assert logistic_loss(y[None], a) == pytest.approx(binary)
    assert np.isfinite(logistic_loss(y[None], 1e5 * a))


@both
def test_the_order_and_the_form_of_samples_change_nothing(variant: Variant) -> None:
    problem = problem_of(variant)
    point = point_of(problem)
    order = np.random.default_rng(3).permutation(12)
    place = np.argsort(order)[problem.labelled]
    moved = Problem(
        problem.X[:, order], problem.X_aux, problem.Y, place, problem.xi, problem.nu, variant
    )
    assert value(moved, point._replace(H=point.H[:, order])) == pytest.approx(value(problem, point))
    sparse = Problem(
        csr_matrix(problem.X.T).T, problem.X_aux, problem.Y, problem.labelled,
        problem.xi, problem.nu, variant,
    )  # fmt: skip
    assert value(sparse, point) == pytest.approx(value(problem, point), rel=1e-12)
    for mine, theirs in zip(gradients(sparse, point), gradients(problem, point), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-10)


# The lifted descent


@pytest.mark.parametrize("short", [200, 3])
def test_the_projection_is_the_truncated_decomposition(
    short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifted_module, "SHORT", short)
    A, X = draw(30, 2), draw(30, 40, seed=1)
    for matrix in (X, csr_matrix(X), X.T[:, :30].T):
        whole = np.concatenate(
            [A, matrix.toarray() if matrix is not X and hasattr(matrix, "toarray") else matrix], 1
        )
        U, s, Vt = np.linalg.svd(whole)
        mine = truncated(A, matrix, 4)
        projected = (mine[0] * mine[1]) @ mine[2]
        np.testing.assert_allclose(projected, (U[:, :4] * s[:4]) @ Vt[:4], atol=1e-8)
        assert np.linalg.matrix_rank(projected, tol=1e-8) == 4
        again = truncated(projected[:, :2], projected[:, 2:], 4)
        np.testing.assert_allclose((again[0] * again[1]) @ again[2], projected, atol=1e-8)


def test_the_descent_is_exponential_from_any_start() -> None:
    problem = cancer()
    units = condition(problem)
    assert units.number == pytest.approx(2)
    assert 1 / (2 * units.mu) < units.step < 3 / (2 * units.L)
    ends = []
    for seed in range(3):
        points = list(islice(lifted_steps(problem, point_of(problem, 2, seed), units), 60))
        Z = [np.hstack([p.W @ p.beta, p.W @ p.H]) for p in points]
        distance = np.array([np.linalg.norm(z - Z[-1]) for z in Z[:20]])
        assert (distance[1:] <= units.rate * distance[:-1]).all()
        assert max(np.abs(g).max() for g in gradients(problem, points[-1])) < 1e-10
        ends.append(value(problem, points[-1]))
    assert np.ptp(ends) < 1e-9 * ends[0]


@both
def test_curvature_is_bounded_as_said(variant: Variant) -> None:
    problem = problem_of(variant, nu=2.0)
    rows = 7
    if variant == "feature":
        # An activation without a label has no curvature: here all have one.
        rows, X, known = 9, problem.X[:, :9], np.arange(9)
        problem = Problem(X, 3 * problem.X_aux, problem.Y, known, 0.3, 2.0, variant)
    units = condition(problem)
    scales = np.repeat([units.scale_A, units.scale_gamma], [2 * rows, 4])

    def slopes(flat: Array) -> Array:
        weights = (flat / scales).reshape(-1, 2)
        A, gamma = weights[:rows], weights[rows:]
        a = lifted_activation(problem, A, gamma)
        both = lifted_gradients(problem, A, gamma, a)
        return np.concatenate([g.ravel() for g in both]) / scales

    for seed in range(3):
        at = draw(len(scales), seed=seed)
        hessian = np.array(
            [(slopes(at + e) - slopes(at - e)) / 2e-5 for e in 1e-5 * np.eye(len(at))]
        )
        eigenvalues = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert units.mu * (1 - 1e-6) <= eigenvalues[0]
        assert eigenvalues[-1] <= units.L * (1 + 1e-6)


@both
def test_both_algorithms_find_the_one_minimum(variant: Variant) -> None:
    problem = cancer()
    if variant == "feature":
        labelled, aux = problem.labelled, problem.X_aux / 10
        problem = Problem(problem.X, aux, problem.Y, labelled, problem.xi, problem.nu, variant)
    units = condition(problem)
    assert units.number < 3
    start = best_start(problem, 2, units)
    *_, by_lifting = islice(lifted_steps(problem, start, units), 60)
    *_, by_blocks = islice(block_steps(problem, point_of(problem, 2)), 100)
    assert value(problem, by_blocks) == pytest.approx(value(problem, by_lifting), rel=1e-6)
    products = [point.W @ point.H for point in (by_lifting, by_blocks)]
    np.testing.assert_allclose(*products, atol=0.02 * np.abs(products[0]).max())


def test_where_the_condition_is_bad_the_momentum_keeps_descending() -> None:
    problem = cancer(nu=0.01)
    units = condition(problem)
    assert units.number > 30
    points = list(islice(lifted_steps(problem, best_start(problem, 2, units), units), 80))
    values = [value(problem, point) for point in points]
    assert values[-1] < values[0]
    assert max(later - earlier for earlier, later in pairwise(values)) < 1e-3 * values[0]


# Limits


def test_heavy_reconstruction_is_the_best_of_the_rank() -> None:
    problem = cancer(xi=1e6)
    *_, point = islice(lifted_steps(problem, point_of(problem, 3), condition(problem)), 200)
    U, s, Vt = np.linalg.svd(problem.X, full_matrices=False)
    np.testing.assert_allclose(point.W @ point.H, (U[:, :3] * s[:3]) @ Vt[:3], atol=1e-4)


def test_light_reconstruction_is_a_logistic_regression_on_everything() -> None:
    problem = cancer(xi=1e-8)
    *_, point = islice(lifted_steps(problem, point_of(problem, 2), condition(problem)), 300)
    inputs = np.concatenate([problem.X, problem.X_aux]).T
    plain = LogisticRegression(C=1 / problem.nu, fit_intercept=False, tol=1e-10, max_iter=10000)
    found = plain.fit(inputs, problem.Y[0]).coef_[0]
    np.testing.assert_allclose((point.W @ point.beta)[:, 0], found[:27], atol=1e-4)
    np.testing.assert_allclose(point.gamma[:, 0], found[27:], atol=1e-4)


@both
def test_without_codes_only_the_covariates_tell(variant: Variant) -> None:
    problem = problem_of(variant, kappa=1)
    point = point_of(problem)._replace(W=np.zeros((7, 3)), H=np.zeros((3, 12)))
    beta, gamma = classifier(problem, point)
    assert not (point.W @ beta).any()
    plain = LogisticRegression(C=1 / problem.nu, fit_intercept=False, tol=1e-10)
    found = plain.fit(problem.X_aux.T, problem.Y[0]).coef_[0]
    np.testing.assert_allclose(gamma[:, 0], found, atol=1e-4)


# The block descent


@both
@pytest.mark.parametrize("non_negative", [False, True])
def test_blocks_descend_within_the_radius(variant: Variant, non_negative: bool) -> None:
    problem = problem_of(variant)
    problem = Problem(abs(problem.X), problem.X_aux, problem.Y, problem.labelled, 0.3, 0.7, variant)
    start = random_start(problem, 3, np.random.RandomState(0))
    points = [start, *islice(block_steps(problem, start, non_negative=non_negative, c=0.3), 30)]
    values = [value(problem, point) for point in points]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(values))
    assert values[-1] < 0.9 * values[0]
    for t, (earlier, later) in enumerate(pairwise(points)):
        assert np.linalg.norm(later.gamma - earlier.gamma) <= radius(t, 0.3) * (1 + 1e-9)
        if non_negative:
            assert min(later.W.min(), later.H.min()) >= 0


def test_every_block_keeps_to_the_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacita.adapt.supervised_dictionary import block

    seen: list[tuple[float, float, float]] = []

    def watched(rho: float, old: Array, new: Array) -> Array:
        kept = within(rho, old, new)
        seen.append((rho, float(np.linalg.norm(kept - old)), float(np.linalg.norm(new - old))))
        return kept

    within = block.within
    monkeypatch.setattr(block, "within", watched)
    problem = problem_of("filter")
    list(islice(block_steps(problem, point_of(problem), c=3.0), 10))
    size = np.linalg.norm(problem.X)
    for block_number, unit in enumerate((1, size, 12**0.5 / size, 1)):
        expected = [unit * radius(t, 3.0) for t in range(10)]
        np.testing.assert_allclose([rho for rho, *_ in seen[block_number::4]], expected)
    assert all(went <= rho * (1 + 1e-12) for rho, went, _ in seen)
    assert any(wished > rho for rho, _, wished in seen)
    assert any(went == wished for _, went, wished in seen)


def test_least_squares_by_rows_is_the_best_non_negative_one() -> None:
    W, X = abs(draw(9, 3)), draw(9, 5)
    from scipy.optimize import nnls

    best = np.stack([nnls(W, x)[0] for x in X.T], 1)
    mine = least_squares(W, X, np.ones((3, 5)), True, sweeps=300)
    np.testing.assert_allclose(mine, best, atol=1e-6)
    free = least_squares(W, X, np.ones((3, 5)), False)
    np.testing.assert_allclose(free, np.linalg.lstsq(W, X, rcond=None)[0], atol=1e-8)


def test_the_classifier_is_the_best_one() -> None:
    problem = problem_of("filter")
    point = point_of(problem)
    best = point
    for _ in range(20):
        beta, gamma = classifier(problem, best)
        best = best._replace(beta=beta, gamma=gamma)
    _, _, to_beta, to_gamma = gradients(problem, best)
    assert max(np.abs(to_beta).max(), np.abs(to_gamma).max()) < 1e-5


def test_joint_values_are_the_least_over_codes() -> None:
    W, beta, X = draw(6, 2), draw(2, 2), draw(6, 3)
    shift = draw(2, 3)
    for non_negative in (False, True):
        found = joint_values(W, beta, shift, X, 0.4, 0.1, non_negative)
        for s in range(3):
            for label in range(3):

                def loss(h: Array, s: int = s, label: int = label) -> float:
                    a = beta.T @ h + shift[:, s]
                    full = np.concatenate([[0.0], a])
                    fit = np.log(np.exp(full).sum()) - full[label]
                    return (
                        fit + 0.4 * squared_norm(X[:, s] - W @ h) + 0.05 * squared_norm(beta.T @ h)
                    )

                bounds = [(0 if non_negative else None, None)] * 2
                best = minimize(loss, np.ones(2), bounds=bounds, options={"gtol": 1e-10})
                assert found[label, s] == pytest.approx(
                    best.fun - 0.4 * squared_norm(X[:, s]), abs=1e-5
                )


# The estimator


def refused(estimator: BaseEstimator) -> dict[str, str]:
    return {"check_classifiers_classes": "gives -1 as a class, which here marks a missing label"}


@parametrize_with_checks(
    [
        SupervisedDictionary(max_iter=30),
        SupervisedDictionary(algorithm="lifted", variant="feature"),
    ],
    expected_failed_checks=refused,
)
def test_it_is_a_scikit_learn_estimator(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


def test_sparse_samples_are_as_dense_ones() -> None:
    X, y = load_digits(return_X_y=True)
    for algorithm in ("block", "lifted"):
        one, other = (
            SupervisedDictionary(rank=4, algorithm=algorithm, max_iter=2, random_state=0).fit(x, y)
            for x in (X / 16, csr_matrix(X / 16))
        )
        np.testing.assert_allclose(one.objective_, other.objective_, rtol=1e-6)
        np.testing.assert_allclose(
            one.transform(X / 16), one.transform(csr_matrix(X / 16)), atol=1e-12
        )


@pytest.mark.parametrize("algorithm", ["block", "lifted"])
def test_the_unit_of_samples_does_not_matter(algorithm: Any) -> None:
    X, y = load_iris(return_X_y=True)
    for unit in (1e-6, 1.0, 1e6):
        sdl = SupervisedDictionary(
            rank=2, algorithm=algorithm, penalty=1e-3 * unit**2, random_state=0, max_iter=100
        ).fit(unit * X, y)
        assert sdl.explained_ > 0.98
        assert sdl.score(unit * X, y) > 0.9


def test_samples_that_are_all_zero_are_learnt_from() -> None:
    for algorithm in ("block", "lifted"):
        for variant in VARIANTS:
            sdl = SupervisedDictionary(algorithm=algorithm, variant=variant, random_state=0)
            sdl.fit(np.zeros((20, 4)), np.arange(20) % 4 == 0)
            np.testing.assert_allclose(sdl.predict_proba(np.zeros((1, 4)))[0, 0], 0.75, atol=0.1)


def test_samples_without_a_label_are_only_reconstructed() -> None:
    X, y = load_iris(return_X_y=True)
    words = np.array(["setosa", "versicolor", "virginica"])[y]
    few = np.where(np.arange(150) % 10 == 0, words, None)
    codes = np.where(np.arange(150) % 10 == 0, y, -1)
    one = SupervisedDictionary(rank=2, random_state=0).fit(X, few)
    other = SupervisedDictionary(rank=2, random_state=0).fit(X, codes)
    assert one.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert other.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.explained_ > 0.95
    assert other.score(X, y) > 0.85
    assert SupervisedDictionary(rank=2, random_state=0).fit(X, y).xi_ == pytest.approx(10 * one.xi_)


def test_covariates_tell_and_are_not_reconstructed() -> None:
    x, told = draw(200, 5), draw(200, 1, seed=2)
    y = (told[:, 0] > 0).astype(int)
    blind = SupervisedDictionary(rank=2, random_state=0).fit(x, y)
    seeing = SupervisedDictionary(rank=2, random_state=0).fit(x, y, covariates=told)
    assert seeing.components_.shape == (2, 5)
    assert (seeing.predict(x, covariates=told) == y).mean() > 0.95 > blind.score(x, y) + 0.2
    with pytest.raises(DataError, match="covariates: 0 were given, but 1"):
        seeing.predict(x)


def test_it_goes_through_pipelines_and_searches() -> None:
    x, told = draw(120, 5), draw(120, 1, seed=2)
    y = (told[:, 0] > 0).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        dictionary = SupervisedDictionary(random_state=0, max_iter=20)
        routed = dictionary.set_fit_request(covariates=True).set_predict_request(covariates=True)
        pipeline = make_pipeline(StandardScaler(), routed)
        pipeline.fit(x, y, covariates=told)
        assert (pipeline.predict(x, covariates=told) == y).mean() > 0.95
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SupervisedDictionary(random_state=0, max_iter=20)),
        {"superviseddictionary__rank": [1, 2]},
        cv=2,
    )
    X, y = load_iris(return_X_y=True)
    assert search.fit(X, y).best_score_ > 0.8
    names = search.best_estimator_.get_feature_names_out()
    assert names[0] == "superviseddictionary0"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"rank": 0}, "rank=0"),
        ({"variant": "both"}, "variant='both'"),
        ({"algorithm": "newton"}, "algorithm='newton'"),
        ({"codes": "none"}, "codes='none'"),
        ({"penalty": -1.0}, r"penalty=-1\.0"),
        ({"reconstruction_weight": 0.0}, r"reconstruction_weight=0\.0"),
        ({"non_negative": True, "algorithm": "lifted"}, "non_negative=True"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SupervisedDictionary(**options).fit(*load_iris(return_X_y=True))


def test_data_that_cannot_be_are_refused() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(DataError, match="negative values"):
        SupervisedDictionary(non_negative=True).fit(X - 3, y)
    with pytest.raises(DataError, match="1 class"):
        SupervisedDictionary().fit(X, np.where(y == 0, 0, -1))
    with pytest.raises(ValueError, match="inconsistent"):
        SupervisedDictionary().fit(X, y, covariates=X[:5])


def test_few_of_a_rare_class_are_found_where_parts_alone_miss_them() -> None:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    rare = order[y[order] == 8][:60]
    order = np.concatenate([rare, order[y[order] != 8]])
    X, y = X[order] / 16, (y[order] == 8).astype(int)
    train = np.arange(len(y)) % 2 == 0
    dictionary = SupervisedDictionary(rank=4, non_negative=True, random_state=0, max_iter=60)
    parts = make_pipeline(NMF(4, init="nndsvda", max_iter=1000), LogisticRegression(C=1000))
    scores = [
        f1_score(y[~train], model.fit(X[train], y[train]).predict(X[~train]), zero_division=0)
        for model in (dictionary, parts)
    ]
    assert scores[0] > scores[1] + 0.2
    assert dictionary.components_.min() >= 0


@pytest.mark.parametrize("algorithm", ["block", "lifted"])
def test_a_weak_direction_is_found_that_alone_tells(algorithm: Any) -> None:
    for seed in range(3):
        basis = np.linalg.qr(draw(20, 4, seed=seed))[0]
        strong = (draw(400, 3, seed=seed) * [3.0, 2.5, 2.0]) @ basis[:, :3].T
        weak = draw(400, seed=seed + 9)
        X = strong + 0.6 * weak[:, None] * basis[:, 3] + 0.1 * draw(400, 20, seed=seed)
        y = (weak + 0.3 * draw(400, seed=seed + 20) > 0).astype(int)
        sdl = SupervisedDictionary(rank=3, algorithm=algorithm).fit(X[:200], y[:200])
        assert sdl.score(X[200:], y[200:]) > 0.8
        assert sdl.explained_ > 0.7


# The learner


def test_the_learner_is_the_estimator_on_normalised_rows(tmp_path: Path) -> None:
    data = tacita.load("wine")
    model = tacita.adapt("supervised-dictionary", data, rank=3, max_iter=20, quiet=True)
    assert isinstance(model.learner, SupervisedDictionaryLearner)
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["accuracy"] > 0.85
    again = tacita.Model.load(model.save(tmp_path).folder or "")
    np.testing.assert_array_equal(again.predict_proba(data), model.predict_proba(data))
    assert again.learner.estimator_.components_.shape == (3, 13)  # type: ignore[attr-defined]


def test_the_learner_refuses_an_encoder_and_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="encoder: supervised-dictionary uses none"):
        tacita.adapt("supervised-dictionary", "wine", encoder="feature-tokens", out=tmp_path / "a")
    begin = tacita.adapt("knn", tacita.load("wine"), quiet=True)
    with pytest.raises(ConfigError, match="supervised-dictionary has no encoder"):
        tacita.adapt("supervised-dictionary", tacita.load("wine"), start=begin, quiet=True)
    assert "tacita adapt supervised-dictionary DATA\n" in method_page("supervised-dictionary")
    with pytest.raises(ConfigError, match="does not do regression"):
        tacita.adapt("supervised-dictionary", "diabetes", out=tmp_path / "b")
    with pytest.raises(ConfigError, match="rank=0"):
        tacita.adapt("supervised-dictionary", "wine", rank=0, out=tmp_path / "c")
