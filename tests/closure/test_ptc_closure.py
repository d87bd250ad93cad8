"""Photon transfer finds what the simulator put in: gain, a00, read noise, turnoff, and the ratios of the estimators.

The brighter-fatter effect is drawn inside the accumulation of charge, pixel by pixel. Twelve steps have the second
moments of the continuous process (tests/simulation/test_charge.py), so that more would change nothing here.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.measure.ptc import ExtractConfig, fit, measure_points
from fullwell.measure.ptc.solve import solve
from fullwell.products import Points, Ptc
from fullwell.simulation import FlatPairs, flat_pairs, grid_detector, sensor_of

PULLS_MEAN, PULLS_WIDTH = 0.2, 0.15
RATIO = 0.01


def series_of(amps: tuple[int, int], side: int, seed: int, *, full_well: float = 0.0, **levels: object) -> FlatPairs:
    """`amps` columns and rows of amplifiers that differ in gain, noise and a00, `side` x `side` pixels each."""
    sensor = sensor_of("ptc-16", seed, detector=grid_detector(*amps, (side, side)), steps=12, full_well=full_well)
    return flat_pairs(sensor, seed=seed, **levels)


def points_of(series: FlatPairs, lags: int = 4) -> tuple[Points, ...]:
    """Points with the read noise that an overscan would give."""
    truth = series.truth
    noise = dict(zip(truth.amps, (truth.read_noise / truth.gain).tolist(), strict=True))
    return measure_points(series, config=ExtractConfig(lags=lags), noise=noise, jobs=2)


def pulls_of(series: FlatPairs, model: str = "fullcov", points_of_all: tuple[Points, ...] = ()) -> np.ndarray:
    """(n_amp, 3) pulls of gain, a00 and noise of a full-covariance fit."""
    out = []
    for a, points in enumerate(points_of_all or points_of(series)):
        found, truth = fit(model, points), series.truth
        assert not found.failure
        assert found.reduced_chi2 == pytest.approx(1.0, abs=4 * np.sqrt(2 / found.dof))
        out.append(
            [
                (found.gain - truth.gain[a]) / found.gain_error,
                (found.a00 - truth.a00[a]) / found.a00_error,
                (found.noise - truth.read_noise[a]) / found.noise_error,
            ]
        )
    return np.array(out)


def predicted_and_found(product: Ptc) -> dict[str, tuple[float, float]]:
    """Means over the amplifiers of the two ratios to the reference, by estimator."""
    names = [e.name for e in product.estimates[0] if np.isfinite(e.predicted) and np.isfinite(e.found)]
    table = {name: [e for all_of in product.estimates for e in all_of if e.name == name] for name in names}
    return {n: (np.mean([e.predicted for e in es]), np.mean([e.found for e in es])) for n, es in table.items()}


def test_pulls_of_a_few_small_amplifiers() -> None:
    """No pull above 4, and their mean within 4 standard errors of 0; without b, which is 0, a00 is known to 7 %."""
    series = series_of((4, 1), 192, 3, n=15, e_max=50000.0)
    points = points_of(series)
    for model in ("fullcov", "fullcov_no_b"):
        pulls = pulls_of(series, model, points)
        assert abs(pulls).max() < 4
        assert (abs(pulls.mean(axis=0)) < 4 / np.sqrt(len(pulls))).all()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_pulls_of_twenty_seeds() -> None:
    """160 amplifiers: means are known to 0.08, widths to 0.06; statistical errors alone.

    Up to 50 ke-, where the fifth power of the signal, which the model leaves out, is 0.02 of the error of a00.
    """
    pulls = np.concatenate([pulls_of(series_of((4, 2), 256, 100 + k, n=20, e_max=50000.0)) for k in range(20)])
    assert len(pulls) == 160
    np.testing.assert_array_less(abs(pulls.mean(axis=0)), PULLS_MEAN)
    np.testing.assert_array_less(abs(pulls.std(axis=0, ddof=1) - 1), PULLS_WIDTH)


def test_the_turnoff_is_at_the_full_well() -> None:
    """Charge above 60 ke- bleeds: the last good point is the highest level below the spread of the pixels there."""
    series = series_of((2, 1), 192, 7, full_well=60000.0, n=25, e_min=1000.0, e_max=80000.0, spacing="linear")
    product = solve(points_of(series))
    levels = series.truth.light.mean(axis=1)
    last = levels[levels < 60000 - 4 * np.sqrt(60000)].max()
    step = np.diff(levels)[0]
    for a in range(2):
        assert product.turnoff[a] * series.truth.gain[a] == pytest.approx(last, abs=0.01 * step)
        assert product.turnoff[a] < series.truth.turnoff[a] < product.turnoff[a] + 2 * product.turnoff_error[a]
        assert product.gain[a] == pytest.approx(series.truth.gain[a], abs=4 * product.gain_error[a])


def test_predicted_and_found_ratios_of_the_estimators() -> None:
    """Every estimator, those of the lab sheet too, differs from the reference as predicted, to 1 %, with 39 pairs."""
    series = series_of((2, 2), 256, 5)
    ratios = predicted_and_found(solve(points_of(series)))
    assert {"pair", "line", "quadratic", "power", "exp", "zero_flux", "cov_sum", "lab_pair", "lab_line"} <= set(ratios)
    for name, (predicted, found) in ratios.items():
        assert found == pytest.approx(predicted, rel=RATIO), name
    assert ratios["pair"][0] > 1.08
    assert ratios["line"][0] > 1.2


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_sixteen_amplifiers_of_a_million_pixels() -> None:
    """39 pairs from 150 e- up: adopted gain to 0.3 %, a00 to 5 %, read noise to 3 %, ratios of estimators to 1 %."""
    series = series_of((8, 2), 1000, 1)
    points = points_of(series, lags=8)
    product, truth = solve(points), series.truth
    assert not any(product.status)
    np.testing.assert_allclose(product.gain, truth.gain, rtol=0.003)
    np.testing.assert_allclose(product.a00, truth.a00, rtol=0.05)
    np.testing.assert_allclose([fit("fullcov", one).noise for one in points], truth.read_noise, rtol=0.03)
    for name, (predicted, found) in predicted_and_found(product).items():
        assert found == pytest.approx(predicted, rel=RATIO), name
