"""Turnoff and roll-off: simulated with truth, and the flats of a small sensor through the full-covariance fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.measure.ptc import Fit, FitConfig, fit, turnoff
from fullwell.measure.ptc.models import exponential
from fullwell.products import Points

F8 = NDArray[np.float64]
CURVE = np.array([0.7, -8e-6, 30.0])
PIXELS = 10**6


def saturating(rng: np.random.Generator, end: float, step: float, share: float = 0.6) -> Points:
    """An exponential that loses all but `share` of its variance above `end`."""
    mean = np.arange(500.0, 1.15 * end, step)
    variance = exponential(CURVE, mean)[0]
    variance = np.where(mean > end, share * variance, variance)
    variance *= 1 + np.sqrt(2 / PIXELS) * rng.standard_normal(mean.size)
    return Points(amp="C00", mean=mean, variance=variance, pixels=np.full((mean.size, 1, 1), PIXELS))


@pytest.mark.parametrize("seed", range(20))
def test_turnoff_lies_within_its_sampling_error_of_the_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    end, step = rng.uniform(60_000, 90_000), rng.uniform(400, 3000)
    points = saturating(rng, end, step)
    found = turnoff(points, fit("exp", points))
    assert found.value <= end < found.value + step
    assert found.error == pytest.approx(step)
    assert np.isnan(found.rolloff)


def test_a_point_above_and_a_dip_below_do_not_move_it() -> None:
    rng = np.random.default_rng(30)
    points = saturating(rng, 80_000, 1000)
    truth = turnoff(points, fit("exp", points)).value
    variance = points.variance.copy()
    above = int(np.searchsorted(points.mean, 84_000))
    variance[above] = exponential(CURVE, points.mean[above : above + 1])[0][0]
    dip = int(np.searchsorted(points.mean, 72_000))
    variance[dip : dip + 2] *= 0.8
    hurt = replace(points, variance=variance)
    found = fit("exp", hurt)
    assert turnoff(hurt, found).value == truth
    assert found.reasons[above] == f"mean {points.mean[above]:.6g} adu is above the turnoff at {truth:.6g} adu"
    assert not found.used[dip : dip + 2].any()
    assert found.used[dip + 2]
    assert abs(found.gain - fit("exp", points).gain) < found.gain_error


def test_the_curve_ends_at_a_wide_step_over_rejected_points() -> None:
    """Points from 80 to 87 kadu are wrong: 7000 adu are more than 9000 electron; above, the curve is not trusted."""
    points = saturating(np.random.default_rng(31), 120_000, 1000)
    variance = np.where((points.mean > 80_000) & (points.mean < 87_000), 0.8 * points.variance, points.variance)
    hurt = replace(points, variance=variance)
    assert turnoff(hurt, fit("exp", hurt)).value == 79_500.0
    assert turnoff(hurt, fit("exp", hurt, FitConfig(gap=50_000))).value > 110_000


def test_order_of_the_points_does_not_matter() -> None:
    points = saturating(np.random.default_rng(32), 80_000, 1000)
    order = np.random.default_rng(33).permutation(len(points))
    mixed = replace(
        points, mean=points.mean[order], variance=points.variance[order], covariance=points.covariance[order]
    )
    assert turnoff(mixed, fit("exp", mixed)) == turnoff(points, fit("exp", points))


def test_turnoff_at_the_last_point_has_the_interval_below() -> None:
    mean = np.array([1000.0, 11_000, 21_000, 33_000, 50_000])
    points = Points(amp="C00", mean=mean, variance=exponential(CURVE, mean)[0], pixels=np.full((5, 1, 1), PIXELS))
    found = turnoff(points, fit("exp", points), FitConfig(rolloff=True))
    assert (found.value, found.error) == (50_000.0, 17_000.0)
    assert found.rolloff == found.value
    assert np.isnan(found.rolloff_error)


def test_definitions() -> None:
    points = saturating(np.random.default_rng(34), 80_000, 1000)
    found = fit("exp", points)
    for definition in ("kept", "emva1288"):
        assert turnoff(points, found, FitConfig(turnoff=definition)).value == 79_500.0
    # Two falls in a row are asked for: one step down is none, a variance that goes on falling is.
    mean = points.mean
    falling = np.where(mean > 80_000, points.variance.max() - 2 * (mean - 79_000), points.variance)
    assert turnoff(replace(points, variance=falling), found, FitConfig(turnoff="decrease")).value == 79_500.0
    assert np.isnan(turnoff(points, Fit(model="exp", failure="none")).value)


def test_rolloff_is_recovered() -> None:
    """Start and length of an exponential loss, and the mean where it is half a per cent: averages of 30 sets.

    Points with a part of the loss are still on the curve by our rule, so that the gain is high by 0.05 to 0.1 %. The
    fit of the loss takes all its parameters anew; a tenth of tau is allowed for what is left.
    """
    t, tau = 78_000.0, -1000.0
    mean = np.arange(500.0, 90_000, 500)
    clean = exponential(CURVE, mean)[0] - np.expm1(np.maximum(mean - t, 0) / -tau)
    fine = np.arange(t, 90_000, 1.0)
    curve = exponential(CURVE, fine)[0]
    truth = fine[np.expm1((fine - t) / -tau) <= 0.005 * curve].max()
    config = FitConfig(rolloff=True, rolloff_reach=20_000, rolloff_deviation=0.005)
    rng, ends = np.random.default_rng(35), []
    for _ in range(30):
        variance = clean * (1 + np.sqrt(2 / PIXELS) * rng.standard_normal(mean.size))
        points = Points(amp="C00", mean=mean, variance=variance, pixels=np.full((mean.size, 1, 1), PIXELS))
        end = turnoff(points, fit("exp", points, config), config)
        assert end.rolloff < end.value
        ends.append((end.rolloff, end.tau, end.rolloff_error))
    rolloff, length, error = np.mean(ends, axis=0)
    assert rolloff == pytest.approx(truth, abs=4 * error / np.sqrt(30) + 0.1 * -tau)
    assert length == pytest.approx(tau, rel=0.01)


def covariances(d: F8, side: int) -> tuple[F8, NDArray[np.int64]]:
    """Half the covariances of a difference image, by sums; both diagonals averaged."""
    ny, nx = d.shape
    d = d - d.mean()
    cov, count = np.zeros((side, side)), np.zeros((side, side), np.int64)
    for i in range(side):
        for j in range(side):
            parts = [d[: ny - j, : nx - i] * d[j:, i:]]
            if i and j:
                parts.append(d[: ny - j, i:] * d[j:, : nx - i])
            count[i, j] = sum(p.size for p in parts)
            cov[i, j] = 0.5 * sum(p.sum() for p in parts) / count[i, j]
    return cov, count


def flats(gain: float, noise: float, seed: int) -> Points:
    """Pairs of 1 to 96 s at 1000 adu/s, 200 by 200 pixels without brighter-fatter, lags to 2."""
    rng = np.random.default_rng(seed)
    rows = []
    for level in 1000.0 * np.arange(1, 97, 5):
        one, two = (rng.poisson(level * gain, (200, 200)) + rng.normal(0, noise, (200, 200)) for _ in range(2))
        rows.append(((one.mean() + two.mean()) / 2 / gain, *covariances((one - two) / gain, 3)))
    mean, cov, count = (np.array(column) for column in zip(*rows, strict=True))
    return Points(amp="C00", mean=mean, variance=cov[:, 0, 0], covariance=cov, pixels=count)


@pytest.mark.parametrize("seed", [1, 2])
def test_flats_of_a_small_sensor(seed: int) -> None:
    """Gain 0.75 to two decimals from 2000 adu up, the variances untouched, noise of 9 electron2 within its error."""
    points = flats(0.75, 3.0, seed)
    full, plain = (fit(m, points, FitConfig(low=2000)) for m in ("fullcov", "fullcov_no_b"))
    for found in (full, plain):
        assert not found.used[0]
        assert found.used[1:].all()
        assert abs(found.gain - 0.75) < 4 * found.gain_error
        n00 = found.noise_matrix[0, 0]
        assert abs(n00 - 9) < 4 * found.error("n_0_0")
        assert np.abs(found.a / found.a_error).max() < 4.5
        assert found.covariances is not None
        model = found.covariances(points.mean)[found.used]
        off = (model - points.covariance[found.used]) / (model[:, :1, :1] / np.sqrt(points.pixels[found.used]))
        off[:, 0, 0] /= np.sqrt(2)
        assert np.abs(off).max() < 4.5
        assert np.sqrt(np.mean(off**2)) == pytest.approx(1, abs=0.25)
    assert plain.gain == pytest.approx(0.75, abs=0.01)
    # With b the errors are larger, as the parameters are free to trade with each other.
    assert full.gain_error > 1.2 * plain.gain_error
    assert full.noise_matrix[0, 0] != plain.noise_matrix[0, 0]
