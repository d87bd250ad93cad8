"""The hot path out: planes written tile by tile into a preallocated FITS file while they are made.

The headers are astropy's: the caller gives an `HDUList` as it would be written, with `blank_plane` where the
pixels will be, so that the result is byte for byte what astropy writes for the same planes. Data sums ride
along with the byte swap of the tiles; CHECKSUM and DATASUM are filled in at the end. The file has its final
name only when it is complete: it is written beside it under a temporary name and renamed at `commit`.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.io import atomic

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

__all__ = ["MappedWriter", "blank_plane", "checksum_text", "fold"]

BLOCK = 2880
_SPARE = 16 * BLOCK
"""Bytes set aside behind the planes for the small HDUs that follow them."""


def blank_plane(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """A plane of `shape` that takes no memory: stands in for pixels that a `MappedWriter` will be given."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def fold(total: int) -> int:
    """A plain sum of 32-bit words as the ones'-complement sum of the FITS checksum standard."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def checksum_text(value: int) -> str:
    """The 16 letters that make the sum of an HDU all ones; `value` is the complement of its sum without them.

    FITS standard 4.0, appendix J: each byte is split over four letters, punctuation is avoided by moving
    one unit from the second of a pair of letters to the first, and the text is rotated by one.
    """
    letters = [0] * 16
    for i in range(4):
        byte = (value >> (24 - 8 * i)) & 0xFF
        group = [byte // 4 + 48 + byte % 4, *[byte // 4 + 48] * 3]
        while any(0x3A <= g <= 0x40 or 0x5B <= g <= 0x60 for g in group):
            for j in (0, 2):
                if any(0x3A <= g <= 0x40 or 0x5B <= g <= 0x60 for g in group[j : j + 2]):
                    group[j] += 1
                    group[j + 1] -= 1
        letters[i::4] = group
    return bytes(letters[-1:] + letters[:-1]).decode("ascii")


@dataclass
class _Plane:
    """One plane in the file: its bytes, and the sum of the words written so far."""

    name: str
    shape: tuple[int, int]
    header: int
    data: int
    rows: int = 0
    total: int = 0

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1] * 4

    @property
    def end(self) -> int:
        return self.data + -(-self.size // BLOCK) * BLOCK


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _sealed(header: Header, datasum: int, size: int = 0) -> bytes:
    """The bytes of a header with DATASUM and CHECKSUM of its HDU; blank cards fill it up to `size` bytes."""
    header = header.copy()
    now = _now()
    header["DATASUM"] = (str(datasum), f"data unit checksum updated {now}")
    header.set("CHECKSUM", "0" * 16, f"HDU checksum updated {now}", before="DATASUM")
    text = header.tostring().encode("ascii")
    if len(text) < size:
        text = (header.tostring(endcard=False, padding=False).ljust(size - 80) + "END".ljust(80)).encode("ascii")
    total = fold(int(np.frombuffer(text, ">u4").sum(dtype=np.uint64)) + datasum)
    return text.replace(b"'" + b"0" * 16 + b"'", b"'" + checksum_text(~total & 0xFFFFFFFF).encode() + b"'", 1)


class MappedWriter:
    """Writes a FITS file whose 32-bit planes come in tiles of rows, from any thread, in any order.

    Parameters
    ----------
    path : final name. template : the file's HDUs, `blank_plane` as data of those that come in tiles.
    planes : EXTNAMEs of these; all else in `template` is written at `commit` as it stands then.
    overwrite : whether a file of this name may be replaced; it stays whole until the new one is.
    sync : whether the bytes are on the disk before the file gets its name (a power cut then loses nothing).

    Raises
    ------
    FileError
        the folder cannot be written, the disk is full, or the file exists and `overwrite` is False.

    Use as a context manager: leaving it without `commit` removes the temporary file.
    """

    def __init__(
        self,
        path: str | Path,
        template: HDUList,
        planes: Sequence[str] = ("IMAGE", "MASK", "VARIANCE"),
        *,
        overwrite: bool = True,
        sync: bool = False,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self.sync = sync
        self.overwrite = overwrite
        self._names = tuple(planes)
        self._lock = threading.Lock()
        if not overwrite and self.path.exists():
            raise atomic.write_error(FileExistsError(errno.EEXIST, "the file exists"), path)
        self._planes, size = self._layout(template)
        self._temporary = atomic._temporary(self.path)
        self._file = -1
        self._done = False
        try:
            self._file = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            os.posix_fallocate(self._file, 0, size + _SPARE)
        except OSError as error:
            self.abort()
            raise atomic.write_error(error, self.path) from error

    def _layout(self, template: HDUList) -> tuple[dict[str, _Plane], int]:
        planes: dict[str, _Plane] = {}
        at = 0
        for hdu in template:
            header = _sized(hdu.header)
            if not at:
                self._first = header
            if hdu.name in self._names:
                if hdu.data.dtype.itemsize != 4 or hdu.data.ndim != 2 or "BZERO" in hdu.header:
                    raise UsageError(f"plane {hdu.name} is not a two-dimensional image of float32 or int32")
                planes[hdu.name] = _Plane(hdu.name, hdu.data.shape, at, at + header)
                at = planes[hdu.name].end
            else:
                at += header + -(-hdu.size // BLOCK) * BLOCK
        missing = [name for name in self._names if name not in planes]
        if missing:
            raise UsageError(f"the template has no HDU {', '.join(missing)}")
        return planes, at

    def shape(self, name: str) -> tuple[int, int]:
        """(ny, nx) of plane `name`."""
        return self._planes[name].shape

    def __contains__(self, name: str) -> bool:
        return name in self._planes

    def write_tile(self, name: str, row: int, stored: NDArray[np.uint32], total: int) -> None:
        """Put `stored` (n, nx), big-endian words, at rows ``row …`` of plane `name`; each row exactly once.

        `total` is the plain sum of the words as numbers (`kernels.transfer.store_swapped` returns it).
        """
        plane = self._planes[name]
        if stored.shape[1] != plane.shape[1] or row < 0 or row + stored.shape[0] > plane.shape[0]:
            raise UsageError(f"a tile {stored.shape} at row {row} does not lie in plane {name} {plane.shape}")
        try:
            _put(self._file, memoryview(stored.data).cast("B"), plane.data + row * plane.shape[1] * 4)
        except OSError as error:
            raise atomic.write_error(error, self.path) from error
        with self._lock:
            plane.rows += stored.shape[0]
            plane.total += total

    def commit(self, final: HDUList) -> None:
        """Fill in headers, checksums and the other HDUs, and give the file its name.

        Parameters
        ----------
        final : the HDUs as they are to be written: the template, or another list of which the headers and small
            HDUs tell what happened meanwhile (history, numbers). Planes keep order and shape. Headers that
            have become shorter are filled with blank cards; longer ones cost a move of the planes.

        Raises
        ------
        FileError
            the disk is full or the folder has gone. UsageError: some rows were never written.
        """
        for plane in self._planes.values():
            if plane.rows != plane.shape[0]:
                raise UsageError(f"{plane.rows} of {plane.shape[0]} rows of plane {plane.name} were written")
        try:
            self._finish(final)
            if self.sync:
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            atomic._commit(self._temporary, self.path, self.overwrite)
            self._done = True
        except OSError as error:
            raise atomic.write_error(error, self.path) from error

    def _finish(self, hdus: HDUList) -> None:
        at = 0
        pieces: list[tuple[int, bytes]] = []
        moves: list[tuple[int, _Plane]] = []
        for hdu in hdus:
            plane = self._planes.get(hdu.name)
            if plane is None:
                block = _small(hdu, self._first if not at else 0)
                pieces.append((at, block))
                at += len(block)
                continue
            header = _sealed(hdu.header, fold(plane.total), plane.data - plane.header)
            pieces.append((at, header))
            at += len(header)
            if at != plane.data:
                moves.append((at, plane))
            at += plane.end - plane.data
        if moves:
            self._move(moves, at)
        for offset, block in pieces:
            _put(self._file, memoryview(block), offset)
        for plane in self._planes.values():
            _put(self._file, memoryview(bytes(plane.end - plane.data - plane.size)), plane.data + plane.size)
        os.ftruncate(self._file, at)

    def _move(self, moves: list[tuple[int, _Plane]], size: int) -> None:
        """Headers outgrew their room (a long history): read the planes that must move, then write them."""
        os.posix_fallocate(self._file, 0, size)
        held = [_get(self._file, plane.size, plane.data) for _, plane in moves]
        for (to, plane), data in zip(moves, held, strict=True):
            _put(self._file, memoryview(data), to)
            plane.data = to

    def abort(self) -> None:
        """Close and remove the temporary file; nothing happens after a commit."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if not self._done:
            self._temporary.unlink(missing_ok=True)
            self._done = True

    def __enter__(self) -> MappedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def _sized(header: Header) -> int:
    """Bytes of a header once it has its two checksum cards."""
    cards = len(header.tostring(endcard=False, padding=False)) // 80 + 1
    cards += ("CHECKSUM" not in header) + ("DATASUM" not in header)
    return -(-cards * 80 // BLOCK) * BLOCK


def _small(hdu: Any, size: int = 0) -> bytes:
    """An HDU as astropy writes it, with checksums; a header without data is filled up to `size` bytes."""
    import io

    from astropy.io import fits

    if hdu.data is None:
        return _sealed(hdu.header, 0, size)
    if isinstance(hdu, fits.BinTableHDU) and all(re.fullmatch(r"\d+A", str(c.format)) for c in hdu.columns):
        text = hdu.data.view(np.ndarray).tobytes()
        text = text.ljust(-(-len(text) // BLOCK) * BLOCK, b"\0")
        return _sealed(hdu.header, fold(int(np.frombuffer(text, ">u4").sum(dtype=np.uint64)))) + text
    buffer = io.BytesIO()
    first = [] if isinstance(hdu, fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, hdu]).writeto(buffer, checksum=True)
    return buffer.getvalue()[len(first) * BLOCK :]


def _put(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    while data.nbytes:
        n = os.pwrite(file, data, offset)
        data, offset = data[n:], offset + n


def _get(file: int, size: int, offset: int) -> bytearray:
    """`size` bytes at `offset`."""
    out = bytearray(size)
    at = 0
    while at < size:
        n = os.preadv(file, [memoryview(out)[at:]], offset + at)
        if n <= 0:
            raise OSError("the temporary file is shorter than what was written to it")
        at += n
    return out
