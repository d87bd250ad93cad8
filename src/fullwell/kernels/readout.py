"""Read-out of simulated charge: bleeding along columns, the bend of a non-linear channel, the converter.

Arrays are one amplifier's pixels in read-out order, (rows, columns) float32, changed in place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["bend", "bleed", "digitise"]

F4 = NDArray[np.float32]


@kernel
def bleed(charge: F4, full_well: float) -> float:
    """Charge above `full_well` [electron] moves along its column, half each way, until it finds room.

    What reaches the last row (the middle of the sensor) turns back; what passes row 0 drains into
    the serial register. Returns the drained charge, so that the sum is conserved.
    """
    rows, columns = charge.shape
    drained = 0.0
    for x in range(columns):
        for y in range(rows):
            excess = float(charge[y, x]) - full_well
            if excess <= 0.0:
                continue
            charge[y, x] = full_well
            carry = 0.5 * excess
            i = y + 1
            while i < rows and carry > 0.0:
                room = full_well - charge[i, x]
                if room > 0.0:
                    step = min(room, carry)
                    charge[i, x] += step
                    carry -= step
                i += 1
            carry += 0.5 * excess
            i = y - 1
            while i >= 0 and carry > 0.0:
                room = full_well - charge[i, x]
                if room > 0.0:
                    step = min(room, carry)
                    charge[i, x] += step
                    carry -= step
                i -= 1
            drained += carry
    return drained


@kernel
def bend(signal: F4, coefficients: NDArray[np.float64]) -> None:
    """Replace true signals s by the recorded v that solves ``s = v + sum_i coefficients[i] * v**(i + 2)``.

    Newton's method from v = s; five steps leave less than float32 rounding for departures up to 20 %.
    """
    flat = signal.reshape(-1)
    order = coefficients.size
    for k in range(flat.size):
        s = np.float64(flat[k])
        v = s
        for _ in range(5):
            p, slope = 0.0, 0.0
            for i in range(order - 1, -1, -1):
                p = p * v + coefficients[i]
                slope = slope * v + coefficients[i] * (i + 2)
            step = (v + v * v * p - s) / (1.0 + v * slope)
            v -= step
            if abs(step) <= 1e-7 * abs(s):
                break
        flat[k] = np.float32(v)


@kernel
def digitise(signal: F4, noise: F4, sigma: float, inverse_gain: float, offset: F4, top: float, steps: bool) -> None:
    """signal [electron] -> counts: ``round((signal + sigma * noise) * inverse_gain + offset[row])`` within 0 … top.

    `noise` holds standard normal numbers, size 0 for none. With `steps` False the counts are neither
    rounded nor clipped.
    """
    rows, columns = signal.shape
    scale, sig = np.float32(inverse_gain), np.float32(sigma)
    high = np.float32(top)
    for y in range(rows):
        row, level = signal[y], offset[y]
        if noise.size:
            numbers = noise[y]
            for x in range(columns):
                row[x] = (row[x] + sig * numbers[x]) * scale + level
        else:
            for x in range(columns):
                row[x] = row[x] * scale + level
        if steps:
            for x in range(columns):
                row[x] = min(max(np.rint(row[x]), np.float32(0)), high)
