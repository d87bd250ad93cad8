"""Clipped moments of images that are too large to be sorted, and what else a pair of flats gives in one pass each.

Sums run along rows in the precision of the image and over rows in float64. A pixel that is not a number is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["central_moments", "clip_sums", "cut", "ratio_sums", "row_sums", "scaled_difference"]

F8 = NDArray[np.float64]


@sum_kernel
def _row(values: NDArray, use: NDArray, centre: NDArray, bound: NDArray, out: NDArray) -> int:
    """Number used; out = sum of d and of d**2, d = values - centre[0], where used and ``|d| <= bound[0]``."""
    c, b = centre[0], bound[0]
    zero = out[0]
    count, first, second = np.int32(0), out[0], out[1]
    for i in range(values.size):
        d = values[i] - c
        ok = use[i] and abs(d) <= b
        d = d if ok else zero
        count += np.int32(1) if ok else np.int32(0)
        first += d
        second += d * d
    out[0], out[1] = first, second
    return int(count)


@kernel
def clip_sums(image: NDArray, use: NDArray, centre: float, bound: float) -> tuple[int, float, float]:
    """Number, mean and variance (over n) of the used pixels within `bound` of `centre`; NaN for none.

    Parameters
    ----------
    image : (ny, nx) float32 or float64. use : (ny, nx) bool. bound : finite.
    """
    at, width = np.full(1, centre, image.dtype), np.full(1, bound, image.dtype)
    out = np.zeros(2, image.dtype)
    count, first, second = 0, 0.0, 0.0
    for y in range(image.shape[0]):
        out[:] = 0
        count += _row(image[y], use[y], at, width, out)
        first += out[0]
        second += out[1]
    if count == 0:
        return 0, np.nan, np.nan
    shift = first / count
    return count, np.float64(at[0]) + shift, max(second / count - shift * shift, 0.0)


@sum_kernel
def _row_powers(values: NDArray, use: NDArray, centre: NDArray, out: NDArray) -> None:
    """out = sums of the second and fourth powers of values - centre[0], where used."""
    c = centre[0]
    zero = out[0]
    second, fourth = out[0], out[1]
    for i in range(values.size):
        d = values[i] - c if use[i] else zero
        s = d * d
        second += s
        fourth += s * s
    out[0], out[1] = second, fourth


@kernel
def central_moments(image: NDArray, use: NDArray, centre: float) -> tuple[float, float]:
    """Sums of the second and fourth powers of the used pixels about `centre`."""
    at = np.full(1, centre, image.dtype)
    out = np.zeros(2, image.dtype)
    second, fourth = 0.0, 0.0
    for y in range(image.shape[0]):
        out[:] = 0
        _row_powers(image[y], use[y], at, out)
        second += out[0]
        fourth += out[1]
    return second, fourth


@kernel
def scaled_difference(a: NDArray, b: NDArray, factors: NDArray, out: NDArray) -> None:
    """out = factors[0] a - factors[1] b; all (ny, nx), factors (2,) of the type of the images."""
    for y in range(a.shape[0]):
        p, q, o = a[y], b[y], out[y]
        for x in range(p.size):
            o[x] = factors[0] * p[x] - factors[1] * q[x]


@sum_kernel
def _cut_row(values: NDArray, use: NDArray, centre: NDArray, bound: NDArray, out: NDArray) -> int:
    """out = used and ``|values - centre[0]| <= bound[0]``; how many."""
    c, b = centre[0], bound[0]
    count = np.int32(0)
    for i in range(values.size):
        ok = use[i] & (abs(values[i] - c) <= b)
        out[i] = ok
        count += np.int32(1) if ok else np.int32(0)
    return int(count)


@kernel
def cut(image: NDArray, use: NDArray, centre: float, bound: float, out: NDArray) -> int:
    """out = used and ``|image - centre| <= bound``; how many these are."""
    at, width = np.full(1, centre, image.dtype), np.full(1, bound, image.dtype)
    total = 0
    for y in range(image.shape[0]):
        total += _cut_row(image[y], use[y], at, width, out[y])
    return total


@kernel
def row_sums(image: NDArray, use: NDArray) -> tuple[F8, F8]:
    """Per row the mean of the used pixels, NaN for none, and how many."""
    ny = image.shape[0]
    mean, number = np.full(ny, np.nan), np.zeros(ny)
    centre, bound = np.zeros(1, image.dtype), np.full(1, np.inf, image.dtype)
    out = np.zeros(2, image.dtype)
    for y in range(ny):
        out[:] = 0
        count = _row(image[y], use[y], centre, bound, out)
        number[y] = count
        if count:
            mean[y] = out[0] / count
    return mean, number


@sum_kernel
def _ratio_row(a: NDArray, b: NDArray, use: NDArray, limit: NDArray, r: NDArray, out: NDArray) -> int:
    """r = (a - b)**2 / (a + b), -1 where there is none; out = sums of r and r**2; the number."""
    top = limit[0]
    zero = out[0]
    count, first, second = np.int32(0), out[0], out[1]
    for i in range(a.size):
        d = a[i] - b[i]
        v = d * d / (a[i] + b[i])
        ok = use[i] and abs(v) <= top
        v = v if ok else zero
        first += v
        second += v * v
        count += np.int32(1) if ok else np.int32(0)
        r[i] = v if ok else -top
    out[0], out[1] = first, second
    return int(count)


@kernel
def ratio_sums(
    a: NDArray, b: NDArray, use: NDArray, high: float, bins: int, step: int
) -> tuple[int, float, float, NDArray]:
    """Of ``r = (a - b)**2 / (a + b)``: number of finite ones, mean, mean of squares, and the histogram.

    The histogram is that of every `step`-th row and has `bins` from 0 to `high`; its first entry counts what is below,
    its last what is above.
    """
    histogram = np.zeros(bins + 2, np.int64)
    limit = np.full(1, 1e18, a.dtype)
    r, out = np.empty(a.shape[1], a.dtype), np.zeros(2, a.dtype)
    count, first, second = 0, 0.0, 0.0
    factor = bins / high
    for y in range(a.shape[0]):
        out[:] = 0
        count += _ratio_row(a[y], b[y], use[y], limit, r, out)
        first += out[0]
        second += out[1]
        for x in range(r.size if y % step == 0 else 0):
            v = r[x]
            if v > -limit[0]:
                k = 0 if v < 0 else (min(int(v * factor), bins) + 1)
                histogram[k] += 1
    if count == 0:
        return 0, np.nan, np.nan, histogram
    return count, first / count, second / count, histogram
