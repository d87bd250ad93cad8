"""Boxes and the eight orientations of a rectangular array.

All boxes are 0-based and half-open in NumPy terms: ``array[box.slices]``. FITS sections
(1-based, inclusive) exist only in `fullwell.io`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError

__all__ = ["Box", "Orientation"]


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle of pixels: lower-left pixel (x0, y0), width along x, height along y [pixel]."""

    x0: int
    y0: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 0 or self.height < 0:
            raise GeometryError(f"box {self} has a negative size")

    @classmethod
    def from_shape(cls, shape: tuple[int, ...]) -> Box:
        """The box of a whole array of `shape` (ny, nx)."""
        return cls(0, 0, int(shape[1]), int(shape[0]))

    @property
    def x1(self) -> int:
        """First column after the box."""
        return self.x0 + self.width

    @property
    def y1(self) -> int:
        """First row after the box."""
        return self.y0 + self.height

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), the shape of an array that fills the box."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array whose pixel (0, 0) is the origin."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def shifted(self, dx: int, dy: int) -> Box:
        """The same box moved by (dx, dy)."""
        return Box(self.x0 + dx, self.y0 + dy, self.width, self.height)

    def contains(self, other: Box) -> bool:
        """Whether `other` lies inside."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def intersection(self, other: Box) -> Box:
        """The common part; width and height 0 where there is none."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, max(0, min(self.x1, other.x1) - x0), max(0, min(self.y1, other.y1) - y0))

    def __str__(self) -> str:
        return f"[x {self.x0}..{self.x1 - 1}, y {self.y0}..{self.y1 - 1}]"


@dataclass(frozen=True)
class Orientation:
    """How an array in read-out order lies in another frame.

    ``target = read-out; transposed if asked; then columns reversed; then rows reversed``.
    """

    flip_x: bool = False
    flip_y: bool = False
    transpose: bool = False

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a read-out-ordered array in the target's order."""
        view = array.T if self.transpose else array
        if self.flip_x:
            view = view[:, ::-1]
        return view[::-1] if self.flip_y else view

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a target-ordered array in read-out order: the inverse of `apply`."""
        view = array[::-1] if self.flip_y else array
        if self.flip_x:
            view = view[:, ::-1]
        return view.T if self.transpose else view

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Shape in the target of an array of `shape` in read-out order."""
        return (shape[1], shape[0]) if self.transpose else shape

    def box(self, inner: Box, shape: tuple[int, int]) -> Box:
        """Where `inner`, a box of a read-out array of `shape`, lies in the target array."""
        ny, nx = self.shape(shape)
        x0, y0, w, h = inner.x0, inner.y0, inner.width, inner.height
        if self.transpose:
            x0, y0, w, h = y0, x0, h, w
        if self.flip_x:
            x0 = nx - x0 - w
        if self.flip_y:
            y0 = ny - y0 - h
        return Box(x0, y0, w, h)

    def undo_box(self, outer: Box, shape: tuple[int, int]) -> Box:
        """Where `outer`, a box of the target array, lies in the read-out array of `shape`."""
        ny, nx = self.shape(shape)
        x0, y0, w, h = outer.x0, outer.y0, outer.width, outer.height
        if self.flip_y:
            y0 = ny - y0 - h
        if self.flip_x:
            x0 = nx - x0 - w
        return Box(y0, x0, h, w) if self.transpose else Box(x0, y0, w, h)

    @property
    def corner(self) -> str:
        """Corner of the target where the first pixel read lies: LL, LR, UL or UR."""
        return ("U" if self.flip_y else "L") + ("R" if self.flip_x else "L")

    def point(self, y: NDArray[np.float64], x: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Any, Any]:
        """Read-out coordinates (y, x) to target coordinates; `shape` is the read-out shape."""
        ny, nx = self.shape(shape)
        if self.transpose:
            y, x = x, y
        if self.flip_x:
            x = nx - 1 - x
        if self.flip_y:
            y = ny - 1 - y
        return y, x
