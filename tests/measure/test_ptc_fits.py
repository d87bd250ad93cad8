"""Fits of photon transfer: exact curves, pulls, outliers with reasons, and amplifiers that allow no fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.measure.ptc import MODELS, Fit, FitConfig, fit
from fullwell.measure.ptc.models import exponential, full_covariance
from fullwell.products import Points

F8 = NDArray[np.float64]
A = np.array(
    [[-2.8e-6, 4.0e-7, 1.2e-7], [1.8e-7, 1.3e-7, 0.6e-7], [0.7e-7, 0.5e-7, 0.3e-7]]
)  # [1/electron], serial lag first
GAIN, NOISE2 = 1.4, 36.0
MEAN = np.linspace(150, 80_000, 40)


def exact(
    mean: F8 = MEAN, *, a00: float = -1.2e-6, gain: float = 0.75, noise2: float = 1.5, pixels: int = 10**6
) -> Points:
    """Points on the exponential, without noise."""
    variance = exponential(np.array([1 / gain, 2 * a00 * gain, noise2 / gain**2]), mean)[0]
    return Points(amp="C00", mean=mean, variance=variance, pixels=np.full((mean.size, 1, 1), pixels))


def drawn(rng: np.random.Generator, pixels: int, *, b: float | None, side: int = 3, mean: F8 = MEAN) -> Points:
    """Points of the full-covariance model with Gaussian errors; b in 1/electron, None for the exponential."""
    if b is None:
        cov = np.zeros((mean.size, side, side))
        cov[:, 0, 0] = exponential(np.array([1 / GAIN, 2 * A[0, 0] * GAIN, NOISE2 / GAIN**2]), mean)[0]
    else:
        noise = np.zeros((side, side))
        noise[0, 0] = NOISE2
        cov = full_covariance(mean, gain=GAIN, a=A[:side, :side], c=A[:side, :side] * b, noise=noise)
    count = np.full(cov.shape, pixels)
    count[:, 1:, 1:] *= 2
    error = cov[:, :1, :1] / np.sqrt(count)
    error[:, 0, 0] *= np.sqrt(2)
    cov = cov + error * rng.standard_normal(cov.shape)
    return Points(amp="C00", mean=mean, variance=cov[:, 0, 0], covariance=cov, pixels=count)


def test_exponential_without_noise_is_recovered_to_seven_digits() -> None:
    found = fit("exp", exact(np.arange(1000.0, 97_000, 5000)))
    assert found.gain == pytest.approx(0.75, rel=1e-7)
    assert found.a00 == pytest.approx(-1.2e-6, rel=1e-6)
    assert found.noise**2 == pytest.approx(1.5, rel=1e-6)
    assert found.value("noise2") == pytest.approx(1.5, rel=1e-6)
    assert found.used.all()
    assert found.curve is not None
    np.testing.assert_allclose(found.curve(np.array([0.0, 1000.0]))[0], 1.5 / 0.75**2, rtol=1e-6)


def test_errors_of_a_straight_line_are_those_of_the_textbook() -> None:
    """Unweighted: var(slope) = sum (x - <x>)^2 sigma^2 / (sum (x - <x>)^2)^2, with the errors of the points."""
    points = exact(a00=-1e-12)
    found = fit("line", points)
    sigma = points.variance * np.sqrt(2 / 1e6)
    x = MEAN - MEAN.mean()
    slope_error = np.sqrt(np.sum((x * sigma) ** 2)) / np.sum(x * x)
    assert found.gain == pytest.approx(0.75, rel=1e-6)
    assert found.gain_error == pytest.approx(slope_error * 0.75**2, rel=1e-6)
    assert found.noise == pytest.approx(np.sqrt(1.5), rel=1e-3)


def test_polynomials_and_the_power_law() -> None:
    quadratic = fit("quadratic", exact())
    expected = np.polynomial.Polynomial.fit(MEAN, exact().variance, 2).convert().coef
    np.testing.assert_allclose(quadratic.values, expected, rtol=1e-8)
    assert quadratic.gain == pytest.approx(1 / expected[1])
    assert fit("polynomial", exact(), FitConfig(degree=4)).names == ("c0", "c1", "c2", "c3", "c4")
    power = fit("power", replace(exact(), variance=0.9 * MEAN**0.95, covariance=np.zeros((0, 0, 0)),
                                 pixels=np.zeros((0, 0, 0), np.int64)), FitConfig(floor=0.05))  # fmt: skip
    assert power.value("B") == pytest.approx(0.95)
    assert power.gain == pytest.approx(1 / 0.9)
    assert power.curve is not None
    np.testing.assert_allclose(power.curve(MEAN), 0.9 * MEAN**0.95)


CASES = [("exp", None, 10_000, "model"), ("exp", None, 10**6, "measured"), ("fullcov_no_b", 0.0, 10_000, "model"),
         ("fullcov", 1e-6, 10**6, "model")]  # fmt: skip


@pytest.mark.parametrize(("model", "b", "pixels", "weights"), CASES)
def test_pulls(model: str, b: float | None, pixels: int, weights: Any) -> None:
    """Of gain, a00 and noise over 200 sets: mean 0 within 4 / sqrt(200), width 1 within 4 / sqrt(400)."""
    rng = np.random.default_rng(20)
    pulls, chi2 = [], []
    for _ in range(200):
        found = fit(model, drawn(rng, pixels, b=b), FitConfig(weights=weights))
        assert not found.failure
        noise = (found.noise**2 - NOISE2) / (2 * found.noise * found.noise_error)
        pulls.append([(found.gain - GAIN) / found.gain_error, (found.a00 - A[0, 0]) / found.a00_error, noise])
        chi2.append(found.reduced_chi2)
    assert np.abs(np.mean(pulls, axis=0)).max() < 4 / np.sqrt(200)
    assert np.abs(np.std(pulls, axis=0) - 1).max() < 4 / np.sqrt(400)
    assert np.mean(chi2) == pytest.approx(1, abs=4 * np.sqrt(2 / found.dof / 200))


def test_weights_from_the_measured_variance_favour_low_points() -> None:
    """With 1 / v^2 of N pixels, s^2 = 2 / N: <1 / v> / <1 / v^2> = 1 - 2 s^2, a level that is low by 4 / N.

    The difference of both fits of one set scatters by about a third of s / sqrt(40); 100 sets give it to 4 sigma.
    """
    rng, n = np.random.default_rng(5), 900
    ratio = []
    for _ in range(100):
        points = drawn(rng, n, b=None, side=1)
        start = Fit(model="line", used=np.ones(40, bool), reasons=("",) * 40)
        level = []
        for weights in ("measured", "model"):
            curve = fit("exp", points, FitConfig(weights=weights), start).curve
            assert curve is not None
            level.append(
                np.mean(curve(MEAN) / exponential(np.array([1 / GAIN, 2 * A[0, 0] * GAIN, NOISE2 / GAIN**2]), MEAN)[0])
            )
        ratio.append(level)
    low, right = np.mean(ratio, axis=0) - 1
    error = np.sqrt(2 / n / 40 / 100)
    assert abs(right) < 4 * error
    assert low - right == pytest.approx(-4 / n, abs=4 * error / 3)


def test_errors_of_the_full_fit_are_parts_of_the_fitted_variance() -> None:
    points = drawn(np.random.default_rng(6), 2000, b=0.0)
    found = fit("fullcov_no_b", points)
    assert found.covariances is not None
    model = found.covariances(MEAN)
    error = model[:, :1, :1] / np.sqrt(points.pixels)
    error[:, 0, 0] *= np.sqrt(2)
    chi2 = float(np.sum(((points.covariance - model) / error) ** 2))
    assert found.chi2 == pytest.approx(chi2, rel=1e-4)


def test_covariance_of_the_parameters_of_the_exponential() -> None:
    """The inverse of J' J, J the derivatives by a00, gain and noise2 themselves, from differences."""
    points = exact()
    found = fit("exp", points)

    def curve(p: F8) -> F8:
        a00, gain, noise2 = p
        return np.asarray(np.expm1(2 * a00 * gain * MEAN) / (2 * a00 * gain**2) + noise2 / gain**2)

    columns = []
    for k in range(3):
        step = np.zeros(3)
        step[k] = 1e-4 * found.values[k]
        columns.append((curve(found.values + step) - curve(found.values - step)) / (2 * step[k]))
    jac = np.stack(columns, axis=1) / (points.variance * np.sqrt(2 / 1e6))[:, None]
    scale = np.abs(found.values)
    expected = np.linalg.inv((jac * scale).T @ (jac * scale)) * np.outer(scale, scale)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-4)


def test_scipy_finds_the_same_minimum() -> None:
    """The full-covariance fit against scipy.optimize.least_squares on the data themselves, at equal chi2."""
    from scipy.optimize import least_squares

    points = drawn(np.random.default_rng(7), 400_000, b=1e-6)
    ours = fit("fullcov", points, FitConfig(weights="measured"))
    error = points.covariance_errors()
    scale = np.array([*([1e-6] * 9), *([1e-12] * 9), *([1.0] * 9), 1.0])

    def residuals(p: F8) -> F8:
        a, c, n = (part.reshape(3, 3) for part in np.split(p[:-1] * scale[:-1], 3))
        return np.asarray(((points.covariance - full_covariance(MEAN, gain=p[-1], a=a, c=c, noise=n)) / error).ravel())

    start = np.concatenate([np.zeros(27), [1.3]])
    theirs = least_squares(residuals, start, method="lm", xtol=1e-12, ftol=1e-12)
    assert ours.chi2 == pytest.approx(2 * theirs.cost, rel=1e-6)
    assert abs(ours.gain - theirs.x[-1]) < 0.01 * ours.gain_error
    np.testing.assert_allclose(ours.a, theirs.x[:9].reshape(3, 3) * 1e-6, atol=0.01 * ours.a_error.min())
    cov = np.linalg.inv(theirs.jac.T @ theirs.jac)
    assert ours.gain_error == pytest.approx(np.sqrt(cov[-1, -1]), rel=1e-3)
    np.testing.assert_allclose(ours.a_error.ravel(), np.sqrt(np.diag(cov)[:9]) * 1e-6, rtol=1e-3)
    assert ours.error("n_0_0") == pytest.approx(np.sqrt(cov[18, 18]), rel=1e-3)
    assert ours.dof == points.covariance.size - 28


def test_a_pair_without_a_mean_is_ignored() -> None:
    points = drawn(np.random.default_rng(8), 10**5, b=0.0)
    mean = np.insert(points.mean, 5, np.nan)
    wide = Points(
        amp="C00", mean=mean, variance=np.insert(points.variance, 5, np.nan),
        covariance=np.insert(points.covariance, 5, np.nan, axis=0), pixels=np.insert(points.pixels, 5, 0, axis=0),
    )  # fmt: skip
    for model in ("exp", "fullcov_no_b", "line"):
        before, after = fit(model, points), fit(model, wide)
        assert after.gain == pytest.approx(before.gain, rel=1e-9)
        assert len(after.used) == len(after.reasons) == 41
        assert not after.used[5]
        assert after.reasons[5] == "mean or variance is not finite"


@pytest.mark.parametrize("at", [2, 12, 30])
def test_a_point_that_lost_a_tenth_is_rejected(at: int) -> None:
    points = drawn(np.random.default_rng(9), 10**6, b=None)
    variance = points.variance.copy()
    variance[at] *= 0.9
    hurt = replace(points, variance=variance)
    before, after = fit("exp", points), fit("exp", hurt)
    assert list(np.flatnonzero(~after.used)) == [at]
    assert after.reasons[at].startswith(f"outlier: variance {variance[at]:.5g} adu2 is -")
    assert abs(after.gain - before.gain) < before.gain_error


def test_a_faint_outlier_that_older_rules_keep_is_rejected() -> None:
    """At 150 adu and 10^6 pixels 4 % are 12 errors (with the floor), but half of sqrt(variance)."""
    points = drawn(
        np.random.default_rng(10), 10**6, b=None, mean=np.concatenate([np.linspace(150, 1500, 10), MEAN[1:]])
    )
    variance = points.variance.copy()
    variance[0] *= 1.04
    hurt = replace(points, variance=variance)
    assert 0.04 * variance[0] / np.sqrt(variance[0]) < 0.6
    assert not fit("exp", hurt).used[0]
    assert fit("exp", hurt, FitConfig(scatter="poisson")).used[0]


def test_manual_limits_and_reasons_of_the_points_are_kept() -> None:
    points = replace(exact(), reasons=("lamp drifted by 3 %", *[""] * 39))
    found = fit("exp", points, FitConfig(low=5000, high=60_000))
    assert found.reasons[0] == "lamp drifted by 3 %"
    assert "is not above the limit of 5000 adu" in found.reasons[1]
    assert "is not below the limit of 60000 adu" in found.reasons[-1]
    assert found.used.sum() == np.sum((MEAN > 5000) & (MEAN < 60_000))


def test_the_points_of_a_fit_before_are_taken() -> None:
    points = drawn(np.random.default_rng(11), 10**5, b=0.0)
    start = fit("exp", points, FitConfig(high=40_000))
    for model in ("line", "quadratic", "power", "polynomial", "fullcov", "fullcov_no_b"):
        assert np.array_equal(fit(model, points, start=start).used, start.used), model


def test_errors_that_are_unknown_come_from_the_scatter() -> None:
    points = drawn(np.random.default_rng(12), 10**5, b=None)
    bare = Points(amp="C00", mean=points.mean, variance=points.variance)
    known, unknown = fit("exp", points), fit("exp", bare)
    assert unknown.gain == pytest.approx(known.gain, rel=1e-6)
    scatter = np.sqrt(known.reduced_chi2)
    assert unknown.gain_error == pytest.approx(known.gain_error * scatter, rel=1e-3)
    always = fit("exp", points, FitConfig(scale_errors="always"))
    assert always.gain_error == pytest.approx(known.gain_error * scatter, rel=1e-6)


def test_bootstrap_and_robust_loss() -> None:
    points = drawn(np.random.default_rng(13), 10**5, b=None)
    plain = fit("exp", points)
    resampled = fit("exp", points, FitConfig(bootstrap=200))
    assert resampled.gain == plain.gain
    assert resampled.gain_error == pytest.approx(plain.gain_error, rel=0.5)
    assert resampled.gain_error != plain.gain_error
    robust = fit("exp", points, FitConfig(loss="soft_l1"))
    assert abs(robust.gain - plain.gain) < plain.gain_error
    assert plain.gain_error < robust.gain_error < 1.2 * plain.gain_error


def test_long_range_covariance_is_subtracted() -> None:
    """A plane in the lags, growing as the square of the signal, as of a gradient: gone, the core as before."""
    points = drawn(np.random.default_rng(14), 10**8, b=0.0, mean=np.linspace(150, 60_000, 40))
    side = 7
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    wide = np.zeros((40, side, side))
    wide[:, :3, :3] = points.covariance
    plane = (points.mean[:, None, None] / 60_000) ** 2 * (30.0 - 2 * i - 3 * j)
    pixels = np.full(wide.shape, 10**8)
    grown = replace(points, covariance=wide + plane, pixels=pixels)
    config = FitConfig(side=3, weights="measured")
    before = fit("fullcov_no_b", points, config)
    off = fit("fullcov_no_b", grown, config, fit("exp", points))
    on = fit("fullcov_no_b", grown, config.model_copy(update={"long_range": 3}), fit("exp", points))
    assert np.abs(on.a - before.a).max() < 1e-11
    assert np.abs(off.a - before.a).max() > 1e-9


DEAD = np.random.default_rng(15)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("points", "text"),
    [
        (Points(amp="C00", mean=np.array([1e3, 2e3]), variance=np.array([700.0, 1400.0])), "points"),
        (Points(amp="C00", mean=np.zeros(0), variance=np.zeros(0)), "points"),
        (Points(amp="C00", mean=np.full(9, np.nan), variance=np.full(9, np.nan)), "points"),
        (Points(amp="C00", mean=DEAD.normal(0, 0.02, 20), variance=DEAD.normal(40, 0.1, 20)), ""),
        (Points(amp="C00", mean=np.linspace(1e3, 5e4, 9), variance=np.full(9, -3.0)), "points"),
        (Points(amp="C00", mean=np.full(6, 1e3), variance=np.full(6, 700.0)), ""),
    ],
    ids=["two points", "none", "nan", "dead", "negative", "one level"],
)
def test_an_amplifier_without_a_fit_says_why(model: str, points: Points, text: str) -> None:
    found = fit(model, points)
    if found.failure:
        assert text in found.failure
        assert np.isnan(found.gain)
        assert found.curve is None
    else:
        # What is left is a fit whose error tells that nothing is known; never one that looks like a gain.
        assert not text
        assert not found.gain_error < 0.2 * found.gain
    assert found.used.size == len(found.reasons) == len(points)


def test_a_dead_amplifier_fails() -> None:
    rng = np.random.default_rng(16)
    points = Points(amp="C00", mean=rng.normal(0, 0.02, 20), variance=rng.normal(40, 0.1, 20),
                    pixels=np.full((20, 1, 1), 10**6))  # fmt: skip
    assert "does not rise with the mean by more than its errors" in fit("exp", points).failure


def test_without_covariances_there_is_no_full_fit() -> None:
    found = fit("fullcov", exact())
    assert found.failure == "no covariances between pixels were measured"
    few = drawn(np.random.default_rng(17), 10**6, b=0.0, mean=np.linspace(500, 40_000, 4))
    assert "4 points lie on the curve, at least 5 are needed" in fit("fullcov", few).failure


def test_a_model_without_that_name_is_an_error() -> None:
    with pytest.raises(UsageError, match="no photon transfer model 'cubic'"):
        fit("cubic", exact())


def test_the_fit_knows_its_parameters_by_name() -> None:
    points = drawn(np.random.default_rng(18), 10**5, b=1e-6)
    found: Fit = fit("fullcov", points)
    assert found.value("gain") == found.gain
    assert found.error("gain") == pytest.approx(found.gain_error)
    assert found.value("a_0_0") == found.a[0, 0]
    assert found.value("n_0_0") == found.noise_matrix[0, 0] == pytest.approx(found.noise**2)
    assert found.covariances is not None
    assert found.covariances(MEAN).shape == (40, 3, 3)
    assert found.curve is not None
    np.testing.assert_allclose(found.curve(MEAN), found.covariances(MEAN)[:, 0, 0])
    np.testing.assert_allclose(found.b * found.a, found.values[9:18].reshape(3, 3))
