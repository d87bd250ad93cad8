"""The id that a file of ours carries, read from as few of its bytes as possible.

A dataset of a repository has the card ``LSST BUTLER ID`` (FITS), the same key in the metadata (ECSV) or in the
top level (JSON). Files get their names when they are whole, so a file with the right name and id is complete.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from typing import IO, Any

from fullwell.io.cards import BLOCK, parse

__all__ = ["KEY", "embedded_id", "same_id"]

KEY = "LSST BUTLER ID"
_TEXT = re.compile(rf"{KEY}['\"]?\s*[:,]\s*['\"]?([0-9A-Za-z-]+)")
_LARGEST_HEADER = 2000 * BLOCK
_LARGEST_JSON = 64 << 20


def same_id(one: str, other: str) -> bool:
    """Whether two texts are the same id, with or without dashes, in either case; "" is like no other."""
    return bool(one) and one.replace("-", "").lower() == other.replace("-", "").lower()


def embedded_id(path: str | os.PathLike[str]) -> str:
    """The id of the dataset that the file is; "" where it carries none.

    Raises
    ------
    OSError
        the file is not there or cannot be read.
    """
    name = os.fspath(path)
    with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as stream:
        start = stream.read(BLOCK)
        if start.startswith(b"SIMPLE"):
            return _of_fits(stream, start)
        if start.startswith(b"# %ECSV"):
            return _of_table(stream, start)
        if start.lstrip().startswith(b"{"):
            return _of_json(start + stream.read(_LARGEST_JSON))
    return ""


def _header(stream: IO[bytes], start: bytes) -> dict[str, Any]:
    """Keywords of the header that begins with the block `start`; the stream is left behind it."""
    raw = start
    while len(start) == BLOCK and not any(start[i : i + 8] == b"END     " for i in range(0, BLOCK, 80)):
        start = stream.read(BLOCK)
        raw += start
        if len(raw) > _LARGEST_HEADER:
            break
    return parse(raw)[0]


def _of_fits(stream: IO[bytes], start: bytes) -> str:
    """From the primary header, or that of the first extension where the primary HDU has no data."""
    header = _header(stream, start)
    if KEY not in header and header.get("NAXIS") == 0:
        header = _header(stream, stream.read(BLOCK))
    return str(header.get(KEY, ""))


def _of_table(stream: IO[bytes], start: bytes) -> str:
    """From the comment lines at the top of an ECSV table."""
    text = start
    while len(start) == BLOCK and not re.search(rb"\n[^#]", text):
        start = stream.read(BLOCK)
        text += start
    head = re.split(rb"\n(?!#)", text)[0].decode("utf-8", "replace")
    match = _TEXT.search(head)
    return match.group(1) if match else ""


def _of_json(text: bytes) -> str:
    try:
        values = json.loads(text)
    except ValueError:
        return ""
    return str(values.get(KEY, ""))
