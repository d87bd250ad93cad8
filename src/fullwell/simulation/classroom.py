"""Photon transfer on plain arrays, for a class: no camera, no files, one formula a function.

An image is an array of counts [adu] above its pedestal, of any shape; a strip of pixels will do. Light arrives as
Poisson numbers of electrons, the amplifier adds normal noise, the converter divides by the gain and rounds. Pixels do
not disturb each other here; `accumulate` is for those that do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullwell.base.errors import UsageError

__all__ = ["gain_of_line", "noise_and_signal", "noise_slopes", "signal_levels", "simulated_image"]

F8 = NDArray[np.float64]


def simulated_image(
    signal_level: ArrayLike,
    read_noise: float,
    gain: float,
    rng: np.random.Generator | None = None,
    size: int | tuple[int, ...] | None = None,
    *,
    full_well: float = float("inf"),
) -> NDArray[np.int32]:
    """An image of pixels that expect `signal_level` electrons, in whole adu.

    Parameters
    ----------
    signal_level : [electron] a number, or an array with one for each pixel.
    read_noise : [electron]; gain : [electron/adu].
    rng : source of the random numbers; None takes a new one, which differs each time.
    size : pixels, or shape; by default that of `signal_level`, 10,000 pixels where it is a number.
    full_well : [electron] a pixel holds no more.

    Returns
    -------
    Counts [adu]; they may be negative where there is hardly any light, since no pedestal was added.

    Raises
    ------
    UsageError
        a negative signal or read noise, or a gain that is not positive.
    """
    level = np.asarray(signal_level, np.float64)
    if not (level >= 0).all() or not read_noise >= 0 or not gain > 0:
        raise UsageError(
            f"an image of {np.min(level):g} electron, read noise {read_noise:g} and gain {gain:g} cannot be meant",
            remedy="signal and read noise are not negative, the gain is positive",
        )
    rng = np.random.default_rng() if rng is None else rng
    shape: Any = (level.shape or 10000) if size is None else size
    electrons = np.minimum(rng.poisson(level, shape), full_well) + rng.normal(0.0, read_noise, shape)
    return np.rint(electrons / gain).astype(np.int32)


def signal_levels(full_well: float, n: int = 60, lowest: float = 0.3) -> F8:
    """`n` levels [electron] from almost none to `full_well`, each the same factor above the one before."""
    if not 0 < lowest < full_well or n < 2:
        raise UsageError(f"{n} levels from {lowest:g} to {full_well:g} electron cannot be meant", remedy="0 < lowest")
    return np.geomspace(lowest, full_well, n)


def noise_and_signal(images: Iterable[ArrayLike]) -> tuple[F8, F8]:
    """(noise, signal) of each image: standard deviation and mean of its pixels [adu]."""
    values = [np.asarray(image, np.float64) for image in images]
    return np.array([v.std(ddof=1) for v in values]), np.array([v.mean() for v in values])


def noise_slopes(signal: ArrayLike, noise: ArrayLike, read_noise: float, gain: float) -> tuple[float, float]:
    """Slopes of log noise against log signal where the amplifier rules and where the light does: about 0 and 1/2.

    Parameters
    ----------
    signal, noise : [adu], of images from darkness to full well.
    read_noise : [electron], gain : [electron/adu]; they part the two regimes: below 0.1 and above 10 times
        read_noise**2 electrons.

    Returns
    -------
    The slope in the dark and that in the light, NaN with fewer than two images.
    """
    x, y = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    electrons, border = x * gain, read_noise**2

    def slope(part: NDArray[np.bool_]) -> float:
        return float(np.polyfit(np.log10(x[part]), np.log10(y[part]), 1)[0]) if part.sum() > 1 else float("nan")

    return slope((x > 0) & (electrons < 0.1 * border)), slope((x > 0) & (electrons > 10 * border))


def gain_of_line(signal: ArrayLike, noise: ArrayLike, pixels: int) -> tuple[float, float, float]:
    """Gain, its error and the read noise from the line variance = signal / gain + (read_noise / gain)**2.

    Parameters
    ----------
    signal, noise : [adu]; pixels : of each image; a variance is known to sqrt(2 / pixels) of itself, the weight of
        its point.

    Returns
    -------
    gain [electron/adu], its standard error, read noise [electron] (NaN where the line meets the axis below 0).
    """
    x, v = np.asarray(signal, np.float64), np.asarray(noise, np.float64) ** 2
    (slope, offset), cov = np.polyfit(x, v, 1, w=1 / (v * np.sqrt(2 / pixels)), cov="unscaled")
    gain = 1 / float(slope)
    return gain, float(np.sqrt(cov[0, 0])) * gain**2, gain * float(np.sqrt(offset)) if offset >= 0 else float("nan")
