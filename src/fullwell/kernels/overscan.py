"""Statistics of the overscan of one row: mean, median, and their errors, over all amplifiers of a block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["median_of", "middle_of", "row_levels", "row_means", "row_medians", "row_residuals", "strip_statistics"]

F4 = NDArray[np.float32]
U4 = NDArray[np.uint32]
I8 = NDArray[np.int64]

LANES = 32
"""Values that a compiled loop takes at once."""
FEW = np.array([1.0, 1.0, 1.4142, 2.154, 1.382, 1.374])
"""Factors of the pooled median deviation about the medians of rows of 0 … 5 normal values (2: exact; from 6 on
w/(w - 1.2) is within 3 %, from 10 on within 1 %; from 10**5 rows of normal deviates)."""


@sum_kernel
def row_means(image: F4, start: I8, width: I8, level: F4) -> None:
    """level[r, a] = mean of columns ``start[a] … start[a] + width[a] - 1`` of row r."""
    for a in range(start.size):
        s, n = np.uint64(start[a]), np.uint64(width[a])
        for r in range(image.shape[0]):
            pivot = image[r, s] if n else np.float32(np.nan)
            total = np.float32(0.0)
            for c in range(n):
                total += image[r, s + np.uint64(c)] - pivot
            level[r, a] = pivot + total / np.float32(max(n, np.uint64(1)))


@kernel
def _keys(row: F4, integers: bool, keys: U4) -> tuple[np.uint32, np.uint32, np.uint64]:
    """Ordered 32-bit keys of a row, filled up to whole vectors; their smallest, largest, and number with filling."""
    n = row.size
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    if integers:
        for i in range(n):
            k = np.uint32(np.int32(row[i])) ^ np.uint32(0x80000000)
            keys[i] = k
            low = min(low, k)
            high = max(high, k)
    else:
        bits = row.view(np.uint32)
        for i in range(n):
            b = bits[i]
            k = ~b if b >> np.uint32(31) else b | np.uint32(0x80000000)
            keys[i] = k
            low = min(low, k)
            high = max(high, k)
    full = np.uint64((n + LANES - 1) // LANES * LANES)
    for i in range(n, full):
        keys[i] = np.uint32(0xFFFFFFFF)
    return low, high, full


@kernel
def _value(key: np.uint32, integers: bool, scratch: U4) -> np.float32:
    """The number that has this key."""
    if integers:
        return np.float32(np.int32(key ^ np.uint32(0x80000000)))
    scratch[0] = key ^ np.uint32(0x80000000) if key >> np.uint32(31) else ~key
    return scratch[:1].view(np.float32)[0]


@kernel
def middle_of(row: F4, integers: bool, keys: U4) -> tuple[np.float32, np.float32]:
    """The two middle values (lower, upper) of a contiguous row; equal for an odd count, NaN for none.

    Bisection on ordered 32-bit keys, which vectorises; it ends when one value is left. NaN sorts
    last. With `integers` (no NaN, below 2**31) the keys are the numbers themselves and few steps do.
    `keys` is scratch of at least ``row.size + LANES``: it is filled up to whole vectors, because a
    remainder in single steps took half of the time.
    """
    n = row.size
    if n == 0:
        return np.float32(np.nan), np.float32(np.nan)
    low, high, full = _keys(row, integers, keys)
    target = np.uint32(n // 2)
    below, upto = np.uint32(0), np.uint32(n)
    while low < high and upto - below > np.uint32(1):
        mid = low + (high - low) // np.uint32(2)
        count = np.uint32(0)
        for j in range(full):
            count += np.uint32(1) if keys[j] <= mid else np.uint32(0)
        right = count <= target
        low = mid + np.uint32(1) if right else low
        high = high if right else mid
        below = count if right else below
        upto = upto if right else count
    upper, lower = np.uint32(0), np.uint32(0)
    for j in range(full):
        upper = max(upper, keys[j] if keys[j] <= high else np.uint32(0))
    if n % 2 == 0:
        less, best = np.uint32(0), np.uint32(0)
        for j in range(full):
            smaller = keys[j] < upper
            less += np.uint32(1) if smaller else np.uint32(0)
            best = max(best, keys[j] if smaller else np.uint32(0))
        lower = best if less == target else upper
    else:
        lower = upper
    return _value(lower, integers, keys), _value(upper, integers, keys)


@kernel
def median_of(row: F4, keys: U4) -> np.float32:
    """Median of a contiguous row; an even count gives the mean of the middle two. `keys` as in `middle_of`."""
    lower, upper = middle_of(row, False, keys)
    return np.float32(0.5) * (lower + upper)


@kernel
def row_medians(image: F4, start: I8, width: I8, level: F4) -> None:
    """level[r, a] = median of columns ``start[a] …`` of row r."""
    keys = np.empty(width.max() + LANES, np.uint32)
    for r in range(image.shape[0]):
        for a in range(start.size):
            level[r, a] = median_of(image[r, start[a] : start[a] + width[a]], keys)


@kernel
def _keep_within(row: F4, centre: np.float32, bound: np.float32, out: F4) -> int:
    """Copy the values with ``|x - centre| <= bound`` (NaN never) to `out`; how many they are."""
    m = 0
    for c in range(row.size):
        x = row[c]
        if abs(x - centre) <= bound:
            out[m] = x
            m += 1
    return m


@kernel
def _outside(row: F4, centre: np.float32, below: np.float32, above: np.float32) -> int:
    """Number of values not within ``centre - below … centre + above``; NaN is outside."""
    count = np.uint32(0)
    for c in range(row.size):
        d = row[c] - centre
        count += np.uint32(0) if (d <= above) & (d >= -below) else np.uint32(1)
    return int(count)


@sum_kernel
def _mean(row: F4) -> np.float32:
    """Mean of a row that is not empty, summed about its first value."""
    pivot, total = row[0], np.float32(0.0)
    for c in range(row.size):
        total += row[c] - pivot
    return pivot + total / np.float32(row.size)


@kernel
def _median(row: F4, lower: np.float32, upper: np.float32, grouped: bool) -> np.float32:
    """Median from the middle values; `grouped` takes integers as spread evenly over ± 0.5."""
    if not grouped:
        return np.float32(0.5) * (lower + upper)
    less, same = np.uint32(0), np.uint32(0)
    for c in range(row.size):
        less += np.uint32(1) if row[c] < lower else np.uint32(0)
        same += np.uint32(1) if row[c] == lower else np.uint32(0)
    share = (np.float32(0.5) * np.float32(row.size) - np.float32(less)) / np.float32(same)
    return lower - np.float32(0.5) + share


@sum_kernel
def _sums(row: F4, centre: np.float32, below: np.float32, above: np.float32) -> tuple[np.float32, np.float32, int]:
    """Sums of the deviations from `centre` and of their squares, and how many values lie outside, in one pass."""
    total, squares, far = np.float32(0.0), np.float32(0.0), np.uint32(0)
    for c in range(row.size):
        d = row[c] - centre
        total += d
        squares += d * d
        far += np.uint32(0) if (d <= above) & (d >= -below) else np.uint32(1)
    return total, squares, int(far)


@sum_kernel
def row_levels(
    image: F4,
    start: I8,
    width: I8,
    mean: bool,
    grouped: bool,
    centre: F4,
    below: F4,
    above: F4,
    clip: F4,
    level: F4,
    used: F4,
    square: F4,
) -> None:
    """Level of each row after two cuts: a limit about `centre`, then a clip about the row's own median.

    Parameters
    ----------
    image : (n, C); columns ``start[a] … start[a] + width[a] - 1`` are measured.
    mean : the level is the mean of what is left; else the median, of integers spread over ± 0.5 if `grouped`.
    centre, below, above : (n_amp,), values outside ``centre - below … centre + above`` and NaN are left out.
    clip : (1, n_amp) or (n, n_amp), half-width about the row's median; negative for no clip.
    level, used, square : (n, n_amp), filled with the level (NaN where nothing is left), the number of
        values it is made of, and the sum of their squared deviations from it.
    """
    most = width.max() + LANES
    keys, buffer = np.empty(most, np.uint32), np.empty(most, np.float32)
    for r in range(image.shape[0]):
        for a in range(start.size):
            values = image[r, start[a] : start[a] + width[a]]
            bound = clip[min(r, clip.shape[0] - 1), a]
            if mean and bound < np.float32(0.0) and values.size:
                total, squares, far = _sums(values, centre[a], below[a], above[a])
                if far == 0:
                    shift = total / np.float32(values.size)
                    level[r, a], used[r, a] = centre[a] + shift, np.float32(values.size)
                    square[r, a] = max(squares - total * shift, np.float32(0.0))
                    continue
            if _outside(values, centre[a], below[a], above[a]):
                m = 0
                for c in range(values.size):
                    d = values[c] - centre[a]
                    if (d <= above[a]) & (d >= -below[a]):
                        buffer[m] = values[c]
                        m += 1
                values = buffer[:m]
            if values.size == 0:
                level[r, a], used[r, a], square[r, a] = np.float32(np.nan), np.float32(0), np.float32(0)
                continue
            lower, upper = np.float32(0), np.float32(0)
            if bound >= np.float32(0.0) or not mean:
                lower, upper = middle_of(values, grouped, keys)
            if bound >= np.float32(0.0):
                middle = np.float32(0.5) * (lower + upper)
                if _outside(values, middle, bound, bound):
                    values = buffer[: _keep_within(values, middle, bound, buffer)]
                    if not mean:
                        lower, upper = middle_of(values, grouped, keys)
            best = _mean(values) if mean else _median(values, lower, upper, grouped)
            total = np.float32(0.0)
            for c in range(values.size):
                total += (values[c] - best) * (values[c] - best)
            level[r, a], used[r, a], square[r, a] = best, np.float32(values.size), total


@sum_kernel
def row_residuals(image: F4, start: I8, width: I8, level: F4, bound: F4, used: F4, square: F4) -> None:
    """Number and sum of squares of the deviations from a known `level` (n, n_amp) that stay within `bound` (n_amp,)."""
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            count, total = np.uint32(0), np.float32(0.0)
            for c in range(row.size):
                d = row[c] - level[r, a]
                good = abs(d) <= bound[a]
                count += np.uint32(1) if good else np.uint32(0)
                total += d * d if good else np.float32(0.0)
            used[r, a], square[r, a] = np.float32(count), total


@kernel
def _all_whole(image: F4, start: I8, width: I8) -> bool:
    """Whether all values of these columns that are not NaN are whole numbers."""
    for r in range(image.shape[0]):
        for a in range(start.size):
            for c in range(start[a], start[a] + width[a]):
                x = image[r, c]
                if x == x and x != np.floor(x):
                    return False
    return True


@kernel
def _spread_out(values: F4) -> None:
    """Add evenly spread numbers of -0.5 … 0.5 (multiples of the golden ratio) to the values."""
    for i in range(values.size):
        u = i * 0.6180339887498949
        values[i] += np.float32(u - np.floor(u) - 0.5)


@kernel
def _width(deviations: F4, factor: np.float32, keys: U4, whole: bool) -> np.float32:
    """`factor` x the median deviation; of whole numbers that were spread out, without the 1/12 that this added."""
    sigma = factor * median_of(deviations, keys)
    return np.float32(np.sqrt(max(sigma * sigma - np.float32(1 / 12), np.float32(0)))) if whole else sigma


@kernel
def strip_statistics(image: F4, start: I8, width: I8, limit: float, centre: F4, sigma: F4, spread: F4) -> bool:
    """Robust statistics of the overscan of some rows; whether all finite values are integers.

    A median deviation of whole numbers is a whole number, and the width would be wrong by up to a half (3.0 adu
    for any noise of 2.3 to 3.7): such values are spread evenly over ± 0.5 first, and the 1/12 is taken off again.

    Parameters
    ----------
    image : (n, C); NaN is left out.
    limit : values farther than this from the centre are left out of the widths.
    centre, sigma, spread : (n_amp,), filled with the median; 1.4826 x the median absolute deviation about the
        median of each row, times w/(w - 1.2) for rows of w values (`FEW` below six), because the median of a row
        follows its values; the same about `centre`. A row of one value says nothing of its own: its width is that
        about the centre. NaN where there is nothing.
    """
    n = image.shape[0]
    size = n * width.max() + LANES
    keys, buffer = np.empty(size, np.uint32), np.empty(size, np.float32)
    whole = _all_whole(image, start, width)
    for a in range(start.size):
        s, w = start[a], width[a]
        m = 0
        for r in range(n):
            for c in range(s, s + w):
                x = image[r, c]
                if x == x:
                    buffer[m] = x
                    m += 1
        centre[a] = median_of(buffer[:m], keys)
        k = _keep_within(buffer[:m], centre[a], np.float32(limit), buffer)
        if whole:
            _spread_out(buffer[:k])
        for i in range(k):
            buffer[i] = abs(buffer[i] - centre[a])
        spread[a] = _width(buffer[:k], np.float32(1.4826), keys, whole)
        total = 0
        for r in range(n):
            kept = buffer[total:]
            m = _keep_within(image[r, s : s + w], centre[a], np.float32(limit), kept)
            if whole:
                _spread_out(kept[:m])
            middle = median_of(kept[:m], keys)
            for i in range(m):
                kept[i] = abs(kept[i] - middle)
            total += m
        factor = np.float32(FEW[w]) if w < FEW.size else np.float32(w / (w - 1.2))
        sigma[a] = spread[a] if w == 1 else _width(buffer[:total], factor * np.float32(1.4826), keys, whole)
    return whole
