"""Calibrations in the form of blocks: made once per product, shared read-only by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.cameras import Detector
from fullwell.conductor.layout import Layout
from fullwell.conductor.placement import assembled
from fullwell.conductor.store import gather

__all__ = ["Digests", "amp_order", "rows_of"]


def rows_of(plane: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """An assembled plane (ny, nx) as (data rows, C): the data layout of all blocks together.

    Raises
    ------
    GeometryError
        the plane has not the size of the assembled detector.
    """
    if plane.shape != layout.detector.box.shape:
        raise GeometryError(
            f"a calibration plane of shape {plane.shape} does not fit the detector's {layout.detector.box.shape}",
            where=f"detector {layout.detector.name}",
            remedy="take a calibration of the same detector, window and binning, or cut it to the window",
        )
    first, last = layout.data_rows
    data = Layout(layout.detector, "data")
    out = np.zeros((last - first, data.columns), plane.dtype)
    gather(plane, data, assembled(layout.detector, (plane.shape[0], plane.shape[1])), 0, out)
    out.flags.writeable = True
    return out


def amp_order(names: tuple[str, ...], detector: Detector, what: str) -> NDArray[np.int64]:
    """Place in `names` of each amplifier of `detector`, (n_amp,), so that ``values[order]`` is in its order.

    Raises
    ------
    GeometryError
        an amplifier of the detector is not among `names`; `what` names the product ("gain 3f2a…").
    """
    missing = [name for name in detector.names if name not in names]
    if missing:
        raise GeometryError(
            f"the {what} knows nothing of amplifier {', '.join(missing)}",
            where=f"detector {detector.name}",
            remedy=f"it has {', '.join(names)}; take the product of this detector",
        )
    return np.array([names.index(name) for name in detector.names], np.int64)


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
