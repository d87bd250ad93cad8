"""Plain arithmetic on blocks: (n, C) arrays, rows contiguous, amplifiers side by side.

`start` and `width` (n_amp,) give the columns of each amplifier in the block; values "by amplifier"
are shape (n_amp,). All kernels work in place on their first arguments. An array of size 0 stands
for "absent".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = [
    "add_plane",
    "any_above",
    "flag_above",
    "or_bits",
    "or_plane",
    "poisson_variance",
    "polynomial",
    "scale_by_amp",
    "subtract_plane",
    "subtract_poisson",
    "subtract_rows",
    "subtract_scaled",
    "times_inverse_flat",
    "trim",
]

F4 = NDArray[np.float32]
U4 = NDArray[np.uint32]
I8 = NDArray[np.int64]


@kernel
def subtract_rows(image: F4, start: I8, width: I8, level: F4) -> None:
    """image -= level, with one `level` (n, n_amp) per row and amplifier."""
    for a in range(start.size):
        s, n = np.uint64(start[a]), np.uint64(max(width[a], 0))
        for r in range(image.shape[0]):
            v = level[r, a]
            for c in range(n):
                image[r, s + np.uint64(c)] -= v


@kernel
def scale_by_amp(image: F4, start: I8, width: I8, factor: F4) -> None:
    """image *= factor by amplifier."""
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            f = factor[a]
            for c in range(row.size):
                row[c] *= f


@kernel
def any_above(image: F4, start: I8, width: I8, level: F4) -> bool:
    """Whether some pixel reaches the level of its amplifier; a NaN level is never reached."""
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            v = level[a]
            count = np.uint32(0)
            for c in range(row.size):
                count += np.uint32(1) if row[c] >= v else np.uint32(0)
            if count:
                return True
    return False


@kernel
def flag_above(mask: U4, image: F4, start: I8, width: I8, level: F4, bits: int) -> None:
    """mask |= bits where image >= level by amplifier; a NaN level flags nothing."""
    b = np.uint32(bits)
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            m = mask[r, start[a] : start[a] + width[a]]
            v = level[a]
            for c in range(row.size):
                m[c] |= b if row[c] >= v else np.uint32(0)


@kernel
def polynomial(image: F4, start: I8, width: I8, coefficients: F4) -> None:
    """image += sum_i coefficients[a, i] * image**(i + 2), by amplifier (Horner form)."""
    order = coefficients.shape[1]
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            if order == 1:
                c0 = coefficients[a, 0]
                for c in range(row.size):
                    v = row[c]
                    row[c] = v + v * v * c0
            elif order == 2:
                c0, c1 = coefficients[a, 0], coefficients[a, 1]
                for c in range(row.size):
                    v = row[c]
                    row[c] = v + v * v * (c0 + v * c1)
            else:
                for c in range(row.size):
                    v = row[c]
                    p = np.float32(0.0)
                    for i in range(order - 1, -1, -1):
                        p = p * v + coefficients[a, i]
                    row[c] = v + v * v * p


@kernel
def trim(source: NDArray, start: I8, first: I8, out: NDArray, out_start: I8, width: I8) -> None:
    """Copy columns ``first[a] …`` of each amplifier of `source` to their place in `out`."""
    for r in range(out.shape[0]):
        for a in range(start.size):
            s = start[a] + first[a]
            src = source[r, s : s + width[a]]
            dst = out[r, out_start[a] : out_start[a] + width[a]]
            for c in range(dst.size):
                dst[c] = src[c]


@kernel
def subtract_plane(image: F4, plane: F4) -> None:
    """image -= plane."""
    a, b = image.reshape(-1), plane.reshape(-1)
    for i in range(a.size):
        a[i] -= b[i]


@kernel
def add_plane(image: F4, plane: F4, factor: np.float32) -> None:
    """image += factor * plane."""
    a, b = image.reshape(-1), plane.reshape(-1)
    for i in range(a.size):
        a[i] += factor * b[i]


@kernel
def subtract_scaled(image: F4, plane: F4, factor: np.float32) -> None:
    """image -= factor * plane."""
    a, b = image.reshape(-1), plane.reshape(-1)
    for i in range(a.size):
        a[i] -= factor * b[i]


@kernel
def subtract_poisson(image: F4, variance: F4, plane: F4, factor: np.float32, fresh: bool) -> None:
    """image -= factor * plane; variance (+)= factor * plane, set where it is `fresh`."""
    a, v, b = image.reshape(-1), variance.reshape(-1), plane.reshape(-1)
    if fresh:
        for i in range(a.size):
            x = factor * b[i]
            a[i] -= x
            v[i] = x
    else:
        for i in range(a.size):
            x = factor * b[i]
            a[i] -= x
            v[i] += x


@kernel
def or_bits(mask: U4, bits: NDArray[np.uint8], value: int, fresh: bool) -> None:
    """mask |= value where `bits` is not 0; where the mask is `fresh`, it is set."""
    a, b, v = mask.reshape(-1), bits.reshape(-1), np.uint32(value)
    if fresh:
        for i in range(a.size):
            a[i] = v if b[i] != 0 else np.uint32(0)
    else:
        for i in range(a.size):
            a[i] |= v if b[i] != 0 else np.uint32(0)


@kernel
def or_plane(mask: U4, bits: U4) -> None:
    """mask |= bits."""
    a, b = mask.reshape(-1), bits.reshape(-1)
    for i in range(a.size):
        a[i] |= b[i]


@kernel
def poisson_variance(
    variance: F4, image: F4, start: I8, width: I8, noise: F4, per_adu: F4, floor: F4, fresh: bool
) -> None:
    """variance (+)= per_adu * image + noise, then the total is floored.

    Parameters
    ----------
    noise : (n, n_amp), variance that is the same along a row: read noise, overscan fit, quantisation.
    per_adu : (n_amp,), Poisson variance per image unit (1 in electron, 1/gain in adu, 0 if unknown).
    floor : (n_amp,), smallest total.
    fresh : True where `variance` holds nothing yet.
    """
    for r in range(image.shape[0]):
        for a in range(start.size):
            row = image[r, start[a] : start[a] + width[a]]
            var = variance[r, start[a] : start[a] + width[a]]
            n, k, f = noise[r, a], per_adu[a], floor[a]
            if fresh:
                for c in range(row.size):
                    v = row[c] * k + n
                    var[c] = v if v > f or v != v else f
            else:
                for c in range(row.size):
                    v = var[c] + row[c] * k + n
                    var[c] = v if v > f or v != v else f


@kernel
def times_inverse_flat(image: F4, variance: F4, inverse: F4, relative: F4) -> None:
    """image *= inverse; variance = variance * inverse**2 + image**2 * relative (image after division).

    `relative` is the relative variance of the flat, size 0 where it is not known.
    """
    a, v, f, e = image.reshape(-1), variance.reshape(-1), inverse.reshape(-1), relative.reshape(-1)
    if e.size:
        for i in range(a.size):
            k = f[i]
            x = a[i] * k
            a[i] = x
            v[i] = v[i] * k * k + x * x * e[i]
    else:
        for i in range(a.size):
            k = f[i]
            a[i] *= k
            v[i] = v[i] * k * k
