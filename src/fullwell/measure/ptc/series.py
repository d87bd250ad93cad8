"""Points of single pixels from time series: many frames of a small region at each level of constant light.

The variance is in time, so that nothing fixed in the image enters. It is half the mean square of the differences of
successive frames, which a slow drift of the lamp does not reach; the plain variance about the mean is kept beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.products import Points

__all__ = ["series_points"]


def series_points(
    levels: Sequence[NDArray[Any]],
    *,
    offset: NDArray[Any] | float = 0.0,
    noise: NDArray[Any] | float = math.nan,
    pooled: bool = False,
) -> tuple[Points, ...]:
    """Photon transfer points of each pixel, one per level of light.

    Parameters
    ----------
    levels : per level an array (n, ny, nx) of n frames in order of time [adu].
    offset, noise : level without light and read noise [adu], of all pixels or (ny, nx).
    pooled : one set of points for the region, means over its pixels; else one per pixel, named "y,x".

    Returns
    -------
    `Points` whose `variance` holds the read noise and whose error is that of successive differences of Gaussian
    values, V sqrt(3n - 4)/(n - 1). A level with a value that is not finite, or without variation, has a reason.

    Raises
    ------
    GeometryError
        no level, arrays of different regions, or fewer than three frames.
    """
    if not levels or any(a.ndim != 3 or a.shape[0] < 3 or a.shape[1:] != levels[0].shape[1:] for a in levels):
        shapes = ", ".join(str(np.shape(a)) for a in levels)
        raise GeometryError(
            f"a time series has the shapes {shapes or '(none)'}", remedy="give (frames, ny, nx) of one region per level"
        )
    region = levels[0].shape[1:]
    pedestal, sigma = (np.broadcast_to(np.asarray(v, np.float64), region) for v in (offset, noise))
    moments = [_moments(np.asarray(a, np.float64)) for a in levels]
    mean = np.stack([m[0] for m in moments]) - pedestal
    variance, plain = (np.stack([m[k] for m in moments]) for k in (1, 2))
    n = np.array([a.shape[0] for a in levels], np.float64)[:, None, None]
    error = variance * np.sqrt(3 * n - 4) / (n - 1)
    if pooled:
        pixels = variance[0].size
        mean, variance, plain = (v.mean(axis=(1, 2), keepdims=True) for v in (mean, variance, plain))
        error = np.sqrt((error**2).sum(axis=(1, 2), keepdims=True)) / pixels
        sigma = np.sqrt((sigma**2).mean(keepdims=True))
    out = []
    for y, x in np.ndindex(mean.shape[1:]):
        own, spread = mean[:, y, x], variance[:, y, x]
        reasons = tuple(_reason(m, v) for m, v in zip(own, spread, strict=True))
        out.append(
            Points(
                amp="region" if pooled else f"{y},{x}",
                mean=own,
                variance=spread,
                variance_error=error[:, y, x],
                raw_variance=plain[:, y, x],
                noise=np.full(own.size, sigma[y, x]),
                pixels=np.rint(n * (1 if not pooled else np.prod(region))).astype(np.int64),
                reasons=reasons,
            )
        )
    return tuple(out)


def _moments(frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, half the mean square of successive differences, and plain variance of each pixel."""
    successive = np.diff(frames, axis=0)
    return frames.mean(axis=0), 0.5 * (successive**2).mean(axis=0), frames.var(axis=0, ddof=1)


def _reason(mean: float, variance: float) -> str:
    """Why a level is no point."""
    if not (math.isfinite(mean) and math.isfinite(variance)):
        return "a value of the series is not finite"
    return "" if variance > 0 else "dead: the series does not vary"
