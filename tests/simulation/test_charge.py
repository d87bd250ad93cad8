"""Charge with the brighter-fatter effect inside, against the moments of the process in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import UsageError
from fullwell.kernels import charge as compiled
from fullwell.simulation.charge import accumulate, area_matrix, expected_covariance, step_matrix, total

A = area_matrix("e2v")
SIDE = 512


def covariances(image: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1, lags + 1) [i, j] of one image on a torus, i along x, by direct sums."""
    d = image.astype(float) - image.mean(dtype=float)
    both = lambda i, j: 0.5 * (np.mean(d * np.roll(d, (j, i), (0, 1))) + np.mean(d * np.roll(d, (j, -i), (0, 1))))  # noqa: E731
    return np.array([[both(i, j) for j in range(lags + 1)] for i in range(lags + 1)])


def discrete(a: np.ndarray, level: float, steps: int, lags: int = 4, size: int = 64) -> np.ndarray:
    """Covariances of the process in `steps` steps as it is, P' = (1 + A h)^2 P + h, with NumPy's own transform."""
    full = np.zeros((size, size))
    m = a.shape[0]
    for i in range(-m + 1, m):
        for j in range(-m + 1, m):
            full[i, j] = a[abs(i), abs(j)]
    modes, h, p = np.fft.fft2(full).real, level / steps, np.zeros((size, size))
    for _ in range(steps):
        p = (1 + modes * h) ** 2 * p + h
    return np.fft.ifft2(p).real[: lags + 1, : lags + 1]


def test_the_matrix_is_that_of_the_note() -> None:
    """Its first coefficients, the fall of the rest, and no charge made or lost: the sum over all lags is 0."""
    assert (A[0, 0], A[0, 1], A[1, 0], A[1, 1]) == (-2.7e-6, 5.0e-7, 2.05e-7, 1.54e-7)
    assert abs(total(A)) < 1e-20
    assert A[2, 0] / A[4, 0] == pytest.approx(2**2.6)
    assert A[3, 4] / A[0, 4] == pytest.approx(1.25**-2.6)
    scaled = area_matrix("itl", a00=-1e-6, lags=8)
    assert scaled.shape == (9, 9) and scaled[0, 0] == -1e-6 and abs(total(scaled)) < 1e-20
    for wrong in ({"kind": "ccd"}, {"a00": 1e-6}, {"lags": 1}):
        with pytest.raises(UsageError):
            area_matrix(**wrong)


def test_expected_covariances_are_those_of_the_series_and_of_the_note() -> None:
    """x d + a x^2 + (2/3) aa x^3 + (1/3) aaa x^4, convolved by hand; C_01, C_10, C_11 at 75 ke- of the note 2.1."""
    x, size = 20000.0, 64
    full = np.zeros((size, size))
    for i in range(-4, 5):
        for j in range(-4, 5):
            full[i, j] = A[abs(i), abs(j)]
    modes = np.fft.fft2(full).real
    two, three = np.fft.ifft2(modes**2).real[:5, :5], np.fft.ifft2(modes**3).real[:5, :5]
    series = A * x**2 + 2 / 3 * two * x**3 + 1 / 3 * three * x**4
    series[0, 0] += x
    # the next term of the series is (2/15) a^4 x^5
    np.testing.assert_allclose(expected_covariance(A, x, 4), series, atol=2 / 15 * 1.5 * (2.7e-6 * x) ** 4 * x)
    at_75 = expected_covariance(A, 75000.0, 1) / 75000.0**2
    np.testing.assert_allclose([at_75[0, 1], at_75[1, 0], at_75[1, 1]], [3.89e-7, 1.70e-7, 1.28e-7], rtol=0.01)
    assert total(expected_covariance(A, 90000.0, 31)) == pytest.approx(90000.0, rel=1e-9), "the sum is Poisson's"


@pytest.mark.parametrize("steps", [12, 50])
def test_the_steps_have_the_covariances_of_the_continuous_process(steps: int) -> None:
    """To 2e-4 of the deficit at 100 ke- (the range of the matrix is kept); uncorrected, 1 / K and more are missing."""
    level = 100000.0
    exact = expected_covariance(A, level, 4)
    made = discrete(step_matrix(A, level, steps), level, steps)
    deficit = level - exact[0, 0]
    assert abs(made - exact).max() < 2e-4 * deficit
    plain = discrete(A, level, steps)
    assert abs(plain[0, 0] - exact[0, 0]) > 0.5 / steps * deficit


def test_doubling_the_steps_hardly_changes_the_deficit() -> None:
    """0.5 % is the limit; the process of 50 and of 100 steps has the same deficit to 1e-4."""
    level = 100000.0
    deficit = [level - discrete(step_matrix(A, level, k), level, k)[0, 0] for k in (50, 100)]
    assert deficit[0] == pytest.approx(deficit[1], rel=1e-4)
    with pytest.raises(UsageError, match="at least 2"):
        step_matrix(A, level, 1)


@pytest.mark.parametrize("level", [300.0, 75000.0])
def test_mean_variance_and_covariances_of_pixels(level: float) -> None:
    """All lags to 4 within 4.5 sigma (25 at once), sigma = V / sqrt(N), sqrt(2) larger at lag 0; 12 images."""
    images = [accumulate(level, 0.0, A, (SIDE, SIDE), np.random.default_rng(30 + k), steps=20) for k in range(12)]
    n = SIDE**2 * len(images)
    found = np.mean([covariances(one, 4) for one in images], axis=0)
    expected = expected_covariance(A, level, 4)
    # opposite lags are one number on a torus: lags on an axis have n pairs, those off it two times n
    sigma = expected[0, 0] / np.sqrt(n) * np.where(np.outer(np.arange(5), np.arange(5)) > 0, np.sqrt(0.5), 1.0)
    sigma[0, 0] *= np.sqrt(2 + 1 / level)
    assert (abs(found - expected) < 4.5 * sigma).all()
    # the sum of all charge is Poisson's, whatever moves between the pixels
    assert np.mean([one.mean(dtype=float) for one in images]) == pytest.approx(level, abs=4 * np.sqrt(level / n))


@pytest.mark.parametrize("edge", ["wrap", "mirror"])
def test_charge_is_conserved(edge: str) -> None:
    """Under uniform light the areas of all pixels add up to their number, whatever the charge in them."""
    charge = np.random.default_rng(1).uniform(0, 1e5, (48, 40)).astype(np.float32)
    padded = np.zeros((56, 48), np.float32)
    padded[4:-4, 4:-4] = charge
    compiled.fill_border(padded, 4, edge == "wrap")
    np.testing.assert_array_equal(padded, np.pad(charge, 4, mode="wrap" if edge == "wrap" else "symmetric"))
    area = np.empty((48, 40), np.float32)
    compiled.relative_area(padded, A.astype(np.float32), area)
    assert np.ptp(area) > 0.1
    assert area.mean(dtype=float) == pytest.approx(1.0, abs=1e-6)


def test_the_area_is_the_convolution() -> None:
    """Against scipy's, which knows nothing of symmetry; x is the first index of the matrix."""
    from scipy.ndimage import correlate

    charge = np.random.default_rng(2).uniform(0, 1e5, (30, 25)).astype(np.float32)
    padded, area = np.pad(charge, 4, mode="wrap"), np.empty((30, 25), np.float32)
    compiled.relative_area(padded, A.astype(np.float32), area)
    window = np.array([[A[abs(x), abs(y)] for x in range(-4, 5)] for y in range(-4, 5)])
    np.testing.assert_allclose(area, 1 + correlate(charge.astype(float), window, mode="wrap"), atol=1e-6)


@pytest.mark.parametrize("mean", [0.3, 4.0, 11.9, 15.9, 16.5, 60.0, 2000.0])
def test_draws_have_the_moments_of_poisson_numbers(mean: float) -> None:
    """Mean, variance and third central moment, all equal to the mean, each within 4 sigma of 4e6 numbers."""
    shape, rng = (2000, 2000), np.random.default_rng(int(mean * 10))
    charge, area = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    uniform, normal = rng.random(shape), rng.standard_normal(shape, dtype=np.float32)
    light, dark = np.array([[mean]], np.float32), np.zeros((1, 1), np.float32)
    compiled.draw(charge, area, light, dark, uniform, normal, True)
    d, n = charge.astype(float) - mean, charge.size
    m4, m6 = mean + 3 * mean**2, mean + 25 * mean**2 + 15 * mean**3
    assert abs(d.mean()) < 4 * np.sqrt(mean / n)
    assert abs((d**2).mean() - mean) < 4 * np.sqrt((m4 - mean**2) / n)
    assert abs((d**3).mean() - mean) < 4 * np.sqrt((m6 - mean**2) / n)
    assert np.array_equal(charge, np.rint(charge)) == (mean < compiled.FEW)


def test_dark_charge_and_no_noise() -> None:
    """Dark charge enters in the same steps; no noise gives the mean of uniform light, no matrix a Poisson draw."""
    flat = accumulate(5000.0, 1000.0, A, (32, 32), np.random.default_rng(1), noisy=False)
    np.testing.assert_allclose(flat, 6000.0, rtol=2e-6)
    both = accumulate(5000.0, 1000.0, A, (512, 512), np.random.default_rng(1), steps=10)
    assert both.mean(dtype=float) == pytest.approx(6000.0, abs=4 * np.sqrt(6000) / 512)
    plain = accumulate(50.0, 0.0, np.zeros((2, 2)), (256, 256), np.random.default_rng(1))
    assert np.array_equal(plain, np.rint(plain))
    with pytest.raises(UsageError, match="smaller"):
        accumulate(5000.0, 0.0, A, (8, 30), np.random.default_rng(1))
