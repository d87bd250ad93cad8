"""Sources and sinks of blocks in memory: a stored array in, assembled planes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Detector
from fullwell.conductor.block import Block
from fullwell.conductor.layout import Layout
from fullwell.conductor.placement import Placement, assembled, raw
from fullwell.frames import bit
from fullwell.kernels import transfer

if TYPE_CHECKING:
    from fullwell.io.hot import MappedRaw

__all__ = ["ArraySource", "FrameSource", "MemorySink", "Sink", "Source", "gather", "scatter"]


STREAMED = 1 << 22
"""Bytes of a plane from which on blocks are stored past the cache: it would not stay there anyhow."""


class Source(Protocol):
    """Fills the planes of a block."""

    def load(self, block: Block) -> None:
        """Fill ``block.image`` (and mask and variance where the source has them)."""


class Sink(Protocol):
    """Takes finished blocks."""

    def store(self, block: Block) -> None:
        """Take the planes of a block in the data layout."""


class ArraySource:
    """A raw image in memory, or mapped from a file.

    Parameters
    ----------
    flat : the stored pixels as a one-dimensional array.
    placement : of the segments in it.
    code : how the numbers are stored (`kernels.transfer`).
    """

    def __init__(self, flat: NDArray[Any], placement: Placement, code: int = transfer.NATIVE) -> None:
        self.flat = flat
        self.placement = placement
        self.code = code
        self._offsets: dict[str, Any] = {}

    @classmethod
    def of_image(cls, image: NDArray[Any], detector: Detector) -> ArraySource:
        """A raw image (ny, nx) of native byte order, not copied when contiguous."""
        native = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
        return cls(native.reshape(-1), raw(detector, image.shape))

    @classmethod
    def of_mapped(cls, mapped: MappedRaw) -> ArraySource:
        """A raw file mapped by `io.hot`, one HDU or one per amplifier; decoded as blocks are filled."""
        own = [Placement.of(s.shape, [s.box], [s.orientation], [s.size]) for s in mapped.segments]
        first = np.array([s.first for s in mapped.segments], np.int64)
        place = Placement(
            mapped.segments[0].shape,
            first + np.concatenate([p.offset for p in own]),
            np.concatenate([p.row_step for p in own]),
            np.concatenate([p.col_step for p in own]),
            np.concatenate([p.height for p in own]),
        )
        return cls(mapped.flat, place, mapped.code)

    @property
    def largest(self) -> float:
        """The largest number that pixels of 8 or 16 bits can hold: the full scale of their converter; else NaN."""
        own = {
            transfer.NATIVE: self.flat.dtype,
            transfer.SWAP16: np.dtype(np.int16),
            transfer.SWAP16U: np.dtype(np.uint16),
        }
        kind = own.get(self.code, np.dtype(np.float32))
        return float(np.iinfo(kind).max) if kind.kind in "iu" and kind.itemsize <= 2 else float("nan")

    def load(self, block: Block) -> None:
        """Decode rows ``r0 … r1 - 1`` of all segments into ``block.image``."""
        place, layout = self.placement, block.layout
        if layout.part not in self._offsets:
            self._offsets[layout.part] = place.offset + layout.first * place.col_step
        transfer.load_rows(
            self.flat,
            self.code,
            self._offsets[layout.part],
            place.row_step,
            place.col_step,
            layout.start,
            layout.width,
            block.r0 - layout.shift,
            place.height,
            block.image,
        )


def gather(
    plane: NDArray[Any],
    layout: Layout,
    place: Placement,
    row: int,
    out: NDArray[Any],
    low: NDArray[np.int64] | None = None,
    height: NDArray[np.int64] | None = None,
) -> None:
    """Rows ``row …`` of an assembled plane into a block array of the same type; rows ``low … height - 1`` exist."""
    transfer.gather_rows(
        np.ascontiguousarray(plane).reshape(-1),
        place.offset,
        place.row_step,
        place.col_step,
        layout.start,
        layout.width,
        row,
        place.zero if low is None else low,
        layout.data_height if height is None else height,
        out,
    )


def scatter(
    array: NDArray[Any],
    layout: Layout,
    place: Placement,
    row: int,
    plane: NDArray[Any],
    low: NDArray[np.int64] | None = None,
    height: NDArray[np.int64] | None = None,
) -> None:
    """Block rows ``row …`` into an assembled C-contiguous plane of the same type; rows ``low … height - 1`` exist."""
    move, out = transfer.store_rows, plane.reshape(-1)
    if (
        plane.nbytes >= STREAMED
        and array.dtype == plane.dtype
        and plane.itemsize == 4
        and not place.transposed
        and array.flags.c_contiguous
    ):
        move, array, out = transfer.stream_rows, array.view(np.uint32), out.view(np.uint32)
    move(
        array,
        layout.start,
        layout.width,
        place.offset,
        place.row_step,
        place.col_step,
        row,
        place.zero if low is None else low,
        layout.data_height if height is None else height,
        out,
    )


class FrameSource:
    """Assembled planes in memory, read as blocks of the data layout."""

    def __init__(
        self,
        detector: Detector,
        image: NDArray[np.float32],
        variance: NDArray[np.float32] | None = None,
        mask: NDArray[np.uint32] | None = None,
        components: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        self.placement = assembled(detector, (image.shape[0], image.shape[1]))
        self.components = dict(components or {})
        self.image, self.variance, self.mask = image, variance, mask

    def load(self, block: Block) -> None:
        """Fill all planes that the frame has."""
        row = block.r0 - block.layout.data_rows[0]
        gather(self.image, block.layout, self.placement, row, block.image)
        if self.variance is not None:
            gather(self.variance, block.layout, self.placement, row, block.variance)
            block.has_variance = True
        if self.mask is not None:
            gather(self.mask, block.layout, self.placement, row, block.mask)
            block.has_mask = True
        for name, plane in self.components.items():
            part = block.component(name)
            if part is not None:
                gather(plane, block.layout, self.placement, row, part)


class MemorySink:
    """Assembled planes in new memory: ``image``, ``variance`` (zeros if no step made one), ``mask``.

    Pixels that belong to no amplifier are NaN and NO_DATA. Variance along rows that no step has put into the
    variance plane is put there.
    """

    def __init__(self, detector: Detector, variance: bool = True) -> None:
        shape = detector.box.shape
        self.placement = assembled(detector, shape)
        self.image = np.empty(shape, np.float32)
        self.mask = np.empty(shape, np.uint32)
        self.variance: NDArray[np.float32] | None = np.empty(shape, np.float32) if variance else None
        self.components: dict[str, NDArray[np.float32]] = {}
        if sum(amp.trimmed.area for amp in detector) < detector.box.area:
            self.image[:], self.mask[:] = np.nan, bit("NO_DATA")
            if self.variance is not None:
                self.variance[:] = np.nan

    def store(self, block: Block) -> None:
        """Place one finished block."""
        row = block.r0 - block.layout.data_rows[0]
        scatter(block.image, block.layout, self.placement, row, self.image)
        scatter(block.start_mask(), block.layout, self.placement, row, self.mask)
        if self.variance is not None:
            block.settle_rows()
            scatter(block.start_variance(), block.layout, self.placement, row, self.variance)
        for name, values in block.components.items():
            plane = self.components.get(name)
            if plane is None:
                plane = self.components.setdefault(name, np.zeros(self.image.shape, np.float32))
            scatter(values, block.layout, self.placement, row, plane)
