"""Streaming stores place the same words as ordinary ones, whatever the alignment."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.kernels import transfer
from fullwell.kernels.words import decode16, decode32


@pytest.mark.parametrize("width", [0, 1, 15, 16, 17, 63, 509])
@pytest.mark.parametrize("shift", [0, 1, 7, 15])
def test_stream_rows_equals_store_rows(width: int, shift: int) -> None:
    rng = np.random.default_rng(width)
    rows, nx = 5, 4 * max(width, 1) + 3
    block = rng.integers(0, 2**32, (rows, 2 * width + 1), dtype=np.uint32)
    start, widths = np.array([0, width], np.int64), np.array([width, width], np.int64)
    offset = np.array([shift, 7 * nx + 2 * width + shift - 1 if width else 0], np.int64)
    steps = np.array([nx, -nx], np.int64), np.array([1, -1], np.int64)
    low, height = np.zeros(2, np.int64), np.array([8, 6], np.int64)
    plain, streamed = np.zeros(9 * nx + 40, np.uint32), np.zeros(9 * nx + 40, np.uint32)
    for first in (-1, 3):
        transfer.store_rows(block, start, widths, offset, *steps, first, low, height, plain)
        transfer.stream_rows(block, start, widths, offset, *steps, first, low, height, streamed)
    assert np.array_equal(plain, streamed)
    if width:
        assert np.array_equal(streamed[shift : shift + width], block[1, :width])
        row = 7 * nx + shift + width
        assert np.array_equal(streamed[row : row + width], block[1, 2 * width - 1 : width - 1 : -1])


def test_words_by_hand() -> None:
    out = np.zeros(2, np.uint16)
    decode16(np.array([0x3412, 0x0080], np.uint16), 0, out)
    assert out.tolist() == [0x1234, 0x8000]
    decode16(np.array([0x3412, 0x0080], np.uint16), 0x8000, out)
    assert out.tolist() == [0x9234, 0]
    long = np.zeros(1, np.uint32)
    decode32(np.array([0x78563412], np.uint32), long)
    assert long[0] == 0x12345678
