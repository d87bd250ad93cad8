"""Median and clipped moments of many values, without sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["clipped_moments", "median_of_values"]

F8 = NDArray[np.float64]
BINS = 4096
FEW = 48


@sum_kernel
def _extremes(values: F8) -> tuple[float, float]:
    """Smallest and largest value."""
    low, high = values[0], values[0]
    for i in range(values.size):
        low = min(low, values[i])
        high = max(high, values[i])
    return low, high


@kernel
def median_of_values(values: F8, scratch: F8) -> float:
    """Median of finite values; an even number gives the mean of the middle two.

    Selection by histogram: the bin that holds the middle becomes the new range, until a few values are left.
    `scratch` has at least the size of `values`; both keep no promise of order.
    """
    n = values.size
    if n == 0:
        return np.nan
    low, high = _extremes(values)
    rank, left, source = n // 2, n, values
    counts = np.empty(BINS, np.int64)
    while left > FEW and high > low:
        counts[:] = 0
        factor = BINS / (high - low)
        if not np.isfinite(factor):
            break
        for i in range(left):
            counts[min(int((source[i] - low) * factor), BINS - 1)] += 1
        chosen, below = 0, 0
        while below + counts[chosen] <= rank:
            below += counts[chosen]
            chosen += 1
        m = 0
        for i in range(left):
            if min(int((source[i] - low) * factor), BINS - 1) == chosen:
                scratch[m] = source[i]
                m += 1
        rank -= below
        source, left = scratch, m
        low, high = _extremes(scratch[:m])
    middle = np.sort(source[:left])[rank] if high > low else low
    if n % 2:
        return middle
    under, best = 0, -np.inf
    for i in range(n):
        if values[i] < middle:
            under += 1
            best = max(best, values[i])
    return 0.5 * (best + middle) if under == n // 2 else middle


@sum_kernel
def _sums(values: F8, pivot: float, centre: float, bound: float) -> tuple[int, float, float]:
    """Number, sum and sum of squares about `pivot` of the values with ``|v - centre| <= bound``."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(values.size):
        d = values[i] - pivot
        use = abs(values[i] - centre) <= bound
        count += 1 if use else 0
        total += d if use else 0.0
        squares += d * d if use else 0.0
    return count, total, squares


@sum_kernel
def _central(values: F8, mean: float, low: float, high: float) -> tuple[float, float]:
    """Sums of the second and fourth powers about `mean` of the values from `low` to `high`."""
    second, fourth = 0.0, 0.0
    for i in range(values.size):
        d = values[i] - mean
        s = d * d if low <= values[i] <= high else 0.0
        second += s
        fourth += s * s
    return second, fourth


@kernel
def clipped_moments(values: F8, sigma: float, rounds: int) -> tuple[float, float, float, float, int, int]:
    """Clip from the median and 1.4826 times the median absolute deviation, then about the mean, until nothing goes.

    Parameters
    ----------
    values : (n,) finite, n >= 2. sigma : half width in standard deviations, infinity to keep all. rounds : at most.

    Returns
    -------
    median of all; mean of the kept; their sums of second and fourth powers about it; how many are kept; rounds done.
    """
    n = values.size
    scratch, deviation = np.empty(n), np.empty(n)
    median = median_of_values(values, scratch)
    for i in range(n):
        deviation[i] = abs(values[i] - median)
    centre, spread = median, 1.482602218505602 * median_of_values(deviation, scratch)
    count, total, squares = _sums(values, median, median, np.inf)
    if not spread > 0:
        spread = np.sqrt(max(squares / n - (total / n) ** 2, 0.0))
    low, high, done = -np.inf, np.inf, 0
    while done < rounds and np.isfinite(sigma) and spread > 0:
        before = count
        low, high = max(low, centre - sigma * spread), min(high, centre + sigma * spread)
        count, total, squares = _sums(values, median, 0.5 * (low + high), 0.5 * (high - low))
        done += 1
        centre = median + total / count
        spread = np.sqrt(max(squares / count - (total / count) ** 2, 0.0))
        if count == before and done > 1:
            break
    mean = median + total / count
    second, fourth = _central(values, mean, low, high)
    return median, mean, second, fourth, count, done
