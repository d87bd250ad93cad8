"""A smooth level from the overscan of one amplifier: statistics, gaps, polynomials, splines, and their variance.

A region is (n, m): n lines that each get a level, m samples of each. For the serial overscan the
lines are rows, for the parallel overscan columns. NaN is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CURVES", "SCALARS", "clipped", "fill_gaps", "fit_line", "grouped_median", "own_outliers", "scalar_level"]

F8 = NDArray[np.float64]
POLYNOMIALS = ("polynomial", "legendre", "chebyshev")
SCALARS = ("median", "mean", "clipped_mean")
CURVES = (*POLYNOMIALS, "natural_spline", "cubic_spline", "akima_spline")
NEIGHBOURS = 5
"""Lines on each side that fill a gap."""


def fill_gaps(levels: NDArray[Any]) -> F8:
    """Levels (n,) with each stretch of NaN set to the median of the five before and the five after it.

    A side counts where more than five lines lie there; where none does, the median of all is taken.
    A vector without any finite value comes back as it is (spec 2.2, item 6).
    """
    out = np.array(levels, np.float64)
    bad = ~np.isfinite(out)
    if not bad.any() or bad.all():
        return out
    n, given = out.size, out.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([0], bad.astype(np.int8), [0]))))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        near = [given[first - NEIGHBOURS : first]] if first > NEIGHBOURS else []
        near += [given[last : last + NEIGHBOURS]] if last < n - NEIGHBOURS else []
        values = np.concatenate(near) if near else np.zeros(0)
        values = values[np.isfinite(values)]
        out[first:last] = np.median(values if values.size else given[~bad])
    return out


def grouped_median(values: NDArray[Any]) -> float:
    """Median of integers taken as spread evenly over ± 0.5; NaN for none."""
    if not values.size:
        return float("nan")
    ordered = np.sort(values)
    middle = ordered[(ordered.size - 1) // 2]
    less, upto = np.searchsorted(ordered, middle, "left"), np.searchsorted(ordered, middle, "right")
    return float(middle - 0.5 + (0.5 * ordered.size - less) / (upto - less))


def clipped(values: NDArray[Any], clip: float = 3.0, passes: int = 3) -> tuple[float, float, int]:
    """Mean, standard deviation and number after clipping, started from median and 0.741 x quartile distance."""
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan"), 0
    low, centre, high = np.percentile(values, (25, 50, 75))
    sigma = 0.741 * (high - low)
    kept = values
    for _ in range(passes):
        kept = values[np.abs(values - centre) <= clip * sigma]
        if not kept.size:
            return float(centre), 0.0, 0
        centre, sigma = kept.mean(), kept.std(ddof=1) if kept.size > 1 else 0.0
    return float(centre), float(sigma), int(kept.size)


def scalar_level(values: NDArray[Any], method: str, clip: float, grouped: bool, sigma: float) -> tuple[float, float]:
    """One level for all pixels and its variance.

    `method` is "mean", "median" (`grouped`: of integers, see `grouped_median`) or "clipped_mean"; `sigma` is the
    width of the pixels. The variance is that of independent pixels, times pi/2 for a median.
    """
    good = values[np.isfinite(values)].astype(np.float64)
    if not good.size:
        return float("nan"), 0.0
    if method == "mean":
        return float(good.mean()), float(good.var()) / good.size
    if method == "clipped_mean":
        level, width, number = clipped(good, clip if clip > 0 else np.inf)
        return level, width**2 / max(number, 1)
    level = grouped_median(good) if grouped else float(np.median(good))
    return level, np.pi / 2 * sigma**2 / good.size


def own_outliers(region: NDArray[Any], clip: float) -> NDArray[np.bool_]:
    """Pixels (n, m) farther from the median of their line than `clip` widths of that line (spec 2.2, item 6).

    A line whose width is over twice the median width (a bleed) gets the median width. The factor
    0.74 and the use of every pixel, masked ones among them, are the reference's.
    """
    lines = np.asarray(region, np.float64)
    if clip <= 0:
        return np.zeros(lines.shape, np.bool_)
    low, middle, high = np.nanpercentile(lines, (25, 50, 75), axis=1)
    sigma = 0.74 * (high - low)
    typical = np.nanmedian(sigma)
    half = clip * np.where(sigma > 2 * typical, typical, sigma)
    return np.asarray(np.abs(lines - middle[:, None]) > half[:, None])


def fit_line(levels: NDArray[Any], method: str, order: int) -> tuple[F8, F8]:
    """A smooth vector through the levels of lines, and its variance.

    Parameters
    ----------
    levels : (n,), NaN where a line has none (filled as by `fill_gaps`).
    method : "polynomial", "legendre", "chebyshev" (unweighted least squares of degree `order`; the three
        bases span the same functions), "natural_spline", "cubic_spline", "akima_spline" (through the means
        of `order` equal bins).

    Returns
    -------
    fit, variance : (n,). The variance follows from the scatter of the levels about the fit; for a
        spline it is that of the bin means, linearly between them. Fewer than five bins with lines in them give
    no spline: the level of the first is taken everywhere.
    """
    n = levels.size
    t = 2 * np.arange(n) / n - 1
    good = np.isfinite(levels)
    if not good.any():
        return np.full(n, np.nan), np.zeros(n)
    filled = fill_gaps(levels)
    if method in POLYNOMIALS:
        return _polynomial(t, filled, method, min(order, max(int(good.sum()) - 1, 0)))
    return _spline(t, filled, good, method, max(order, 1))


def _polynomial(t: F8, levels: F8, method: str, order: int) -> tuple[F8, F8]:
    from numpy.polynomial import Chebyshev, Legendre, Polynomial

    kind = {"polynomial": Polynomial, "legendre": Legendre, "chebyshev": Chebyshev}[method]
    fit = kind.fit(t, levels, order)(t)
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(t, order))
    free = max(t.size - order - 1, 1)
    return fit, float(np.sum((levels - fit) ** 2)) / free * np.sum(basis**2, axis=1)


def _spline(t: F8, levels: F8, good: NDArray[np.bool_], method: str, order: int) -> tuple[F8, F8]:
    from scipy.interpolate import Akima1DInterpolator, CubicSpline

    edges = np.histogram_bin_edges(t, order)
    place = np.clip(np.searchsorted(edges, t, "right") - 1, 0, order - 1)
    count = np.bincount(place, minlength=order).astype(np.float64)
    full = count > 0
    x = np.bincount(place, t, order)[full] / count[full]
    y = np.bincount(place, levels, order)[full] / count[full]
    measured = np.maximum(np.bincount(place, good, order)[full], 1)
    if x.size < 5:
        scatter = float(np.var(levels[good])) / good.sum()
        return np.full(t.size, y[0]), np.full(t.size, scatter)
    curve = Akima1DInterpolator(x, y) if method == "akima_spline" else CubicSpline(x, y, bc_type="natural")
    inside = np.clip(t, x[0], x[-1])
    step = t - inside
    fit = curve(inside) + step * (curve.derivative()(inside) + 0.5 * step * curve.derivative(2)(inside))
    free = max(int(good.sum()) - x.size, 1)
    noise = float(np.sum((levels - fit)[good] ** 2)) / free
    return fit, noise * np.interp(t, x, 1 / measured)
