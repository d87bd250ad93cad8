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

__all__ = ["KEY", "embedded_id", "embedded_keys", "same_id"]

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
    with _open(name) as stream:
        start = stream.read(BLOCK)
        if start.startswith(b"SIMPLE"):
            return _of_fits(stream, start)
        if start.startswith(b"# %ECSV"):
            return _of_table(stream, start)
        if start.lstrip().startswith(b"{"):
            return _of_json(start + stream.read(_LARGEST_JSON))
    return ""


def embedded_keys(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the first header of a FITS file, the metadata of an ECSV table or the top level of a JSON file say.

    Where the primary HDU has no data, so do the keywords of the first extension that the primary has not.
    A file of another kind says nothing.

    Raises
    ------
    OSError
        the file is not there or cannot be read.
    """
    name = os.fspath(path)
    with _open(name) as stream:
        start = stream.read(BLOCK)
        if start.startswith(b"SIMPLE"):
            first = _header(stream, start)
            return {**_header(stream, stream.read(BLOCK)), **first} if first.get("NAXIS") == 0 else first
        if start.startswith(b"# %ECSV"):
            return _meta(_comments(stream, start))
        if start.lstrip().startswith(b"{"):
            return _top(start + stream.read(_LARGEST_JSON))
    return {}


def _open(name: str) -> Any:
    return gzip.open(name) if name.endswith(".gz") else open(name, "rb")


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


def _comments(stream: IO[bytes], start: bytes) -> str:
    """The comment lines at the top of an ECSV table."""
    text = start
    while len(start) == BLOCK and not re.search(rb"\n[^#]", text):
        start = stream.read(BLOCK)
        text += start
    return re.split(rb"\n(?!#)", text)[0].decode("utf-8", "replace")


def _of_table(stream: IO[bytes], start: bytes) -> str:
    match = _TEXT.search(_comments(stream, start))
    return match.group(1) if match else ""


def _meta(head: str) -> dict[str, Any]:
    """Key and value of the metadata of an ECSV table; nothing where they cannot be read."""
    from astropy.io.misc import yaml
    from yaml import YAMLError

    lines = [line[2:] for line in head.splitlines()[2:]]
    try:
        meta = yaml.load("\n".join(lines)).get("meta", {})
        return {str(k): v for k, v in dict(meta).items()}
    except (YAMLError, AttributeError, TypeError, ValueError):
        return {}


def _of_json(text: bytes) -> str:
    return str(_top(text).get(KEY, ""))


def _top(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return dict(values) if isinstance(values, dict) else {}
