"""The hot path out: planes written tile by tile into a preallocated FITS file while they are made.

The headers come as text (`headertext.PlainHdu`), made so that the result is byte for byte what astropy writes for the
same planes. Data sums ride along with the byte swap of the tiles; CHECKSUM and DATASUM are filled in at the end.
The file has its final name only when it is complete: it is written beside it under a temporary name and renamed
at `commit`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.io import atomic
from fullwell.io.headertext import BLOCK, PlainHdu

__all__ = ["MappedWriter", "blank_plane"]


def blank_plane(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """A plane of `shape` that takes no memory: stands in for pixels that a `MappedWriter` will be given."""
    return np.broadcast_to(np.zeros((), dtype), shape)


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


class MappedWriter:
    """Writes a FITS file whose 32-bit planes come in tiles of rows, from any thread, in any order.

    Parameters
    ----------
    path : final name. template : the file's HDUs (`layout.plain_hdus`); those without a shape are written at
        `commit` as they stand then.
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
        template: Sequence[PlainHdu],
        *,
        overwrite: bool = True,
        sync: bool = False,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self.sync = sync
        self.overwrite = overwrite
        self._lock = threading.Lock()
        if not overwrite and self.path.exists():
            raise atomic.write_error(FileExistsError(errno.EEXIST, "the file exists"), path)
        self._planes, self._size = self._layout(template)
        self._temporary = atomic._temporary(self.path)
        self._file = -1
        self._done = False
        try:
            self._file = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            os.posix_fallocate(self._file, 0, self._size)
        except OSError as error:
            self.abort()
            raise atomic.write_error(error, self.path) from error

    def _layout(self, template: Sequence[PlainHdu]) -> tuple[dict[str, _Plane], int]:
        planes: dict[str, _Plane] = {}
        at = 0
        self._first = template[0].header_size
        for hdu in template:
            if hdu.shape is None:
                at += hdu.header_size + len(hdu.data)
            else:
                planes[hdu.name] = _Plane(hdu.name, hdu.shape, at, at + hdu.header_size)
                at = planes[hdu.name].end
        return planes, at

    def shape(self, name: str) -> tuple[int, int]:
        """(ny, nx) of plane `name`."""
        return self._planes[name].shape

    def __contains__(self, name: str) -> bool:
        return name in self._planes

    def write_tile(self, name: str, row: int, stored: NDArray[np.uint32], total: int) -> None:
        """Put `stored` (n, nx), big-endian words, at rows ``row …`` of plane `name`; each row exactly once.

        `stored` is contiguous; `total` is the plain sum of the words as numbers, as `kernels.transfer.store_swapped`
        returns it.
        """
        plane = self._planes[name]
        if stored.shape[1] != plane.shape[1] or row < 0 or row + stored.shape[0] > plane.shape[0]:
            raise UsageError(f"a tile {stored.shape} at row {row} does not lie in plane {name} {plane.shape}")
        at = plane.data + row * plane.shape[1] * 4
        try:
            done = os.pwrite(self._file, stored.data, at)
            if done < stored.nbytes:
                _put(self._file, stored.data.cast("B")[done:], at + done)
        except OSError as error:
            raise atomic.write_error(error, self.path) from error
        with self._lock:
            plane.rows += stored.shape[0]
            plane.total += total

    def commit(self, final: Sequence[PlainHdu]) -> None:
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

    def _finish(self, hdus: Sequence[PlainHdu]) -> None:
        at = 0
        pieces: list[tuple[int, bytes]] = []
        moves: list[tuple[int, _Plane]] = []
        for hdu in hdus:
            if hdu.shape is None:
                block = hdu.sealed(size=0 if at else self._first) + hdu.data
                pieces.append((at, block))
                at += len(block)
                continue
            plane = self._planes[hdu.name]
            header = hdu.sealed(plane.total, plane.data - plane.header)
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
        if at < self._size:
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
