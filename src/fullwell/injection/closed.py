"""K from image and variance alone, in closed form, and calibrated on the noise of the frame itself.

Model        V = K B + K^2 r^2 + phi^2 B^2 with B = I + b is a quadratic in K; with V* = V - phi^2 B^2

                 K = 2 V* / (B + sqrt(B^2 + 4 r^2 V*))

             d ln K / d b = -1 / (B + 2 K r^2);  d ln K / d ln r = -2 K r^2 / (B + 2 K r^2).
Calibration  b is chosen so that the difference of ln K between neighbours does not depend on that of I: the true K
             cannot know the photon noise. An error of r is absorbed by b to first order; what is left of it is
             2 r^2 (K - mean K) / (B + 2 K r^2) times the relative error.
Assumes      the variance is "realised": made from the counts of the pixel itself, and b is smooth over a tile.
Cannot know  a background that is no constant of a tile; the flat's own variance where there is no bright pixel.
References   injection note A.4 (2), (3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.injection.convention import Planes, sky_of
from fullwell.injection.windows import Tile, filled, local_median

__all__ = ["Bright", "SelfCalibrated", "bright_term", "closed_form", "self_calibrated", "without_outliers"]

F8 = NDArray[np.float64]
_PAIRS = 400
"""Pairs of sky pixels that a tile must have."""


def closed_form(image: F8, variance: F8, read_noise: F8 | float, background: F8 | float = 0.0,
                flat_variance: F8 | float = 0.0) -> F8:  # fmt: skip
    """K of each pixel, float64, the shape of `image`; NaN where no K > 0 makes such a variance.

    Parameters
    ----------
    image, variance : [unit], [unit**2]; read_noise : [electron]; background : b [unit]; flat_variance : phi^2.
    """
    light = image + background
    poisson = variance - flat_variance * light**2 if np.any(flat_variance) else variance
    noise = np.square(read_noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(light**2 + 4 * noise * poisson)
        k = np.where(light > 0, 2 * poisson / (light + root), (root - light) / (2 * noise))
        return np.asarray(np.where((k > 0) & np.isfinite(k), k, np.nan))


@dataclass(frozen=True)
class SelfCalibrated:
    """What the calibration found.

    Parameters
    ----------
    k : (ny, nx), NaN where it is not known; background : (ny, nx) b that goes with it.
    rms : relative error of K that noise and read noise leave.
    lost : names of tiles of which nothing is known.
    """

    k: F8
    background: F8
    rms: float
    lost: tuple[str, ...]


def self_calibrated(
    planes: Planes, tiles: Sequence[Tile], read_noise: F8 | float, noise_error: float, flat_variance: F8 | float = 0.0
) -> SelfCalibrated:
    """K of every pixel, b of every tile.

    Parameters
    ----------
    read_noise : [electron] number or (ny, nx); noise_error : how far off it may be, relative.
    flat_variance : phi^2 of the flat that was divided out: it enters V, and ties K to I.

    Raises
    ------
    DataError
        no tile has enough sky pixels for its b to be found.
    """
    noise = np.broadcast_to(np.asarray(read_noise, float), planes.image.shape)
    phi = np.broadcast_to(np.asarray(flat_variance, float), planes.image.shape)
    found = [_Pairs.of(planes, tile, noise, phi) for tile in tiles]
    solved = [pairs.solve() if pairs is not None else (math.nan, math.nan) for pairs in found]
    levels, errors = (np.array([one[i] for one in solved]) for i in (0, 1))
    known = np.isfinite(levels) & np.isfinite(errors)
    if not known.any():
        raise DataError(
            f"no part of the frame has {_PAIRS} pairs of sky pixels with noise, so that K cannot be calibrated on it",
            where=planes.where,
            remedy="give the flat (flat=, or repo=), or the background and read noise of the frame",
        )
    k, level = np.full(planes.image.shape, np.nan), np.full(planes.image.shape, np.nan)
    squares, lost = [], []
    for n, (tile, pairs) in enumerate(zip(tiles, found, strict=True)):
        like = np.array([t.name == tile.name for t in tiles]) & known
        if pairs is None and not planes.good[tile.part].any():
            lost.append(tile.name)
            continue
        b, error = _level(n, like if like.any() else known, levels, errors, known)
        k[tile.part] = closed_form(planes.image[tile.part], planes.variance[tile.part], noise[tile.part], b,
                                   phi[tile.part])  # fmt: skip
        level[tile.part] = b
        if pairs is not None:
            squares.append((pairs.count, pairs.error_of(b, error, noise_error)))
    weight = np.array([s[0] for s in squares], float)
    rms = math.sqrt(float(np.average([s[1] ** 2 for s in squares], weights=weight)))
    return SelfCalibrated(k, level, rms, tuple(dict.fromkeys(lost)))


def _level(n: int, like: NDArray[np.bool_], levels: F8, errors: F8, known: NDArray[np.bool_]) -> tuple[float, float]:
    """b of tile `n` and its error; where its own is worse than twice that of those like it, theirs."""
    weights = 1 / np.maximum(errors[like], 1e-12) ** 2
    common = float(np.average(levels[like], weights=weights))
    spread = math.sqrt(float(np.average((levels[like] - common) ** 2, weights=weights)) + 1 / float(weights.sum()))
    if not known[n] or errors[n] > 2 * spread:
        return common, spread
    return float(levels[n]), float(errors[n])


@dataclass(frozen=True)
class _Pairs:
    """Neighbours along the rows of one tile, both of them sky: image, variance, noise, phi^2 of each."""

    image: F8
    variance: F8
    noise: F8
    phi: F8

    @classmethod
    def of(cls, planes: Planes, tile: Tile, noise: F8, phi: F8) -> _Pairs | None:
        """The pairs of a tile; None where they are too few."""
        image = planes.image[tile.part]
        sky = sky_of(image, planes.good[tile.part], 5.0)
        width = image.shape[1] // 2 * 2
        both = sky[:, 0:width:2] & sky[:, 1:width:2]
        if np.count_nonzero(both) < _PAIRS:
            return None

        def ends(plane: F8) -> F8:
            return np.stack([plane[:, 0:width:2][both], plane[:, 1:width:2][both]])

        return cls(*(ends(p) for p in (image, planes.variance[tile.part], noise[tile.part], phi[tile.part])))

    @property
    def count(self) -> int:
        """Number of pairs."""
        return int(self.image.shape[1])

    def gains(self, b: float) -> F8:
        """ln K of both ends for a background."""
        return np.asarray(np.log(closed_form(self.image, self.variance, self.noise, b, self.phi)))

    def slope(self, b: float) -> tuple[float, float]:
        """(regression of the difference of ln K on that of I, its error), less what the noise of the flat makes."""
        logs, step = self.gains(b), self.image[1] - self.image[0]
        rise = logs[1] - logs[0]
        keep = np.isfinite(rise)
        if np.count_nonzero(keep) < _PAIRS:
            return math.nan, math.nan
        some = rise[keep][:: max(1, self.count // 10_000)]
        middle = np.median(some)
        far = 1.4826 * np.median(np.abs(some - middle))
        keep &= np.abs(rise - middle) <= 6 * far if far > 0 else keep
        u, t = rise[keep], step[keep]
        total = float(t @ t)
        tied = 2 * float(np.sum((self.phi * (self.image + b)).mean(axis=0)[keep]))
        slope = (float(u @ t) - tied) / total
        return slope, math.sqrt(float(np.sum((u * t - slope * t * t) ** 2))) / total

    def solve(self) -> tuple[float, float]:
        """(b, its error) where the slope is 0; (NaN, NaN) where there is none."""
        step, rise = self.image[1] - self.image[0], self.variance[1] - self.variance[0]
        if not float(step @ step) > 0:
            return math.nan, math.nan
        k = float(step @ rise) / float(step @ step)
        if not k > 0:
            return math.nan, math.nan
        noise = float(np.mean(self.noise**2))
        width = float(np.mean(self.variance)) / k + k * noise
        b = float(np.mean(self.variance)) / k - float(np.mean(self.image)) - k * noise
        last, value = b + 0.02 * width, self.slope(b)
        other = self.slope(last)
        for _ in range(12):
            if not (math.isfinite(value[0]) and math.isfinite(other[0])) or value[0] == other[0]:
                return math.nan, math.nan
            gradient = (other[0] - value[0]) / (last - b)
            move = -value[0] / gradient
            move = max(-0.5 * width, min(0.5 * width, move))
            last, other = b, value
            b += move
            value = self.slope(b)
            if abs(move) < 1e-6 * width:
                return b, abs(value[1] / gradient)
        return math.nan, math.nan

    def error_of(self, b: float, error: float, noise_error: float) -> float:
        """Relative error of K for an error of b and a relative one of the read noise."""
        logs = self.gains(b)
        k = float(np.exp(np.nanmedian(logs)))
        noise = float(np.mean(self.noise**2))
        width = float(np.mean(self.image)) + b + 2 * k * noise
        spread = 1.4826 * float(np.nanmedian(np.abs(logs - np.nanmedian(logs))))
        return math.hypot(error / width, noise_error * 2 * noise * k * spread / width)


@dataclass(frozen=True)
class Bright:
    """How K of bright pixels departs from that of the sky around them: offset + flat_variance B / K.

    `offset` is 0 for one exposure and not for a coadd; `flat_variance` is phi^2 of a pixel of median K. Both NaN, with
    errors infinite, where no bright pixels tell.
    """

    offset: float = math.nan
    offset_error: float = math.inf
    flat_variance: float = math.nan
    flat_error: float = math.inf


def bright_term(planes: Planes, tiles: Sequence[Tile], found: SelfCalibrated) -> Bright:
    """Bright pixels, over 30 sigma above the sky of their tile, against the local median of K."""
    ratio, light = [], []
    middle = float(np.nanmedian(found.k))
    for tile in tiles:
        image, k = planes.image[tile.part], found.k[tile.part]
        sky = sky_of(image, planes.good[tile.part], 5.0)
        if not sky.any():
            continue
        sigma = float(np.std(image[sky]))
        bright = planes.good[tile.part] & np.isfinite(k) & (image > np.median(image[sky]) + 30 * sigma)
        if not bright.any():
            continue
        near = local_median(k, sky)[bright]
        ratio.append(k[bright] / near - 1)
        light.append((image + found.background[tile.part])[bright])
    if not ratio or sum(r.size for r in ratio) < 50:
        return Bright()
    y, x = np.concatenate(ratio), np.concatenate(light) / middle
    scale = float(np.sqrt(np.mean(x**2)))
    a = np.stack([np.ones_like(x), x / scale], axis=1)
    keep = np.isfinite(y)
    for _ in range(5):
        normal = a[keep].T @ a[keep]
        if np.linalg.cond(normal) > 1e8:
            return Bright()
        best = np.linalg.solve(normal, a[keep].T @ y[keep])
        rest = y - a @ best
        sigma = 1.4826 * float(np.median(np.abs(rest[keep])))
        keep = np.isfinite(y) & (np.abs(rest) <= 4 * max(sigma, 1e-9))
    errors = np.sqrt(np.diag(np.linalg.inv(normal))) * max(sigma, 1e-9)
    return Bright(float(best[0]), float(errors[0]), float(best[1] / scale), float(errors[1] / scale))


def without_outliers(k: F8, tiles: Sequence[Tile], good: NDArray[np.bool_]) -> tuple[F8, int]:
    """K with masked pixels and those over six robust sigma off taken as the local median; how many were off."""
    out, off = np.full(k.shape, np.nan), 0
    for tile in tiles:
        values = k[tile.part]
        known = good[tile.part] & np.isfinite(values)
        if not known.any():
            continue
        near = local_median(values, known)
        with np.errstate(invalid="ignore"):
            rest = np.log(values / near)
            sigma = 1.4826 * float(np.median(np.abs(rest[known])))
            bad = known & (np.abs(rest) > max(6 * sigma, 1e-4))
        off += int(np.count_nonzero(bad))
        out[tile.part] = filled(values, known & ~bad, near)
    return out, off
