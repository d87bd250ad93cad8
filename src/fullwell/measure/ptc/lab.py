"""The gains of a sheet of a laboratory course, exactly as it works them out, for comparison with proper ones.

The sheet takes 39 pairs of flats in order of exposure. Points are cut by their place in the series, not by their
level, fits have no weights, and nothing is clipped or rejected:

=============  ==============================================================================================
lab_pair       median over all pairs of 1/<(I1 - I2)^2/(I1 + I2)>, second flat not scaled
lab_line       1/slope of a straight line through the points [6:-15]
lab_quadratic  1/linear coefficient of a parabola through the points [:-3]
lab_power      1/A of V = A m^B, a straight line in log-log through the points [:-15]
=============  ==============================================================================================

All four are biased by brighter-fatter, each in its own way: a chord, a mean tangent, a tangent with a remainder, and
a prefactor that is no gain at all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.measure.ptc.estimators import Fits, Value, estimator
from fullwell.products import Points

__all__ = ["LAB", "series"]

F8 = NDArray[np.float64]
LAB = ("lab_line", "lab_pair", "lab_power", "lab_quadratic")


def series(points: Points) -> tuple[F8, F8, F8]:
    """Means [adu], variances [adu2] without clip (clipped where those were not kept) and errors, by rising mean."""
    variance = np.where(np.isfinite(points.raw_variance), points.raw_variance, points.variance)
    known = np.flatnonzero(np.isfinite(points.mean) & np.isfinite(variance))
    order = known[np.argsort(points.mean[known], kind="stable")]
    return points.mean[order], variance[order], points.variance_error[order]


def _cut(points: Points, part: slice, need: int, logs: bool = False) -> tuple[F8, F8, F8]:
    mean, variance, error = series(points)
    x, y, e = mean[part], variance[part], error[part]
    if x.size < need:
        text = f"[{part.start or ''}:{part.stop}]"
        raise DataError(f"{mean.size} pairs leave {x.size} points in {text}, {need} are needed; the sheet has 39 pairs")
    if np.ptp(x) < 0.05 * np.abs(x).max():
        raise DataError(f"the {x.size} points of the cut are at one level, {np.median(x):.5g} adu")
    if logs and (x.min() <= 0 or y.min() <= 0):
        raise DataError("a mean or a variance is not positive, so that it has no logarithm")
    return x, y, e


def _polyfit(x: F8, y: F8, error: F8, degree: int) -> tuple[F8, F8]:
    """Coefficients of np.polyfit, highest power first, and their covariance from the errors of the points."""
    scale = float(np.abs(x).max()) or 1.0
    inverse = np.linalg.pinv(np.vander(x / scale, degree + 1))
    powers = scale ** -np.arange(degree, -1.0, -1.0)
    return np.polyfit(x, y, degree), (inverse * error**2) @ inverse.T * np.outer(powers, powers)


@estimator("lab_pair", biased=True, about="median over all pairs of 1/<(I1 - I2)^2/(I1 + I2)>, as the lab sheet does")
def _lab_pair(points: Points, fits: Fits) -> Value:
    use = np.flatnonzero(np.isfinite(points.ratio) & (points.ratio > 0))
    if not use.size:
        raise DataError("the ratio image of the pairs was not measured")
    gain, mean = 1 / points.ratio[use], points.mean[use]
    middle = use[np.argsort(gain)[(gain.size - 1) // 2]]
    error = float(points.ratio_error[middle] / points.ratio[middle] ** 2)
    return Value(float(np.median(gain)), error, float(mean.min()), float(mean.max()), gain.size)


def _inverse(value: float, variance: float, x: F8) -> Value:
    if value == 0:
        raise DataError("the slope is zero")
    return Value(1 / value, math.sqrt(variance) / value**2, float(x.min()), float(x.max()), x.size)


@estimator("lab_line", biased=True, about="1/slope of a straight line through the points [6:-15] of the series")
def _lab_line(points: Points, fits: Fits) -> Value:
    x, y, e = _cut(points, slice(6, -15), 3)
    values, covariance = _polyfit(x, y, e, 1)
    return _inverse(values[0], covariance[0, 0], x)


@estimator("lab_quadratic", biased=True, about="1/linear coefficient of a parabola through the points [:-3]")
def _lab_quadratic(points: Points, fits: Fits) -> Value:
    x, y, e = _cut(points, slice(None, -3), 4)
    values, covariance = _polyfit(x, y, e, 2)
    return _inverse(values[1], covariance[1, 1], x)


@estimator("lab_power", biased=True, about="1/A of V = A m^B, line in log-log through the points [:-15]")
def _lab_power(points: Points, fits: Fits) -> Value:
    x, y, e = _cut(points, slice(None, -15), 3, logs=True)
    values, covariance = _polyfit(np.log(x), np.log(y), e / y, 1)
    gain = math.exp(-values[1])
    return Value(gain, gain * math.sqrt(covariance[1, 1]), float(x.min()), float(x.max()), x.size)
