"""Every way to get a gain out of photon-transfer points, by name, each with its statistical error.

The variance V of one flat of mean m is (m/g)(1 - |a00| g m + …) + s^2: brighter-fatter bends the curve. The pair
formula is a chord of it from the origin, a straight line a mean tangent, and only the tangent at zero is 1/g. So each
estimator says of itself whether brighter-fatter biases it:

=======================  =====================================================================================
pair                     mean over the pairs of 1/<(I1 - I2)^2/(I1 + I2)>, flats neither scaled nor clipped
pair_ratio_of_means      mean of m/V, flats scaled to one level and clipped
pair_noise_subtracted    mean of m/(V - s^2)
line, quadratic, power   1/slope, 1/linear coefficient, 1/A of V = A m^B, all points alike (no weights)
emva1288                 V - s^2 against m through the origin, up to 70 % of saturation (EMVA 1288 release 4.0)
zero_flux                m/(V - s^2) against m, extrapolated to m = 0
cov_sum                  m/(sum of all covariances - s^2): the variance that is missing sits in the neighbours
exp, eotest, fullcov     models of the bend
lab_...                  a sheet of a laboratory course, exactly (`fullwell.measure.ptc.lab`)
=======================  =====================================================================================

Errors follow from the errors of the points. Where the points have none they follow from the scatter about the fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, FullwellError
from fullwell.base.registry import Registry
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.products import Estimate, Points

__all__ = [
    "ESTIMATORS", "UNBIASED", "Estimator", "Fits", "Value", "ZeroFlux", "covariance_sum", "estimate_all",
    "noise_variance", "polynomial", "reference_name", "run_one", "usable", "with_errors", "zero_flux",
]  # fmt: skip

F8 = NDArray[np.float64]
Fits = Mapping[str, Fit]
UNBIASED = ("fullcov", "fullcov_no_b", "exp", "zero_flux", "cov_sum")
"""Estimators free of brighter-fatter bias, the one to adopt first."""
FAINT = 1000.0
"""Signal below which read noise makes pair gains useless for an extrapolation [electron]."""


class Value(NamedTuple):
    """Gain and its standard error [electron/adu], lowest and highest signal used [adu], number of points."""

    gain: float
    error: float
    low: float
    high: float
    points: int


@dataclass(frozen=True)
class Estimator:
    """One way to get a gain.

    Parameters
    ----------
    name : as in `ESTIMATORS`; biased : by brighter-fatter; about : one sentence.
    run : points and fits -> `Value`; raises DataError where they do not allow it.
    """

    name: str
    run: Callable[[Points, Fits], Value]
    biased: bool
    about: str


ESTIMATORS: Registry[Estimator] = Registry("estimator of the gain", "fullwell.estimators")


def estimator(name: str, *, biased: bool, about: str) -> Callable[[Callable[[Points, Fits], Value]], object]:
    """Decorator that enters a function in `ESTIMATORS`."""
    return lambda run: ESTIMATORS.add(name, Estimator(name, run, biased, about)) and run


def usable(points: Points) -> NDArray[np.bool_]:
    """(n,) points without a reason against them whose mean and variance are positive."""
    with np.errstate(invalid="ignore"):
        return points.good & (points.mean > 0) & (points.variance > 0)


def noise_variance(points: Points, fits: Fits) -> F8:
    """(n,) variance of the read noise at each point [adu2]: measured, else the median of the others, else fitted.

    Raises
    ------
    DataError
        read noise was neither measured nor fitted.
    """
    known = np.isfinite(points.noise)
    if known.any():
        return np.where(known, points.noise, np.median(points.noise[known])) ** 2
    for name in ("fullcov", "fullcov_no_b", "exp"):
        fit = fits.get(name)
        if fit and not fit.failure and math.isfinite(fit.noise) and fit.gain > 0:
            return np.full(len(points), (fit.noise / fit.gain) ** 2)
    raise DataError("the read noise is not known", remedy="give bias pairs, frames with overscan, or the noise")


def polynomial(x: F8, y: F8, error: F8, degree: int) -> tuple[F8, F8, float]:
    """Weighted polynomial: (degree + 1,) coefficients from the constant up, their covariance, reduced chi2.

    Points without an error make all weights equal, and the covariance follows from the scatter.
    """
    known = bool(np.isfinite(error).all() and (error > 0).all())
    scale = float(np.abs(x).max()) or 1.0
    weight = 1 / error if known else np.ones(x.size)
    design = np.vander(x / scale, degree + 1, increasing=True) * weight[:, None]
    covariance = np.linalg.pinv(design.T @ design)
    values = covariance @ (design.T @ (y * weight))
    dof = x.size - degree - 1
    chi2 = float(np.sum((y * weight - design @ values) ** 2)) / dof if dof > 0 else math.nan
    if not known:
        covariance = covariance * chi2
    powers = scale ** -np.arange(degree + 1.0)
    return values * powers, covariance * np.outer(powers, powers), chi2


def _enough(n: int, need: int, what: str = "usable points") -> None:
    if n < need:
        raise DataError(f"{n} {what}, {need} are needed")


def _mean(gain: F8, error: F8, mean: F8) -> Value:
    known = np.isfinite(error).all()
    scatter = float(np.sqrt(np.sum(error**2))) / gain.size if known else math.nan
    return Value(float(gain.mean()), scatter, float(mean.min()), float(mean.max()), gain.size)


@estimator("pair", biased=True, about="mean over the pairs of 1/<(I1 - I2)^2/(I1 + I2)>, not scaled, not clipped")
def _pair(points: Points, fits: Fits) -> Value:
    use = usable(points) & np.isfinite(points.ratio) & (points.ratio > 0)
    if not np.isfinite(points.ratio).any():
        raise DataError("the ratio image of the pairs was not measured")
    _enough(int(use.sum()), 1)
    ratio = points.ratio[use]
    return _mean(1 / ratio, points.ratio_error[use] / ratio**2, points.mean[use])


def _chords(points: Points, noise: F8) -> Value:
    use = usable(points) & (points.variance > noise)
    _enough(int(use.sum()), 1, "points with more variance than read noise")
    mean, rest = points.mean[use], (points.variance - noise)[use]
    return _mean(mean / rest, mean / rest**2 * points.variance_error[use], mean)


@estimator("pair_ratio_of_means", biased=True, about="mean over the pairs of mean/variance, scaled and clipped")
def _ratio_of_means(points: Points, fits: Fits) -> Value:
    return _chords(points, np.zeros(len(points)))


@estimator("pair_noise_subtracted", biased=True, about="mean over the pairs of mean/(variance - read noise squared)")
def _noise_subtracted(points: Points, fits: Fits) -> Value:
    return _chords(points, noise_variance(points, fits))


class ZeroFlux(NamedTuple):
    """g_pair(m) = gain (1 + slope m + curvature m^2): [electron/adu], [1/adu], with errors; points used; chi2."""

    gain: float
    error: float
    slope: float
    slope_error: float
    used: NDArray[np.bool_]
    chi2: float
    degree: int


def zero_flux(points: Points, fits: Fits) -> ZeroFlux:
    """Pair gains free of read noise, extrapolated to zero signal.

    The degree is 2 where eight points or more span a factor of three, else 1. Points below 1000 electrons are left
    out if four others remain.

    Raises
    ------
    DataError
        fewer than three points.
    """
    noise = noise_variance(points, fits)
    use = usable(points) & (points.variance > noise)
    _enough(int(use.sum()), 3, "points with more variance than read noise")
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = points.mean / (points.variance - noise)
        error = gain * points.variance_error / (points.variance - noise)
    bright = use & (points.mean * np.median(gain[use]) > FAINT)
    use = bright if bright.sum() >= 4 else use
    x = points.mean[use]
    degree = 2 if x.size >= 8 and x.max() > 3 * x.min() else 1
    if x.max() <= 1.05 * x.min():
        raise DataError("all points are at one level", remedy="an extrapolation to zero needs levels that differ")
    values, covariance, chi2 = polynomial(x, gain[use], error[use], degree)
    curve = np.polynomial.polynomial.polyval(x, values)
    if (curve > 0).all():
        values, covariance, chi2 = polynomial(x, gain[use], error[use] * (curve / gain[use]) ** 2, degree)
    slope = values[1] / values[0]
    jacobian = np.array([-slope, 1.0]) / values[0]
    slope_error = float(np.sqrt(jacobian @ covariance[:2, :2] @ jacobian))
    return ZeroFlux(float(values[0]), math.sqrt(covariance[0, 0]), float(slope), slope_error, use, chi2, degree)


@estimator("zero_flux", biased=False, about="pair gains without read noise, extrapolated to zero signal")
def _zero_flux(points: Points, fits: Fits) -> Value:
    found = zero_flux(points, fits)
    mean = points.mean[found.used]
    return Value(found.gain, found.error, float(mean.min()), float(mean.max()), mean.size)


def covariance_sum(points: Points, lags: int | None = None) -> tuple[F8, F8]:
    """(n,) sum of the covariances over all lags -L…L in both directions [adu2], and its standard error.

    Parameters
    ----------
    lags : L; None is all that were measured. Quadrants are taken as equal, so that lags on an axis count twice and
        others four times; the errors of the lags are independent.
    """
    top = points.lags if lags is None else min(lags, points.lags)
    fold = np.full((top + 1, top + 1), 4.0)
    fold[0], fold[:, 0], fold[0, 0] = 2.0, 2.0, 1.0
    covariance = points.covariance[:, : top + 1, : top + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = points.covariance_errors()[:, : top + 1, : top + 1]
    error = np.where(np.isfinite(error), error, np.nan)
    return (covariance * fold).sum((1, 2)), np.sqrt(((error * fold) ** 2).sum((1, 2)))


@estimator("cov_sum", biased=False, about="mean over the sum of all covariances without read noise")
def _cov_sum(points: Points, fits: Fits) -> Value:
    if points.lags < 1:
        raise DataError("no covariances with neighbours were measured", remedy="measure with 3 lags or more")
    noise = noise_variance(points, fits)
    total, error = covariance_sum(points)
    use = usable(points) & np.isfinite(total) & (total > noise)
    _enough(int(use.sum()), 1, "points whose covariances exceed the read noise")
    mean, rest, sigma = points.mean[use], (total - noise)[use], error[use]
    inverse, spread = rest / mean, sigma / mean
    values, covariance, _ = polynomial(np.zeros(mean.size), inverse, spread, 0)
    gain = 1 / float(values[0])
    known = np.isfinite(spread).all() or mean.size > 1
    fault = gain**2 * math.sqrt(covariance[0, 0]) if known else math.nan
    return Value(gain, fault, float(mean.min()), float(mean.max()), mean.size)


@estimator("emva1288", biased=True, about="variance without read noise, line through the origin to 70 % of saturation")
def _emva1288(points: Points, fits: Fits) -> Value:
    noise = noise_variance(points, fits)
    known = np.isfinite(points.mean) & np.isfinite(points.variance)
    _enough(int(known.sum()), 2)
    peak = np.where(known, points.variance, -np.inf).argmax()
    use = usable(points) & (points.mean <= 0.7 * points.mean[peak])
    _enough(int(use.sum()), 2, "points up to 70 % of saturation")
    x, y, error = points.mean[use], (points.variance - noise)[use], points.variance_error[use]
    slope = float(x @ y / (x @ x))
    spread = math.sqrt(float(np.sum((x * error) ** 2))) / float(x @ x)
    return Value(1 / slope, spread / slope**2, float(x.min()), float(x.max()), x.size)


def _of_fit(model: str) -> Callable[[Points, Fits], Value]:
    def run(points: Points, fits: Fits) -> Value:
        fit = fits.get(model)
        if fit is None and model.startswith("fullcov") and points.lags < 1:
            raise DataError("no covariances with neighbours were measured")
        if fit is None:
            raise DataError(f"the model '{model}' was not fitted")
        if fit.failure or not math.isfinite(fit.gain):
            raise DataError(fit.failure or "the fit has no gain")
        used = points.mean[fit.used] if fit.used.size == len(points) else points.mean[points.good]
        return Value(fit.gain, fit.gain_error, float(used.min()), float(used.max()), used.size)

    return run


for _name, _biased, _about in (
    ("line", True, "1/slope of a straight line with free intercept"),
    ("quadratic", True, "1/linear coefficient of a parabola"),
    ("power", True, "1/A of variance = A mean^B"),
    ("eotest", False, "tangent at zero of the exponential model, windows and cuts of eotest"),
    ("exp", False, "tangent at zero of the exponential model (Astier et al. 2019, equation 16)"),
    ("fullcov", False, "model of all covariances (Astier et al. 2019, equation 20)"),
    ("fullcov_no_b", False, "model of all covariances with b = 0"),
):
    ESTIMATORS.add(_name, Estimator(_name, _of_fit(_name), _biased, _about))


def with_errors(points: Points, fits: Fits) -> Points:
    """The points; where they have no errors at all, with the scatter about the exponential as the error of each."""
    fit = fits.get("exp")
    if np.isfinite(points.variance_error).any() or fit is None or fit.failure or fit.curve is None or fit.dof < 1:
        return points
    known = np.isfinite(points.mean)
    curve = np.full(len(points), np.nan)
    curve[known] = fit.curve(points.mean[known])
    lack = (points.variance / curve - 1)[fit.used]
    error = np.abs(curve) * math.sqrt(float(np.sum(lack**2)) / fit.dof)
    ratio = np.where(np.isfinite(points.ratio_error), points.ratio_error, error / points.mean)
    return replace(points, variance_error=error, ratio_error=np.where(np.isfinite(points.ratio), ratio, np.nan))


def run_one(item: Estimator, points: Points, fits: Fits) -> Estimate:
    """The estimate of one estimator; what hinders it stands in `reason`."""
    try:
        value = item.run(points, fits)
        if not (math.isfinite(value.gain) and value.gain > 0):
            raise DataError(f"it comes out as {value.gain:.4g}, which is no gain")
    except FullwellError as err:
        return Estimate(name=item.name, gain=math.nan, biased=item.biased, reason=err.problem, note=item.about)
    return Estimate(
        name=item.name, gain=value.gain, error=value.error, biased=item.biased, low=value.low, high=value.high,
        points=value.points, note=item.about,
    )  # fmt: skip


def reference_name(estimates: Mapping[str, Estimate]) -> str:
    """The estimator that ratios refer to and that is adopted, "" if no unbiased one has a value.

    The first of `UNBIASED` whose error is below 3 % or three times the smallest of them: an extrapolation from levels
    that are all alike yields to the sum of the covariances. Errors that are not known come last.
    """
    known = [estimates[name] for name in UNBIASED if name in estimates and not estimates[name].reason]
    errors = [item.error / item.gain for item in known if math.isfinite(item.error)]
    limit = max(0.03, 3 * min(errors, default=math.inf))
    sharp = [item for item in known if math.isfinite(item.error) and item.error / item.gain <= limit]
    return next((item.name for item in (*sharp, *known)), "")


def estimate_all(
    points: Points, fits: Fits, extra: tuple[Estimate, ...] = (), config: FitConfig | None = None
) -> tuple[Estimate, ...]:
    """Every estimator on the points of one amplifier, with ratios to the reference found and predicted.

    Parameters
    ----------
    points, fits : of one amplifier.
    extra : estimates from elsewhere (a table of eotest), put beside.
    config : of the fits, which are made again on the fitted curve.

    Returns
    -------
    tuple of Estimate
        sorted by name; `found_error` takes the two errors as independent, which is right within a factor sqrt(2).
    """
    from fullwell.measure.ptc.lab import LAB
    from fullwell.measure.ptc.predict import predicted_ratios

    other = "fullcov" if "fullcov_no_b" in fits else "fullcov_no_b"
    names = sorted((set(ESTIMATORS) | set(LAB)) - ({other} - set(fits)))
    points = with_errors(points, fits)
    found = {name: run_one(ESTIMATORS[name], points, fits) for name in names}
    found.update({item.name: item for item in extra})
    reference = reference_name(found)
    if not reference:
        return tuple(found.values())
    expected = predicted_ratios(points, fits, reference, [n for n, e in found.items() if not e.reason], config)
    return tuple(_beside(item, found[reference], expected.get(name, math.nan)) for name, item in found.items())


def _beside(item: Estimate, reference: Estimate, predicted: float) -> Estimate:
    if item.reason:
        return item
    ratio = item.gain / reference.gain
    error = ratio * math.hypot(item.error / item.gain, reference.error / reference.gain)
    own = item.name == reference.name
    return replace(item, found=ratio, found_error=0.0 if own else error, predicted=1.0 if own else predicted)
