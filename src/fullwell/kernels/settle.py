"""After a combination: how many valid values the pixels had, the factors of their variances, the mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["scale", "tally", "write_mask"]

F4 = NDArray[np.float32]
U2 = NDArray[np.uint16]
U4 = NDArray[np.uint32]


@kernel
def tally(count: U2, rejected: U2) -> NDArray[np.int64]:
    """How many pixels have 0, 1, 2 … valid values, kept or rejected, up to the largest such number."""
    least, most = np.int32(131070), np.int32(0)
    for p in range(count.size):
        number = np.int32(count[p]) + np.int32(rejected[p])
        least, most = min(least, number), max(most, number)
    found = np.zeros(np.int64(most) + 1, np.int64)
    if least == most:
        found[most] = count.size
    else:
        for p in range(count.size):
            found[np.int64(count[p]) + np.int64(rejected[p])] += 1
    return found


@kernel
def scale(plane: F4, count: U2, rejected: U2, factors: F4) -> None:
    """Multiply a plane by the factor of its pixels' number of valid values; one factor alone is for all."""
    if factors.size == 1:
        for p in range(plane.size):
            plane[p] *= factors[0]
    else:
        for p in range(plane.size):
            plane[p] *= factors[np.int64(count[p]) + np.int64(rejected[p])]


@kernel
def write_mask(count: U2, rejected: U2, lost: int, empty: int, mask: U4) -> None:
    """mask = the bits `lost` where values were rejected and `empty` where none is left, else 0."""
    some, none = np.uint32(lost), np.uint32(empty)
    for p in range(mask.size):
        bits = some if rejected[p] > 0 else np.uint32(0)
        mask[p] = bits | none if count[p] == 0 else bits
