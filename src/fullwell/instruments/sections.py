"""FITS section strings, ``[x1:x2,y1:y2]``, 1-based and inclusive, to boxes and back.

A limit that runs down ("[512:1,1:2002]") means that the axis is mirrored. Blanks are allowed anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fullwell.base.errors import HeaderError
from fullwell.cameras import Box

__all__ = ["Section", "format_section", "parse_section"]

_LIMITS = re.compile(r"^\[?(?:(-?\d+):(-?\d+)|(\*)),(?:(-?\d+):(-?\d+)|(\*))\]?$")
_NOTHING = {"", "NONE", "NULL", "N/A", "NA", "[]", "[:,:]", "UNKNOWN"}


@dataclass(frozen=True)
class Section:
    """A box and the directions of its limits.

    Parameters
    ----------
    box : 0-based pixels; flip_x, flip_y : whether the limits of that axis run down.
    """

    box: Box
    flip_x: bool = False
    flip_y: bool = False


def parse_section(text: Any, *, keyword: str, where: str = "", shape: tuple[int, ...] | None = None) -> Section | None:
    """A section string as a box; None where it names no pixels (blank, "none", ``[0:0,0:0]``).

    Parameters
    ----------
    text : header value; keyword : for messages; where : file and HDU, for messages.
    shape : (ny, nx) of the array; allows ``*`` for a whole axis, and the section must lie inside.

    Raises
    ------
    HeaderError
        not a section, or it does not lie inside the array.
    """
    plain = re.sub(r"\s+", "", str(text)).upper() if text is not None else ""
    place = f"{where}, keyword {keyword}" if where else f"keyword {keyword}"
    if plain in _NOTHING:
        return None
    found = _LIMITS.match(plain)
    if not found or ("*" in plain and shape is None):
        raise HeaderError(
            f"'{text}' is not a section",
            where=place,
            remedy="sections read [x1:x2,y1:y2], counted from 1, both ends included; correct the header, "
            "give the section as an option, or describe the camera in a file (--camera FILE)",
        )
    limits = []
    for first, last, star, size in ((*found.group(1, 2, 3), 1), (*found.group(4, 5, 6), 0)):
        if star:
            assert shape is not None
            limits.append((1, int(shape[-1] if size else shape[-2])))
        else:
            limits.append((int(first), int(last)))
    if all(limit == (0, 0) for limit in limits):
        return None
    (a, b), (c, d) = limits
    x0, x1, y0, y1 = min(a, b), max(a, b), min(c, d), max(c, d)
    if x0 < 1 or y0 < 1 or (shape is not None and (x1 > shape[-1] or y1 > shape[-2])):
        size = f" of {shape[-1]} x {shape[-2]} pixels" if shape is not None else ""
        raise HeaderError(
            f"section {text} lies outside the image{size}",
            where=place,
            remedy="the header does not belong to this read-out (windowed or binned after it was written?); "
            "give the sections as options or describe the camera in a file (--camera FILE)",
        )
    return Section(Box(x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1), a > b, c > d)


def format_section(box: Box, *, flip_x: bool = False, flip_y: bool = False) -> str:
    """The section string of a box, limits running down where flipped.

    >>> format_section(Box(10, 0, 512, 2002))
    '[11:522,1:2002]'
    """
    x, y = (box.x0 + 1, box.x1), (box.y0 + 1, box.y1)
    if flip_x:
        x = x[::-1]
    if flip_y:
        y = y[::-1]
    return f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]"
