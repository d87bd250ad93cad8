"""Covariances of an image with itself at small lags, by direct sums: exact with any mask, no transform.

For the lag (dx, dy), with w = 0 on masked pixels and 1 else, and sums over all pixels r,

    P = sum d(r) w(r) d(r+s) w(r+s),   M(s) = sum d(r) w(r) w(r+s),   N(s) = sum w(r) w(r+s),
    cov(s) = P/N - M(s) M(-s)/N^2.

P is summed over the image with its masked pixels put to zero. M and N of the unmasked image follow from sums of its
first and last rows and columns; the masked pixels, which are few, are then taken off one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["covariance_sums"]

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
LAGS_AT_ONCE = 10
WIDTH = 64
"""Rows are filled up with zeros to a multiple of this, so that loops have no rest that does not vectorise."""


@sum_kernel
def _products(a: NDArray, b: NDArray, out: NDArray) -> None:
    """out[k] += sum over i of a[i] b[i + k], k < 10, in the precision of the arrays."""
    s0, s1, s2, s3, s4 = out[0], out[1], out[2], out[3], out[4]
    s5, s6, s7, s8, s9 = out[5], out[6], out[7], out[8], out[9]
    for i in range(a.size):
        v = a[i]
        s0 += v * b[i]
        s1 += v * b[i + 1]
        s2 += v * b[i + 2]
        s3 += v * b[i + 3]
        s4 += v * b[i + 4]
        s5 += v * b[i + 5]
        s6 += v * b[i + 6]
        s7 += v * b[i + 7]
        s8 += v * b[i + 8]
        s9 += v * b[i + 9]
    out[0], out[1], out[2], out[3], out[4] = s0, s1, s2, s3, s4
    out[5], out[6], out[7], out[8], out[9] = s5, s6, s7, s8, s9


@kernel
def _image_sums(padded: NDArray, lags: int, margin: int, total: F8) -> None:
    """total[dy, lags + dx] = P of every lag with dy >= 0, from an image with `margin` zeros around."""
    width = (padded.shape[1] - 2 * margin) // WIDTH * WIDTH
    part = np.zeros(LAGS_AT_ONCE, padded.dtype)
    for y in range(padded.shape[0] - margin):
        row = padded[y, margin : margin + width]
        for dy in range(lags + 1):
            other = padded[y + dy]
            first = -lags if dy else 0
            while first <= lags:
                part[:] = 0
                _products(row, other[margin + first :], part)
                for k in range(min(LAGS_AT_ONCE, lags + 1 - first)):
                    total[dy, lags + first + k] += part[k]
                first += LAGS_AT_ONCE


@sum_kernel
def _total(values: NDArray) -> float:
    """Sum in float64."""
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@sum_kernel
def _copy(image: NDArray, use: NDArray, out: NDArray) -> int:
    """out = image where it is used, else 0; the number of pixels that are not used."""
    masked = 0
    for i in range(image.size):
        out[i] = image[i] if use[i] else 0
        masked += 0 if use[i] else 1
    return masked


@kernel
def _corner_sums(padded: NDArray, nx: int, lags: int, margin: int) -> F8:
    """sums[i, j]: of the pixels of rows i of (all, all but the last k, all but the first k) and columns j alike.

    Index 0 is all; 1 … L leaves out the last k; L + 1 … 2 L the first k.
    """
    ny = padded.shape[0] - margin
    size = 2 * lags + 1
    rows = np.zeros((ny, size))
    for y in range(ny):
        row = padded[y, margin : margin + nx]
        whole = _total(row)
        rows[y, 0] = whole
        low, high = 0.0, 0.0
        for k in range(1, lags + 1):
            if k <= nx:
                high += row[nx - k]
                low += row[k - 1]
            rows[y, k] = whole - high
            rows[y, lags + k] = whole - low
    sums = np.zeros((size, size))
    for j in range(size):
        whole = 0.0
        for y in range(ny):
            whole += rows[y, j]
        sums[0, j] = whole
        low, high = 0.0, 0.0
        for k in range(1, lags + 1):
            if k <= ny:
                high += rows[ny - k, j]
                low += rows[k - 1, j]
            sums[k, j] = whole - high
            sums[lags + k, j] = whole - low
    return sums


@kernel
def covariance_sums(image: NDArray, use: NDArray, lags: int) -> tuple[F8, I8]:
    """Covariances and numbers of pixel pairs of the quadrant of lags, both signs of a mixed lag together.

    Parameters
    ----------
    image : (ny, nx) float32 or float64; values under the mask do not matter. A level far from zero costs digits:
        take the mean off first. Float32 images are summed by row in float32, the rows in float64.
    use : (ny, nx) bool, pixels that count.
    lags : L, the largest.

    Returns
    -------
    (L + 1, L + 1) covariances ``[i serial, j parallel]``, NaN without a pair; and the pairs behind each.
    """
    ny, nx = image.shape
    margin = lags + LAGS_AT_ONCE
    width = (nx + WIDTH - 1) // WIDTH * WIDTH
    padded = np.zeros((ny + margin, width + 2 * margin), image.dtype)
    masked = np.zeros(ny, np.int64)
    for y in range(ny):
        masked[y] = _copy(image[y], use[y], padded[y, margin : margin + nx])
    holes = np.empty((masked.sum(), 2), np.int64)
    k = 0
    for y in range(ny):
        if masked[y]:
            for x in range(nx):
                if not use[y, x]:
                    holes[k, 0], holes[k, 1] = y, x
                    k += 1
    products = np.zeros((lags + 1, 2 * lags + 1))
    _image_sums(padded, lags, margin, products)
    corners = _corner_sums(padded, nx, lags, margin)
    covariance = np.full((lags + 1, lags + 1), np.nan)
    pairs = np.zeros((lags + 1, lags + 1), np.int64)
    for dy in range(lags + 1):
        for dx in range(lags + 1):
            found, total = 0.0, 0
            for sign in range(2 if dx and dy else 1):
                sx = dx if sign == 0 else -dx
                value, count = _one_lag(padded, use, holes, corners, products[dy, lags + sx], sx, dy, lags)
                if count:
                    found += value if not (dx and dy) else 0.5 * value
                else:
                    found = np.nan
                total += count
            pairs[dx, dy] = total
            if total:
                covariance[dx, dy] = found
    return covariance, pairs


@kernel
def _one_lag(
    padded: NDArray, use: NDArray, holes: I8, corners: F8, product: float, sx: int, dy: int, lags: int
) -> tuple[float, int]:
    """Covariance and pairs of one lag (sx of either sign, dy >= 0)."""
    ny, nx = use.shape
    margin = lags + LAGS_AT_ONCE
    if dy >= ny or abs(sx) >= nx:
        return np.nan, 0
    ahead = sx if sx >= 0 else lags - sx
    behind = lags + sx if sx > 0 else -sx
    here = corners[dy, ahead]
    there = corners[lags + dy if dy else 0, behind]
    count = (ny - dy) * (nx - abs(sx))
    for k in range(holes.shape[0]):
        y, x = holes[k, 0], holes[k, 1]
        if y - dy >= 0 and 0 <= x - sx < nx:
            here -= padded[y - dy, margin + x - sx]
            count -= 1
        if y + dy < ny and 0 <= x + sx < nx:
            there -= padded[y + dy, margin + x + sx]
            if use[y + dy, x + sx]:
                count -= 1
    if count == 0:
        return np.nan, 0
    return product / count - here / count * (there / count), count
