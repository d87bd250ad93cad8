"""Curves of photon transfer: against sums written out, and derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.measure.ptc.leastsquares import inverse, marquardt
from fullwell.measure.ptc.models import Quartic, exponential, full_covariance

F8 = NDArray[np.float64]
MEAN = np.array([10.0, 1000.0, 30_000.0, 90_000.0])


def matrices(side: int, seed: int = 1) -> tuple[F8, F8, F8]:
    rng = np.random.default_rng(seed)
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    a = 4e-7 * rng.uniform(0.5, 1.5, i.shape) / (1 + i**2 + j**2)
    a[0, 0] = -3e-6
    c = a * rng.uniform(-3e-6, 3e-6, a.shape)
    noise = rng.normal(0, 0.5, a.shape)
    noise[0, 0] = 25.0
    return a, c, noise


def mirrored(quadrant: F8, width: int) -> dict[tuple[int, int], float]:
    return {
        (i, j): float(quadrant[abs(i), abs(j)])
        for i in range(-width, width + 1)
        for j in range(-width, width + 1)
        if abs(i) < quadrant.shape[0] and abs(j) < quadrant.shape[1]
    }


def convolved(a: dict[tuple[int, int], float], b: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    out: dict[tuple[int, int], float] = {}
    for (i, j), x in a.items():
        for (k, m), y in b.items():
            out[i + k, j + m] = out.get((i + k, j + m), 0.0) + x * y
    return out


def test_exponential_by_hand() -> None:
    """C00 = (exp(2 a g mu) - 1) / (2 a g^2) + n / g^2."""
    a, g, n = -2.7e-6, 0.77, 27.0
    value, _ = exponential(np.array([1 / g, 2 * a * g, n / g**2]), MEAN)
    np.testing.assert_allclose(value, np.expm1(2 * a * g * MEAN) / (2 * a * g * g) + n / g**2, rtol=1e-12)
    straight, _ = exponential(np.array([1 / g, 0.0, 4.0]), MEAN)
    np.testing.assert_allclose(straight, MEAN / g + 4.0, rtol=1e-14)
    near, _ = exponential(np.array([1 / g, -1.1e-8, 0.0]), MEAN)
    np.testing.assert_allclose(near, np.expm1(-1.1e-8 * MEAN) / -1.1e-8 / g, rtol=1e-9)


def test_exponential_derivatives() -> None:
    values = np.array([1.3, -4e-6, 30.0])
    _, jac = exponential(values, MEAN)
    for k, step in enumerate((1e-6, 1e-11, 1e-3)):
        up, down = values.copy(), values.copy()
        up[k] += step
        down[k] -= step
        slope = (exponential(up, MEAN)[0] - exponential(down, MEAN)[0]) / (2 * step)
        np.testing.assert_allclose(jac[:, k], slope, rtol=1e-6)


def test_full_covariance_is_the_sum_written_out() -> None:
    side, g = 4, 0.8
    a, c, noise = matrices(side)
    found = full_covariance(MEAN, gain=g, a=a, c=c, noise=noise)
    full_a, full_c = mirrored(a, side), mirrored(c, side)
    aa, ac = convolved(full_a, full_a), convolved(full_a, full_c)
    aaa = convolved(aa, full_a)
    for i in range(side):
        for j in range(side):
            x = g * MEAN
            expected = a[i, j] * x**2 + (2 / 3) * (aa[i, j] + c[i, j]) * x**3 + noise[i, j]
            expected += (aaa[i, j] / 3 + (5 / 6) * ac[i, j]) * x**4 + (x if i == j == 0 else 0.0)
            np.testing.assert_allclose(found[:, i, j], expected / g**2, rtol=1e-10)


def test_full_covariance_of_one_lag_has_the_terms_of_the_exponential() -> None:
    """Without neighbours: x + a x^2 + 2/3 a^2 x^3 + 1/3 a^3 x^4, the series of (exp(2 a x) - 1) / (2 a).

    It ends there; what follows is less than its next term, 2/15 a^4 x^5.
    """
    a, g = -2.5e-6, 1.5
    x = g * MEAN
    found = full_covariance(MEAN, gain=g, a=np.array([[a]]))[:, 0, 0]
    np.testing.assert_allclose(found, (x + a * x**2 + 2 / 3 * a**2 * x**3 + a**3 * x**4 / 3) / g**2, rtol=1e-12)
    left = exponential(np.array([1 / g, 2 * a * g, 0.0]), MEAN)[0] - found
    assert np.all(left[2:] > 0)
    assert np.all(left < (2 / 15) * a**4 * x**5 / g**2 + 1e-9 * found)


@pytest.mark.parametrize("with_b", [True, False])
def test_derivatives_of_the_quartic(with_b: bool) -> None:
    side, g = 3, 1.4
    a, c, noise = matrices(side)
    quartic = Quartic(side, with_b)
    values = quartic.join(a, c, noise, g)
    assert values.size == quartic.size == (28 if with_b else 19)
    _, jac = quartic(values)
    for k in range(values.size):
        step = max(abs(values[k]) * 1e-4, 1e-12)
        up, down = values.copy(), values.copy()
        up[k] += step
        down[k] -= step
        slope = (quartic(up)[0] - quartic(down)[0]) / (2 * step)
        scale = np.abs(slope).max(axis=1, keepdims=True)
        np.testing.assert_allclose(jac[:, :, k], slope, rtol=1e-5, atol=float(1e-6 * scale.max()) + 1e-30)
    back = quartic.split(values)
    np.testing.assert_array_equal(back[0], a)
    np.testing.assert_array_equal(back[1], c if with_b else np.zeros_like(c))


def test_marquardt_finds_the_minimum_of_a_curved_valley() -> None:
    """Rosenbrock's function, r = (10 (y - x^2), 1 - x): the minimum at (1, 1) from its usual start."""

    def model(p: F8) -> tuple[F8, F8]:
        x, y = p
        return np.array([-10 * (y - x * x), x - 1]), np.array([[-20 * x, 10.0], [-1.0, 0.0]])

    found = marquardt(model, np.array([-1.2, 1.0]))
    assert found.converged
    np.testing.assert_allclose(found.values, 1.0, atol=1e-6)
    assert found.chi2 < 1e-12


def test_inverse_does_not_mind_units_and_says_where_there_is_none() -> None:
    unit, scale = np.array([[1.0, 0.3], [0.3, 1.0]]), np.array([1e-10, 1e10])
    expected = np.linalg.inv(unit) / np.outer(scale, scale)
    np.testing.assert_allclose(inverse(unit * np.outer(scale, scale)), expected, rtol=1e-12)
    assert np.isnan(inverse(np.ones((2, 2)))).all()
    assert np.isnan(inverse(np.zeros((2, 2)))).all()
