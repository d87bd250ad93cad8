"""Sorting networks: N values of each pixel are put in order by the same steps, so that many pixels are sorted at once.

A compare-and-exchange step is a minimum and a maximum of two vectors, 32 pixels of uint16 or 16 of float32 wide.
The network is Batcher's merge exchange (K. E. Batcher, "Sorting networks and their applications", 1968, in the form
for any N of D. E. Knuth, The Art of Computer Programming 3, 5.2.2 M), here written as what it is: sort the even rows,
sort the odd rows, merge. In that order a half is finished before the other begins.

`sort_columns` walks through a list of steps and loads and stores two rows for each: any N. `sorter` compiles the steps
of one N into code without a loop, in which the values stay in registers: four times as fast, for 0.1 to 1 s of
compiling once (kept on disk). With whole numbers it adds up the moments on the way, exactly.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["GROUP", "MOST", "count_outside", "furthest", "network", "sort_block", "sort_columns", "sorter"]

GROUP = {2: 32, 4: 16}
"""Pixels that are sorted at once, by bytes of a value: 64 bytes, one line of the cache."""

MOST = 128
"""Most values for which `sorter` makes code: compiling takes as long as the steps are many."""

I8 = NDArray[np.int64]


def _merge_exchange(rows: range) -> list[tuple[int, int]]:
    """Steps that sort these rows."""
    n = len(rows)
    if n < 2:
        return []
    steps = _merge_exchange(rows[::2]) + _merge_exchange(rows[1::2])
    steps += [(rows[i], rows[i + 1]) for i in range(0, n - 1, 2)]
    q = 1 << ((n - 1).bit_length() - 1)
    while q > 1:
        steps += [(rows[i], rows[i + q - 1]) for i in range(1, n - q + 1, 2)]
        q //= 2
    return steps


@lru_cache(maxsize=64)
def network(n: int) -> tuple[I8, I8]:
    """Compare-and-exchange steps (first, second) that sort `n` values, O(n log(n)^2) of them."""
    steps = np.array(_merge_exchange(range(n)), np.int64).reshape(-1, 2)
    first, second = np.ascontiguousarray(steps[:, 0]), np.ascontiguousarray(steps[:, 1])
    first.setflags(write=False)
    second.setflags(write=False)
    return first, second


@kernel
def sort_columns(block: NDArray, first: I8, second: I8) -> None:
    """Sort each column of ``block`` (N, W) upwards by the steps of `network`; no NaN may be in it."""
    for p in range(first.size):
        a, b = block[first[p]], block[second[p]]
        for c in range(a.size):
            x, y = a[c], b[c]
            less = x < y
            a[c] = x if less else y
            b[c] = y if less else x


def furthest(n: int) -> int:
    """Largest distance from the pivot with which the moments of `n` values fit the 32 bits of `sorter`."""
    return min(32767, math.isqrt((2**32 - 1) // n))


@intrinsic
def _sort_group(
    typing: Any, size: Any, number: Any, source: Any, step: Any, out: Any, stride: Any, s1: Any, s2: Any
) -> Any:
    """Sort one group of columns: `number` rows at `source`, `step` bytes apart, to rows at `out`, `stride` apart."""
    if not (isinstance(number, types.IntegerLiteral) and isinstance(size, types.IntegerLiteral)):
        return None
    n, whole, width = number.literal_value, size.literal_value == 2, GROUP[size.literal_value]

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        word = ir.VectorType(ir.IntType(16) if whole else ir.FloatType(), width)
        wide = ir.VectorType(ir.IntType(32), width)

        def place(address: Any, shift: Any, kind: Any) -> Any:
            return b.inttoptr(b.add(address, shift), kind.as_pointer())

        def row(address: Any, shift: Any, i: int) -> Any:
            return place(address, b.mul(shift, ir.Constant(ir.IntType(64), i)), word)

        values = [b.load(row(args[2], args[3], i), align=2) for i in range(n)]
        for i, j in _merge_exchange(range(n)):
            x, y = values[i], values[j]
            less = b.icmp_unsigned("<", x, y) if whole else b.fcmp_ordered("<", x, y)
            values[i], values[j] = b.select(less, x, y), b.select(less, y, x)
        for i, value in enumerate(values):
            b.store(value, row(args[4], args[5], i), align=2)
        if whole:
            pivot = values[(n - 1) // 2]
            total, squares = ir.Constant(wide, None), ir.Constant(wide, None)
            for value in values:
                d = b.sext(b.sub(value, pivot), wide)
                total, squares = b.add(total, d), b.add(squares, b.mul(d, d))
            zero = ir.Constant(ir.IntType(64), 0)
            b.store(total, place(args[6], zero, wide), align=4)
            b.store(squares, place(args[7], zero, wide), align=4)
        return context.get_dummy_value()

    address = types.uint64
    return types.void(size, number, address, address, address, address, address, address), codegen


@lru_cache(maxsize=64)
def sorter(n: int, size: int) -> Any:
    """Compiled code that sorts columns of `n` values of `size` bytes: 2 for uint16, 4 for float32 without NaN.

    Its ``address`` is for `sort_block`, and is good as long as this object lives.
    """

    def sort(source: int, step: int, out: int, stride: int, s1: int, s2: int, groups: int) -> None:
        line, sums = np.uint64(64), np.uint64(256 // size)
        for _ in range(groups):
            _sort_group(size, n, source, step, out, stride, s1, s2)  # type: ignore[call-arg]
            source += line
            out += line
            s1 += sums
            s2 += sums

    signature = types.void(*[types.uint64] * 7)
    try:
        return numba.cfunc(signature, cache=True)(sort)
    except RuntimeError:
        return numba.cfunc(signature)(sort)


@intrinsic
def _call(
    typing: Any, address: Any, source: Any, step: Any, out: Any, stride: Any, s1: Any, s2: Any, groups: Any
) -> Any:
    """Call the code at `address`."""

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 7)
        b.call(b.inttoptr(args[0], function.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 8), codegen


@kernel
def sort_block(code: int, stack: NDArray, out: NDArray, p0: int, s1: NDArray[np.int32], s2: NDArray[np.uint32]) -> None:
    """Sort columns p0 … p0 + W - 1 of a stack (N, P) upwards, into `out` (N, W); W a multiple of `GROUP`.

    Parameters
    ----------
    code : the address of `sorter`, for N and the type of the stack.
    out : may be the stack itself.
    s1, s2 : (W,) out, for uint16 only: sums of (value - pivot) and of its square, the pivot being row (N - 1) // 2 of
        the sorted column; right where no value lies further from the pivot than `furthest`.
    """
    size = np.uint64(out.itemsize)
    _call(  # type: ignore[call-arg]
        np.uint64(code),
        np.uint64(stack.ctypes.data) + np.uint64(p0) * size,
        np.uint64(stack.strides[0]),
        np.uint64(out.ctypes.data),
        np.uint64(out.strides[0]),
        np.uint64(s1.ctypes.data),
        np.uint64(s2.ctypes.data),
        np.uint64(out.shape[1]) * size // np.uint64(64),
    )


@intrinsic
def count_outside(typing: Any, values: Any, step: Any, rows: Any, low: Any, span: Any, counts: Any, lanes: Any) -> Any:
    """Add to counts[i] how many values of row i are not in ``low … low + span`` of their column.

    Parameters
    ----------
    values, step, rows : address of the first uint16 of the first row, bytes from row to row, and number of rows.
    low, span : addresses of uint16, one per column; counts : address of int64, one per row.
    lanes : columns, a constant and a multiple of 32; with more than 128 the limits leave the registers.
    """
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    width, size = GROUP[2], ir.IntType(64)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        word, flags = ir.VectorType(ir.IntType(16), width), ir.IntType(width)
        shifts = [ir.Constant(size, 2 * i) for i in range(0, lanes.literal_value, width)]

        def load(address: Any, shift: Any) -> Any:
            return b.load(b.inttoptr(b.add(address, shift), word.as_pointer()), align=2)

        limits = [(load(args[3], shift), load(args[4], shift)) for shift in shifts]
        with cgutils.for_range(b, args[2]) as loop:
            row = b.add(args[0], b.mul(loop.index, args[1]))
            count = b.inttoptr(b.add(args[5], b.mul(loop.index, ir.Constant(size, 8))), size.as_pointer())
            number = ir.Constant(flags, 0)
            for shift, (least, reach) in zip(shifts, limits, strict=True):
                outside = b.icmp_unsigned(">", b.sub(load(row, shift), least), reach)
                number = b.add(number, b.ctpop(b.bitcast(outside, flags)))
            b.store(b.add(b.load(count), b.zext(number, size)), count)
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 6, lanes), codegen
