"""Calibrations in the form of blocks: made once per product, shared read-only by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.conductor.layout import Layout
from fullwell.conductor.placement import assembled
from fullwell.conductor.store import gather

__all__ = ["Digests", "rows_of"]


def rows_of(plane: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """An assembled plane (ny, nx) as (data rows, C): the data layout of all blocks together."""
    first, last = layout.data_rows
    data = Layout(layout.detector, "data")
    out = np.zeros((last - first, data.columns), plane.dtype)
    gather(plane, data, assembled(layout.detector, (plane.shape[0], plane.shape[1])), 0, out)
    out.flags.writeable = True
    return out


class Digests:
    """Digested products by id, so that a night of frames digests each calibration once."""

    def __init__(self, keep: int = 64) -> None:
        self._made: dict[Any, Any] = {}
        self._lock = threading.Lock()
        self.keep = keep

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, made on the first call with `key`."""
        with self._lock:
            if key not in self._made:
                if len(self._made) >= self.keep:
                    self._made.pop(next(iter(self._made)))
                self._made[key] = make()
            return self._made[key]
