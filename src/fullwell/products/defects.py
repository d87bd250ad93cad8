"""Defects: boxes of bad pixels in the assembled image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError
from fullwell.cameras import Box
from fullwell.products.base import Product

__all__ = ["Defects"]


@dataclass(frozen=True, kw_only=True)
class Defects(Product):
    """Boxes of defective pixels, disjoint, 0-based, assembled coordinates.

    Parameters
    ----------
    boxes : the rectangles; codes : why, one per box ("hot", "cold", "bias", "column", "manual"), or empty.
    """

    kind: ClassVar[str] = "defects"
    schema: ClassVar[str] = "fullwell/defects"
    content: ClassVar[tuple[str, ...]] = ("boxes", "codes")

    boxes: tuple[Box, ...] = ()
    codes: tuple[str, ...] = ()

    def _parts(self) -> list[Any]:
        return ["defects", [str(b) for b in self.boxes], self.codes]

    def facts(self) -> dict[str, str]:
        """Numbers of boxes and pixels, and of boxes by what they are."""
        kinds = Counter(self.codes)
        return {
            "boxes": str(len(self.boxes)),
            "pixels": str(sum(box.area for box in self.boxes)),
            "found as": ", ".join(f"{name} {n}" for name, n in sorted(kinds.items())),
        }

    @classmethod
    def from_mask(cls, bad: NDArray[np.bool_], **more: Any) -> Defects:
        """Boxes that cover exactly the True pixels: vertical runs, neighbours of equal rows joined."""
        return cls(boxes=tuple(boxes_of(bad)), **more)

    @classmethod
    def of_boxes(cls, boxes: Iterable[Box], **more: Any) -> Defects:
        """Defects of boxes that may overlap: these are cut into disjoint ones, others are kept as they are."""
        given = [box for box in boxes if box.area]
        if given and min(min(box.x0, box.y0) for box in given) >= 0:
            shape = (max(box.y1 for box in given), max(box.x1 for box in given))
            whole = cls(boxes=tuple(given)).mask(shape)
            if int(np.count_nonzero(whole)) != sum(box.area for box in given):
                return cls.from_mask(whole, **more)
        return cls(boxes=tuple(given), **more)

    @classmethod
    def from_table(cls, table: Any, **more: Any) -> Defects:
        """Defects of a table with the columns x0, y0, width, height (from 0), and code where there is one.

        Raises
        ------
        FileError
            a column is missing.
        """
        names = ("x0", "y0", "width", "height")
        missing = [name for name in names if name not in table.colnames]
        if missing:
            raise FileError(
                f"the defects lack the column {', '.join(missing)}",
                where=more.get("source"),
                remedy="the columns are x0, y0, width, height",
            )
        columns = [np.asarray(table[name]).tolist() for name in names]
        boxes = [Box(int(x), int(y), int(w), int(h)) for x, y, w, h in zip(*columns, strict=True)]
        if "code" in table.colnames:
            return cls(boxes=tuple(boxes), codes=tuple(str(c) for c in table["code"]), **more)
        return cls.of_boxes(boxes, **more)

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """True inside the boxes; parts outside `shape` (ny, nx) are ignored."""
        out = np.zeros(shape, bool)
        for box in self.boxes:
            out[max(box.y0, 0) : max(box.y1, 0), max(box.x0, 0) : max(box.x1, 0)] = True
        return out

    def to_table(self) -> Any:
        """An astropy table with the columns x0, y0, width, height (the reference's layout)."""
        from astropy.table import Table

        rows = [(b.x0, b.y0, b.width, b.height) for b in self.boxes]
        names = ("x0", "y0", "width", "height")
        table = Table(rows=rows, names=names, dtype=("i8",) * 4) if rows else Table(names=names, dtype=("i8",) * 4)
        if self.codes:
            table["code"] = list(self.codes)
        table.meta.update(OBSTYPE="defects", DEFECTS_VERSION="2.0", id=self.id, schema=self.schema)
        return table


def boxes_of(bad: NDArray[np.bool_]) -> Iterable[Box]:
    """Disjoint boxes that cover the True pixels of `bad` (ny, nx): runs along y, equal neighbours joined in x."""
    padded = np.zeros((bad.shape[0] + 2, bad.shape[1]), np.int8)
    padded[1:-1] = bad
    edge = np.diff(padded, axis=0)
    start_x, start_y = np.nonzero(edge.T == 1)
    _, stop_y = np.nonzero(edge.T == -1)
    open_runs: dict[tuple[int, int], Box] = {}
    done: list[Box] = []
    for x, y0, y1 in zip(start_x.tolist(), start_y.tolist(), stop_y.tolist(), strict=True):
        before = open_runs.get((y0, y1))
        if before is not None and before.x1 == x:
            open_runs[(y0, y1)] = Box(before.x0, y0, before.width + 1, y1 - y0)
        else:
            if before is not None:
                done.append(before)
            open_runs[(y0, y1)] = Box(x, y0, 1, y1 - y0)
    return sorted([*done, *open_runs.values()])
