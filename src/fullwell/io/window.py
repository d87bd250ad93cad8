"""One HDU of a file in memory as a FITS file of its own, so that a library reads that HDU and nothing else."""

from __future__ import annotations

import io
from typing import Any

from fullwell.io.cards import BLOCK, CARD

__all__ = ["Window"]

_CARDS = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0", "END")
_PRIMARY = "".join(card.ljust(CARD) for card in _CARDS).ljust(BLOCK).encode("ascii")


class Window(io.RawIOBase):
    """An empty primary HDU followed by the bytes ``start … stop`` of `buffer`; read-only, nothing is copied before it
    is read.

    Parameters
    ----------
    buffer : bytes or a memory map.
    start, stop : where the HDU begins and ends, its padding included [byte].
    """

    def __init__(self, buffer: Any, start: int, stop: int) -> None:
        self._buffer, self._start = buffer, start
        self._size = BLOCK + stop - start
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset` from the beginning, from here or from the end."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, out: Any) -> int:
        """Fill `out` as far as bytes are left; their number."""
        view = memoryview(out).cast("B")
        if self._at < BLOCK:
            data = _PRIMARY[self._at : self._at + len(view)]
        else:
            first = self._start + self._at - BLOCK
            data = self._buffer[first : min(first + len(view), self._start + self._size - BLOCK)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
