"""Combining N whole numbers per pixel: raw frames, whose sums are exact in integers.

As `fullwell.kernels.combine`, for stacks of uint16 in which every value counts and none has a weight. Most pixels lose
nothing: their results are written first, for a block of columns at once, together with the proof that the
first round keeps all. What is left goes through the rounds one column at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.combine import MAXIMUM, MEAN, MEDIAN, MINIMUM, STD, _clip, _moments, _surely_kept
from fullwell.kernels.jit import kernel
from fullwell.kernels.networks import count_outside, sort_block

__all__ = ["combine_counts"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
U2 = NDArray[np.uint16]


@kernel
def _all_kept(block: U2, rule: F8, s1: F8, s2: F8, image: F4, scatter: F4, slow: NDArray[np.uint8]) -> None:
    """Mean and its variance of all values of each column; slow[c] = 1 unless a deviation clip surely keeps them.

    Squares are compared: (distance / low)^2 < variance. Where rounding could decide the column is slow.
    Four loops, because a loop over more planes is not made into vector instructions.
    """
    n, w = block.shape
    bottom, pivot, other, top = block[0], block[(n - 1) // 2], block[n // 2], block[n - 1]
    each, free, error = 1.0 / n, 1.0 / max(n - rule[6], 1.0), 1.0 / ((n - 1.0) * n)
    below, above, least = 1.000000001 / rule[2], 1.000000001 / rule[3], rule[5] * rule[5]
    half, share = (0.5, 0.0) if rule[0] != 0.0 else (0.0, each)
    left = np.empty(w)
    for c in range(w):
        left[c] = s2[c] - s1[c] * s1[c] * each
    for c in range(w):
        image[c] = np.float64(pivot[c]) + s1[c] * each
    for c in range(w):
        scatter[c] = left[c] * error if left[c] > 0.0 else 0.0
    for c in range(w):
        x = np.float64(pivot[c])
        centre = x + half * (np.float64(other[c]) - x) + share * s1[c]
        down, up = (centre - np.float64(bottom[c])) * below, (np.float64(top[c]) - centre) * above
        reach = down if down > up else up
        spread = left[c] * free
        spread = spread if spread > least else least
        slow[c] = 0 if reach * reach < spread else 1


@kernel
def _floats(block: U2, far: int, total: NDArray[np.int32], squares: NDArray[np.uint32], s1: F8, s2: F8) -> None:
    """Moments of each column about its pivot as floats; where a value lies further than `far` they are summed anew."""
    n, w = block.shape
    bottom, pivot, top = block[0], block[(n - 1) // 2], block[n - 1]
    most = np.uint16(0)
    for c in range(w):
        s1[c], s2[c] = total[c], squares[c]
        most = max(most, max(np.uint16(pivot[c] - bottom[c]), np.uint16(top[c] - pivot[c])))
    if most > far:
        for c in range(w):
            if max(pivot[c] - bottom[c], top[c] - pivot[c]) > far:
                s1[c], s2[c] = _moments(block, c, 0, n, np.float64(pivot[c]))


@kernel
def _rounds(block: U2, columns: I8, inverse: F8, rule: F8, s1: F8, s2: F8, lo: I8, hi: I8) -> None:
    """Kept range lo … hi - 1 of some sorted columns and its moments, as `_clip` for standard deviation, not anew.

    Squares are compared, without roots and quotients (inverse[m] = 1/m). Where rounding could decide, and within a
    billionth of a limit it could, the column is left to `_clip`, with lo = -1 and its moments untouched.
    """
    n = block.shape[0]
    last, lost, half = int(rule[4]), int(rule[6]), 0.5 if rule[0] != 0.0 else 0.0
    below, above, least = 1.0 / rule[2], 1.0 / rule[3], rule[5] * rule[5]
    for k in range(columns.size):
        c = columns[k]
        x, t1, t2 = np.int64(block[(n - 1) // 2, c]), s1[c], s2[c]
        first, end, sure = 0, n, True
        for _ in range(last):
            m = end - first
            if m < rule[10]:
                break
            mean = t1 * inverse[m]
            spread = max((t2 - t1 * mean) * inverse[max(m - lost, 1)], least)
            middle = np.int64(block[first + (m - 1) // 2, c]) + np.int64(block[first + m // 2, c]) - 2 * x
            centre = half * middle if half > 0.0 else mean
            reject, keep = spread * 1.000000001, spread * 0.999999999
            while first < end:
                d = np.float64(np.int64(block[first, c]) - x)
                reach = max(centre - d, 0.0) * below
                sure &= reach * reach < keep or reach * reach > reject
                if reach * reach < reject:
                    break
                t1 -= d
                t2 -= d * d
                first += 1
            while end > first:
                d = np.float64(np.int64(block[end - 1, c]) - x)
                reach = max(d - centre, 0.0) * above
                sure &= reach * reach < keep or reach * reach > reject
                if reach * reach < reject:
                    break
                t1 -= d
                t2 -= d * d
                end -= 1
            if end - first == m:
                break
        lo[c] = -1
        if sure:
            lo[c], hi[c], s1[c], s2[c] = first, end, t1, t2


@kernel
def _picked(block: U2, method: int, image: F4) -> None:
    """Median, lowest or highest of all values of each column."""
    n = block.shape[0]
    k = n - 1 if method == MAXIMUM else 0 if method == MINIMUM else (n - 1) // 2
    one, two = block[k], block[n // 2 if method == MEDIAN else k]
    for c in range(image.size):
        image[c] = 0.5 * (np.float64(one[c]) + np.float64(two[c]))


@kernel
def _clipped(
    p0: int, block: U2, columns: I8, method: int, lo: I8, hi: I8, s1: F8, s2: F8, image: F4, scatter: F4, count: U2,
    rejected: U2, low: U2, span: U2,
) -> int:  # fmt: skip
    """Results of some columns, of which rows lo … hi - 1 are kept, and their limits; how many have nothing left."""
    n, empty = block.shape[0], 0
    for k in range(columns.size):
        c = columns[k]
        p, first, m = p0 + c, lo[c], hi[c] - lo[c]
        if m == n:
            continue
        f = np.float64(m)
        count[p], rejected[p] = m, n - m
        if m == 0:
            empty += 1
            image[p], scatter[p] = np.nan, np.nan
            continue
        scatter[p] = max(s2[c] - s1[c] * s1[c] / f, 0.0) / ((f - 1.0) * f) if m > 1 else np.nan
        least, most = block[first, c], block[hi[c] - 1, c]
        low[c], span[c] = least, most - least
        if method == MEAN:
            image[p] = np.float64(block[(n - 1) // 2, c]) + s1[c] / f
        elif method == MEDIAN:
            image[p] = 0.5 * (np.float64(block[first + (m - 1) // 2, c]) + np.float64(block[first + m // 2, c]))
        else:
            image[p] = least if method == MINIMUM else most
    return empty


@kernel
def _blame(stack: U2, p0: int, low: U2, span: U2, by_input: I8) -> None:
    """Add to by_input[i] the values of frame i that are not in ``low … low + span`` of their column."""
    for c in range(0, low.size, 128):
        count_outside(  # type: ignore[call-arg]
            np.uint64(stack.ctypes.data) + np.uint64(2 * (p0 + c)),
            np.uint64(stack.strides[0]),
            np.uint64(stack.shape[0]),
            np.uint64(low.ctypes.data) + np.uint64(2 * c),
            np.uint64(span.ctypes.data) + np.uint64(2 * c),
            np.uint64(by_input.ctypes.data),
            128,
        )


@kernel
def combine_counts(
    stack: U2,
    method: int,
    rule: F8,
    code: int,
    far: int,
    image: F4,
    scatter: F4,
    count: U2,
    rejected: U2,
    by_input: I8,
    block: U2,
) -> int:
    """Combine a stack (N, P or more) of uint16 along its first axis; returns how many pixels are done: whole blocks.

    Parameters
    ----------
    rule : of `combine_pixels`, without values to drop at the ends; so are the planes that are put out.
    code, far : address of `sorter(N, 2)`; `furthest(N)`.
    block : (N, W) scratch, W a multiple of 128.
    """
    n, w = block.shape
    total, squares, full = np.empty(w, np.int32), np.empty(w, np.uint32), np.full(w, n)
    s1, s2, pivot, lowest, near = np.empty(w), np.empty(w), np.empty(w), np.empty(w), np.empty(w)
    low, span, slow = np.empty(w, np.uint16), np.empty(w, np.uint16), np.empty(w, np.uint8)
    lo, hi = np.empty(w, np.int64), np.empty(w, np.int64)
    column, inverse = np.empty(w, np.int64), 1.0 / np.maximum(np.arange(n + 1), 1)
    direct = rule[1] == STD and rule[7] == 0.0
    done = image.size // w * w
    for p0 in range(0, done, w):
        sort_block(code, stack, block, p0, total, squares)
        _floats(block, far, total, squares, s1, s2)
        part = image[p0 : p0 + w]
        _all_kept(block, rule, s1, s2, part, scatter[p0 : p0 + w], slow)
        if rule[1] != STD or rule[4] == 0.0 or n < rule[10]:
            pivot[:] = block[(n - 1) // 2]
            _surely_kept(block, full, True, pivot, s1, s2, rule, lowest, near, slow)
        if method != MEAN:
            _picked(block, method, part)
        count[p0 : p0 + w] = n
        rejected[p0 : p0 + w] = 0
        bottom, top = block[0], block[n - 1]
        for c in range(w):
            low[c], span[c] = bottom[c], top[c] - bottom[c]
        found = 0
        for c in range(w):
            column[found] = c
            found += slow[c]
        if not found:
            continue
        left = column[:found]
        lo[:] = -1
        if direct:
            _rounds(block, left, inverse, rule, s1, s2, lo, hi)
        for c in left:
            if lo[c] < 0:
                x = np.float64(block[(n - 1) // 2, c])
                lo[c], hi[c], s1[c], s2[c] = _clip(block, c, n, x, s1[c], s2[c], rule)
        by_input += _clipped(
            p0, block, left, method, lo, hi, s1, s2, image, scatter, count, rejected, low, span
        )  # fmt: skip
        _blame(stack, p0, low, span, by_input)
    return done
