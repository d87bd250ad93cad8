"""A file of a stack, opened once and read in bands of rows.

Plain files are mapped: a band is decoded from the pages it lies in, and nothing is held. Anything else (compressed,
scaled, several HDUs, pictures) is read once as `fullwell.io.read` does and laid down decoded in a temporary file
without a name, which the system removes with the process, so that a long stack needs no memory either.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame, Mask
from fullwell.frames.planes import PLANES
from fullwell.io.fitsfile import FitsFile, Hdu, open_fits, sniff
from fullwell.io.framefile import _planes, is_ccddata, is_layout, read_keys
from fullwell.io.keywords import unit_name
from fullwell.io.layout import mask_of
from fullwell.io.reading import read
from fullwell.kernels import words

__all__ = ["FileBands", "open_bands"]

_PLAIN = {(8, 0.0): "u1", (16, 0.0): "i2", (16, 32768.0): "u2", (32, 0.0): "i4", (-32, 0.0): "f4", (-64, 0.0): "f8"}


class _Stored:
    """One plane (ny, nx) in a mapped file, as it is stored there."""

    def __init__(self, buffer: Any, hdu: Hdu) -> None:
        assert hdu.shape is not None
        self.shape = (hdu.shape[0], hdu.shape[1])
        self.dtype = np.dtype(_PLAIN[hdu.bitpix, hdu.bzero])
        self._flip = 0x8000 if hdu.bzero else 0
        count = self.shape[0] * self.shape[1]
        raw = np.dtype(f">{'f' if hdu.bitpix < 0 else 'u'}{abs(hdu.bitpix) // 8}")
        if self.dtype.kind == "i":
            raw = np.dtype(f">i{self.dtype.itemsize}")
        self.stored = np.frombuffer(buffer, raw, count, hdu.offset).reshape(self.shape)

    def rows(self, y0: int, y1: int, out: NDArray[Any]) -> None:
        part = self.stored[y0:y1]
        if self.dtype.itemsize == 2 and out.dtype == self.dtype and out.flags.c_contiguous:
            words.decode16(part.reshape(-1).view(np.uint16), self._flip, out.reshape(-1).view(np.uint16))
        elif self._flip:
            out[:] = part.astype(np.uint16) ^ np.uint16(self._flip)
        else:
            out[:] = part


class _Spooled:
    """One plane laid down decoded in a temporary file without a name."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self.dtype = array.dtype
        with tempfile.TemporaryFile(prefix="fullwell-") as handle:
            array.tofile(handle)
            handle.flush()
            buffer = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self.stored = np.frombuffer(buffer, array.dtype).reshape(self.shape)

    def rows(self, y0: int, y1: int, out: NDArray[Any]) -> None:
        out[:] = self.stored[y0:y1]


class FileBands:
    """A file as a stack reader (the protocol `fullwell.measure.bands.Bands`); made by `open_bands`."""

    def __init__(
        self,
        name: str,
        image: _Stored | _Spooled,
        variance: _Stored | _Spooled | None,
        mask: _Stored | _Spooled | None,
        schema: dict[str, int],
        unit: str,
        binning: tuple[int, int],
        held: ExitStack,
    ) -> None:
        self.name, self.unit, self.binning = name, unit, binning
        self.shape, self.dtype = image.shape, image.dtype
        self.has_variance, self.has_mask = variance is not None, mask is not None
        self._image: _Stored | _Spooled | None = image
        self._variance, self._mask, self._schema, self._held = variance, mask, schema, held

    def image(self, y0: int, y1: int, out: NDArray[Any]) -> None:
        """Rows y0 … y1 - 1 into `out` (y1 - y0, nx), of the file's type or float32."""
        assert self._image is not None, "the reader is closed"
        self._image.rows(y0, y1, out)

    def variance(self, y0: int, y1: int, out: NDArray[np.float32]) -> None:
        """Variance of rows y0 … y1 - 1 into `out`; NaN where the file has none."""
        if self._variance is None:
            out[:] = np.nan
        else:
            self._variance.rows(y0, y1, out)

    def excluded(self, y0: int, y1: int, planes: Sequence[str]) -> NDArray[np.bool_]:
        """True where a pixel of rows y0 … y1 - 1 carries one of `planes`, by the file's own names."""
        if self._mask is None:
            return np.zeros((y1 - y0, self.shape[1]), bool)
        bits = sum(1 << self._schema[p] for p in planes if p in self._schema)
        return (self._mask.stored[y0:y1] & self._mask.stored.dtype.type(bits)) != 0

    def close(self) -> None:
        """Let go of the file."""
        self._image = self._variance = self._mask = None
        self._held.close()


def open_bands(path: str | os.PathLike[str]) -> FileBands:
    """Open a file for reading in bands: raw or corrected frames, image products, CCDData, pictures.

    Raises
    ------
    FileError, HeaderError
        as `fullwell.io.read`.
    """
    if sniff(path) in ("png", "tiff"):
        return _spooled(read(path), str(path))
    held = ExitStack()
    try:
        file = held.enter_context(open_fits(path))
        mapped = _mapped(file, held)
    except BaseException:
        held.close()
        raise
    if mapped is not None:
        return mapped
    held.close()
    return _spooled(read(path), str(path))


def _mapped(file: FitsFile, held: ExitStack) -> FileBands | None:
    """A reader on the mapped file; None where a plane is not stored plainly."""
    if not isinstance(file.buffer, mmap.mmap):
        return None
    if is_layout(file):
        planes = {k: v for k, v in _planes(file).items() if k in ("IMAGE", "VARIANCE", "MASK")}
    elif is_ccddata(file) or len(file.images()) != 1:
        return None
    else:
        planes = {"IMAGE": file.images()[0]}
    for hdu in planes.values():
        known = (hdu.bitpix, hdu.bzero) in _PLAIN and hdu.bscale == 1
        if hdu.kind != "image" or not known or len(hdu.shape or ()) != 2 or "BLANK" in hdu.header:
            return None
    image = planes["IMAGE"]
    unit = unit_name(image.header.get("BUNIT") or file.hdus[0].header.get("LSST ISR UNITS")) or "adu"
    schema: dict[str, int] = {}
    mask = None
    if "MASK" in planes:
        hdu = planes["MASK"]
        mask = _Stored(file.buffer, hdu)
        schema = mask_of(np.zeros((1, 1), np.int32), hdu.header, f"{file.path}, {hdu.label}").schema
    variance = _Stored(file.buffer, planes["VARIANCE"]) if "VARIANCE" in planes else None
    return FileBands(
        file.path, _Stored(file.buffer, image), variance, mask, schema, unit, _binning(file), held
    )  # fmt: skip


def _binning(file: FitsFile) -> tuple[int, int]:
    """(x, y) as the instrument says."""
    observation = read_keys(file).get("observation")
    if observation is None:
        from fullwell import instruments

        headers = file.headers()
        observation = instruments.identify(headers).observation(headers)
    x, y = observation.binning
    return int(x), int(y)


def _spooled(frame: Frame, name: str) -> FileBands:
    """A frame's planes in temporary files."""
    mask: Mask | None = frame.mask
    return FileBands(
        name,
        _Spooled(np.ascontiguousarray(frame.image.array)),
        None if frame.variance is None else _Spooled(np.ascontiguousarray(frame.variance.array)),
        None if mask is None else _Spooled(np.ascontiguousarray(mask.array)),
        {p.name: p.bit for p in PLANES} if mask is None else dict(mask.schema),
        frame.unit or "adu",
        frame.observation.binning,
        ExitStack(),
    )
