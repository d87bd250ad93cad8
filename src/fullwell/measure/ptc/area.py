"""Which pixels of an amplifier take part, and how they are binned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["binned", "evenly_lit"]


def binned(
    a: NDArray[Any], b: NDArray[Any], use: NDArray[np.bool_], n: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Means of n by n pixels of both flats, and the cells all of whose pixels are used and finite.

    Rows and columns that do not fill a cell are left out at the upper end.
    """
    ny, nx = (size // n * n for size in a.shape)
    cells = (ny // n, n, nx // n, n)
    whole = use[:ny, :nx].reshape(cells).all(axis=(1, 3))
    one, two = (np.ascontiguousarray(i[:ny, :nx].reshape(cells).mean(axis=(1, 3), dtype=i.dtype)) for i in (a, b))
    return one, two, np.ascontiguousarray(whole)


def evenly_lit(
    radius: NDArray[np.float64], polynomial: tuple[float, ...], drop: float, pixels: int
) -> tuple[NDArray[np.bool_], float]:
    """Pixels whose relative light is within `drop` percent of the largest, and the drop that was taken.

    Parameters
    ----------
    radius : (ny, nx) distance from the centre of the focal plane [m].
    polynomial : relative light, coefficients from the highest power down.
    drop, pixels : raised in steps of 1 % until at least so many pixels are left (or all of them).
    """
    light = np.polyval(np.asarray(polynomial, np.float64), radius)
    top = float(light.max())
    while True:
        chosen = light >= top * (1 - drop / 100)
        if np.count_nonzero(chosen) >= min(pixels, light.size) or drop > 100:
            return chosen, drop
        drop += 1.0
