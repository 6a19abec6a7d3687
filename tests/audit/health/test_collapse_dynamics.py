"""The flow against the gradient that torch takes of the loss itself, and against what the theory says
of it in closed form: the conserved difference, the fixed points, and when a mode dies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.audit.health.collapse_dynamics import (
    fixed_points,
    largest_weight_decay,
    matrix_flow,
    mode_flow,
)
from tacita.errors import ConfigError

DIM, WIDTH = 4, 6


def covariance(seed: int, width: int = WIDTH) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(width, width))
    return a @ a.T / width


def start(seed: int = 0, dim: int = DIM, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(dim, width)) / width**0.5, rng.normal(size=(dim, dim)) / dim**0.5


def expected_loss(w, w_p, w_a, x, x_views):
    """`E |W_p W a - W_a b|^2 / 2` over two views with means of covariance X and deviations of X'."""
    prediction = w_p @ w
    return 0.5 * (
        torch.trace(prediction @ (x + x_views) @ prediction.T)
        - 2 * torch.trace(w_a @ x @ prediction.T)
        + torch.trace(w_a @ (x + x_views) @ w_a.T)
    )


@pytest.mark.parametrize("form", ["full", "no predictor", "no stop-gradient"])
def test_the_flow_follows_the_gradient_of_the_expected_loss(form):
    encoder, predictor = start()
    x, x_views = covariance(1), covariance(2)
    step = 1e-5
    flow = matrix_flow(
        encoder,
        predictor,
        [0.0, step],
        samples=x,
        views=x_views,
        weight_decay=0.1,
        predictor_rate=3.0,
        form=form,
    )
    w, w_p = (torch.tensor(m, requires_grad=True) for m in (encoder, predictor))
    left = torch.eye(DIM, dtype=torch.float64) if form == "no predictor" else w_p
    target = w if form == "no stop-gradient" else w.detach()
    expected_loss(w, left, target, torch.tensor(x), torch.tensor(x_views)).backward()
    slope = (flow.encoder[1] - flow.encoder[0]) / step
    np.testing.assert_allclose(slope, -w.grad.numpy() - 0.1 * encoder, atol=1e-3)
    slope = (flow.predictor[1] - flow.predictor[0]) / step
    if form == "no predictor":
        assert (flow.predictor == np.eye(DIM)).all()
    else:
        expected = -3 * w_p.grad.numpy() - 0.1 * predictor
        np.testing.assert_allclose(slope, expected, atol=2e-3)


def test_the_teacher_follows_by_its_rate():
    encoder, predictor = start()
    step = 1e-4
    flow = matrix_flow(
        encoder,
        predictor,
        [0.0, 1.0, 1.0 + step],
        samples=covariance(1),
        views=covariance(2),
        weight_decay=0.1,
        teacher_rate=2.0,
    )
    slope = (flow.teacher[2] - flow.teacher[1]) / step
    np.testing.assert_allclose(slope, 2 * (flow.encoder[1] - flow.teacher[1]), atol=1e-3)
    assert np.abs(slope).max() > 0.05


def test_without_a_teacher_the_target_is_the_encoder():
    encoder, predictor = start()
    flow = matrix_flow(
        encoder, predictor, [0, 1, 2], samples=covariance(1), views=covariance(2), weight_decay=0.1
    )
    np.testing.assert_allclose(flow.teacher, flow.encoder)


@pytest.mark.parametrize("teacher_rate", [None, 0.5])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("predictor_rate", [1.0, 5.0])
def test_correlation_less_predictor_falls_exponentially_whatever_the_data(
    teacher_rate, weight_decay, predictor_rate
):
    encoder, predictor = start()
    times = np.linspace(0, 5, 6)
    flow = matrix_flow(
        encoder,
        predictor,
        times,
        samples=covariance(1),
        views=covariance(2),
        weight_decay=weight_decay,
        predictor_rate=predictor_rate,
        teacher_rate=teacher_rate,
    )
    square = flow.predictor.transpose(0, 2, 1) @ flow.predictor
    difference = flow.correlation - square / predictor_rate
    expected = difference[0] * np.exp(-2 * weight_decay * times)[:, None, None]
    np.testing.assert_allclose(difference, expected, atol=1e-7)


@pytest.mark.parametrize("teacher_rate", [None, 0.3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_each_mode_s_difference_falls_so_too(weight_decay, teacher_rate):
    times = np.linspace(0, 20, 9)
    flow = mode_flow(
        [0.3, 0.1],
        [0.2, 0.5],
        times,
        weight_decay=weight_decay,
        augmentation=0.2,
        predictor_rate=2.0,
        tau=0.8,
        teacher_rate=teacher_rate,
    )
    difference = flow.s - flow.p**2 / 2
    expected = difference[0] * np.exp(-2 * weight_decay * times)[:, None]
    np.testing.assert_allclose(difference, expected, atol=1e-8)


@pytest.mark.parametrize("teacher_rate", [None, 0.5])
def test_modes_are_the_matrices_once_these_share_eigenvectors(teacher_rate):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    p, s = np.array([0.3, 0.6, 0.05]), np.array([0.2, 0.4, 0.1])
    times = np.linspace(0, 15, 6)
    options = {"weight_decay": 0.1, "predictor_rate": 2.0, "teacher_rate": teacher_rate}
    whole = matrix_flow(
        turn @ np.diag(np.sqrt(s)) @ turn.T,
        turn @ np.diag(p) @ turn.T,
        times,
        samples=np.eye(3),
        views=0.3 * np.eye(3),
        **options,
    )
    modes = mode_flow(p, s, times, augmentation=0.3, **options)
    predictor = turn.T @ whole.predictor @ turn
    correlation = turn.T @ whole.correlation @ turn
    for found, expected in ((predictor, modes.p), (correlation, modes.s)):
        assert np.abs(found - np.einsum("tk,kl->tkl", expected, np.eye(3))).max() < 1e-7
    assert whole.misalignment.max() < 1e-7


@pytest.mark.parametrize("tau", [1.0, 0.7])
@pytest.mark.parametrize("augmentation", [0.0, 0.5])
def test_modes_on_the_parabola_end_at_a_fixed_point_by_where_they_begin(tau, augmentation):
    weight_decay = 0.6 * largest_weight_decay(augmentation=augmentation, tau=tau)
    threshold, stable = fixed_points(weight_decay=weight_decay, augmentation=augmentation, tau=tau)
    p = np.array([0.95 * threshold, 1.05 * threshold, 1.3 * stable, threshold, stable])
    options = {"weight_decay": weight_decay, "augmentation": augmentation, "tau": tau}
    flow = mode_flow(p, p**2, [0.0, 10.0, 2000.0], **options)
    np.testing.assert_allclose(flow.p[2, :3], [0, stable, stable], atol=1e-4)
    np.testing.assert_allclose(flow.p[1, 3:], p[3:], atol=1e-4)
    np.testing.assert_allclose(flow.s[1], flow.p[1] ** 2, atol=1e-8)


def test_the_fixed_points_meet_at_the_largest_weight_decay():
    eta = largest_weight_decay(augmentation=0.5, tau=0.8)
    threshold, stable = fixed_points(weight_decay=eta * (1 - 1e-12), augmentation=0.5, tau=0.8)
    assert threshold == pytest.approx(0.8 / 3, abs=1e-6)
    assert stable == pytest.approx(0.8 / 3, abs=1e-6)
    assert fixed_points(weight_decay=eta * (1 + 1e-9), augmentation=0.5, tau=0.8) is None


@pytest.mark.parametrize("factor, lives", [(0.95, True), (1.05, False)])
def test_every_mode_dies_above_the_largest_weight_decay_only(factor, lives):
    eta = factor * largest_weight_decay(augmentation=0.5)
    flow = mode_flow([0.6, 1.0], [0.36, 1.0], [0, 3000], weight_decay=eta, augmentation=0.5)
    assert ((flow.s[-1] > 0.01) == lives).all()


def test_a_quicker_predictor_saves_modes_that_would_die():
    # The same small predictor and encoder: what decides is where p ends up on its parabola.
    ends = [
        mode_flow([0.05], [0.02], [0, 2000], weight_decay=0.05, predictor_rate=rate).p[-1, 0]
        for rate in (0.1, 10.0)
    ]
    assert ends[0] < 1e-4
    assert ends[1] == pytest.approx(fixed_points(weight_decay=0.05).stable, abs=1e-4)


def test_the_teacher_catches_up_where_a_mode_lives():
    flow = mode_flow([0.5], [0.25], [0, 2000], weight_decay=0.05, tau=0.7, teacher_rate=0.1)
    assert flow.tau[-1, 0] == pytest.approx(1, abs=1e-6)
    assert flow.p[-1, 0] == pytest.approx(fixed_points(weight_decay=0.05).stable, abs=1e-6)


@pytest.mark.parametrize("samples", [np.eye(10), np.diag(np.linspace(0.3, 1.5, 10))])
def test_predictor_and_correlation_come_to_share_eigenvectors(samples):
    rng = np.random.default_rng(0)
    encoder, predictor = rng.normal(size=(10, 10)) / 10**0.5, rng.normal(size=(10, 10)) / 10
    flow = matrix_flow(
        encoder,
        (predictor + predictor.T) / 2 + 0.15 * np.eye(10),
        [0.0, 20.0, 150.0],
        samples=samples,
        views=0.1 * np.eye(10),
        weight_decay=0.1,
    )
    assert flow.misalignment[0] > 0.2
    assert flow.misalignment[1] < 0.01
    assert flow.misalignment[2] < 1e-8
    # Not because all eigenvalues became the same: some modes died and others live.
    s = np.linalg.eigvalsh(flow.correlation[2])
    assert s[0] < 1e-3
    assert s[-1] > 0.5


@pytest.mark.parametrize("form", ["no predictor", "no stop-gradient"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_without_predictor_or_stop_gradient_all_collapses(form, weight_decay):
    encoder, _ = start()
    options = {"samples": np.eye(WIDTH), "views": 0.2 * np.eye(WIDTH), "weight_decay": weight_decay}
    ends = {
        f: matrix_flow(encoder, np.eye(DIM), [0, 150], form=f, **options).correlation[-1]
        for f in ("full", form)
    }
    assert np.linalg.norm(ends[form]) < 1e-6
    assert np.linalg.norm(ends["full"]) > 0.5


def test_what_makes_no_sense_is_refused():
    encoder, predictor = start()
    options = {"samples": np.eye(WIDTH), "views": np.eye(WIDTH), "weight_decay": 0.1}
    with pytest.raises(ConfigError, match="form='half'"):
        matrix_flow(encoder, predictor, [0, 1], form="half", **options)
    with pytest.raises(ConfigError, match=r"teacher_rate=0\.5"):
        matrix_flow(
            encoder, predictor, [0, 1], teacher_rate=0.5, form="no stop-gradient", **options
        )
    with pytest.raises(ConfigError, match=r"s=-0\.1"):
        mode_flow([0.1], [-0.1], [0, 1], weight_decay=0.1)
