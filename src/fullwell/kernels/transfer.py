"""Moving pixels between stored arrays and blocks of rows: decode, flip, place.

A stored array is given flat, with for each amplifier the index of its first pixel read and the
steps (in elements) from one column and one row to the next, so that flips need no copies. Rows are
indexed by unsigned numbers: a signed index may be negative, which keeps the compiler from vectorising
reversed rows (measured: ten times slower).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel
from fullwell.kernels.stream import fence, stream_row

__all__ = [
    "NATIVE",
    "SWAP16",
    "SWAP16U",
    "SWAP32",
    "SWAPF32",
    "gather_rows",
    "load_rows",
    "store_rows",
    "store_swapped",
    "stream_rows",
]

NATIVE, SWAP16, SWAP16U, SWAP32, SWAPF32 = 0, 1, 2, 3, 4


@kernel
def _swap16(v: np.uint16) -> np.uint16:
    return np.uint16((v << np.uint16(8)) | (v >> np.uint16(8)))


@kernel
def _swap32(w: np.uint32) -> np.uint32:
    return (
        (w << np.uint32(24))
        | ((w & np.uint32(0xFF00)) << np.uint32(8))
        | ((w >> np.uint32(8)) & np.uint32(0xFF00))
        | (w >> np.uint32(24))
    )


@kernel
def _decode_row(src: NDArray, code: int, row: NDArray[np.float32]) -> None:
    """row = the numbers that `src` (as many or more) stores, see `load_rows`."""
    if code == SWAP16U:
        for c in range(row.size):
            row[c] = np.uint16(_swap16(np.uint16(src[c])) ^ np.uint16(0x8000))
    elif code == SWAP16:
        for c in range(row.size):
            row[c] = np.int16(_swap16(np.uint16(src[c])))
    elif code == SWAP32:
        for c in range(row.size):
            row[c] = np.int32(_swap32(np.uint32(src[c])))
    elif code == SWAPF32:
        bits = row.view(np.uint32)
        for c in range(row.size):
            bits[c] = _swap32(np.uint32(src[c]))
    else:
        for c in range(row.size):
            row[c] = src[c]


@kernel
def load_rows(
    flat: NDArray,
    code: int,
    offset: NDArray[np.int64],
    row_step: NDArray[np.int64],
    col_step: NDArray[np.int64],
    start: NDArray[np.int64],
    width: NDArray[np.int64],
    first: NDArray[np.int64],
    height: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Fill ``out`` (n, C), float32, with rows ``first[a] … first[a] + n - 1`` of each amplifier a.

    `code` says how `flat` is stored: NATIVE numbers; SWAP16 big-endian int16; SWAP16U the same with
    BZERO 32768; SWAP32 big-endian int32; SWAPF32 big-endian float32 (`flat` as uint32).
    Rows outside 0 … height[a] - 1 become 0.
    """
    line = np.empty(out.shape[1], flat.dtype)
    for r in range(out.shape[0]):
        for a in range(start.size):
            row = out[r, start[a] : start[a] + width[a]]
            y = first[a] + r
            if y < 0 or y >= height[a]:
                row[:] = 0.0
                continue
            base, step = offset[a] + y * row_step[a], col_step[a]
            if step == 1:
                _decode_row(flat[base : base + width[a]], code, row)
                continue
            if step == -1:
                last = np.uint64(base)
                for c in range(row.size):
                    line[c] = flat[last - np.uint64(c)]
            else:
                for c in range(row.size):
                    line[c] = flat[base + c * step]
            _decode_row(line, code, row)


@kernel
def gather_rows(
    flat: NDArray,
    offset: NDArray[np.int64],
    row_step: NDArray[np.int64],
    col_step: NDArray[np.int64],
    start: NDArray[np.int64],
    width: NDArray[np.int64],
    first: int,
    low: NDArray[np.int64],
    height: NDArray[np.int64],
    out: NDArray,
) -> None:
    """Fill ``out`` (n, C) with rows ``first …`` of a stored plane, of its own type.

    Rows ``low … height - 1`` exist; the others become 0.
    """
    for r in range(out.shape[0]):
        for a in range(start.size):
            row = out[r, start[a] : start[a] + width[a]]
            if first + r < low[a] or first + r >= height[a]:
                row[:] = 0
                continue
            base = offset[a] + (first + r) * row_step[a]
            step = col_step[a]
            if step == 1:
                row[:] = flat[base : base + width[a]]
            elif step == -1:
                src = flat[base - width[a] + 1 : base + 1]
                last = np.uint64(row.size - 1)
                for c in range(row.size):
                    row[c] = src[last - np.uint64(c)]
            else:
                for c in range(row.size):
                    row[c] = flat[base + c * step]


@kernel
def store_rows(
    block: NDArray,
    start: NDArray[np.int64],
    width: NDArray[np.int64],
    offset: NDArray[np.int64],
    row_step: NDArray[np.int64],
    col_step: NDArray[np.int64],
    first: int,
    low: NDArray[np.int64],
    height: NDArray[np.int64],
    out: NDArray,
) -> None:
    """Place ``block`` (n, C), rows ``first …`` of each amplifier, in flat `out`; rows ``low … height - 1`` exist."""
    one = np.uint64(1)
    for a in range(start.size):
        n, s = np.uint64(max(width[a], 0)), np.uint64(start[a])
        step = col_step[a]
        for r in range(block.shape[0]):
            y = first + r
            if y < low[a] or y >= height[a] or n == 0:
                continue
            at = offset[a] + y * row_step[a]
            if step == 1:
                base = np.uint64(at)
                for c in range(n):
                    out[base + np.uint64(c)] = block[r, s + np.uint64(c)]
            elif step == -1:
                base, top = np.uint64(at) - n + one, s + n - one
                for c in range(n):
                    out[base + np.uint64(c)] = block[r, top - np.uint64(c)]
            else:
                for c in range(width[a]):
                    out[at + c * step] = block[r, start[a] + c]


@kernel
def stream_rows(
    block: NDArray,
    start: NDArray[np.int64],
    width: NDArray[np.int64],
    offset: NDArray[np.int64],
    row_step: NDArray[np.int64],
    col_step: NDArray[np.int64],
    first: int,
    low: NDArray[np.int64],
    height: NDArray[np.int64],
    out: NDArray,
) -> None:
    """As `store_rows` for 32-bit pixels and column steps of 1 or -1, with stores past the cache."""
    flat = block.reshape(-1)
    columns = block.shape[1]
    for a in range(start.size):
        n, turned = width[a], col_step[a] == -1
        for r in range(block.shape[0]):
            y = first + r
            if low[a] <= y < height[a] and n:
                at = offset[a] + y * row_step[a] - (n - 1 if turned else 0)
                stream_row(out, at, flat, r * columns + start[a], n, turned)
    fence()  # type: ignore[call-arg]


@kernel
def store_swapped(block: NDArray[np.uint32], places: NDArray[np.int64], out: NDArray[np.uint32]) -> int:
    """Place ``block`` (n, C) of 32-bit words in ``out`` (n, nx), byte-swapped for FITS; steps along a row are 1 or -1.

    `places` (n_amp, 5) holds for each amplifier its first column in the block, its width, the element of `out` (flat)
    of its first pixel, and the steps in `out` from one row and one column to the next.

    Returns the plain sum of the big-endian words (as a 64-bit integer), from which the data sum of
    the FITS checksum standard is folded.
    """
    total = np.uint64(0)
    one = np.uint64(1)
    flat = out.reshape(-1)
    for a in range(places.shape[0]):
        n, s = np.uint64(max(places[a, 1], 0)), np.uint64(places[a, 0])
        for r in range(block.shape[0]):
            base = np.uint64(places[a, 2] + r * places[a, 3])
            part = np.uint64(0)
            if places[a, 4] == 1:
                for c in range(n):
                    w = block[r, s + np.uint64(c)]
                    part += np.uint64(w)
                    flat[base + np.uint64(c)] = _swap32(w)
            else:
                base, top = base - n + one, s + n - one
                for c in range(n):
                    w = block[r, top - np.uint64(c)]
                    part += np.uint64(w)
                    flat[base + np.uint64(c)] = _swap32(w)
            total += part
    return int(total)
