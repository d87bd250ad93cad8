"""Uniform random numbers that depend on a key and a pixel's place alone, and rounding to counts.

A counter is hashed, so that any part of an image gets the same numbers whatever the block, the
strip or the thread that asks. The row's key is 64 bits (SplitMix64 of seed, amplifier and row;
Steele, Lea and Flood 2014); its two halves enter a 32-bit mixer (constants of C. Wellons' prospector
search) before and after the first multiplication, so that two rows do not repeat each other shifted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["add_uniform", "quantise"]

F4 = NDArray[np.float32]
I8 = NDArray[np.int64]


@kernel
def _mix(z: np.uint64) -> np.uint64:
    """SplitMix64's output function."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def add_uniform(image: F4, start: I8, width: I8, first: I8, row: I8, seed: np.uint64, low: np.float32) -> None:
    """image += u with u uniform in ``low … low + 1`` (24 bits).

    Parameters
    ----------
    image : (n, C); column ``start[a] + c`` is segment column ``first[a] + c`` of amplifier a.
    row : (n_amp,), segment row of the block's first row.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    scale = np.float32(2.0**-24)
    for r in range(image.shape[0]):
        for a in range(start.size):
            key = _mix(seed + golden * (np.uint64(a) + np.uint64(1)))
            key = _mix(key + golden * np.uint64(row[a] + r + (1 << 20)))
            k0, k1 = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
            values = image[r, start[a] : start[a] + width[a]]
            base = np.uint32(first[a])
            for c in range(values.size):
                x = np.uint32(np.uint32(np.uint32(c) + base) * np.uint32(0x9E3779B1)) + k0
                x = np.uint32(x)
                x ^= x >> np.uint32(16)
                x = np.uint32(x * np.uint32(0x7FEB352D)) ^ k1
                x ^= x >> np.uint32(15)
                x = np.uint32(x * np.uint32(0x846CA68B))
                x ^= x >> np.uint32(16)
                values[c] += np.float32(np.int32(x >> np.uint32(8))) * scale + low


@kernel
def quantise(image: F4, offset: np.float32) -> None:
    """image = floor(image + offset): 0.5 rounds, 0 cuts off, 1 (less at integers) rounds up."""
    flat = image.reshape(-1)
    for i in range(flat.size):
        flat[i] = np.floor(flat[i] + offset)
