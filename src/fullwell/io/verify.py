"""Whether a file is whole: structure and checksums of FITS, the digest of our tables, the grammar of JSON.

FITS standard 4.0, section 4.4.2.7 and appendix J: the ones'-complement sum of all 32-bit words of an HDU with CHECKSUM
is all ones; DATASUM is that of its data.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from fullwell.base.errors import FullwellError
from fullwell.io.cards import BLOCK, parse
from fullwell.io.fitsfile import FitsFile, decoding, open_fits, sniff
from fullwell.io.headertext import fold

__all__ = ["faults"]

_ONES = 0xFFFFFFFF


def faults(path: str | os.PathLike[str], *, headers: bool = True) -> list[str]:
    """What is wrong with a file, a sentence for each HDU; nothing where it is whole as far as can be told.

    Parameters
    ----------
    headers : whether CHECKSUM must hold as well, which covers the header; other programs change headers without it.
    """
    name = os.fspath(path)
    try:
        what = sniff(name)
        if what in ("fits", "packed"):
            with open_fits(name) as file:
                return _sums(file, headers)
        if what == "ecsv":
            return _table(name)
        if name.endswith(".json"):
            with decoding(name, "the JSON text"), open(name, encoding="utf-8") as stream:
                json.load(stream)
        if what == "empty":
            return ["the file is empty"]
    except FullwellError as error:
        return [error.problem]
    return []


def _words(buffer: Any, start: int, stop: int) -> int:
    """Plain sum of big-endian 32-bit words; bytes that are missing at the end of a file count as zero."""
    size = min(stop, len(buffer)) - start
    whole = size // 4
    total = int(np.frombuffer(buffer, ">u4", whole, start).sum(dtype=np.uint64)) if whole else 0
    rest = bytes(buffer[start + 4 * whole : start + size])
    return total + int.from_bytes(rest.ljust(4, b"\0"), "big") if rest else total


def _sums(file: FitsFile, headers: bool) -> list[str]:
    found = []
    for hdu in file:
        header, _ = parse(bytes(file.buffer[hdu.start : hdu.offset]))
        stated, checked = str(header.get("DATASUM", "")).strip(), str(header.get("CHECKSUM", "")).strip()
        if not stated and not checked:
            continue
        data = fold(_words(file.buffer, hdu.offset, hdu.offset + -(-hdu.size // BLOCK) * BLOCK))
        if stated and (not stated.isdigit() or int(stated) % _ONES != data % _ONES):
            found.append(f"{hdu.label}: the data are not those that were written (DATASUM {stated}, it is {data})")
        elif headers and checked and checked != "0" * 16:
            if fold(_words(file.buffer, hdu.start, hdu.offset) + data) % _ONES:
                found.append(f"{hdu.label}: the header is not the one that was written (CHECKSUM)")
    return found


def _table(name: str) -> list[str]:
    from astropy.table import Table

    from fullwell.io.productfile import is_edited

    with decoding(name, "the table"):
        table = Table.read(name, format="ascii.ecsv")
        return ["the table was edited after it was written"] if is_edited(table) else []
