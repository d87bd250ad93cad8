"""Placement: where the read-out rows of each amplifier lie in a stored two-dimensional array.

Pixel (row r, column c) of amplifier a, in read-out order, is element
``offset[a] + r * row_step[a] + c * col_step[a]`` of the flattened array, for any of the eight
orientations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Box, Detector, Orientation

__all__ = ["Placement", "assembled", "raw"]

I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """Offsets and steps (n_amp,) in elements; `height` (n_amp,) rows that exist; `shape` of the array."""

    shape: tuple[int, int]
    offset: I8
    row_step: I8
    col_step: I8
    height: I8

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        boxes: Sequence[Box],
        orientations: Sequence[Orientation],
        sizes: Sequence[tuple[int, int]],
    ) -> Placement:
        """Boxes in the stored array, each holding an array of `sizes` (rows, columns) in read-out order."""
        offset, row_step, col_step = [], [], []
        nx = shape[1]
        for box, turn, size in zip(boxes, orientations, sizes, strict=True):
            ys, xs = turn.point(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), size)
            index = (np.rint(ys).astype(np.int64) + box.y0) * nx + np.rint(xs).astype(np.int64) + box.x0
            offset.append(index[0])
            row_step.append(index[1] - index[0])
            col_step.append(index[2] - index[0])
        height = np.array([size[0] for size in sizes], np.int64)
        return cls(shape, np.array(offset), np.array(row_step), np.array(col_step), height)

    @cached_property
    def zero(self) -> I8:
        """(n_amp,) zeros."""
        return np.zeros_like(self.offset)

    @cached_property
    def transposed(self) -> bool:
        """Whether rows of some amplifier run along columns of the array."""
        return bool(np.any(np.abs(self.col_step) != 1))


def raw(detector: Detector, shape: tuple[int, int] | None = None) -> Placement:
    """Segments in the raw image."""
    return Placement.of(
        shape or detector.raw_box.shape,
        [a.raw for a in detector],
        [a.raw_orientation for a in detector],
        [a.shape for a in detector],
    )


def assembled(detector: Detector, shape: tuple[int, int] | None = None) -> Placement:
    """Data boxes in the assembled image."""
    return Placement.of(
        shape or detector.box.shape,
        [a.trimmed for a in detector],
        [a.orientation for a in detector],
        [a.data.shape for a in detector],
    )
