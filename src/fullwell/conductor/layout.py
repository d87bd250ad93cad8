"""Layout: which columns and rows of each amplifier stand where in a block.

Amplifiers lie side by side in one contiguous array, in read-out order, so that a kernel is called
once per block whatever the number of amplifiers. Three layouts are used: "segment" (all columns
that the amplifier reads), "data" (the trimmed columns and rows), and strips such as
"serial_overscan" for measurements that need only those columns.

Row r of a block is the r-th row read, counted so that the data of all amplifiers start in the same
row; an amplifier without that row holds zeros there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Box, Detector

__all__ = ["Layout"]

I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Columns of all amplifiers side by side.

    Parameters
    ----------
    detector : geometry.
    part : "segment", "data", "serial_overscan" or "prescan".
    """

    detector: Detector
    part: str = "segment"

    def box(self, label: str) -> list[Box]:
        """Box `label` of each amplifier in read-out order; "segment" is the whole."""
        if label == "segment":
            return [Box.from_shape(amp.shape) for amp in self.detector]
        return [getattr(amp, label) for amp in self.detector]

    @cached_property
    def first(self) -> I8:
        """First segment column that the layout holds, (n_amp,)."""
        return np.array([box.x0 for box in self.box(self.part)], np.int64)

    @cached_property
    def width(self) -> I8:
        """Number of columns of each amplifier, (n_amp,)."""
        return np.array([box.width for box in self.box(self.part)], np.int64)

    @cached_property
    def start(self) -> I8:
        """First column of each amplifier in the block, (n_amp,)."""
        return np.concatenate(([0], np.cumsum(self.width)[:-1])).astype(np.int64)

    @cached_property
    def columns(self) -> int:
        """Columns of the block."""
        return int(self.width.sum())

    @cached_property
    def shift(self) -> I8:
        """Segment row of amplifier a in block row r is ``r - shift[a]``, (n_amp,)."""
        y0 = np.array([amp.data.y0 for amp in self.detector], np.int64)
        return y0.max() - y0

    @cached_property
    def data_rows(self) -> tuple[int, int]:
        """Block rows (first, after last) that hold data of some amplifier."""
        first = max(amp.data.y0 for amp in self.detector)
        return first, first + max(amp.data.height for amp in self.detector)

    @cached_property
    def data_height(self) -> I8:
        """Data rows of each amplifier, (n_amp,)."""
        return np.array([amp.data.height for amp in self.detector], np.int64)

    @cached_property
    def data(self) -> Layout:
        """The data layout of the same detector."""
        return self if self.part == "data" else Layout(self.detector, "data")

    @cached_property
    def _spans(self) -> dict[str, tuple[I8, I8]]:
        return {}

    def span(self, label: str) -> tuple[I8, I8]:
        """Columns of box `label` of each amplifier in this layout: (start, width), each (n_amp,).

        Width 0 where the layout or the amplifier has none of them.
        """
        if label not in self._spans:
            self._spans[label] = self._span(label)
        return self._spans[label]

    def _span(self, label: str) -> tuple[I8, I8]:
        boxes = self.box(label)
        x0 = np.array([b.x0 for b in boxes], np.int64)
        x1 = np.array([b.x1 if b.area else b.x0 for b in boxes], np.int64)
        lo = np.maximum(x0, self.first)
        hi = np.minimum(x1, self.first + self.width)
        return self.start + np.clip(lo - self.first, 0, self.width), np.maximum(hi - lo, 0)

    def rows(self, label: str) -> tuple[int, int]:
        """Block rows (first, after last) that hold box `label` of some amplifier; (0, 0) if none has it."""
        spans = [(b.y0 + s, b.y1 + s) for b, s in zip(self.box(label), self.shift, strict=True) if b.area]
        if not spans:
            return 0, 0
        return int(min(s[0] for s in spans)), int(max(s[1] for s in spans))
