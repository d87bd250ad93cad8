"""Statistics of the overscan of one row: mean, median, and their errors, over all amplifiers of a block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["median_of", "row_means", "row_medians"]

F4 = NDArray[np.float32]
I8 = NDArray[np.int64]


@sum_kernel
def row_means(image: F4, start: I8, width: I8, level: F4) -> None:
    """level[r, a] = mean of columns ``start[a] … start[a] + width[a] - 1`` of row r."""
    for a in range(start.size):
        s, n = np.uint64(start[a]), np.uint64(max(width[a], 0))
        for r in range(image.shape[0]):
            pivot = image[r, s] if n else np.float32(np.nan)
            total = np.float32(0.0)
            for c in range(n):
                total += image[r, s + np.uint64(c)] - pivot
            level[r, a] = pivot + total / np.float32(max(n, np.uint64(1)))


@kernel
def median_of(row: F4, keys: NDArray[np.uint32]) -> np.float32:
    """Median of a contiguous row by bisection on ordered 32-bit keys (vectorises; NaN sorts last).

    `keys` is scratch of at least ``row.size``. An even count gives the mean of the middle two.
    """
    n = row.size
    if n == 0:
        return np.float32(np.nan)
    bits = row.view(np.uint32)
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(n):
        b = bits[i]
        k = ~b if b >> np.uint32(31) else b | np.uint32(0x80000000)
        keys[i] = k
        low = min(low, k)
        high = max(high, k)
    target = n // 2
    while low < high:
        mid = low + (high - low) // np.uint32(2)
        count = 0
        for i in range(n):
            count += 1 if keys[i] <= mid else 0
        if count > target:
            high = mid
        else:
            low = mid + np.uint32(1)
    upper = low
    lower = upper
    if n % 2 == 0:
        below, best = 0, np.uint32(0)
        for i in range(n):
            if keys[i] < upper:
                below += 1
                best = max(best, keys[i])
        if below == target:
            lower = best
    keys[0] = upper ^ np.uint32(0x80000000) if upper >> np.uint32(31) else ~upper
    keys[1] = lower ^ np.uint32(0x80000000) if lower >> np.uint32(31) else ~lower
    values = keys[:2].view(np.float32)
    return np.float32(0.5) * (values[0] + values[1])


@kernel
def row_medians(image: F4, start: I8, width: I8, level: F4) -> None:
    """level[r, a] = median of columns ``start[a] …`` of row r."""
    keys = np.empty(max(2, width.max()), np.uint32)
    for r in range(image.shape[0]):
        for a in range(start.size):
            level[r, a] = median_of(image[r, start[a] : start[a] + width[a]], keys)
