"""Linearity corrections by amplifier: polynomials, piecewise cubics and look-up tables, and their inverses.

All act on the counts u = image / gain, with `gain` (n_amp,) 1 where the image is in adu, and give back image units.
Polynomials have the form u + u**2 (c_0 + c_1 u + …). Piecewise cubics are subtracted: u - A(u), with A given
by nodes x (n_amp, K), coefficients of the interval k in t = (u - x_k)/(x_k+1 - x_k) as c (n_amp, K-1, 4), lowest
power first, and `hint` (n_amp, bins), the interval that holds the left edge of each of equal bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = [
    "add_slope",
    "polynomial_slopes",
    "solve_polynomial",
    "solve_spline",
    "solve_table",
    "spline",
    "spline_slopes",
    "table",
    "table_slopes",
]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

ROUNDS = 60
"""Newton steps at most; a smooth correction needs three."""


@kernel
def _interval(u: float, x: F4, hint: I8, per_bin: np.float32) -> int:
    """The interval k with x_k <= u < x_k+1, for x_0 <= u < x_last."""
    bin_of = int((u - x[0]) * per_bin)
    k = int(hint[bin_of if bin_of < hint.size else hint.size - 1])
    while k < x.size - 2 and u >= x[k + 1]:
        k += 1
    return k


@kernel
def _cubic(u: float, x: F4, c: F4, hint: I8, per_bin: np.float32) -> tuple[np.float32, np.float32]:
    """A(u) and dA/du; outside the nodes the value at the end, with slope 0."""
    last = x.size - 1
    if u < x[0]:
        return c[0, 0], np.float32(0.0)
    if u >= x[last]:
        k = last - 1
        return c[k, 0] + c[k, 1] + c[k, 2] + c[k, 3], np.float32(0.0)
    k = _interval(u, x, hint, per_bin)
    h = x[k + 1] - x[k]
    t = np.float32((u - x[k]) / h)
    value = c[k, 0] + t * (c[k, 1] + t * (c[k, 2] + t * c[k, 3]))
    return value, (c[k, 1] + t * (np.float32(2) * c[k, 2] + t * np.float32(3) * c[k, 3])) / h


@kernel
def spline(image: F4, start: I8, width: I8, gain: F4, x: F4, c: F4, hint: I8) -> None:
    """image -= gain A(image / gain); NaN stays NaN."""
    for a in range(start.size):
        g, inverse = gain[a], np.float32(1.0) / gain[a]
        xa, ca, ha = x[a], c[a], hint[a]
        per_bin = np.float32(ha.size) / (xa[xa.size - 1] - xa[0])
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                u = row[i] * inverse
                if u == u:
                    row[i] -= g * _cubic(u, xa, ca, ha, per_bin)[0]


@kernel
def spline_slopes(image: F4, start: I8, width: I8, gain: F4, x: F4, c: F4, hint: I8, slope: F4) -> None:
    """slope *= 1 - dA/du at image / gain."""
    for a in range(start.size):
        inverse = np.float32(1.0) / gain[a]
        xa, ca, ha = x[a], c[a], hint[a]
        per_bin = np.float32(ha.size) / (xa[xa.size - 1] - xa[0])
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            out = slope[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                u = row[i] * inverse
                if u == u:
                    out[i] *= np.float32(1.0) - _cubic(u, xa, ca, ha, per_bin)[1]


@kernel
def solve_spline(image: F4, start: I8, width: I8, gain: F4, x: F4, c: F4, hint: I8) -> int:
    """The image v with v - gain A(v / gain) equal to the image given; number of pixels without a solution."""
    failed = 0
    for a in range(start.size):
        g = np.float64(gain[a])
        xa, ca, ha = x[a], c[a], hint[a]
        per_bin = np.float32(ha.size) / (xa[xa.size - 1] - xa[0])
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                want = np.float64(row[i]) / g
                if want - want != 0.0:
                    continue
                u, done = want, False
                for _ in range(ROUNDS):
                    value, slope = _cubic(u, xa, ca, ha, per_bin)
                    if slope >= np.float32(1.0):
                        break
                    move = (u - value - want) / (1.0 - slope)
                    u -= move
                    if abs(move) <= 1e-8 * max(abs(u), 1.0):
                        done = True
                        break
                if not done and abs(u - np.float64(_cubic(u, xa, ca, ha, per_bin)[0]) - want) > 1e-6 * max(
                    abs(want), 1.0
                ):
                    failed += 1
                row[i] = np.float32(u * g)
    return failed


@kernel
def polynomial_slopes(image: F4, start: I8, width: I8, coefficients: F4, slope: F4) -> None:
    """slope *= 1 + sum_i (i + 2) c_i image**(i + 1); coefficients in the unit of the image."""
    order = coefficients.shape[1]
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            out = slope[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                p = np.float32(0.0)
                for k in range(order - 1, -1, -1):
                    p = p * row[i] + np.float32(k + 2) * coefficients[a, k]
                out[i] *= np.float32(1.0) + row[i] * p


@kernel
def solve_polynomial(image: F4, start: I8, width: I8, coefficients: F4) -> int:
    """The image v with v + sum_i c_i v**(i+2) equal to the image given; number of pixels without a solution."""
    failed, order = 0, coefficients.shape[1]
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                want = np.float64(row[i])
                if want - want != 0.0:
                    continue
                v, done = want, False
                for _ in range(ROUNDS):
                    p, d = 0.0, 0.0
                    for k in range(order - 1, -1, -1):
                        p = p * v + np.float64(coefficients[a, k])
                        d = d * v + (k + 2.0) * np.float64(coefficients[a, k])
                    slope = 1.0 + v * d
                    if slope <= 0.0:
                        break
                    move = (v + v * v * p - want) / slope
                    v -= move
                    if abs(move) <= 1e-8 * max(abs(v), 1.0):
                        done = True
                        break
                if not done:
                    failed += 1
                row[i] = np.float32(v)
    return failed


@kernel
def table(image: F4, start: I8, width: I8, gain: F4, rows: I8, offset: F8, values: F4) -> int:
    """image += gain T[row, int(offset + image/gain)], the column held to the ends; number of pixels outside."""
    last, outside = values.shape[1] - 1, 0
    for a in range(start.size):
        line, g, o = values[rows[a]], gain[a], offset[a]
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                u = np.float64(row[i]) / g + o
                if u != u:
                    continue
                k = np.int64(min(max(u, -1.0), last + 1.0))
                outside += 1 if (u < 0.0 or k > last) else 0
                row[i] += g * line[min(max(k, 0), last)]
    return outside


@kernel
def table_slopes(image: F4, start: I8, width: I8, gain: F4, rows: I8, offset: F8, values: F4, slope: F4) -> None:
    """slope *= 1 + central difference of T at image/gain; 1 outside the table."""
    last = values.shape[1] - 1
    for a in range(start.size):
        line = values[rows[a]]
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            out = slope[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                u = np.float64(row[i]) / gain[a] + offset[a]
                if u >= 1.0 and u < last:
                    k = np.int64(u)
                    out[i] *= np.float32(1.0) + np.float32(0.5) * (line[k + 1] - line[k - 1])


@kernel
def solve_table(image: F4, start: I8, width: I8, gain: F4, rows: I8, offset: F8, values: F4) -> int:
    """The image v that the table takes to the image given, to within one step of the table; always 0 failures."""
    last = values.shape[1] - 1
    for a in range(start.size):
        line = values[rows[a]]
        for r in range(image.shape[0]):
            row = image[r, start[a] : start[a] + width[a]]
            for i in range(row.size):
                want = np.float64(row[i]) / gain[a]
                if want != want:
                    continue
                u = want
                for _ in range(ROUNDS):
                    k = np.int64(min(max(u + offset[a], 0.0), np.float64(last)))
                    new = want - np.float64(line[k])
                    if new == u:
                        break
                    u = new
                row[i] = np.float32(u * gain[a])
    return 0


@kernel
def add_slope(variance: F4, slope: F4, noise: F4, start: I8, width: I8) -> None:
    """variance = slope**2 (variance + noise) - noise, with the `noise` (n, n_amp) that is added later."""
    for r in range(variance.shape[0]):
        for a in range(start.size):
            v = variance[r, start[a] : start[a] + width[a]]
            s = slope[r, start[a] : start[a] + width[a]]
            n = noise[r, a]
            for i in range(v.size):
                square = s[i] * s[i]
                v[i] = square * v[i] + (square - np.float32(1.0)) * n
