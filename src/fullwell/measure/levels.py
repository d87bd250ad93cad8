"""Robust level and spread of pixels: what every measurement starts from.

A clip at k standard deviations takes the wings off a Gaussian and makes its variance too small by
``f(k) = 1 - 2 k phi(k) / (2 Phi(k) - 1)``; each further round clips the smaller spread again. All variances here are
divided by that factor, so that a clip at 3 or at 5 sigma gives the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Box, Detector
from fullwell.frames import Frame
from fullwell.kernels.moments import clipped_moments

__all__ = ["PERCENTILES", "Statistics", "amplifier_boxes", "amplifier_statistics", "clip_factor", "statistics"]

MAD_TO_SIGMA = 1.482602218505602
PERCENTILES = (0.0, 5.0, 16.0, 50.0, 84.0, 95.0, 100.0)


@dataclass(frozen=True)
class Statistics:
    """Clipped moments of a set of pixels, in their unit; NaN where there are too few.

    Parameters
    ----------
    median : of all valid pixels; mean : of those kept; mean_error : standard error of the mean.
    sigma : standard deviation of those kept, corrected for the clip; variance : its square.
    variance_error : standard error of the variance, from the fourth moment (so that it holds for pixels of
        unequal variance and for wings, too).
    count : pixels kept; rejected : pixels clipped; masked : pixels not looked at.
    """

    median: float = math.nan
    mean: float = math.nan
    mean_error: float = math.nan
    sigma: float = math.nan
    variance: float = math.nan
    variance_error: float = math.nan
    count: int = 0
    rejected: int = 0
    masked: int = 0


@lru_cache(maxsize=256)
def clip_factor(k: float, rounds: int = 1) -> float:
    """Variance of a unit Gaussian after `rounds` clips at `k` standard deviations, the first at the true one."""
    f = 1.0
    for _ in range(rounds):
        t = k * math.sqrt(f)
        density = math.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
        f = 1.0 - 2.0 * t * density / math.erf(t / math.sqrt(2.0))
    return f


def statistics(
    array: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, sigma: float = 5.0, rounds: int = 5
) -> Statistics:
    """Clipped moments of the pixels that are finite and not in `mask`.

    The clip starts from the median and 1.4826 times the median absolute deviation, goes on with mean and standard
    deviation, and ends when nothing more is rejected.

    Parameters
    ----------
    array : any shape.
    mask : True where a pixel is not to be used, or None.
    sigma : half width of the clip; infinity to keep all.
    rounds : at most so many.
    """
    pixels = np.asarray(array)
    good = np.isfinite(pixels) if mask is None else np.isfinite(pixels) & ~mask
    values = pixels[good].astype(np.float64)
    masked = pixels.size - values.size
    if values.size < 2:
        only = float(values[0]) if values.size else math.nan
        return Statistics(median=only, mean=only, count=values.size, masked=masked)
    median, mean, second, fourth, n, done = clipped_moments(values, sigma, rounds)
    raw = second / (n - 1) if n > 1 else math.nan
    factor = clip_factor(sigma, done) if done else 1.0
    error = math.sqrt(max(fourth / n - raw * raw, 0.0) / n) / factor if n > 1 else math.nan
    variance = raw / factor
    return Statistics(
        median, mean, math.sqrt(raw / n), math.sqrt(variance), variance, error, n, values.size - n, masked
    )


def amplifier_boxes(
    detector: Detector | None, box: Box, region: Box | Mapping[str, Box] | None = None, *, edge: int = 0
) -> dict[str, Box]:
    """Box of each amplifier in the assembled image, cut to `box`, `region` and `edge`; area 0 where nothing is left.

    Parameters
    ----------
    detector : None for a plain image, which counts as one amplifier named "0".
    box : of the image at hand.
    region : one box for all, or one per amplifier name, in assembled coordinates.
    edge : rows and columns left out along each side of every amplifier.
    """
    whole = {"0": box} if detector is None else {amp.name: amp.trimmed.intersection(box) for amp in detector}
    out = {}
    for name, own in whole.items():
        if edge and own.width > 2 * edge and own.height > 2 * edge:
            own = Box(own.x0 + edge, own.y0 + edge, own.width - 2 * edge, own.height - 2 * edge)
        wanted = region.get(name, Box(0, 0, 0, 0)) if isinstance(region, Mapping) else region
        out[name] = own if wanted is None else own.intersection(wanted)
    return out


def amplifier_statistics(
    frame: Frame, region: Box | Mapping[str, Box] | None = None, *, sigma: float = 5.0
) -> dict[str, Statistics]:
    """`statistics` of the good pixels of each amplifier of an assembled frame."""
    out = {}
    for name, box in amplifier_boxes(frame.detector, frame.box, region).items():
        part = frame[box]
        out[name] = statistics(part.image.array, ~part.good(), sigma=sigma)
    return out
