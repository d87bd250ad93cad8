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
WIDTH, BAND = 64, 64
"""Rows are filled up with zeros to a multiple of `WIDTH`, so that loops have no rest that does not vectorise."""


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
def _band_sums(band: NDArray, rows: int, lags: int, margin: int, total: F8) -> None:
    """total[dy, lags + dx] += P of every lag with dy >= 0, of the first `rows` rows of a band of rows + lags."""
    width = (band.shape[1] - 2 * margin) // WIDTH * WIDTH
    part = np.zeros(LAGS_AT_ONCE, band.dtype)
    for y in range(rows):
        row = band[y, margin : margin + width]
        for dy in range(lags + 1):
            other = band[y + dy]
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
def _row_corners(row: NDArray, lags: int, out: F8) -> None:
    """Sums of a row: out[0] of all, out[k] without the last k, out[L + k] without the first k pixels."""
    whole = _total(row)
    out[0] = whole
    low, high = 0.0, 0.0
    for k in range(1, lags + 1):
        if k <= row.size:
            high += row[row.size - k]
            low += row[k - 1]
        out[k] = whole - high
        out[lags + k] = whole - low


@kernel
def _corner_sums(rows: F8, lags: int) -> F8:
    """sums[i, j] of the pixels of rows i and columns j, with the indices of `_row_corners` in both directions."""
    ny, size = rows.shape
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
def _sweep(image: NDArray, use: NDArray, lags: int, products: F8, rows: F8) -> I8:
    """Sums of products and of rows, band by band so that a band stays in the cache; masked pixels of each row."""
    ny, nx = image.shape
    margin = lags + LAGS_AT_ONCE
    width = (nx + WIDTH - 1) // WIDTH * WIDTH
    band = np.zeros((BAND + lags, width + 2 * margin), image.dtype)
    masked = np.zeros(ny, np.int64)
    for y0 in range(0, ny, BAND):
        count = min(BAND, ny - y0)
        for k in range(count + lags):
            if y0 + k < ny:
                masked[y0 + k] = _copy(image[y0 + k], use[y0 + k], band[k, margin : margin + nx])
            else:
                band[k] = 0
        for k in range(count):
            _row_corners(band[k, margin : margin + nx], lags, rows[y0 + k])
        _band_sums(band, count, lags, margin, products)
    return masked


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
    products = np.zeros((lags + 1, 2 * lags + 1))
    rows = np.zeros((ny, 2 * lags + 1))
    masked = _sweep(image, use, lags, products, rows)
    corners = _corner_sums(rows, lags)
    holes = np.empty((masked.sum(), 2), np.int64)
    k = 0
    for y in range(ny):
        if masked[y]:
            for x in range(nx):
                if not use[y, x]:
                    holes[k, 0], holes[k, 1] = y, x
                    k += 1
    covariance = np.full((lags + 1, lags + 1), np.nan)
    pairs = np.zeros((lags + 1, lags + 1), np.int64)
    for dy in range(lags + 1):
        for dx in range(lags + 1):
            found, total = 0.0, 0
            for sign in range(2 if dx and dy else 1):
                sx = dx if sign == 0 else -dx
                value, count = _one_lag(image, use, holes, corners, products[dy, lags + sx], sx, dy, lags)
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
    image: NDArray, use: NDArray, holes: I8, corners: F8, product: float, sx: int, dy: int, lags: int
) -> tuple[float, int]:
    """Covariance and pairs of one lag (sx of either sign, dy >= 0)."""
    ny, nx = use.shape
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
            count -= 1
            if use[y - dy, x - sx]:
                here -= image[y - dy, x - sx]
        if y + dy < ny and 0 <= x + sx < nx and use[y + dy, x + sx]:
            count -= 1
            there -= image[y + dy, x + sx]
    if count == 0:
        return np.nan, 0
    return product / count - here / count * (there / count), count
