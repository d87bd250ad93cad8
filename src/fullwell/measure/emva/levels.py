"""Mean and temporal variance of the levels of a camera test, and what the fits of the standard take of them.

Reference: EMVA Standard 1288, release 4.0 Linear, sections 4 and 6 (photon transfer, linearity, dark current).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError
from fullwell.products.emva1288 import LevelSeries

__all__ = ["PairMoments", "linearity", "pair_moments", "saturation_level", "through_origin", "with_ranges"]

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class PairMoments:
    """Mean and temporal variance of two images of one light.

    Parameters
    ----------
    mean [DN] : of both images; delta [DN] : mean of the second less that of the first.
    variance [DN2] : of one image; variance_error [DN2] : its standard error, from the fourth moment.
    pixels : of one image; lowest, highest [DN] : of both images.
    """

    mean: float
    delta: float
    variance: float
    variance_error: float
    pixels: int
    lowest: float
    highest: float


def pair_moments(first: NDArray, second: NDArray) -> PairMoments:
    """Moments of a pair: sigma_y2 = <(A - B)2> / 2 - (<A> - <B>)2 / 2.

    Every pixel counts and nothing is clipped, as the standard demands.

    Raises
    ------
    GeometryError
        the images differ in size. DataError: they are one image twice, or hold values that are not finite (two images
        that are saturated in most pixels may agree).
    """
    if first.shape != second.shape:
        raise GeometryError(f"the images of a pair have {first.shape} and {second.shape} pixels",
                            remedy="pair images of one size and region")  # fmt: skip
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    difference = a - b
    mean_a, mean_b = float(a.mean()), float(b.mean())
    if not (math.isfinite(mean_a) and math.isfinite(mean_b)):
        raise DataError("an image holds values that are not finite", remedy="EMVA 1288 asks for raw values")
    low, high = min(float(a.min()), float(b.min())), max(float(a.max()), float(b.max()))
    if low < high and not difference.any() and np.count_nonzero(a == high) < 0.5 * a.size:
        raise DataError("both images are the same, value by value", remedy="give two exposures, not one file twice")
    n = difference.size
    difference -= mean_a - mean_b
    np.multiply(difference, difference, out=difference)
    second_moment = float(difference.mean())
    fourth_moment = float(np.vdot(difference, difference)) / n
    error = math.sqrt(max(fourth_moment - second_moment**2, 0.0) / n) / 2
    variance = second_moment / 2 * n / (n - 1)
    return PairMoments((mean_a + mean_b) / 2, mean_b - mean_a, variance, error, n, low, high)


def saturation_level(variance: F8, error: F8) -> int:
    """Index of the level of saturation: the largest temporal variance, looked for from the brightest level down.

    The first level from the top counts whose variance is above that of the two levels below it and at least half the
    largest of all. -1 where the series ends before saturation: its brightest level is that one, or has a variance that
    is no lower by four standard errors.
    """
    n = len(variance)
    for i in range(n - 1, 0, -1):
        below = variance[max(i - 2, 0) : i]
        if variance[i] >= 0.5 * np.max(variance) and np.all(variance[i] > below):
            fall = variance[i] - variance[-1]
            return i if fall > 4 * math.hypot(error[i], error[-1]) else -1
    return -1


def through_origin(x: F8, y: F8, error: F8) -> tuple[float, float]:
    """Slope of the line through the origin by unweighted least squares, and its standard error.

    The error is that of the errors of `y`, or that of the scatter about the line where this is larger.

    Raises
    ------
    DataError
        fewer than three levels.
    """
    if x.size < 3:
        raise DataError(f"{x.size} levels are too few for the fit of a line",
                        remedy="take more levels between dark and 70 % of saturation")  # fmt: skip
    square = float(x @ x)
    slope = float(x @ y) / square
    scatter = float(np.sum((y - slope * x) ** 2)) / (x.size - 1) / square
    return slope, math.sqrt(max(float(np.sum((x * error) ** 2)) / square**2, scatter))


def with_ranges(levels: LevelSeries, top: float = 0.7, span: tuple[float, float] = (0.05, 0.95)) -> LevelSeries:
    """Mark the levels of the fits: up to `top` of saturation for R and K, within `span` of it for the linearity."""
    signal = levels.signal
    full = signal[levels.saturation] if levels.saturation >= 0 else signal.max()
    index = np.arange(signal.size)
    below = index <= (levels.saturation if levels.saturation >= 0 else signal.size)
    return replace(
        levels,
        sensitivity=below & (signal <= top * full),
        linearity=below & (signal >= span[0] * full) & (signal <= span[1] * full),
    )


def linearity(levels: LevelSeries) -> LevelSeries:
    """Add the line of the linearity error and the deviation from it [%].

    The line minimises the sum of squared relative deviations, so that the dark end counts as much as the bright one.
    Without at least three levels in range line and deviation stay NaN.
    """
    chosen = levels.linearity
    deviation = np.full(levels.signal.size, np.nan)
    if np.count_nonzero(chosen) < 3 or not np.isfinite(levels.light[chosen]).all():
        return replace(levels, deviation=deviation)
    x, y = levels.light[chosen], levels.signal[chosen]
    design = np.stack([np.ones(x.size), x], axis=1) / y[:, None]
    offset, slope = np.linalg.lstsq(design / np.abs(design).max(0), np.ones(x.size), rcond=None)[0] / np.abs(
        design
    ).max(0)
    expected = offset + slope * x
    deviation[chosen] = 100 * (y - expected) / expected
    return replace(levels, line=(float(offset), float(slope)), deviation=deviation)
