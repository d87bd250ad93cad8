"""Crosstalk of all amplifiers of a block: a small matrix times the rows that are read at one moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["add_crosstalk", "flag_victims"]

F4 = NDArray[np.float32]
U4 = NDArray[np.uint32]
I8 = NDArray[np.int64]

PIECE = 9216
"""Source pixels worked on at once: 36 KiB of float32, which fit a core's first cache (16 amplifiers of 576)."""


@kernel
def _gather(image: F4, r: int, start: I8, first: I8, width: I8, x0: int, size: int, squares: bool, out: F4) -> None:
    """Columns ``x0 … x0 + size - 1`` of the segments of row r; 0 where there is no pixel or no number."""
    n_amp = start.size
    for a in range(n_amp):
        lo, hi = max(x0, first[a]), min(x0 + size, first[a] + width[a])
        to = out[a, :size]
        if hi - lo < size:
            for c in range(size):
                to[c] = np.float32(0.0)
        if hi > lo:
            s = start[a] - first[a] + lo
            source = image[r, s : s + hi - lo]
            part = to[lo - x0 : hi - x0]
            for c in range(part.size):
                v = source[c]
                part[c] = v if v - v == np.float32(0.0) else np.float32(0.0)
        if squares:
            square = out[n_amp + a, :size]
            for c in range(size):
                square[c] = to[c] * to[c]


@kernel
def _sum(sources: F4, coefficients: F4, t: int, size: int, x: F4) -> None:
    """x[k] = sum over sources s of coefficients[s, t + k] * sources[s], for two targets k = 0, 1.

    Four sources a sweep: two targets share what is read of them. The rows of both arrays are a multiple of four.
    """
    x0, x1 = x[0, :size], x[1, :size]
    for g in range(0, sources.shape[0], 4):
        a0, a1, a2, a3 = sources[g, :size], sources[g + 1, :size], sources[g + 2, :size], sources[g + 3, :size]
        p0, p1, p2, p3 = coefficients[g, t], coefficients[g + 1, t], coefficients[g + 2, t], coefficients[g + 3, t]
        u = t + 1
        q0, q1, q2, q3 = coefficients[g, u], coefficients[g + 1, u], coefficients[g + 2, u], coefficients[g + 3, u]
        if g == 0:
            for c in range(size):
                s0, s1, s2, s3 = a0[c], a1[c], a2[c], a3[c]
                x0[c] = (p0 * s0 + p1 * s1) + (p2 * s2 + p3 * s3)
                x1[c] = (q0 * s0 + q1 * s1) + (q2 * s2 + q3 * s3)
        else:
            for c in range(size):
                s0, s1, s2, s3 = a0[c], a1[c], a2[c], a3[c]
                x0[c] += (p0 * s0 + p1 * s1) + (p2 * s2 + p3 * s3)
                x1[c] += (q0 * s0 + q1 * s1) + (q2 * s2 + q3 * s3)


@kernel
def _flag(x: F4, median: np.float32, threshold: np.float32, bits: U4, value: int) -> int:
    """Or `value` into `bits` where |x - median| reaches the threshold; the number of such pixels."""
    b, count = np.uint32(value), np.uint32(0)
    for c in range(x.size):
        count += np.uint32(1) if abs(x[c] - median) >= threshold else np.uint32(0)
    if count:
        for c in range(x.size):
            bits[c] |= b if abs(x[c] - median) >= threshold else np.uint32(0)
    return int(count)


@kernel
def add_crosstalk(
    image: F4,
    mask: U4,
    start: I8,
    first: I8,
    width: I8,
    coefficients: F4,
    sign: np.float32,
    median: F4,
    threshold: np.float32,
    value: int,
    has_mask: bool,
) -> bool:
    """image[target] += sign * sum over sources of their contribution, all taken from the image as it was.

    Parameters
    ----------
    first : (n_amp,) segment column of the first pixel of each amplifier; equal segment columns are read together.
    coefficients : (n_amp, n_amp) [source, target]; or (2 n_amp, n_amp), the second half for squared sources.
    median, threshold : flag where |contribution - median[t]| >= threshold; an infinite threshold flags nothing.
    value : bits to set.
    has_mask : whether `mask` holds anything yet; if not it is set to 0 before the first flag.

    Returns
    -------
    bool
        whether the mask holds something now.
    """
    n_amp = start.size
    rows = coefficients.shape[0]
    padded = np.zeros((rows + (-rows) % 4, n_amp + n_amp % 2), np.float32)
    padded[:rows, :n_amp] = coefficients
    x0, x1 = first.min(), (first + width).max()
    step = min(x1 - x0, max(PIECE // padded.shape[0], 64))
    sources = np.zeros((padded.shape[0], step), np.float32)
    buffer = np.empty((2, step), np.float32)
    none = np.zeros(step, np.uint32)
    for r in range(image.shape[0]):
        for p in range(x0, x1, step):
            size = min(step, x1 - p)
            _gather(image, r, start, first, width, p, size, rows > n_amp, sources)
            for t in range(n_amp):
                if t % 2 == 0:
                    _sum(sources, padded, t, size, buffer)
                lo, hi = max(p, first[t]), min(p + size, first[t] + width[t])
                if hi <= lo:
                    continue
                s = start[t] - first[t] + lo
                target = image[r, s : s + hi - lo]
                x = buffer[t % 2, lo - p : hi - p]
                for c in range(target.size):
                    target[c] += sign * x[c]
                if threshold == np.inf:
                    continue
                if has_mask:
                    _flag(x, median[t], threshold, mask[r, s : s + hi - lo], value)
                elif _flag(x, median[t], threshold, none, value):
                    mask[:] = np.uint32(0)
                    has_mask = True
                    _flag(x, median[t], threshold, mask[r, s : s + hi - lo], value)
    return has_mask


@kernel
def flag_victims(
    image: F4, mask: U4, start: I8, first: I8, width: I8, coefficients: F4, level: np.float32, value: int
) -> None:
    """mask[target] |= value where a source that reaches it (coefficient not 0) is at `level` or above."""
    n_amp = start.size
    bits = np.uint32(value)
    for r in range(image.shape[0]):
        for s in range(n_amp):
            for t in range(n_amp):
                if coefficients[s, t] == 0:
                    continue
                lo, hi = max(first[s], first[t]), min(first[s] + width[s], first[t] + width[t])
                a, b = start[s] - first[s] + lo, start[t] - first[t] + lo
                for c in range(max(hi - lo, 0)):
                    if image[r, a + c] >= level:
                        mask[r, b + c] |= bits
