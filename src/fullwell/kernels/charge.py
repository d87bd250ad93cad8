"""Charge that collects while the pixels' areas change: one time step of the brighter-fatter effect.

Arrays are float32. The charge has a border of L pixels on all sides, which `fill_border` renews after every step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel, sum_kernel

__all__ = ["FEW", "draw", "fill_border", "relative_area"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]

FEW = 16.0
"""Mean below which a draw is an exact Poisson number; above it a normal number is bent into shape."""


@sum_kernel
def relative_area(charge: F4, a: F4, out: F4) -> None:
    """out = 1 + a (*) charge, the area of each pixel.

    Parameters
    ----------
    charge : (ny + 2 L, nx + 2 L) [electron]; a : (L + 1, L + 1) [1/electron], [i, j] with i along x, even in both.
    out : (ny, nx), overwritten.
    """
    reach = a.shape[0] - 1
    ny, nx = out.shape
    rows = np.empty(nx + 2 * reach, np.float32)
    for y in range(ny):
        line = out[y]
        line[:] = np.float32(1)
        for j in range(reach + 1):
            up, down = charge[y + reach + j], charge[y + reach - j]
            if j:
                for x in range(rows.size):
                    rows[x] = up[x] + down[x]
            else:
                for x in range(rows.size):
                    rows[x] = up[x]
            middle, c = rows[reach : reach + nx], a[0, j]
            for x in range(nx):
                line[x] += c * middle[x]
            for i in range(1, reach + 1):
                left, right, c = rows[reach - i : reach - i + nx], rows[reach + i : reach + i + nx], a[i, j]
                for x in range(nx):
                    line[x] += c * (left[x] + right[x])


INVERSE = np.zeros(256)
INVERSE[1:] = 1 / np.arange(1, 256)


@kernel
def _poisson(mean: float, uniform: float) -> int:
    """The count at which the distribution function passes `uniform`, a number within 0 … 1."""
    if mean <= 0.0:
        return 0
    left, p, n = uniform, np.exp(-mean), 0
    while left > p and n < 255:
        left -= p
        n += 1
        p *= mean * INVERSE[n]
    return n


@kernel
def draw(charge: F4, area: F4, light: F4, dark: F4, uniform: F8, normal: F4, noisy: bool) -> None:
    """charge += Poisson(area * light + dark), in the part of `charge` inside its border.

    Method       below `FEW` exact Poisson numbers; above, lambda + s z + (z^2 - 1) / 6 + (z - z^3) / (72 s)
                 with s = sqrt(lambda) (Cornish and Fisher 1938). It has the mean and the third moment of Poisson
                 numbers, and their variance but for 10 / 5184 / lambda, 8e-6 of it at 16; it is not a whole number.

    Parameters
    ----------
    area : (ny, nx) relative; light, dark : (ny, nx), or of one row or column, or one number [electron in this step].
    uniform : (ny, nx) numbers within 0 … 1, size 0 where no mean is below `FEW`; normal : (ny, nx) standard normal
        numbers, size 0 where all are.
    noisy : False adds the means.
    """
    ny, nx = area.shape
    reach = (charge.shape[0] - ny) // 2
    ly, lx = int(light.shape[0] > 1), int(light.shape[1] > 1)
    dy, dx = int(dark.shape[0] > 1), int(dark.shape[1] > 1)
    sixth, last = np.float32(1 / 6), np.float32(1 / 72)
    for y in range(ny):
        for x in range(nx):
            mean = max(area[y, x] * light[y * ly, x * lx] + dark[y * dy, x * dx], np.float32(0))
            if not noisy:
                charge[y + reach, x + reach] += mean
            elif normal.size == 0 or (uniform.size and mean < FEW):
                charge[y + reach, x + reach] += np.float32(_poisson(np.float64(mean), uniform[y, x]))
            else:
                z, s = normal[y, x], np.sqrt(mean)
                bent = (z * z - np.float32(1)) * sixth + (z - z * z * z) * (last / s)
                charge[y + reach, x + reach] += mean + (s * z + bent)


@kernel
def fill_border(charge: F4, reach: int, wrap: bool) -> None:
    """Renew the border of `reach` pixels: the opposite edge, or the mirror image in the edge of the last pixel."""
    ny, nx = charge.shape[0] - 2 * reach, charge.shape[1] - 2 * reach
    for k in range(reach):
        low, high = (ny + k, reach + k) if wrap else (2 * reach - 1 - k, ny + reach - 1 - k)
        charge[k, :] = charge[low, :]
        charge[ny + reach + k, :] = charge[high, :]
    for k in range(reach):
        low, high = (nx + k, reach + k) if wrap else (2 * reach - 1 - k, nx + reach - 1 - k)
        charge[:, k] = charge[:, low]
        charge[:, nx + reach + k] = charge[:, high]
