"""HiPPO: a wrong sign or a wrong window gives a system that runs, and remembers something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad_vec

from tacita.errors import ConfigError, DataError
from tacita.layers.hippo import (
    HippoMemory,
    basis,
    hippo,
    legs_modes,
    measure_weight,
    nplr,
    recall,
    reconstruct,
    remember,
    remember_everything,
    timescale,
)
from tests.helpers import assert_close

MEASURES = ["legs", "legt", "lagt", "glagt", "fout", "fourier-decay"]
every_measure = pytest.mark.parametrize("measure", MEASURES)


def expm(a: np.ndarray) -> np.ndarray:
    return torch.linalg.matrix_exp(torch.from_numpy(a)).numpy()


def response(measure: str, size: int, t: float, **options: float) -> np.ndarray:
    a, b = hippo(measure, size, **options)
    return expm(t * a) @ b


def test_legs_of_three_states_has_the_values_of_the_paper() -> None:
    a, b = hippo("legs", 3)
    expected = [[-1, 0, 0], [-1.732051, -2, 0], [-2.236068, -3.872983, -3]]
    np.testing.assert_allclose(a, expected, atol=1e-6)
    np.testing.assert_allclose(b, [1, 1.732051, 2.236068], atol=1e-6)
    assert not np.signbit(a[a == 0]).any()
    large, b = hippo("legs", 64)
    assert np.trace(large) == -64 * 65 / 2
    np.testing.assert_allclose(b, np.sqrt(2) * np.sqrt(np.arange(64) + 0.5))


def test_legt_and_fout_have_the_values_of_the_paper() -> None:
    a, _ = hippo("legt", 3)
    r3, r5, r15 = np.sqrt([3, 5, 15])
    np.testing.assert_allclose(a, [[-1, r3, -r5], [-r3, -3, r15], [-r5, -r15, -5]])
    a, b = hippo("fout", 6)
    two = 2 * np.sqrt(2)
    assert a[0, 0] == -2
    np.testing.assert_allclose(a[0, [2, 4]], [-two, -two])
    np.testing.assert_allclose(a[[2, 4], [4, 2]], -4)
    np.testing.assert_allclose([a[3, 2], a[5, 4]], [2 * np.pi, 4 * np.pi])
    np.testing.assert_allclose([a[2, 3], a[4, 5]], [-2 * np.pi, -4 * np.pi])
    np.testing.assert_allclose(b, [2, 0, two, 0, two, 0])
    assert not a[1].any()
    assert not a[:, 1].any()


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        ("legs", {}),
        ("lagt", {}),
        ("glagt", {}),
        ("glagt", {"alpha": 0.3, "beta": 0.5}),
        ("glagt", {"alpha": -0.6, "beta": 2.0}),
    ],
)
@pytest.mark.parametrize("t", [0.1, 0.7, 2.0])
def test_the_impulse_response_is_the_weighted_basis(
    measure: str, options: dict[str, float], t: float
) -> None:
    for size in (1, 8, 20):
        expected = basis(measure, size, [t], **options) * measure_weight(measure, [t], **options)
        np.testing.assert_allclose(
            response(measure, size, t, **options), expected[:, 0], atol=1e-12
        )


def test_the_other_sign_of_the_polynomials_argument_would_be_noticed() -> None:
    flipped = basis("legs", 8, [2.0])[:, 0] * np.where(np.arange(8) % 2, -1, 1) * np.exp(-2.0)
    assert np.abs(response("legs", 8, 2.0) - flipped).max() > 0.3


def test_a_window_of_two_is_the_same_system_at_half_speed() -> None:
    """The values at N=32 and 64 that the finite sum reaches, for windows of 2 and 1."""
    a, b = hippo("legt", 32)
    seen = expm(a / 2) @ b / 2
    np.testing.assert_allclose(seen[:5], [0.496, 0.006, -0.564, 0.001, 0.568], atol=6e-4)
    assert np.abs(expm(2.3 * a / 2) @ b / 2)[:8].max() < 0.02
    inside = response("fout", 64, 0.5)
    np.testing.assert_allclose(inside[:4], [1.004, 0, -1.409, -0.014], atol=6e-4)
    assert np.abs(response("fout", 64, 1.1)[:6]).max() <= 0.03


@pytest.mark.parametrize(
    ("measure", "ages"), [("legt", 0.97), ("fout", 0.9), ("fourier-decay", 2.8)]
)
def test_finite_windows_come_closer_with_more_coefficients(measure: str, ages: float) -> None:
    times = np.linspace(0.1, ages, 12)
    times = times[np.abs(times - np.round(times)) > 0.05]  # away from the windows' edges

    def error(size: int) -> float:
        ideal = (basis(measure, size, times) * measure_weight(measure, times))[:4]
        found = np.stack([response(measure, size, t)[:4] for t in times], 1)
        return float(np.sqrt(np.square(found - ideal).mean()))

    assert error(128) < 0.5 * error(16)
    assert error(128) < 0.04


@every_measure
def test_the_basis_is_orthonormal_under_its_measure(measure: str) -> None:
    def product(t: float) -> np.ndarray:
        p = basis(measure, 6, [t])[:, 0]
        return np.outer(p, p) * measure_weight(measure, [t])

    ends = {"legs": 60, "lagt": 90, "glagt": 60, "fourier-decay": 40}
    pieces = range(ends.get(measure, 1))
    gram = sum(quad_vec(product, k, k + 1, epsabs=1e-10)[0] for k in pieces)
    expected = np.eye(6)
    if "fou" in measure:
        expected[1, 1] = 0.0  # the sine of frequency zero
    np.testing.assert_allclose(gram, expected, atol=1e-6)


@every_measure
@pytest.mark.parametrize("size", [2, 4, 16, 64])
def test_the_normal_part_less_the_low_rank_is_the_matrix(measure: str, size: int) -> None:
    a, b = hippo(measure, size)
    modes, p, b_modes, v = nplr(measure, size)
    both = np.concatenate([v, v.conj()], 1)
    np.testing.assert_allclose(both.conj().T @ both, np.eye(size), atol=1e-12)
    rows = np.concatenate([p, p.conj()], 1)
    normal = np.diag(np.concatenate([modes, modes.conj()]))
    whole = both @ (normal - rows.T @ rows.conj()) @ both.conj().T
    np.testing.assert_allclose(whole, a, atol=1e-11 * size**2)
    np.testing.assert_allclose(2 * (v @ b_modes).real, b, atol=1e-11 * size)
    decays = {"legs": -0.5, "glagt": -0.5}
    np.testing.assert_allclose(modes.real, decays.get(measure, 0.0), atol=1e-12)
    assert (modes.imag >= 0).all()


def test_the_spectrum_has_the_published_values() -> None:
    np.testing.assert_allclose(legs_modes(4)[0].imag, [0.556501, 4.603293], atol=1e-6)
    eight = [0.427489, 1.957794, 5.354209, 19.857410]
    np.testing.assert_allclose(legs_modes(8)[0].imag, eight, atol=1e-6)
    assert abs(legs_modes(64)[0].imag.max() - 1303.27) < 0.01
    eigenvalues = np.sort(np.linalg.eigvals(hippo("legs", 8)[0]))
    np.testing.assert_allclose(eigenvalues, -np.arange(8.0, 0, -1))


@pytest.mark.parametrize("measure", ["legs", "legt", "fout"])
def test_a_constant_is_the_first_basis_function(measure: str) -> None:
    a, b = hippo(measure, 16)
    if measure == "fout":  # the sine of nothing is never driven
        a, b = np.delete(np.delete(a, 1, 0), 1, 1), np.delete(b, 1)
    settled = -np.linalg.solve(a, b)
    np.testing.assert_allclose(settled, np.eye(len(b))[0], atol=1e-9)


def test_the_end_of_a_window_is_a_delay() -> None:
    """`b . x` reads what leaves the window; half of the jump there is the value itself."""
    a, b = hippo("legt", 24)
    ends = basis("legt", 24, [1.0])[:, 0]
    np.testing.assert_allclose(ends, b * (-1.0) ** np.arange(24))
    frequency = 3.0
    answer = ends @ np.linalg.solve(1j * frequency * np.eye(24) - a, b)
    np.testing.assert_allclose(answer, np.exp(-1j * frequency), atol=1e-6)


def test_step_sizes_follow_from_the_reach() -> None:
    assert timescale("legt", 50) == pytest.approx(0.02)
    step = timescale("fourier-decay", 100)
    weights = measure_weight("fourier-decay", [0.0, 100 * step + 0.1])
    assert weights[1] <= weights[0] / np.e * 1.7
    assert timescale("glagt", 100, beta=2.0) == pytest.approx(0.005)


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        hippo("legx", 4)
    for size in (0, -1):
        with pytest.raises(ConfigError, match="holds nothing"):
            hippo("legs", size)
    with pytest.raises(ConfigError, match="pairs"):
        hippo("fout", 5)
    with pytest.raises(ConfigError, match="odd"):
        nplr("legs", 5)
    with pytest.raises(ConfigError, match="alpha"):
        hippo("glagt", 4, alpha=1.0)
    with pytest.raises(ConfigError, match="positive"):
        timescale("legs", 0)


def two_waves(steps: int, unit: float) -> np.ndarray:
    t = np.arange(steps) * unit
    return np.sin(2 * t) + 0.5 * np.cos(3.3 * t)


@pytest.mark.parametrize(("measure", "limit"), [("legt", 0.02), ("legs", 0.02), ("fout", 0.06)])
def test_two_waves_are_recalled_from_32_numbers(measure: str, limit: float) -> None:
    """Over 2 units of time at a step of 0.001; the signal's deviation is some 0.8."""
    found = recall(two_waves(8000, 1e-3), measure, 32, steps=2000)
    inside = found.ages < 2000
    rms = np.sqrt(np.square(found.past - found.recalled)[inside].mean())
    assert rms < limit
    assert found.error < 3 * limit
    signal, recalled = found.figure.data
    assert np.array_equal(recalled.y, found.recalled)
    assert np.array_equal(signal.y, found.past)
    assert np.array_equal(signal.x, -found.ages)


def test_what_is_in_the_span_is_recalled_whole() -> None:
    """A polynomial of degree 3 in a window of Legendre polynomials up to degree 7."""
    t = np.linspace(-1, 0, 4001)[1:]
    found = recall(1 + t - 2 * t**2 + 3 * t**3, "legt", 8, steps=2000)
    inside = found.ages < 2000
    assert np.abs(found.past - found.recalled)[inside].max() < 0.01


def test_the_coefficients_are_the_states_of_the_steps() -> None:
    u = torch.randn(2, 20, dtype=torch.float64)
    found = remember(u, "legs", 6, steps=10)
    a, b = hippo("legs", 6)
    left, right = np.eye(6) - 0.05 * a, np.eye(6) + 0.05 * a
    x = np.zeros((2, 6))
    for t in range(20):
        x = np.linalg.solve(left, right @ x.T + 0.1 * np.outer(b, u[:, t].numpy())).T
        np.testing.assert_allclose(found[:, t].numpy(), x, atol=1e-12)


def test_the_time_scale_is_the_step_size_and_nothing_else() -> None:
    u = torch.randn(1, 30, dtype=torch.float64)
    a = remember(u, "legt", 8, steps=20)
    layer = HippoMemory(1, d_state=8, measure="legt", steps=40).double()
    state = layer(u[..., None], rate=2.0, return_state=True)[1]
    torch.testing.assert_close(state["coefficients"][0, 0], a[0, -1], rtol=0, atol=1e-5)


def test_a_scaled_memory_knows_no_time_scale() -> None:
    """The same curve in 200 and in 800 steps leaves the same state: a mean, a slope, and so on."""
    short = remember_everything(torch.from_numpy(two_waves(200, 0.02))[None], 8)[0, -1]
    long = remember_everything(torch.from_numpy(two_waves(800, 0.005))[None], 8)[0, -1]
    assert (short - long).abs().max() < 0.02
    ages = -np.log(np.linspace(0.05, 0.95, 30))
    seen = reconstruct(long, "legs", ages).numpy()
    at = (np.linspace(0.05, 0.95, 30) * 800).astype(int)
    np.testing.assert_allclose(seen, two_waves(800, 0.005)[at], atol=0.1)


def test_a_scaled_memory_follows_the_laws_of_a_layer() -> None:
    torch.manual_seed(0)
    layer = HippoMemory(3, d_state=4, scaled=True).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    whole, last = layer(x, return_state=True)
    state, outputs = layer.initial_state(2), []
    for t in range(9):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close(torch.stack(outputs, 1), whole)
    first, middle = layer(x[:, :4], return_state=True)
    second, end = layer(x[:, 4:], state=middle, return_state=True)
    assert_close(torch.cat([first, second], 1), whole)
    assert_close(end["coefficients"], last["coefficients"])
    lengths = torch.tensor([9, 4])
    padded, ragged = layer(x, lengths=lengths, return_state=True)
    assert_close(padded[1, :4], first[1])
    assert_close(ragged["coefficients"][1], middle["coefficients"][1])
    assert ragged["count"].tolist() == [9, 4]
    resets = torch.zeros(2, 9, dtype=torch.bool)
    resets[0, 4] = True
    assert_close(layer(x, resets=resets)[0, 4:], layer(x[:, 4:])[0])
    with pytest.raises(ConfigError, match="time scale"):
        layer(x, rate=2.0)


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="of legs"):
        HippoMemory(4, measure="legt", scaled=True)
    with pytest.raises(ConfigError, match="positive"):
        HippoMemory(4, steps=0)
    with pytest.raises(DataError, match="finite"):
        recall([1.0, float("nan")], steps=1)
    with pytest.raises(ConfigError, match="takes"):
        remember(torch.zeros(3), "legs", 4, steps=5)
    with pytest.raises(ConfigError, match="takes"):
        remember_everything(torch.zeros(3), 4)


def test_a_scaled_memory_is_not_exported_for_any_length() -> None:
    steps = torch.export.Dim("steps", min=2, max=100)
    with pytest.raises(ConfigError, match="one after another"):
        torch.export.export(
            HippoMemory(2, d_state=4, scaled=True),
            (torch.randn(1, 5, 2),),
            dynamic_shapes={"x": {1: steps}},
        )
