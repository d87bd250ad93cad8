"""Clipped mean and variance of an amplifier, from median and quartiles, in a few passes over its pixels.

The first clip is at k times 0.741 of the distance of the quartiles about the median, each further one at k standard
deviations about the mean, of all pixels anew. Median and quartiles are those of some 33 000 pixels in whole rows spread
over the image: they only place the first clip, and the rounds after it forget their error.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels import clipping
from fullwell.measure.levels import clip_factor

__all__ = ["Clipped", "Scratch", "clipped", "plain"]

IQR_TO_SIGMA = 0.741301109252801
SAMPLE = 32768


@dataclass(frozen=True)
class Clipped:
    """Moments of the pixels kept; NaN where there are fewer than two.

    Parameters
    ----------
    mean : of those kept. variance : (n - 1 in the denominator), as it is, without the factor of the clip.
    count : kept. factor : what the clip leaves of the variance of a Gaussian.
    """

    mean: float = math.nan
    variance: float = math.nan
    count: int = 0
    factor: float = 1.0

    @property
    def sigma(self) -> float:
        """Standard deviation of those kept, without the factor of the clip."""
        return math.sqrt(self.variance) if self.variance >= 0 else math.nan


class Scratch(threading.local):
    """Arrays that a thread uses again for the next amplifier, so that their memory is not asked for each time."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def take(self, role: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array of unknown content; that of the same role before is gone."""
        found = self._kept.get(role)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._kept[role] = np.empty(shape, dtype)
        return found


def plain(image: NDArray[Any], out: Scratch | None = None, role: str = "") -> NDArray[Any]:
    """The image as the kernels want it: contiguous, float32 or float64; a copy in `out` where one is needed."""
    kind = np.dtype(np.float64 if image.dtype.kind in "iu" and image.dtype.itemsize > 2 else np.float32)
    kind = image.dtype.newbyteorder("=") if image.dtype.kind == "f" and image.dtype.itemsize in (4, 8) else kind
    if image.flags.c_contiguous and image.dtype == kind:
        return image
    made = np.empty(image.shape, kind) if out is None else out.take(role, image.shape, kind)
    np.copyto(made, image, casting="unsafe")
    return made


def quartiles(image: NDArray[Any], use: NDArray[np.bool_]) -> tuple[float, float]:
    """Median and 0.741 of the distance of the quartiles of some 33 000 used pixels; NaN without any."""
    rows = max(image.shape[0] * image.shape[1] // SAMPLE, 1)
    values = image[::rows][use[::rows]]
    if rows > 1 and values.size < SAMPLE // 8:
        values = image[use]
    values = values[np.isfinite(values)]
    if not values.size:
        return math.nan, math.nan
    low, median, high = (float(v) for v in np.percentile(values, [25.0, 50.0, 75.0]))
    return median, IQR_TO_SIGMA * (high - low)


def clipped(image: NDArray[Any], use: NDArray[np.bool_], sigma: float, rounds: int) -> Clipped:
    """Moments of the used, finite pixels of `image` (ny, nx), clipped at `sigma` in `rounds` rounds.

    Parameters
    ----------
    image : contiguous float32 or float64. sigma : half width in standard deviations, infinity for no clip.
    """
    widest = 1e30
    centre, spread = quartiles(image, use)
    if not math.isfinite(centre):
        return Clipped()
    if rounds < 1 or not math.isfinite(sigma):
        count, mean, variance = clipping.clip_sums(image, use, centre, widest)
        return Clipped(mean, variance * count / (count - 1), count) if count > 1 else Clipped(mean, count=count)
    if not spread > 0:
        _, centre, variance = clipping.clip_sums(image, use, centre, widest)
        spread = math.sqrt(variance)
    mean, variance, count = centre, 0.0, 0
    for _ in range(rounds):
        count, mean, variance = clipping.clip_sums(image, use, centre, min(sigma * spread, widest))
        if count < 2:
            return Clipped()
        variance *= count / (count - 1)
        centre, spread = mean, math.sqrt(variance)
    return Clipped(mean, variance, count, clip_factor(sigma, rounds))
