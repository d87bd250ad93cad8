"""Stamps of light laid into a band of rows as collected electrons, and the band settled into image and variance.

A band has three planes: `count`, the electrons drawn (whole numbers, so that their sum is exact in any order); `light`,
the mean that was asked for, and `less`, what negative light takes away [unit of the image]. Each pixel of a source has
random numbers of its own (`kernels.random`), so that bands, threads and the order of sources change nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel
from fullwell.kernels.random import gaussians, poisson, uniforms

__all__ = ["MARGIN", "TAPS", "lay", "lay_points", "settle", "shifted"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]

TAPS = 5
"""Samples on each side from which a point source is interpolated when it is moved by parts of a pixel."""
MARGIN = 2 * TAPS
"""Zeros around a table of a profile that `shifted` reads."""


@kernel
def _weights(t: float, out: F8) -> None:
    """Lagrange weights of the samples -TAPS + 1 … TAPS for a place `t` (0 … 1) after sample 0.

    They are exact for polynomials up to the ninth degree, so that sum and centroid of a profile are kept.
    """
    for i in range(2 * TAPS):
        out[i] = 1.0
        for j in range(2 * TAPS):
            if j != i:
                out[i] *= (t - (j - TAPS + 1)) / (i - j)


@kernel
def shifted(table: F8, sampling: int, fx: float, fy: float, work: F8, out: F8) -> None:
    """out = the profile in `table` with its centre at (fx, fy) from the middle pixel of `out`, of sum 1.

    Parameters
    ----------
    table : (H, W) odd, centred, pixel-integrated, `sampling` samples a pixel, with `MARGIN` zeros on all sides.
    fx, fy : -0.5 … 0.5 [pixel]. work : (n, W) scratch. out : (n, n), n odd, inside the table.
    """
    n, half = out.shape[0], out.shape[0] // 2
    height, width = table.shape
    weights = np.empty(2 * TAPS)
    base = math.floor(-fy * sampling)
    _weights(-fy * sampling - base, weights)
    for i in range(n):
        line = work[i]
        line[:] = 0.0
        start = height // 2 + sampling * (i - half) + base - TAPS + 1
        for j in range(2 * TAPS):
            w, row = weights[j], table[start + j]
            for x in range(width):
                line[x] += w * row[x]
    base = math.floor(-fx * sampling)
    _weights(-fx * sampling - base, weights)
    first, total = width // 2 - sampling * half + base - TAPS + 1, 0.0
    for i in range(n):
        line, row = out[i], work[i]
        line[:] = 0.0
        for j in range(2 * TAPS):
            w, at = weights[j], first + j
            if sampling == 1:
                near = row[at : at + n]
                for x in range(n):
                    line[x] += w * near[x]
            else:
                far = row[at : at + sampling * n]
                for x in range(n):
                    line[x] += w * far[sampling * x]
        for x in range(n):
            total += line[x]
    for i in range(n):
        for x in range(n):
            out[i, x] /= total


@kernel
def lay(
    stamp: F8,
    flux: float,
    y0: int,
    x0: int,
    gain: F4,
    origin: Any,
    source: Any,
    key: Any,
    noise: int,
    count: F8,
    light: F8,
    less: F8,
    core: Any,
    sums: F8,
) -> None:
    """Add ``flux * stamp`` to a band.

    Parameters
    ----------
    stamp : (h, w) of a source; its pixel [0, 0] is pixel (x0, y0) of the band, which it may overlap in part.
    flux : [unit]. gain : (rows, nx) [unit/electron]; where it is not above 0 nothing is laid.
    origin : (2,) y, x of pixel [0, 0] of the band on the detector: by them random numbers are told apart.
    source, key : uint64. noise : 0 the mean, 1 Poisson, 2 normal.
    count, light, less, core : (rows, nx), added to; core is set to 1 above half of the maximum.
    sums : (4,) added to: flux laid [unit], flux drawn [unit], electrons drawn, pixels.
    """
    rows, nx = count.shape
    a, b = max(0, -x0), min(stamp.shape[1], nx - x0)
    if a >= b:
        return
    peak = 0.0
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            peak = max(peak, flux * stamp[i, j])
    u, v = np.zeros(b - a), np.zeros(b - a)
    for i in range(max(0, -y0), min(stamp.shape[0], rows - y0)):
        y, dark = y0 + i, True
        for j in range(a, b):
            dark = dark and stamp[i, j] == 0.0
        if dark:
            continue
        if noise > 0:
            uniforms(origin[0] + y, origin[1] + x0 + a, 0, source, key, u, v)
        if noise == 2:
            gaussians(u, v)
        for j in range(a, b):
            x, mean = x0 + j, flux * stamp[i, j]
            k = np.float64(gain[y, x])
            if mean == 0.0 or not k > 0.0:
                continue
            sums[0] += mean
            sums[3] += 1.0
            if mean < 0.0:
                less[y, x] += mean
                sums[1] += mean
                continue
            n = mean / k
            if noise == 1:
                n = poisson(n, u[j - a], v[j - a], origin[0] + y, origin[1] + x, source, key)
            elif noise == 2:
                n += math.sqrt(n) * u[j - a]
            count[y, x] += n
            light[y, x] += mean
            sums[1] += k * n
            sums[2] += n
            if mean >= 0.5 * peak:
                core[y, x] = 1


@kernel
def lay_points(
    tables: F8,
    which: Any,
    sampling: int,
    halves: Any,
    flux: F8,
    ys: F8,
    xs: F8,
    gain: F4,
    origin: Any,
    sources: Any,
    keys: Any,
    noise: int,
    count: F8,
    light: F8,
    less: F8,
    core: Any,
    sums: F8,
) -> None:
    """`lay` of n point sources.

    Parameters
    ----------
    tables : (m, H, W) as `shifted` takes them, scaled as wanted; which : (n,) table of each source.
    halves : (n,) half size of the stamps [pixel]. flux, ys, xs : (n,); places in the band, whole at the middle of
        pixels.
    sums : (n, 4). The others as of `lay`.
    """
    most = 0
    for i in range(flux.size):
        most = max(most, halves[i])
    work = np.empty((2 * most + 1, tables.shape[2]))
    whole = np.empty((2 * most + 1) ** 2)
    for i in range(flux.size):
        half = halves[i]
        n = 2 * half + 1
        stamp = whole[: n * n].reshape(n, n)
        cy, cx = math.floor(ys[i] + 0.5), math.floor(xs[i] + 0.5)
        shifted(tables[which[i]], sampling, xs[i] - cx, ys[i] - cy, work, stamp)
        place = (int(cy) - half, int(cx) - half)
        lay(
            stamp, flux[i], place[0], place[1], gain, origin, sources[i], keys[i], noise, count, light, less, core,
            sums[i]
        )  # fmt: skip


@kernel
def settle(
    image: F4,
    variance: F4,
    mask: Any,
    gain: F4,
    background: F4,
    flat: F4,
    well: F4,
    count: F8,
    light: F8,
    less: F8,
    core: Any,
    bits: Any,
    convention: int,
    faint: float,
) -> None:
    """Image and variance of a band with its electrons: the noise law of the injection note, A.3.

    Parameters
    ----------
    image : (rows, nx). variance : the same, or of size 0. mask : (rows, nx) uint32.
    gain : (rows, nx) [unit/electron]; background [unit] and flat (relative variance) : (rows, nx) or (1, 1), the
        flat of size 0 where the variance does not carry it; well : (rows, nx) or (1, 1) full well [electron], NaN where
        there is none.
    bits : (7,) uint32 of SAT, INJECTED, INJECTED_CORE, INTRP, INJECTED_INTERP, of pixels that are left (NO_DATA), and
        1 where interpolated pixels take the mean light, 0 where they are left.
    convention : 0 leaves the variance, 1 realised, 2 expected. faint : INJECTED is set where light is above this times
        the noise, and where a value changes.
    """
    rows, nx = image.shape
    b, f, w = int(background.size > 1), int(flat.size > 1), int(well.size > 1)
    carries = variance.size > 0 and convention > 0
    for y in range(rows):
        for x in range(nx):
            more, minus = light[y, x], less[y, x]
            if more == 0.0 and minus == 0.0:
                continue
            before = np.float64(image[y, x])
            if (mask[y, x] & bits[5]) or not math.isfinite(before):
                continue
            noise = math.sqrt(max(np.float64(variance[y, x]), 0.0)) if variance.size else 0.0
            seen = bits[1] if more > faint * noise else np.uint32(0)
            seen |= bits[2] if core[y, x] else np.uint32(0)
            if mask[y, x] & bits[3]:
                if bits[6]:
                    image[y, x] = np.float32(before + more + minus)
                    mask[y, x] |= seen | bits[1] | bits[4]
                    if carries:
                        variance[y, x] += np.float32(np.float64(gain[y, x]) * more)
                continue
            if mask[y, x] & bits[0]:
                mask[y, x] |= seen
                continue
            k, n = np.float64(gain[y, x]), count[y, x]
            signal = before + np.float64(background[y * b, x * b])
            top = np.float64(well[y * w, x * w])
            if signal / k + n + minus / k > top:
                n = max(top - signal / k, 0.0)
                minus = 0.0
                seen |= bits[0]
            after = np.float32(before + k * n + minus)
            if after != image[y, x]:
                seen |= bits[1]
            image[y, x] = after
            mask[y, x] |= seen
            if carries:
                added = k * n if convention == 1 else more
                if seen & bits[0]:
                    added = min(added, k * n)
                grown = np.float64(variance[y, x]) + k * added
                if flat.size:
                    grown += np.float64(flat[y * f, x * f]) * added * (2.0 * signal + added)
                variance[y, x] = max(np.float32(grown), variance[y, x])
