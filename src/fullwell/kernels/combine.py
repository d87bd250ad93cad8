"""Combining N values per pixel: columns sorted by networks, iterated clipping, moments.

A stack is (N, P): N frames, P pixels, rows contiguous. Pixels are taken in blocks of `LANES` columns that
stay in the cache, and all columns of a block are sorted at once (`fullwell.kernels.networks`).
What a clip keeps is then a contiguous range of the sorted column, so that the median is an index, the median
absolute deviation a search in two directions, and each round touches only the values that it rejects.

Values that are not finite are left out: they are sorted to the end and not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel
from fullwell.kernels.networks import sort_block, sort_columns

__all__ = [
    "IQR",
    "LANES",
    "MAD",
    "MAXIMUM",
    "MEAN",
    "MEDIAN",
    "MINIMUM",
    "STD",
    "combine_pixels",
]

LANES = 256
MEAN, MEDIAN, MINIMUM, MAXIMUM = 0, 1, 2, 3
MAD, STD, IQR = 0, 1, 2

I8 = NDArray[np.int64]
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


@kernel
def _middle(block: NDArray, c: int, lo: int, hi: int) -> float:
    """Median of rows lo … hi - 1 of sorted column c."""
    m = hi - lo
    return 0.5 * (np.float64(block[lo + (m - 1) // 2, c]) + np.float64(block[lo + m // 2, c]))


@kernel
def _deviation(block: NDArray, c: int, lo: int, hi: int, centre: float) -> float:
    """Median of |value - centre| over rows lo … hi - 1 of sorted column c.

    The w values nearest to the centre are a window of the sorted column: its place is found by halving.
    """
    m = hi - lo
    w = m // 2 + 1
    left, right = lo, hi - w
    while left < right:
        i = (left + right) // 2
        if np.float64(block[i + w - 1, c]) - centre >= centre - np.float64(block[i, c]):
            right = i
        else:
            left = i + 1
    i = left
    below, above = centre - np.float64(block[i, c]), np.float64(block[i + w - 1, c]) - centre
    if i > lo:
        below2, above2 = centre - np.float64(block[i - 1, c]), np.float64(block[i + w - 2, c]) - centre
        if max(below2, above2) < max(below, above):
            i, below, above = i - 1, below2, above2
    upper = max(below, above)
    if m % 2 == 1:
        return upper
    if above >= below:
        above = np.float64(block[i + w - 2, c]) - centre
    else:
        below = centre - np.float64(block[i + 1, c])
    return 0.5 * (upper + max(below, above))


@kernel
def _quartiles(block: NDArray, c: int, lo: int, hi: int) -> float:
    """Distance of the quartiles of rows lo … hi - 1 of sorted column c, interpolated between values."""
    last = hi - lo - 1
    out = 0.0
    for side in range(2):
        at = (0.75 - 0.5 * side) * last
        k = min(int(at), last)
        v = np.float64(block[lo + k, c])
        if k < last:
            v += (at - k) * (np.float64(block[lo + k + 1, c]) - v)
        out += v if side == 0 else -v
    return out


@kernel
def _moments(block: NDArray, c: int, lo: int, hi: int, pivot: float) -> tuple[float, float]:
    """Sums of (value - pivot) and of its square over rows lo … hi - 1 of column c."""
    s1, s2 = 0.0, 0.0
    for i in range(lo, hi):
        d = np.float64(block[i, c]) - pivot
        s1 += d
        s2 += d * d
    return s1, s2


@kernel
def _clip(block: NDArray, c: int, n: int, pivot: float, s1: float, s2: float, rule: F8) -> tuple:
    """Kept range lo … hi - 1 of sorted column c, and its moments about the pivot.

    `rule` is [centre, spread, low, high, rounds, floor, ddof, anew, drop low, drop high, fewest].
    """
    rounds = int(rule[4])
    lo, hi = min(int(rule[8]), n), max(n - int(rule[9]), 0)
    if lo >= hi:
        return 0, 0, 0.0, 0.0
    if lo > 0 or hi < n:
        s1, s2 = _moments(block, c, lo, hi, pivot)
    lo0, hi0, t1, t2 = lo, hi, s1, s2
    for k in range(rounds):
        m = hi - lo
        if m < rule[10]:
            break
        anew = rule[7] != 0.0
        plain = anew and k > 0
        mean = pivot + s1 / m
        centre = mean if plain or rule[0] == 0.0 else _middle(block, c, lo, hi)
        if plain or rule[1] == STD:
            spread = np.sqrt(max(s2 - s1 * s1 / m, 0.0) / max(m - rule[6], 1.0))
        elif rule[1] == MAD:
            spread = 1.482602218505602 * _deviation(block, c, lo, hi, centre)
        else:
            spread = 0.741301109252801 * _quartiles(block, c, lo, hi)
        spread = max(spread, rule[5])
        lowest, highest = centre - rule[2] * spread, centre + rule[3] * spread
        before_lo, before_hi, weight = lo, hi, s2
        if anew:
            lo, hi, s1, s2, weight = lo0, hi0, t1, t2, t2
        while lo < hi and np.float64(block[lo, c]) < lowest:
            d = np.float64(block[lo, c]) - pivot
            s1 -= d
            s2 -= d * d
            lo += 1
        while hi > lo and np.float64(block[hi - 1, c]) > highest:
            d = np.float64(block[hi - 1, c]) - pivot
            s1 -= d
            s2 -= d * d
            hi -= 1
        if s2 * 1e9 < weight:
            s1, s2 = _moments(block, c, lo, hi, pivot)
        if lo == before_lo and hi == before_hi:
            break
    return lo, hi, s1, s2


@kernel
def _surely_kept(
    block: NDArray, count: I8, full: bool, pivot: F8, s1: F8, s2: F8, rule: F8, lowest: F8, near: F8, slow: NDArray
) -> None:
    """slow[c] = 0 where the first round keeps all values of sorted column c, decided for many columns at once.

    A value is rejected where its distance from the centre in units of `low` or `high`, at most `reach`, passes the
    spread. The median deviation is at least x where at most (N - 1) // 2 values lie nearer than x to the centre.
    Where rounding could decide, and where a value is missing, the column is left to `_clip`.
    `lowest` and `near` (W,) are scratch.
    """
    n, w = block.shape
    if (rule[4] == 0.0 or n < rule[10]) and rule[8] == 0.0 and rule[9] == 0.0:
        slow[:w] = 0
        return
    slow[:w] = 1
    if n < 3 or rule[1] == IQR or rule[8] > 0.0 or rule[9] > 0.0:
        return
    row, other, bottom, top = block[(n - 1) // 2], block[n // 2], block[0], block[n - 1]
    reach, centre, median = near, lowest, rule[0] != 0.0
    for c in range(w):
        mean = pivot[c] + s1[c] / n
        x = 0.5 * (np.float64(row[c]) + np.float64(other[c])) if median else mean
        centre[c] = x
        reach[c] = 1.000000001 * max((x - np.float64(bottom[c])) / rule[2], (np.float64(top[c]) - x) / rule[3])
    if rule[1] == STD:
        for c in range(w):
            spread = np.sqrt(max(s2[c] - s1[c] * s1[c] / n, 0.0) / max(n - rule[6], 1.0))
            slow[c] = 0 if reach[c] < max(spread, rule[5]) else 1
    else:
        within = np.zeros(w, np.int32)
        for c in range(w):
            reach[c] = reach[c] if reach[c] < rule[5] else reach[c] / 1.482602218505602
        for i in range(n):
            values = block[i]
            for c in range(w):
                within[c] += np.int32(1) if abs(np.float64(values[c]) - centre[c]) < reach[c] else np.int32(0)
        most = np.int32((n - 1) // 2)
        for c in range(w):
            slow[c] = 0 if within[c] <= most or reach[c] < rule[5] else 1
    if not full:
        for c in range(w):
            if count[c] < n:
                slow[c] = 1


@kernel
def _fill(stack: NDArray, p0: int, block: NDArray, count: I8, sentinel: NDArray) -> bool:
    """Copy columns p0 … of the stack into the block; values that are not finite become `sentinel`, the rest counted."""
    n, w = block.shape
    for i in range(n):
        row, out = stack[i, p0 : p0 + w], block[i]
        for c in range(w):
            out[c] = row[c]
    bad = np.uint32(0)
    for i in range(n):
        row = block[i]
        for c in range(w):
            v = row[c]
            bad += np.uint32(0) if v - v == 0 else np.uint32(1)
    count[:w] = n
    if bad:
        for i in range(n):
            row = block[i]
            for c in range(w):
                v = row[c]
                if v - v != 0:
                    row[c] = sentinel[0]
                    count[c] -= 1
    return bool(bad > 0)


@kernel
def _sort(block: NDArray, first: I8, second: I8, code: int) -> None:
    """Sort the columns of a block, by the compiled network at `code` if that is not 0."""
    if code != 0:
        w = block.shape[1]
        sort_block(code, block, block, 0, np.empty(w, np.int32), np.empty(w, np.uint32))
    else:
        sort_columns(block, first, second)


@kernel
def _pivots(block: NDArray, count: I8, bad: bool, pivot: F8) -> None:
    """A middle value of each column, about which moments are taken."""
    if bad:
        for c in range(block.shape[1]):
            pivot[c] = np.float64(block[max(count[c] - 1, 0) // 2, c]) if count[c] else 0.0
    else:
        row = block[(block.shape[0] - 1) // 2]
        for c in range(block.shape[1]):
            pivot[c] = row[c]


@kernel
def _sums(block: NDArray, count: I8, full: bool, pivot: F8, s1: F8, s2: F8) -> None:
    """Moments of each column about its pivot over the first ``count[c]`` rows; all rows where `full`."""
    n, w = block.shape
    s1[:w] = 0.0
    s2[:w] = 0.0
    for i in range(n):
        row = block[i]
        if full:
            for c in range(w):
                d = np.float64(row[c]) - pivot[c]
                s1[c] += d
                s2[c] += d * d
        else:
            for c in range(w):
                d = np.float64(row[c]) - pivot[c] if i < count[c] else 0.0
                s1[c] += d
                s2[c] += d * d


@kernel
def _second_look(
    stack: NDArray,
    p0: int,
    w: int,
    lowest: F8,
    highest: F8,
    weights: F4,
    variance: F4,
    mean: F8,
    weighted: bool,
    image: F4,
    scatter: F4,
    propagated: F4,
    kept_bits: NDArray[np.uint8],
) -> None:
    """What needs the values in the order of the frames: weights, propagated variance, the map of who was kept."""
    n = stack.shape[0]
    total, sum_w, sum_ww, sum_v, sum_d = np.zeros(w), np.zeros(w), np.zeros(w), np.zeros(w), np.zeros(w)
    number = np.zeros(w, np.int64)
    for i in range(n):
        row = stack[i, p0 : p0 + w]
        f = np.float64(weights[i]) if weighted else 1.0
        for c in range(w):
            v = np.float64(row[c])
            kept = v >= lowest[c] and v <= highest[c] and v - v == 0
            if kept:
                d = v - mean[c]
                number[c] += 1
                total[c] += f * d
                sum_w[c] += f
                sum_ww[c] += f * f
                sum_d[c] += f * f * d * d
                if variance.shape[1]:
                    sum_v[c] += f * f * variance[i, p0 + c]
            if kept_bits.shape[2]:
                if kept:
                    kept_bits[i // 8, 0, p0 + c] |= np.uint8(1 << (i % 8))
    for c in range(w):
        if number[c] == 0:
            continue
        if weighted and sum_w[c] > 0.0:
            shift = total[c] / sum_w[c]
            image[p0 + c] = mean[c] + shift
            m = np.float64(number[c])
            left = max(sum_d[c] - shift * shift * sum_ww[c], 0.0)
            scatter[p0 + c] = left / (sum_w[c] * sum_w[c]) * m / (m - 1.0) if number[c] > 1 else np.nan
        if variance.shape[1]:
            propagated[p0 + c] = sum_v[c] / (sum_w[c] * sum_w[c])


@kernel
def _write(
    p0: int,
    block: NDArray,
    method: int,
    n: I8,
    lo: I8,
    hi: I8,
    pivot: F8,
    s1: F8,
    s2: F8,
    mean: F8,
    image: F4,
    scatter: F4,
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
) -> None:
    """Results of one block from the kept ranges and their moments."""
    nan = np.nan
    for c in range(block.shape[1]):
        p, m = p0 + c, hi[c] - lo[c]
        f = np.float64(m)
        x = pivot[c] + s1[c] / f if m > 0 else nan
        mean[c] = x
        image[p] = x
        scatter[p] = max(s2[c] - s1[c] * s1[c] / f, 0.0) / ((f - 1.0) * f) if m > 1 else nan
        count[p] = m
        rejected[p] = n[c] - m
    if method != MEAN:
        for c in range(block.shape[1]):
            if hi[c] > lo[c]:
                if method == MEDIAN:
                    image[p0 + c] = _middle(block, c, lo[c], hi[c])
                else:
                    image[p0 + c] = block[lo[c] if method == MINIMUM else hi[c] - 1, c]


@kernel
def _limits(
    stack: NDArray,
    p0: int,
    block: NDArray,
    sorted_: bool,
    n: I8,
    lo: I8,
    hi: I8,
    lowest: F8,
    highest: F8,
    by_input: I8,
) -> None:
    """Lowest and highest kept value of each column, and which frames the values outside came from."""
    for c in range(block.shape[1]):
        empty = lo[c] == hi[c]
        lowest[c] = np.inf if empty else np.float64(block[lo[c], c]) if sorted_ else -np.inf
        highest[c] = -np.inf if empty else np.float64(block[hi[c] - 1, c]) if sorted_ else np.inf
        if n[c] > hi[c] - lo[c]:
            for i in range(stack.shape[0]):
                v = np.float64(stack[i, p0 + c])
                by_input[i] += 1 if (v < lowest[c] or v > highest[c]) and v - v == 0 else 0


@kernel
def combine_pixels(
    stack: NDArray,
    method: int,
    rule: F8,
    first: I8,
    second: I8,
    code: int,
    begin: int,
    weights: F4,
    variance: F4,
    image: F4,
    scatter: F4,
    propagated: F4,
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
    by_input: I8,
    kept_bits: NDArray[np.uint8],
    block: NDArray,
    sentinel: NDArray,
) -> None:
    """Combine a stack (N, P) of uint16 or float32 along its first axis; the array may be wider than P.

    Parameters
    ----------
    method : MEAN, MEDIAN, MINIMUM or MAXIMUM of what the clip keeps.
    rule : (11,) [centre (0 mean, 1 median), spread (MAD, STD, IQR), low, high (in spreads), rounds,
        smallest spread, ddof of STD, anew, values dropped at the low and at the high end, fewest values of which
        a round may reject some]. `anew`: from the second
        round on the limits come from mean and standard deviation and are applied to all values again.
    first, second : of `network(N)`; size 0 to leave the values unsorted (plain mean without clip only).
    code : address of the `sorter` of N values of the stack's type, for whole blocks; 0 to do without.
    begin : first pixel; those before it are left as they are.
    weights : (N,) or size 0; they weigh the mean, not the rejection.
    variance : (N, P) variance of the values, or (0, 0).
    image, scatter, propagated : (P,) out: the result; the variance of its mean from the scatter,
        s^2/n of the kept values (NaN for one value); sum(w^2 V)/sum(w)^2 (not touched without `variance`).
    count, rejected : (P,) out: values kept, values that the clip took away.
    by_input : (N,) out, added to: values of each frame that the clip took away.
    kept_bits : (ceil(N/8), 1, P) out, bit i % 8 of plane i // 8 set where frame i was kept; or (0, 0, 0).
    block : (N, LANES) scratch of the stack's type; sentinel : (1,) its largest value.
    """
    n_frames, n_pixels = stack.shape[0], image.size
    lanes = block.shape[1]
    n, pivot = np.empty(lanes, np.int64), np.empty(lanes)
    s1, s2 = np.empty(lanes), np.empty(lanes)
    lo, hi, slow = np.empty(lanes, np.int64), np.empty(lanes, np.int64), np.empty(lanes, np.uint8)
    lowest, highest, mean = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    plain = first.size == 0 and n_frames > 1
    look = weights.size > 0 or variance.shape[1] > 0 or kept_bits.shape[2] > 0
    work = block
    for p0 in range(begin, n_pixels, lanes):
        w = min(lanes, n_pixels - p0)
        if w < lanes:
            work = np.empty((n_frames, w), block.dtype)
        bad = _fill(stack, p0, work, n, sentinel)
        if not plain:
            _sort(work, first, second, code if w == lanes else 0)
        elif bad:
            _push_back(work, n)
        _pivots(work, n, bad, pivot)
        _sums(work, n, not bad, pivot, s1, s2)
        if plain:
            slow[:w] = 0
        else:
            _surely_kept(work, n, not bad, pivot, s1, s2, rule, lowest, highest, slow)
        hits = 0
        for c in range(w):
            lo[c], hi[c] = 0, n[c]
            if slow[c]:
                lo[c], hi[c], s1[c], s2[c] = _clip(work, c, n[c], pivot[c], s1[c], s2[c], rule)
                hits += n[c] - (hi[c] - lo[c])
        _write(p0, work, method, n, lo, hi, pivot, s1, s2, mean, image, scatter, count, rejected)
        if not (look or hits):
            continue
        _limits(stack, p0, work, not plain, n, lo, hi, lowest, highest, by_input)
        if look:
            weighted = weights.size > 0 and method == MEAN
            _second_look(
                stack, p0, w, lowest, highest, weights, variance, mean, weighted, image, scatter, propagated, kept_bits
            )


@kernel
def _push_back(block: NDArray, count: I8) -> None:
    """Move the finite values of each column to its first rows, in order."""
    n, w = block.shape
    for c in range(w):
        if count[c] == n:
            continue
        k = 0
        for i in range(n):
            v = block[i, c]
            if v != np.inf:
                block[k, c] = v
                k += 1
