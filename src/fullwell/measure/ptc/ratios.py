"""Gains of the amplifiers of one detector made continuous: light does not know where an amplifier ends.

The gain of each amplifier scatters by some tenths of a per cent; in a flat in electrons that shows as steps at their
edges. log(flat x gain) of all pixels is fitted by a smooth function of the radius (cubic splines), a plane or more
(Chebyshev), and one constant per amplifier, all linear, so that one least squares with rejection is all of it. The
constants, of median 1, divide the gains: ratios come from the flats, their level stays that of photon transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import DataError, GeometryError

__all__ = ["Adjusted", "RatioConfig", "adjust_gains"]

F8 = NDArray[np.float64]


class RatioConfig(StepConfig):
    """The smooth model of the light, and which flats and pixels are used."""

    knots: int = Field(default=6, ge=0, le=40, description="intervals of the spline in radius; 0: none")
    order: int = Field(default=1, ge=0, le=4, description="total degree of the Chebyshev polynomial in x and y")
    low: float = Field(default=1_000.0, description="flats of a lower median are left out [adu]")
    high: float = Field(default=20_000.0, description="flats of a higher median are left out [adu]")
    cut: float = Field(default=5.0, gt=0, description="pixels further from the model are rejected [sigma of the MAD]")
    rounds: int = Field(default=10, ge=1, description="most rounds of fit and rejection")
    limit: float = Field(default=0.05, gt=0, description="an amplifier that would change by more is left as it is")


@dataclass(frozen=True)
class Adjusted:
    """`gain` (n_amp,) [electron/adu] after; `correction` (n_amp,) that divided it; `error` (n_amp,) of the correction.

    left : indices of amplifiers that would have changed by more than the limit, or had no pixel; flats : used;
    residual : rms of log(flat) about the model.
    """

    gain: F8
    correction: F8
    error: F8
    left: tuple[int, ...]
    flats: int
    residual: float


def adjust_gains(
    gains: F8, flats: Sequence[NDArray], amp_of: NDArray[np.integer], config: RatioConfig | None = None,
    *, center: tuple[float, float] | None = None,
) -> Adjusted:  # fmt: skip
    """Gains whose ratios make the flats continuous at the edges of amplifiers.

    Parameters
    ----------
    gains : (n_amp,) [electron/adu], NaN for an amplifier without one, which stays without.
    flats : (ny, nx) images above the pedestal [adu], binned or not, defects NaN. Pixels next to an edge are best NaN.
    amp_of : (ny, nx) index of the amplifier of each pixel, negative where there is none.
    center : (y, x) of the radius [pixel]; the middle of the image by default.

    Raises
    ------
    GeometryError
        an image and `amp_of` of different shapes.
    DataError
        no flat between the levels of the settings, or fewer than two amplifiers with light.
    """
    config = config or RatioConfig()
    gains = np.asarray(gains, np.float64)
    for image in flats:
        if image.shape != amp_of.shape:
            raise GeometryError(f"a flat of shape {image.shape} and amplifiers of shape {amp_of.shape}")
    log = _mean_log(flats, config)
    known = np.isfinite(gains) & (gains > 0)
    use = np.isfinite(log) & (amp_of >= 0)
    use[use] &= known[amp_of[use]]
    amps = np.unique(amp_of[use])
    if amps.size < 2:
        raise DataError(f"{amps.size} amplifiers have light and a gain, two are needed to compare")
    y, x = np.nonzero(use)
    index = np.searchsorted(amps, amp_of[use])
    data = log[use] + np.log(gains[amp_of[use]])
    values, spread, residual = _fit(_smooth(y, x, amp_of.shape, center, config), index, amps.size, data, config)
    correction, error = np.ones(gains.size), np.full(gains.size, np.nan)
    correction[amps] = np.exp(values - np.median(values))
    error[amps] = spread * correction[amps]
    wild = (np.abs(correction - 1) > config.limit) | ~np.isin(np.arange(gains.size), amps)
    correction[wild] = 1.0
    left = tuple(int(k) for k in np.flatnonzero(wild))
    return Adjusted(gains / correction, correction, error, left, _count(flats, config), residual)


def _level(image: NDArray, config: RatioConfig) -> float:
    level = float(np.nanmedian(image)) if np.isfinite(image).any() else np.nan
    return level if config.low <= level <= config.high else np.nan


def _count(flats: Sequence[NDArray], config: RatioConfig) -> int:
    return sum(bool(np.isfinite(_level(image, config))) for image in flats)


def _mean_log(flats: Sequence[NDArray], config: RatioConfig) -> F8:
    """Mean over the flats of log(flat/its level); a pixel must be good in all."""
    total, count = np.zeros(()), 0
    for image in flats:
        level = _level(image, config)
        if np.isfinite(level):
            with np.errstate(divide="ignore", invalid="ignore"):
                log = np.log(np.asarray(image, np.float64) / level)
            total, count = total + np.where(np.isfinite(log), log, np.nan), count + 1
    if not count:
        raise DataError(
            f"none of {len(flats)} flats has a median between {config.low:.5g} and {config.high:.5g} adu",
            remedy="give flats of such a level, or set low and high",
        )
    return np.asarray(total / count)


def _smooth(
    y: NDArray, x: NDArray, shape: tuple[int, ...], center: tuple[float, float] | None, config: RatioConfig
) -> F8:
    """(pixels, terms) of the smooth model without its constant, which the amplifiers have."""
    from numpy.polynomial import chebyshev
    from scipy.interpolate import BSpline

    cy, cx = center or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    u, v = 2 * x / max(shape[1] - 1, 1) - 1, 2 * y / max(shape[0] - 1, 1) - 1
    square = chebyshev.chebvander2d(u, v, [config.order, config.order])
    keep = [i * (config.order + 1) + j for i in range(config.order + 1) for j in range(config.order + 1 - i) if i + j]
    terms = [square[:, keep]]
    if config.knots:
        radius = np.hypot(y - cy, x - cx)
        edges = np.linspace(0.0, float(radius.max()) * (1 + 1e-9) or 1.0, config.knots + 1)
        knots = np.concatenate([[0.0] * 3, edges, [edges[-1]] * 3])
        terms.append(BSpline.design_matrix(radius, knots, 3).toarray()[:, 1:])
    return np.concatenate(terms, axis=1)


def _fit(smooth: F8, index: NDArray, n: int, data: F8, config: RatioConfig) -> tuple[F8, F8, float]:
    """Constants of the n amplifiers, their errors about the mean constant, and the rms, after rejection."""
    size = n + smooth.shape[1]
    good = np.ones(data.size, bool)
    for _ in range(config.rounds):
        part, group, y = smooth[good], index[good], data[good]
        normal, right = np.zeros((size, size)), np.zeros(size)
        normal[:n, :n] = np.diag(np.bincount(group, minlength=n).astype(float))
        for k in range(smooth.shape[1]):
            normal[:n, n + k] = normal[n + k, :n] = np.bincount(group, part[:, k], minlength=n)
        normal[n:, n:] = part.T @ part
        right[:n], right[n:] = np.bincount(group, y, minlength=n), part.T @ y
        inverse = np.linalg.pinv(normal, rcond=1e-13, hermitian=True)
        values = inverse @ right
        residual = data - values[:n][index] - smooth @ values[n:]
        sigma = 1.4826 * float(np.median(np.abs(residual[good] - np.median(residual[good]))))
        before, good = good, np.abs(residual) <= max(config.cut * sigma, 1e-12)
        if np.array_equal(before, good) or np.bincount(index[good], minlength=n).min() == 0:
            break
    scatter = float(np.sqrt(np.mean(residual[before] ** 2)))
    center = np.eye(n) - 1 / n
    error = scatter * np.sqrt(np.maximum(np.diag(center @ inverse[:n, :n] @ center), 0.0))
    return values[:n], error, scatter
