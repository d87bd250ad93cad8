"""Pixels that are not numbers, growing of masks, and filling along rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["all_finite", "fill_rows", "flag_not_finite", "grow_diamond"]

F4 = NDArray[np.float32]
U4 = NDArray[np.uint32]
B1 = NDArray[np.bool_]


@kernel
def all_finite(plane: F4) -> bool:
    """Whether no pixel is NaN or infinite."""
    for r in range(plane.shape[0]):
        row = plane[r]
        count = np.uint32(0)
        for i in range(row.size):
            count += np.uint32(1) if row[i] - row[i] != np.float32(0.0) else np.uint32(0)
        if count:
            return False
    return True


@kernel
def flag_not_finite(mask: U4, plane: F4, explained: int, value: int) -> int:
    """mask |= value where the plane is not a number and no bit of `explained` is set; how many there were."""
    known, bits, count = np.uint32(explained), np.uint32(value), 0
    for r in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            v = plane[r, i]
            if v - v != np.float32(0.0) and not mask[r, i] & known:
                mask[r, i] |= bits
                count += 1
    return count


@kernel
def grow_diamond(mask: U4, value: int, radius: int) -> int:
    """Set `value` at all pixels with |dx| + |dy| <= radius from one that has it; the number of pixels added."""
    bits, added = np.uint32(value), 0
    ny, nx = mask.shape
    source = (mask & bits) != 0
    for y in range(ny):
        for x in range(nx):
            if not source[y, x]:
                continue
            inner = 0 < x < nx - 1 and 0 < y < ny - 1
            if inner and source[y, x - 1] and source[y, x + 1] and source[y - 1, x] and source[y + 1, x]:
                continue
            for dy in range(-min(radius, y), min(radius, ny - 1 - y) + 1):
                reach = radius - abs(dy)
                for k in range(max(x - reach, 0), min(x + reach, nx - 1) + 1):
                    if not mask[y + dy, k] & bits:
                        mask[y + dy, k] |= bits
                        added += 1
    return added


@kernel
def _weights(x: int, a: int, b: int, usable: B1, cubic: bool, out: NDArray[np.float64]) -> int:
    """Weights at column x of a gap a … b - 1 for columns a-2, a-1, b, b+1; 0 where a neighbour is not used."""
    out[:] = 0.0
    n = usable.size
    if cubic and a >= 2 and b + 1 < n and usable[a - 2] and usable[b + 1]:
        p = np.array([a - 2.0, a - 1.0, float(b), b + 1.0])
        for i in range(4):
            w = 1.0
            for j in range(4):
                if j != i:
                    w *= (x - p[j]) / (p[i] - p[j])
            out[i] = w
        return 4
    out[1] = (b - x) / (b - a + 1.0)
    out[2] = 1.0 - out[1]
    return 2


@kernel
def fill_rows(image: F4, variance: F4, fill: B1, usable: B1, widest: int, edge: int, cubic_up_to: int, done: B1) -> int:
    """Replace the pixels of `fill` from the usable pixels on both sides of their gap in the row.

    Parameters
    ----------
    image, variance : (ny, nx); variance of size 0 where there is none.
    fill : pixels to replace; usable : pixels that may serve as neighbours.
    widest : widest gap that is filled; edge : how far from the nearest usable pixel a gap that touches the
        edge of the image is filled, with that pixel's value.
    cubic_up_to : widest gap filled with a cubic through two pixels on each side, where they are usable.
    done : set True where a value was given.

    Returns
    -------
    int
        number of pixels filled.
    """
    count, ny, nx = 0, image.shape[0], image.shape[1]
    w, at = np.zeros(4), np.zeros(4, np.int64)
    for y in range(ny):
        x = 0
        while x < nx:
            if usable[y, x]:
                x += 1
                continue
            a = x
            while x < nx and not usable[y, x]:
                x += 1
            b = x
            if a == 0 and b == nx:
                continue
            at[0], at[1], at[2], at[3] = max(a - 2, 0), max(a - 1, 0), min(b, nx - 1), min(b + 1, nx - 1)
            for c in range(a, b):
                if not fill[y, c]:
                    continue
                if a > 0 and b < nx:
                    if b - a > widest:
                        continue
                    _weights(c, a, b, usable[y], b - a <= cubic_up_to, w)
                else:
                    if (b - c if a == 0 else c - a + 1) > edge:
                        continue
                    w[:] = 0.0
                    w[2 if a == 0 else 1] = 1.0
                value, spread = 0.0, 0.0
                for k in range(4):
                    if w[k] != 0.0:
                        value += w[k] * image[y, at[k]]
                        if variance.size:
                            spread += w[k] * w[k] * variance[y, at[k]]
                image[y, c] = value
                if variance.size:
                    variance[y, c] = spread
                done[y, c] = True
                count += 1
    return count
