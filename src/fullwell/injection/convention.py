"""How a variance plane was made, read off the planes: of each pixel's own counts, or of a model of the light.

Model        over sky, a variance made of the counts of the pixel itself ("realised") follows the noise of the image,
             V = K (I + b) + K^2 r^2; one of a smoothed or modelled signal ("expected") does not. The median over
             windows of 64 pixels of R^2 of V against I tells them apart: above 0.5 it is realised.
Values       u-like flat, sky of 60 electron: 0.97 realised, 0.83 with structure of 3 % from pixel to pixel, 0.05 of a
             smoothed or model plane.
Resampling   moves noise into neighbours: the correlation of adjacent sky pixels, 0 in a frame as read out.
References   injection note A.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.injection.effective_gain import Convention

__all__ = ["THRESHOLD", "WINDOW", "Planes", "convention_of", "neighbours", "sky_windows"]

WINDOW = 64
THRESHOLD = 0.5
_MINIMUM = 200
"""Sky pixels that a window must have to count."""

_ENOUGH = 2_000_000
"""Pixels that the correlation is taken of."""
_SQUARE = 16
_SAMPLE = 4096
"""Pixels that a clipping limit is taken of."""
_WINDOWS = 250
"""Windows, spread over the frame, that the convention is read off."""

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Planes:
    """Image, variance (ny, nx) float64 and what may be used of them, in one place.

    Parameters
    ----------
    image, variance : NaN where `good` is False.
    good : pixels that are finite, with a variance above 0, neither defective, saturated, interpolated nor hit.
    where : the frame, for messages.
    """

    image: F8
    variance: F8
    good: NDArray[np.bool_]
    where: str = ""


def sky_windows(image: F8, good: NDArray[np.bool_], window: int = WINDOW) -> list[tuple[slice, slice]]:
    """Windows that tile the image, those at the far edges cut."""
    ny, nx = image.shape
    return [
        (slice(y, min(y + window, ny)), slice(x, min(x + window, nx)))
        for y in range(0, ny, window)
        for x in range(0, nx, window)
        if np.count_nonzero(good[y : y + window, x : x + window]) >= _MINIMUM
    ]


def sky_of(image: F8, good: NDArray[np.bool_], clip: float = 3.0) -> NDArray[np.bool_]:
    """Pixels of one window within `clip` robust sigma of its median, after three rounds."""
    keep = good.copy()
    for _ in range(3):
        values = image[keep]
        if not values.size:
            break
        values = values[:: max(1, values.size // _SAMPLE)]
        middle = float(np.median(values))
        sigma = 1.4826 * float(np.median(np.abs(values - middle)))
        keep = good & (np.abs(image - middle) <= clip * sigma)
    return keep


def convention_of(planes: Planes) -> tuple[Convention, float]:
    """Which convention, and the median R^2 that says so.

    Raises
    ------
    DataError
        no window of 64 pixels has 200 sky pixels with noise.
    """
    found = []
    windows = sky_windows(planes.image, planes.good)
    for part in windows[:: max(1, len(windows) // _WINDOWS)]:
        keep = sky_of(planes.image[part], planes.good[part])
        i, v = planes.image[part][keep], planes.variance[part][keep]
        if i.size < _MINIMUM or not np.ptp(i) > 0:
            continue
        spread = float(np.ptp(v)) > 1e-6 * float(np.mean(v))
        found.append(float(np.corrcoef(i, v)[0, 1] ** 2) if spread else 0.0)
    if not found:
        raise DataError(
            "too few sky pixels to see how the variance was made",
            where=planes.where,
            remedy='say it: convention="realised" (of the counts of each pixel) or "expected" (of a model)',
        )
    level = float(np.median(found))
    return ("realised" if level > THRESHOLD else "expected"), level


def neighbours(planes: Planes) -> tuple[float, float]:
    """(correlation of the noise of adjacent pixels, its standard error), the larger of rows and columns.

    The median over squares of 16 pixels of 1 - sum (x[i + 1] - x[i])^2 / sum (x[i + 2] - x[i])^2, which is 0 for
    independent pixels and near their correlation where noise was moved to neighbours; smooth light counts little, and
    sources not, while most squares hold none.
    """
    found = [_moved(planes.image), _moved(planes.image.T)]
    return max(found, key=lambda one: one[0])


def _moved(image: F8) -> tuple[float, float]:
    rows, columns = (n // _SQUARE for n in image.shape)
    squares = image[: rows * _SQUARE, : columns * _SQUARE].reshape(rows, _SQUARE, columns, _SQUARE)
    squares = squares[:: max(1, image.size // _ENOUGH)]
    near, far = squares[..., 1:-1] - squares[..., :-2], squares[..., 2:] - squares[..., :-2]
    known = np.isfinite(near) & np.isfinite(far)
    enough = np.count_nonzero(known, axis=(1, 3)) >= _MINIMUM // 2
    top, below = (np.sum(np.where(known, step, 0.0) ** 2, axis=(1, 3))[enough] for step in (near, far))
    ratio = 1 - top[below > 0] / below[below > 0]
    if ratio.size < 4:
        return 0.0, float("inf")
    middle = float(np.median(ratio))
    return middle, 1.25 * 1.4826 * float(np.median(np.abs(ratio - middle))) / float(np.sqrt(ratio.size))
