"""Defects in the forms that exist: FITS regions and plain text. Boxes with x0, y0, width, height are tables."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

from fullwell.base.errors import FileError, FullwellWarning
from fullwell.cameras import Box
from fullwell.products import Defects

__all__ = ["is_regions", "read_regions", "read_text_defects"]


def is_regions(table: Any) -> bool:
    """Whether a table has the columns of a FITS REGION table."""
    return {"X", "Y", "SHAPE", "R"} <= {name.upper() for name in table.colnames}


def _first(value: Any) -> list[float]:
    values = value.tolist() if hasattr(value, "tolist") else value
    return [float(v) for v in values] if isinstance(values, Sequence) else [float(values)]


def _region(shape: str, x: float, y: float, size: list[float], angle: float) -> Box | None:
    """The pixels of one region: centre (x, y) counted from 1, full width and height; None if it is no upright box."""
    if shape == "POINT":
        size = [1.0, 1.0]
    elif shape not in ("BOX", "ROTBOX") or len(size) < 2:
        return None
    turns = angle / 90.0 if shape == "ROTBOX" else 0.0
    if abs(turns - round(turns)) > 1e-6:
        return None
    width, height = (size[1], size[0]) if round(turns) % 2 else (size[0], size[1])
    w, h = max(round(width), 1), max(round(height), 1)
    return Box(math.floor(x - 1 - (w - 1) / 2 + 0.5), math.floor(y - 1 - (h - 1) / 2 + 0.5), w, h)


def read_regions(table: Any, path: str) -> Defects:
    """Defects of a FITS REGION table: columns X, Y (centres from 1), SHAPE, R (width and height), ROTANG.

    BOX, POINT, and ROTBOX at multiples of 90 degrees are read; others are left out with a warning.
    """
    names = {name.upper(): name for name in table.colnames}
    boxes = []
    for i, row in enumerate(table):
        word = row[names["SHAPE"]]
        shape = (word.decode() if isinstance(word, bytes) else str(word)).strip().upper()
        angle = _first(row[names["ROTANG"]])[0] if "ROTANG" in names else 0.0
        box = _region(shape, _first(row[names["X"]])[0], _first(row[names["Y"]])[0], _first(row[names["R"]]), angle)
        if box is None:
            warnings.warn(f"{path}: region {i} ({shape}) is no upright box: left out", FullwellWarning, stacklevel=2)
        else:
            boxes.append(box)
    return Defects.of_boxes(boxes, source=path)


def read_text_defects(path: str) -> Defects:
    """Defects of a text with four numbers per line: x0, y0, width, height. ``#`` begins a remark.

    Raises
    ------
    FileError
        a line that is something else; names it.
    """
    boxes: list[Box] = []
    with open(path, encoding="utf-8", errors="replace") as handle:
        for number, line in enumerate(handle, 1):
            text = line.partition("#")[0].strip()
            if not text or (not boxes and re.fullmatch(r"x0[\s,]+y0[\s,]+width[\s,]+height", text)):
                continue
            words = re.split(r"[\s,]+", text)
            try:
                x0, y0, width, height = (int(word) for word in words)
                boxes.append(Box(x0, y0, width, height))
            except ValueError as err:
                raise FileError(
                    "this line is no defect",
                    where=f"{path}, line {number}",
                    remedy="a defect is four whole numbers: x0 y0 width height",
                    code="FW106",
                ) from err
    return Defects.of_boxes(boxes, source=path)
