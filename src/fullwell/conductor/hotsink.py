"""A sink that writes finished blocks straight into a FITS file, so that no plane is ever whole in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.cameras import Detector
from fullwell.conductor.block import Block
from fullwell.conductor.layout import Layout
from fullwell.kernels import transfer

if TYPE_CHECKING:
    from fullwell.io.hotwrite import MappedWriter

__all__ = ["HotSink", "why_not_tiles"]

I8 = NDArray[np.int64]


@dataclass(frozen=True)
class _Band:
    """Amplifiers side by side that fill the same rows of the image from edge to edge.

    `start`, `width` : their columns in a block; `column` : where the first pixel read of a row lies in the
    image; `step` : +1 or -1 along the row; `y0`, `height` : rows of the image; `down` : rows run downwards.
    """

    start: I8
    width: I8
    column: I8
    step: I8
    y0: int
    height: int
    down: bool


def _bands(detector: Detector) -> list[_Band]:
    """The bands of a detector; raises GeometryError where its amplifiers do not form any."""
    groups: dict[tuple[int, int, bool], list[int]] = {}
    for i, amp in enumerate(detector):
        if amp.orientation.transpose:
            raise GeometryError(f"amplifier {amp.name} reads along columns of the image")
        groups.setdefault((amp.trimmed.y0, amp.trimmed.height, amp.orientation.flip_y), []).append(i)
    layout = Layout(detector, "data")
    amps = detector.amplifiers
    bands = []
    for (y0, height, down), members in groups.items():
        spans = sorted((amps[i].trimmed.x0, amps[i].trimmed.x1) for i in members)
        edges = [0, *(x1 for _, x1 in spans)]
        if [x0 for x0, _ in spans] != edges[:-1] or edges[-1] != detector.box.width:
            names = ", ".join(amps[i].name for i in members)
            raise GeometryError(f"amplifiers {names} do not fill their rows from edge to edge")
        turned = [amps[i].orientation.flip_x for i in members]
        boxes = [amps[i].trimmed for i in members]
        bands.append(
            _Band(
                layout.start[members],
                layout.width[members],
                np.array([b.x1 - 1 if t else b.x0 for b, t in zip(boxes, turned, strict=True)], np.int64),
                np.where(turned, -1, 1).astype(np.int64),
                y0,
                height,
                down,
            )
        )
    if sum(b.height for b in bands) != detector.box.height:
        raise GeometryError("the amplifiers do not fill the image")
    return bands


def why_not_tiles(detector: Detector) -> str:
    """Why `HotSink` cannot be used for this detector; "" if it can."""
    try:
        _bands(detector)
    except GeometryError as error:
        return error.problem
    return ""


class HotSink:
    """Finished blocks as tiles of the planes IMAGE, MASK, VARIANCE (and ``VAR_<NAME>``) of a `MappedWriter`.

    A plane that the writer does not have is dropped.

    Raises
    ------
    GeometryError
        the rows of a block are not whole rows of the image: use `MemorySink` and the general writer.
    """

    def __init__(self, detector: Detector, writer: MappedWriter) -> None:
        try:
            self.bands = _bands(detector)
        except GeometryError as error:
            raise GeometryError(
                f"blocks cannot be written as tiles: {error.problem}",
                where=f"detector {detector.name}",
                remedy="collect the planes in memory (MemorySink) and write them with fullwell.io.write_frame",
            ) from None
        self.writer = writer
        self.columns = detector.box.width
        self._steps: dict[tuple[int, int], I8] = {}

    def _places(self, number: int, n: int) -> I8:
        """Where the amplifiers of a band go in a tile of `n` rows, as `transfer.store_swapped` takes it."""
        have = self._steps.get((number, n))
        if have is None:
            band, nx = self.bands[number], self.columns
            offset = band.column + (n - 1) * nx if band.down else band.column
            row_step = np.full(offset.size, -nx if band.down else nx)
            have = np.stack([band.start, band.width, offset, row_step, band.step], 1).astype(np.int64)
            self._steps[number, n] = have
        return have

    def store(self, block: Block) -> None:
        """Swap, sum and write one finished block; safe from any thread."""
        planes: dict[str, NDArray[Any]] = {"IMAGE": block.image}
        planes.update({f"VAR_{name.upper()}": part for name, part in block.components.items()})
        if "MASK" in self.writer:
            planes["MASK"] = block.start_mask()
        if "VARIANCE" in self.writer:
            planes["VARIANCE"] = block.start_variance()
        row = block.r0 - block.layout.data_rows[0]
        tiles = self._tiles(block, row)
        for name, array in planes.items():
            if name in self.writer:
                words = array.view(np.uint32)
                for n, places, tile, at in tiles:
                    total = transfer.store_swapped(words if n == block.n else words[:n], places, tile)
                    self.writer.write_tile(name, at, tile, total)

    def _tiles(self, block: Block, row: int) -> list[tuple[int, I8, NDArray[np.uint32], int]]:
        """Of each band with rows from `row` on: how many, places of its amplifiers, its tile, the tile's image row."""
        out = []
        for number, band in enumerate(self.bands):
            n = min(block.n, band.height - row)
            if n > 0:
                tile = block.buffers.get("tile", (n, self.columns), np.uint32)
                at = band.y0 + (band.height - row - n if band.down else row)
                out.append((n, self._places(number, n), tile, at))
        return out
