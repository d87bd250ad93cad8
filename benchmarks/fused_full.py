"""The fused twin of the full chain: dither, median per row, parallel overscan and what `fused.plain` does."""

from __future__ import annotations

import numba
import numpy as np

from fullwell.kernels.dither import _mix
from fullwell.kernels.overscan import median_of
from fused import _finish


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _decode(row, first, seed, amp, y, out):
    """Columns ``first …`` of a stored row in counts, with the dither that the step adds."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(seed + golden * (np.uint64(amp) + np.uint64(1)))
    key = _mix(key + golden * np.uint64(y + (1 << 20)))
    k0, k1 = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    base = np.uint32(first)
    stored = row[first : first + out.size]
    for c in range(out.size):
        v = stored[c]
        x = np.uint32(np.uint32(np.uint32(c) + base) * np.uint32(0x9E3779B1)) + k0
        x = np.uint32(x)
        x ^= x >> np.uint32(16)
        x = np.uint32(x * np.uint32(0x7FEB352D)) ^ k1
        x ^= x >> np.uint32(15)
        x = np.uint32(x * np.uint32(0x846CA68B))
        x ^= x >> np.uint32(16)
        u = np.float32(np.int32(x >> np.uint32(8))) * np.float32(2.0**-24) + np.float32(-0.5)
        out[c] = np.float32(np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ np.uint16(0x8000)) + u


@numba.njit(nogil=True, error_model="numpy")
def columns(raw, x0, w, os0, osw, seed, y0, y1, gain):
    """Level of each data column: the median over the rows ``y0 … y1 - 1`` of the parallel overscan, (n_amp * w,)."""
    n_amp, n = raw.shape[0], y1 - y0
    level = np.empty(n_amp * w, np.float32)
    over, keys = np.empty(osw, np.float32), np.empty(max(osw, n), np.uint32)
    row = np.empty(w, np.float32)
    values = np.empty((w, n), np.float32)
    for a in range(n_amp):
        for y in range(y0, y1):
            _decode(raw[a, y], os0, seed, a, y, over)
            zero = median_of(over, keys)
            _decode(raw[a, y], x0, seed, a, y, row)
            for c in range(w):
                values[c, y - y0] = (row[c] - zero) * gain[a]
        for c in range(w):
            level[a * w + c] = median_of(values[c], keys)
    return level


@numba.njit(nogil=True, error_model="numpy")
def full(
    raw, x0, w, os0, osw, bias, dark, inverse, defects, c0, c1, gain, noise, sat, t, seed, over0, over1, y1, shape,
    img, var, mask,
):  # fmt: skip
    """One pass over the data rows after one over the parallel overscan; arguments as `fused.plain`."""
    n_amp = raw.shape[0]
    buf, flag = np.empty(w, np.float32), np.empty(w, np.uint32)
    over, keys = np.empty(osw, np.float32), np.empty(osw, np.uint32)
    ti, tv, tm = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.uint32)
    level = columns(raw, x0, w, os0, osw, seed, over0, over1, gain)
    for y in range(y1):
        for a in range(n_amp):
            _decode(raw[a, y], os0, seed, a, y, over)
            zero = median_of(over, keys)
            _decode(raw[a, y], x0, seed, a, y, buf)
            g, s, k0, k1 = gain[a], sat[a], c0[a], c1[a]
            lo, hi = a * w, (a + 1) * w
            e, p = defects[y, lo:hi], level[lo:hi]
            for c in range(w):
                x = buf[c] - zero
                flag[c] = (np.uint32(2) if x >= s else np.uint32(0)) | (np.uint32(1) if e[c] else np.uint32(0))
                x = x * g - p[c]
                buf[c] = x + x * x * (k0 + x * k1)
            n2 = noise[a] * noise[a]
            _finish(buf, flag, bias[y, lo:hi], dark[y, lo:hi], inverse[y, lo:hi], n2, t, ti, tv, tm)
            last = np.uint64(w - 1)
            if a < n_amp // 2:
                oi, ov, om = img[shape[0] - 1 - y, lo:hi], var[shape[0] - 1 - y, lo:hi], mask[shape[0] - 1 - y, lo:hi]
                for c in range(w):
                    oi[c] = ti[last - np.uint64(c)]
                for c in range(w):
                    ov[c] = tv[last - np.uint64(c)]
                for c in range(w):
                    om[c] = tm[last - np.uint64(c)]
            else:
                at = (n_amp - 1 - a) * w
                img[y, at : at + w] = ti
                var[y, at : at + w] = tv
                mask[y, at : at + w] = tm
