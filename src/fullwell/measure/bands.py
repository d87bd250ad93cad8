"""Stacks read band by band: what `combine` wants of its inputs.

A reader is opened once and asked for rows as they are needed. Frames and arrays in memory and files
(`fullwell.io.bands`) are readers alike; anything else that has these methods will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError, UsageError
from fullwell.frames import Frame

__all__ = ["ArrayBands", "Bands", "FrameBands", "open_all"]


@runtime_checkable
class Bands(Protocol):
    """One image of a stack, read in bands of rows.

    Attributes
    ----------
    name : for messages; shape : (ny, nx); dtype : of the pixels as `image` gives them natively; unit : of the image.
    binning : (x, y); has_variance, has_mask : whether `variance` and `excluded` have something to say.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    unit: str
    binning: tuple[int, int]
    has_variance: bool
    has_mask: bool

    def image(self, y0: int, y1: int, out: NDArray[Any]) -> None:
        """Put rows y0 … y1 - 1 into `out` (y1 - y0, nx), of `dtype` or float32."""

    def variance(self, y0: int, y1: int, out: NDArray[np.float32]) -> None:
        """Put the variance of rows y0 … y1 - 1, unit^2, into `out`."""

    def excluded(self, y0: int, y1: int, planes: Sequence[str]) -> NDArray[np.bool_]:
        """True where a pixel of rows y0 … y1 - 1 carries one of the mask planes named; unknown names are no mask."""

    def close(self) -> None:
        """Let go of files."""


class ArrayBands:
    """A plain array (ny, nx) as a stack reader; `mask` True and NaN mean "no value"."""

    has_variance = False

    def __init__(self, array: NDArray[Any], name: str = "array", unit: str = "") -> None:
        pixels = np.ma.getdata(array)
        if pixels.ndim != 2:
            raise GeometryError(f"an image has two dimensions, this array has {pixels.ndim}", where=name)
        hidden = np.ma.getmask(array)
        self._pixels = pixels
        self._hidden = None if hidden is np.ma.nomask else np.asarray(hidden)
        self.name, self.unit = name, unit
        self.shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        self.dtype = pixels.dtype
        self.binning = (1, 1)
        self.has_mask = self._hidden is not None

    def image(self, y0: int, y1: int, out: NDArray[Any]) -> None:
        """Rows y0 … y1 - 1 into `out`."""
        np.copyto(out, self._pixels[y0:y1], casting="unsafe")

    def variance(self, y0: int, y1: int, out: NDArray[np.float32]) -> None:
        """A plain array has no variance: NaN."""
        out[:] = np.nan

    def excluded(self, y0: int, y1: int, planes: Sequence[str]) -> NDArray[np.bool_]:
        """The mask of a masked array."""
        if self._hidden is None:
            return np.zeros((y1 - y0, self.shape[1]), bool)
        return np.asarray(self._hidden[y0:y1], bool)

    def close(self) -> None:
        """Nothing to close."""


class FrameBands(ArrayBands):
    """A frame as a stack reader."""

    def __init__(self, frame: Frame, name: str = "") -> None:
        label = name or frame.source or frame.observation.obs_id or "frame"
        super().__init__(frame.image.array, label, frame.unit)
        self.frame = frame
        self.binning = frame.observation.binning
        self.has_variance = frame.variance is not None
        self.has_mask = frame.mask is not None

    def variance(self, y0: int, y1: int, out: NDArray[np.float32]) -> None:
        """Rows y0 … y1 - 1 of the variance plane into `out`."""
        if self.frame.variance is None:
            out[:] = np.nan
        else:
            np.copyto(out, self.frame.variance.array[y0:y1], casting="unsafe")

    def excluded(self, y0: int, y1: int, planes: Sequence[str]) -> NDArray[np.bool_]:
        """Pixels with one of `planes`."""
        mask = self.frame.mask
        if mask is None:
            return np.zeros((y1 - y0, self.shape[1]), bool)
        bits = mask.value(*(p for p in planes if p in mask.schema))
        return (mask.array[y0:y1] & np.uint32(bits)) != 0


def open_all(inputs: Sequence[Any]) -> list[Bands]:
    """A reader for each input: frames, arrays, paths, or readers already.

    Raises
    ------
    UsageError
        there is none, or one is of another kind. GeometryError: sizes, binnings or units differ; both are named.
    """
    out: list[Bands] = []
    for number, item in enumerate(inputs):
        if isinstance(item, Frame):
            out.append(FrameBands(item, item.source or item.observation.obs_id or f"frame {number}"))
        elif isinstance(item, (str, Path)):
            from fullwell.io.bands import open_bands

            out.append(open_bands(item))
        elif isinstance(item, np.ndarray):
            out.append(ArrayBands(item, f"array {number}"))
        elif isinstance(item, Bands):
            out.append(item)
        else:
            raise UsageError(
                f"input {number} is a {type(item).__name__}", remedy="give frames, arrays, paths or stack readers"
            )
    if not out:
        raise UsageError("there is nothing to combine", remedy="give at least one frame or file")
    first = out[0]
    for other in out[1:]:
        for label in ("shape", "binning", "unit"):
            a, b = getattr(first, label), getattr(other, label)
            if a != b:
                raise GeometryError(
                    f"the {label} of {first.name} is {a}, that of {other.name} is {b}",
                    where=f"{first.name}, {other.name}",
                    remedy="combine frames of one size, binning and unit; sort the others into a stack of their own",
                )
    return out
