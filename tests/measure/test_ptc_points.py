"""One pair of flats of one amplifier: values with the error of the statistics, and every reason against a point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.kernels.clipping import ratio_sums
from fullwell.measure.levels import clip_factor
from fullwell.measure.ptc import ExtractConfig, measure_pair
from fullwell.measure.ptc.area import evenly_lit

GAIN, NOISE = 0.75, 3.0


def pair(
    level: float, shape: tuple[int, int] = (300, 300), seed: int = 1, factor: float = 1.0, gain: float = GAIN,
    noise: float = NOISE,
) -> tuple[NDArray[Any], NDArray[Any]]:  # fmt: skip
    """Two flats of `level` and `factor` times it [electron], in adu."""
    rng = np.random.default_rng(seed)
    return tuple(  # type: ignore[return-value]
        (rng.poisson(level * f, shape) / gain + rng.normal(0, noise, shape)).astype(np.float32) for f in (1.0, factor)
    )


def test_values_of_a_pair():
    """Mean, variance, rows, ratio and covariances within 4 sigma of what was put in."""
    a, b = pair(20000.0, factor=1.004)
    found = measure_pair(a, b, lags=4)
    n = a.size
    mean, variance = 20040 / GAIN, 20040 / GAIN**2 + NOISE**2
    assert found.reason == "" and found.notes == ()
    assert abs(found.mean - mean) < 4 * math.sqrt(variance / 2 / n)
    assert abs(found.delta - 80 / GAIN) < 4 * math.sqrt(2 * variance / n)
    assert found.variance_error == pytest.approx(variance * math.sqrt(2 / n), rel=0.02)
    assert abs(found.variance - variance) < 4 * found.variance_error
    assert abs(found.row_variance / (2 * variance / 300) - 1) < 4 * math.sqrt(2 / 300)
    assert found.covariance.shape == (5, 5) and found.pixels[1, 1] == 2 * 299 * 299
    rest = found.covariance / variance * np.sqrt(found.pixels)
    rest[0, 0] = 0
    assert np.abs(rest).max() < 4.5
    unscaled = variance / mean + (80 / GAIN) ** 2 / (2 * mean)
    assert abs(found.ratio - unscaled) < 4 * found.ratio_error
    assert found.ratio_error == pytest.approx(unscaled * math.sqrt(2 / n), rel=0.3)


def test_errors_of_the_variance_have_pulls_of_width_one():
    """60 pairs: mean 0 and width 1 of (variance - truth)/error, within 4 sigma."""
    pulls = []
    for seed in range(60):
        a, b = pair(900.0, (120, 120), seed)
        found = measure_pair(a, b, lags=1)
        pulls.append((found.variance - (900 / GAIN**2 + NOISE**2)) / found.variance_error)
    assert abs(np.mean(pulls)) < 4 / math.sqrt(60)
    assert abs(np.std(pulls) - 1) < 4 / math.sqrt(120)


@pytest.mark.parametrize("signal", [5, 10, 20, 50, 200])
def test_the_ratio_of_photons_is_one_at_any_light_and_of_gaussians_is_not(signal):
    """<D^2/S> of Poisson counts is 1 within 0.1 %; of Gaussian values 1 + 1/(2x), to the next order 1/x^2.

    Twenty million pixels: an error of sqrt(2/n) = 3.2e-4. Four million of the Gaussian ones.
    """
    rng = np.random.default_rng(signal)
    shape = (5000, 4000)
    use = np.ones(shape, np.bool_)
    a, b = (rng.poisson(signal, shape).astype(np.float32) for _ in range(2))
    assert ratio_sums(a, b, use, 4.0, 8, 1)[1] == pytest.approx(1.0, abs=1e-3)
    if signal >= 10:
        a, b = (signal + math.sqrt(signal) * rng.standard_normal((1000, 4000), np.float32) for _ in range(2))
        expected, error = 1 + 1 / (2 * signal), math.sqrt(2 / a.size)
        assert ratio_sums(a, b, use[:1000], 4.0, 8, 1)[1] == pytest.approx(expected, abs=4 * error + 1.2 / signal**2)


def test_the_median_of_the_ratio_is_that_of_a_chi_square():
    """0.4549 of the mean: a factor 2.198."""
    found = measure_pair(*pair(30000.0, (1000, 1000), gain=1.0, noise=0.0), lags=0)
    assert found.ratio / found.ratio_median == pytest.approx(2.198, abs=4 * 2.198 * 3.2e-3)


def test_a_narrow_clip_is_corrected():
    """Three rounds at 3 sigma leave 0.96997 of a Gaussian variance: corrected it is within 0.1 % of the truth."""
    a, b = pair(40000.0, (2000, 1500), gain=1.0, noise=0.0)
    found = measure_pair(a, b, lags=1, config=ExtractConfig(clip=3.0, rejected=0.1))
    assert found.factor == pytest.approx(0.96997, abs=1e-5)
    assert clip_factor(3.0) == pytest.approx(0.97334, abs=1e-5)
    assert found.variance == pytest.approx(40000, rel=1e-3)
    assert found.covariance[0, 0] == pytest.approx(40000, rel=1e-3)
    assert found.variance * found.factor == pytest.approx(40000 * 0.96997, rel=1e-3)
    assert found.raw_variance == pytest.approx(40000, rel=1e-3)


def test_hits_are_taken_off_the_difference_and_stay_in_what_is_not_clipped():
    """0.1 % of the pixels hit by 3000 adu: variance as without, the raw variance and the ratio with them."""
    a, b = pair(10000.0)
    clean = measure_pair(a, b, lags=1)
    a.ravel()[::1000] += 3000
    hit = measure_pair(a, b, lags=1)
    assert hit.rejected == pytest.approx(1e-3, rel=0.02)
    assert abs(hit.variance / clean.variance - 1) < 1e-3
    assert hit.raw_variance / clean.raw_variance == pytest.approx(1 + 0.5 * 9e6 * 1e-3 / clean.variance, rel=0.02)
    assert hit.ratio > 1.1 * clean.ratio


def test_transforms_and_direct_sums_give_one_point():
    """The option changes the way, not the numbers."""
    a, b = pair(500.0)
    one, two = (measure_pair(a, b, config=ExtractConfig(method=m)) for m in ("direct", "fft"))
    assert np.abs(one.covariance - two.covariance).max() < 1e-7 * one.variance


def test_binning_sums_what_neighbours_share():
    """Means of 2 x 2 pixels have a quarter of the variance; a masked pixel takes its cell along."""
    a, b = pair(10000.0, (400, 400), noise=0.0)
    good = np.ones(a.shape, bool)
    good[100, 100] = False
    found = measure_pair(a, b, good, config=ExtractConfig(binning=2, lags=1))
    assert abs(found.variance - 10000 / GAIN**2 / 4) < 4 * found.variance_error
    assert found.pixels[0, 0] == 200 * 200 - 1


@pytest.mark.parametrize("kind, leftover", [("plane", 1e-3), ("poly2", 1e-3), ("median_box", 0.02)])
def test_a_gradient_between_the_flats_is_taken_off(kind, leftover):
    """A plane of +-3 % over the field adds variance and covariances; the option takes them off, its box nearly."""
    a, b = pair(40000.0, (512, 512))
    b *= np.linspace(0.97, 1.03, 512, dtype=np.float32)[None, :]
    plain, found = (measure_pair(a, b, config=ExtractConfig(diff_background=k)) for k in ("none", kind))
    variance = 40000 / GAIN**2 + NOISE**2
    assert plain.variance > 1.5 * variance and plain.covariance[8, 8] > 0.3 * variance
    assert found.variance == pytest.approx(variance, rel=leftover + 4 * math.sqrt(2 / a.size))
    assert abs(found.covariance[8, 8]) < (leftover + 4 / math.sqrt(2 * a.size)) * variance


def test_the_histogram_test_tells_a_gaussian_from_a_mixture():
    """A Gaussian difference passes, with the variance of the fit; two populations do not."""
    a, b = pair(20000.0)
    config = ExtractConfig(ks_test=True)
    found = measure_pair(a, b, config=config)
    assert found.ks > 0.01 and not found.reason
    assert found.hist_variance == pytest.approx(2 * found.variance, rel=0.03) and 0.6 < found.hist_chi2 < 1.5
    wide = np.random.default_rng(3).normal(0, 600, a.shape).astype(np.float32)
    a[:, ::4] += wide[:, ::4]
    mixed = measure_pair(a, b, config=config)
    assert mixed.reason.startswith("the difference is not Gaussian: Kolmogorov-Smirnov p =")


def reason(a: Any, b: Any, good: Any = None, saturated: int = 0, **config: Any) -> str:
    """Why a pair is bad."""
    return measure_pair(a, b, good, saturated=saturated, config=ExtractConfig(**config)).reason


def test_too_few_pixels_are_named_and_give_nothing():
    """190 of 200 rows masked; 5 x 5 pixels; nearly all of them not finite."""
    a, b = pair(1000.0, (200, 200))
    good = np.ones(a.shape, bool)
    good[:190] = False
    found = measure_pair(a, b, good, lags=3)
    assert found.reason == "2000 good pixels are left, fewer than 10000"
    assert math.isnan(found.mean) and np.isnan(found.covariance).all() and found.covariance.shape == (4, 4)
    assert reason(*pair(1000.0, (5, 5))) == "25 good pixels are left, fewer than 10000"
    a[:-2] = np.nan
    assert reason(a, b) == "400 pixels with a value are left, fewer than 10000"


def test_single_pixels_that_are_no_numbers_are_left_out():
    """NaN and infinity in one flat: the point is that of the other pixels."""
    a, b = pair(1000.0)
    a[3, 4], b[5, 6] = np.nan, np.inf
    found = measure_pair(a, b, lags=1)
    assert not found.reason and found.pixels[0, 0] == a.size - 2 and math.isfinite(found.ratio)


def test_every_reason():
    """Mismatch, saturation, hits, no light, dead, twice one image, limits of the mean."""
    a, b = pair(20000.0)
    assert "differ by 4.88%, more than 2.00%: the lamp drifts, or they are no pair" in reason(*pair(2e4, factor=1.05))
    assert measure_pair(*pair(2e4, factor=1.01)).notes[0].startswith("the levels of the two flats, 26666 and 269")
    assert reason(a, b, saturated=900) == "1.00% of the pixels are saturated, more than 0.50%"
    assert reason(a, b, max_mean=1e4).startswith("the mean 26667 adu is not below max_mean")
    assert reason(a, b, min_mean=1e5).startswith("the mean 26667 adu is not above min_mean")
    assert reason(a - 1e5, b - 1e5).startswith("no light: the mean is -7.333e+04")
    assert reason(a, a.copy()) == "the two flats are the same image"
    assert reason(np.full((200, 200), 7.0), np.full((200, 200), 7.1)) == "dead: no pixel varies"
    assert "far below that of the read noise" in measure_pair(a, b, noise=1000.0).reason
    hit = a.copy()
    hit.ravel()[::50] += 5000
    assert reason(hit, b) == "2.00% of the pixels were clipped (cosmic rays?), more than 1.00%"
    with pytest.raises(GeometryError, match="shapes"):
        measure_pair(a, b[:10])


def test_evenly_lit_pixels_of_a_vignetted_field():
    """Light 1 - 18 r - 100 r^2: 2 % is r < 1.104 mm; more is taken in steps of 1 % until there are enough pixels."""
    radius = np.linspace(0, 0.01, 10_001)[None, :]
    light = 1 - 18 * radius - 100 * radius**2
    chosen, drop = evenly_lit(radius, (-100.0, -18.0, 1.0), 2.0, 100)
    assert drop == 2.0 and np.array_equal(chosen, light >= 0.98) and 1100 < chosen.sum() < 1110
    chosen, drop = evenly_lit(radius, (-100.0, -18.0, 1.0), 2.0, 2500)
    assert drop == 5.0 and np.array_equal(chosen, light >= 0.95)
    assert evenly_lit(radius, (-100.0, -18.0, 1.0), 2.0, 10**9)[0].all()


def test_what_differs_from_pixel_to_pixel_cancels_in_spite_of_a_mismatch():
    """Sensitivities of +-30 %, flats 1.5 % apart: the variance is that of the light; unscaled it is 6 % too large."""
    rng = np.random.default_rng(8)
    sensitivity = rng.uniform(0.7, 1.3, (400, 400))
    a, b = (rng.poisson(20000 * f * sensitivity).astype(np.float32) for f in (1.0, 1.015))
    found = measure_pair(a, b, lags=2)
    assert abs(found.variance - found.mean) < 4 * found.variance_error
    assert 0.5 * float((a - b).var()) > 1.05 * found.variance
