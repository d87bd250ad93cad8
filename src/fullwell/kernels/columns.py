"""Arithmetic with one value per column of a block (parallel overscan)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["add_columns"]

F4 = NDArray[np.float32]


@kernel
def add_columns(image: F4, values: F4, sign: np.float32) -> None:
    """image += sign * values, with `values` (C,) the same in every row of `image` (n, C)."""
    for r in range(image.shape[0]):
        row = image[r]
        for c in range(values.size):
            row[c] += sign * values[c]
