"""Text columns of a FITS binary table, straight from the file.

The records that go with a frame are columns of fixed width; a table library would take longer over them than the
pixels do. FITS standard 4.0, section 7.3.
"""

from __future__ import annotations

import re

import numpy as np

from fullwell.base.errors import FileError
from fullwell.io.fitsfile import FitsFile, Hdu, decoding

__all__ = ["text_columns"]

_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_WIDTHS = dict(zip("LBIJKAEDCMPQ", (1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16), strict=True))


def _width(form: str) -> tuple[int, bool]:
    """Bytes of a column of TFORM `form`, and whether it holds text of fixed width; -1 where the form is none."""
    match = _FORM.match(form.strip())
    if match is None:
        return -1, False
    count, letter = int(match.group(1) or 1), match.group(2)
    return (-(-count // 8) if letter == "X" else count * _WIDTHS[letter]), letter == "A"


def text_columns(file: FitsFile, hdu: Hdu, names: tuple[str, ...]) -> list[list[str]]:
    """The texts of the columns `names` of a binary table, without the blanks and NULs that fill them up.

    Raises
    ------
    FileError
        the table has no such column, it holds no text of fixed width, or the table is damaged.
    """
    where, remedy = f"{file.path}, {hdu.label}", "write the file again"
    count = hdu.header.get("TFIELDS", 0)
    found: dict[str, tuple[int, int, bool]] = {}
    at = 0
    for number in range(1, (count if isinstance(count, int) else 0) + 1):
        width, text = _width(str(hdu.header.get(f"TFORM{number}", "")))
        if width < 0:
            raise FileError(
                f"TFORM{number} is {hdu.header.get(f'TFORM{number}')!r}",
                where=f"{where}, keyword TFORM{number}",
                remedy=remedy,
            )
        found[str(hdu.header.get(f"TTYPE{number}", "")).strip()] = (at, width, text)
        at += width
    missing = [name for name in names if name not in found]
    if missing:
        raise FileError(f"the table has no column {', '.join(missing)}", where=where, remedy=remedy)
    mixed = [name for name in names if not found[name][2]]
    if mixed:
        raise FileError(f"column {', '.join(mixed)} holds no text of fixed width", where=where, remedy=remedy)
    with decoding(where, "the table"):
        shape = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
        if at != shape[1]:
            raise ValueError(f"its columns have {at} bytes, NAXIS1 is {shape[1]}")
        rows = np.frombuffer(file.buffer, np.uint8, shape[0] * shape[1], hdu.offset).reshape(shape)
        return [_texts(rows[:, start : start + width]) for start, width, _ in (found[name] for name in names)]


def _texts(cells: np.ndarray) -> list[str]:
    return [row.tobytes().partition(b"\0")[0].decode("utf-8").rstrip(" ") for row in cells]
