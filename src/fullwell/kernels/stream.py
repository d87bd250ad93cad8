"""Stores past the cache: rows of 32-bit pixels written to a large plane that nobody reads back soon.

An ordinary store first fetches the line it is about to overwrite, and pushes the block that is being worked on
out of the cache; a streaming store does neither. Planes of a frame are many times the cache, so nothing is
lost (measured on 16 amplifiers of 2000 x 509: 12 ms for three planes with ordinary stores, half of it so).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fullwell.kernels.jit import kernel

__all__ = ["fence", "stream_row"]

_LANES = 16
_LINE = np.uint64(64)


@intrinsic
def _stream_line(typing: Any, target: Any, source: Any, turned: Any) -> Any:
    """Copy 16 words to the aligned address `target`, in reverse order if `turned`, past the cache."""
    signature = types.void(types.uint64, types.uint64, types.boolean)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), _LANES)
        values = builder.load(builder.inttoptr(args[1], vector.as_pointer()), align=4)
        order = ir.Constant(vector, list(range(_LANES - 1, -1, -1)))
        backwards = builder.shuffle_vector(values, values, order)
        values = builder.select(args[2], backwards, values)
        store = builder.store(values, builder.inttoptr(args[0], vector.as_pointer()), align=64)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def fence(typing: Any) -> Any:
    """Make all streaming stores of this thread visible to the others."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def stream_row(out: Any, at: int, source: Any, first: int, n: int, turned: bool) -> None:
    """``out[at : at + n] = source[first : first + n]``, reversed if `turned`; flat arrays of 32-bit pixels.

    The caller ends with `fence` when other threads are to read the plane.
    """
    four, lanes, one = np.uint64(4), np.uint64(_LANES), np.uint64(1)
    to, size, begin = np.uint64(at), np.uint64(n), np.uint64(first)
    base = np.uint64(out.ctypes.data) + to * four
    top = begin + size - one
    lead = min(((_LINE - base % _LINE) % _LINE) // four, size)
    for c in range(lead):
        out[to + np.uint64(c)] = source[top - np.uint64(c)] if turned else source[begin + np.uint64(c)]
    done = lead
    origin = np.uint64(source.ctypes.data)
    while done + lanes <= size:
        start = (top - done - lanes + one) if turned else begin + done
        _stream_line(base + done * four, origin + start * four, turned)  # type: ignore[call-arg]
        done += lanes
    for c in range(done, size):
        out[to + np.uint64(c)] = source[top - np.uint64(c)] if turned else source[begin + np.uint64(c)]
