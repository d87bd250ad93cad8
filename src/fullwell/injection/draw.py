"""Sources drawn into the planes of a frame, band by band of rows.

Bands lie at fixed rows of the detector and every pixel of every source has its own random numbers, so that cut-outs,
threads and the order of sources give the same pixels, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame
from fullwell.frames.psf import Psf
from fullwell.injection.catalog import Sources, Status
from fullwell.injection.effective_gain import EffectiveGain
from fullwell.kernels import stamps

__all__ = ["BAND", "CONVENTIONS", "NOISES", "Painter", "Stamp", "draw"]

_kernels: Any = stamps
BAND = 256
"""Rows of a band."""
CHUNK = 512
"""Point sources of one call where each has a PSF of its own."""
NOISES = {"none": 0, "poisson": 1, "gaussian": 2}
CONVENTIONS = {"none": 0, "realised": 1, "expected": 2}
EMPTY = np.zeros((0, 0), np.float32)
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stamp:
    """A finished picture of one source: `array` (h, w) of sum 1, its pixel [0, 0] at pixel (x0, y0) of the detector."""

    array: F8
    x0: int
    y0: int


@dataclass(frozen=True, eq=False)
class Painter:
    """What all bands share.

    Parameters
    ----------
    frame : with its own planes, changed in place; its mask has the planes of `bits`. gain : covers the frame.
    sources : all; `keys` (n,) uint64 of their random numbers. psf : of the points. scale : (n,) what a stamp of sum 1
        is multiplied by, so that the flux is that in an aperture; 1 without one.
    picture : the stamp of an extended source by its number.
    bits, noise, convention, faint : as of `kernels.stamps`. well : full well [electron] of rows of the frame.
    extents : (n, 4) x0, y0, x1, y1 of the stamps on the detector.
    """

    frame: Frame
    gain: EffectiveGain
    sources: Sources
    keys: NDArray[np.uint64]
    psf: Psf | None
    scale: F8
    extents: NDArray[np.int64]
    picture: Callable[[int], Stamp]
    bits: NDArray[np.uint32]
    noise: int
    convention: int
    faint: float
    well: Callable[[slice], F4]

    def band(self, r0: int, r1: int) -> tuple[NDArray[np.int64], F8]:
        """Draw rows r0 … r1 - 1 of the detector: (numbers of the sources that reach into them, their sums (n, 4))."""
        box = self.frame.box
        rows = slice(r0 - box.y0, r1 - box.y0)
        x0, y0, x1, y1 = self.extents.T
        reach = self.sources.drawn() & (y0 < r1) & (y1 > r0) & (x0 < box.x1) & (x1 > box.x0)
        numbers = np.nonzero(reach)[0]
        sums = np.zeros((numbers.size, 4))
        if numbers.size == 0:
            return numbers, sums
        shape = (r1 - r0, box.width)
        planes: Any = (*(np.zeros(shape) for _ in range(3)), np.zeros(shape, np.uint8))
        gain = self.gain.of(box)[rows]
        origin = np.array([r0, box.x0], np.int64)
        points = self.sources.kind[numbers] == "star"
        at = np.nonzero(points)[0]
        for tables, which, part in self._tables(numbers[at]):
            own = numbers[at[part]]
            some = np.zeros((own.size, 4))
            _kernels.lay_points(
                tables, which, self._sampling(), self._halves(own), (self.sources.flux * self.scale)[own],
                self.sources.y[own] - r0, self.sources.x[own] - box.x0, gain, origin, self.sources.id[own],
                self.keys[own], self.noise, *planes, some,
            )  # fmt: skip
            sums[at[part]] = some
        for place in np.nonzero(~points)[0]:
            i = int(numbers[place])
            stamp = self.picture(i)
            _kernels.lay(
                stamp.array, float(self.sources.flux[i]), stamp.y0 - r0, stamp.x0 - box.x0, gain, origin,
                self.sources.id[i], self.keys[i], self.noise, *planes, sums[place],
            )  # fmt: skip
        self._settle(rows, gain, planes)
        return numbers, sums

    def _sampling(self) -> int:
        return self.psf.sampling if self.psf else 1

    def _halves(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        own = self.sources.draw_half[numbers]
        return np.where(own > 0, own, self.psf.half if self.psf else 0)

    def _tables(self, numbers: NDArray[np.int64]) -> Iterator[tuple[F8, NDArray[np.int64], slice]]:
        """Padded tables of the PSF, which of them each source takes, and the part of `numbers` that they are for."""
        if numbers.size == 0 or self.psf is None:
            return
        half = int(self._halves(numbers).max())
        margin = stamps.MARGIN
        if self.psf.constant:
            table = np.pad(self.psf.table(0, 0, half), margin + self.psf.sampling)
            yield table[None], np.zeros(numbers.size, np.int64), slice(0, numbers.size)
            return
        for start in range(0, numbers.size, CHUNK):
            part = numbers[start : start + CHUNK]
            places = zip(self.sources.x[part], self.sources.y[part], strict=True)
            tables = np.stack([np.pad(self.psf.table(x, y, half), margin + self.psf.sampling) for x, y in places])
            yield tables, np.arange(part.size), slice(start, start + part.size)

    def _settle(self, rows: slice, gain: F4, planes: tuple[Any, ...]) -> None:
        frame, own = self.frame, self.gain
        assert frame.mask is not None
        y, x = frame.box.y0 - own.box.y0, frame.box.x0 - own.box.x0
        part = (slice(y + rows.start, y + rows.stop), slice(x, x + frame.box.width))

        def plane(value: Any) -> F4:
            return np.asarray(value[part] if isinstance(value, np.ndarray) else np.full((1, 1), value), np.float32)

        _kernels.settle(
            frame.image.array[rows],
            EMPTY if frame.variance is None else frame.variance.array[rows],
            frame.mask.array[rows],
            gain,
            plane(np.nan_to_num(own.background) if isinstance(own.background, float) else own.background),
            EMPTY if own.flat_variance is None else plane(own.flat_variance),
            self.well(rows),
            *planes,
            self.bits,
            self.convention,
            self.faint,
        )


def draw(painter: Painter, jobs: int = 1) -> F8:
    """Draw all sources into the frame of `painter`; (n, 4) sums of each source, as `kernels.stamps.lay` has them."""
    box = painter.frame.box
    edges = [box.y0, *range((math.floor(box.y0 / BAND) + 1) * BAND, box.y1, BAND), box.y1]
    bands = list(pairwise(edges))
    if jobs > 1:
        with ThreadPoolExecutor(jobs) as pool:
            done = list(pool.map(lambda band: painter.band(*band), bands))
    else:
        done = [painter.band(*band) for band in bands]
    sums = np.zeros((len(painter.sources), 4))
    for numbers, part in done:
        sums[numbers] += part
    x0, y0, x1, y1 = painter.extents.T
    inside = (x0 < box.x1) & (x1 > box.x0) & (y0 < box.y1) & (y1 > box.y0)
    drawn = painter.sources.drawn()
    painter.sources.status[drawn & ~inside] |= int(Status.NO_OVERLAP)
    whole = (x0 >= box.x0) & (x1 <= box.x1) & (y0 >= box.y0) & (y1 <= box.y1)
    painter.sources.status[drawn & inside & ~whole] |= int(Status.PARTIAL)
    return sums
