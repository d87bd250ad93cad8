"""FITS words: big-endian numbers to native ones and back.

Arrays are flat and contiguous. Words are given as unsigned integers of their size, whatever they stand for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["decode16", "decode32"]

U2 = NDArray[np.uint16]
U4 = NDArray[np.uint32]


@kernel
def decode16(stored: U2, flip: int, out: U2) -> None:
    """out = byte-swapped `stored`; the bits `flip` are inverted (0x8000 for BZERO 32768, else 0)."""
    f = np.uint16(flip)
    for i in range(out.size):
        v = stored[i]
        out[i] = np.uint16((v << np.uint16(8)) | (v >> np.uint16(8))) ^ f


@kernel
def decode32(stored: U4, out: U4) -> None:
    """out = byte-swapped `stored`."""
    for i in range(out.size):
        w = stored[i]
        out[i] = (
            (w << np.uint32(24))
            | ((w & np.uint32(0xFF00)) << np.uint32(8))
            | ((w >> np.uint32(8)) & np.uint32(0xFF00))
            | (w >> np.uint32(24))
        )
