"""The fused twin: one compiled loop that does what the chain of plain steps does, for comparison only."""

from __future__ import annotations

import numba
import numpy as np

from fullwell.kernels.stream import fence, stream_row


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _finish(buf, flag, b, d, f, n2, t, oi, ov, om):
    low = np.float32(0.1) * n2
    for c in range(buf.size):
        dd = d[c] * t
        x = buf[c] - b[c] - dd
        v = x + n2 + dd
        v = v if v > low else low
        k = f[c]
        oi[c] = x * k
        ov[c] = v * k * k
        om[c] = flag[c]


@numba.njit(nogil=True, error_model="numpy")
def plain(
    raw, x0, w, os0, osw, bias, dark, inverse, defects, c0, c1, gain, noise, sat, t, y0, y1, shape, img, var, mask
):
    """Mean overscan, saturation, gain, cubic linearity, bias, dark, defects, variance, flat.

    raw (n_amp, rows, cols) big-endian uint16 with BZERO; calibrations (rows, n_amp * w) in read-out order.
    """
    n_amp = raw.shape[0]
    buf = np.empty(w, np.float32)
    flag = np.empty(w, np.uint32)
    ti, tv, tm = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.uint32)
    for y in range(y0, y1):
        for a in range(n_amp):
            over = raw[a, y, os0 : os0 + osw]
            total = np.uint32(0)
            for c in range(over.size):
                v = over[c]
                total += np.uint32(np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ np.uint16(0x8000))
            level = np.float32(total) / np.float32(osw)
            data = raw[a, y, x0 : x0 + w]
            g, s, k0, k1 = gain[a], sat[a], c0[a], c1[a]
            n2 = noise[a] * noise[a]
            lo, hi = a * w, (a + 1) * w
            e = defects[y, lo:hi]
            for c in range(w):
                v = data[c]
                x = np.float32(np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ np.uint16(0x8000)) - level
                flag[c] = (np.uint32(2) if x >= s else np.uint32(0)) | (np.uint32(1) if e[c] else np.uint32(0))
                x *= g
                buf[c] = x + x * x * (k0 + x * k1)
            if a < n_amp // 2:
                row = shape[0] - 1 - y
                oi, ov, om = img[row, lo:hi], var[row, lo:hi], mask[row, lo:hi]
                _finish(buf, flag, bias[y, lo:hi], dark[y, lo:hi], inverse[y, lo:hi], n2, t, ti, tv, tm)
                last = np.uint64(w - 1)
                for c in range(w):
                    oi[c] = ti[last - np.uint64(c)]
                for c in range(w):
                    ov[c] = tv[last - np.uint64(c)]
                for c in range(w):
                    om[c] = tm[last - np.uint64(c)]
            else:
                lo2, hi2 = (2 * n_amp - 1 - a - n_amp) * w, (2 * n_amp - a - n_amp) * w
                oi, ov, om = img[y, lo2:hi2], var[y, lo2:hi2], mask[y, lo2:hi2]
                _finish(buf, flag, bias[y, lo:hi], dark[y, lo:hi], inverse[y, lo:hi], n2, t, oi, ov, om)


@numba.njit(nogil=True, error_model="numpy")
def streamed(
    raw, x0, w, os0, osw, bias, dark, inverse, defects, c0, c1, gain, noise, sat, t, y0, y1, shape, img, var, mask
):
    """As `plain`, with the output stored past the cache: the fastest single loop that we know of."""
    n_amp = raw.shape[0]
    buf = np.empty(w, np.float32)
    flag = np.empty(w, np.uint32)
    ti, tv, tm = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.uint32)
    fi, fv, fm = img.reshape(-1).view(np.uint32), var.reshape(-1).view(np.uint32), mask.reshape(-1)
    ui, uv = ti.view(np.uint32), tv.view(np.uint32)
    for y in range(y0, y1):
        for a in range(n_amp):
            _levelled(
                raw[a, y], x0, os0, osw, defects[y, a * w : (a + 1) * w], c0[a], c1[a], gain[a], sat[a], buf, flag
            )
            lo, hi = a * w, (a + 1) * w
            n2 = noise[a] * noise[a]
            _finish(buf, flag, bias[y, lo:hi], dark[y, lo:hi], inverse[y, lo:hi], n2, t, ti, tv, tm)
            top = a < n_amp // 2
            at = (shape[0] - 1 - y) * shape[1] + lo if top else y * shape[1] + (n_amp - 1 - a) * w
            stream_row(fi, at, ui, 0, w, top)
            stream_row(fv, at, uv, 0, w, top)
            stream_row(fm, at, tm, 0, w, top)
    fence()


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _levelled(row, x0, os0, osw, e, k0, k1, g, s, buf, flag):
    over = row[os0 : os0 + osw]
    total = np.uint32(0)
    for c in range(over.size):
        v = over[c]
        total += np.uint32(np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ np.uint16(0x8000))
    level = np.float32(total) / np.float32(osw)
    data = row[x0 : x0 + buf.size]
    for c in range(buf.size):
        v = data[c]
        x = np.float32(np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ np.uint16(0x8000)) - level
        flag[c] = (np.uint32(2) if x >= s else np.uint32(0)) | (np.uint32(1) if e[c] else np.uint32(0))
        x *= g
        buf[c] = x + x * x * (k0 + x * k1)
