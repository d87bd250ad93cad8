"""FITS headers and small HDUs as text, byte for byte as astropy writes them, without its objects.

A frame has some 270 cards. Through astropy's Header they cost 12 ms of a frame's 80, all of it with the interpreter
lock held, so that a second thread stands still; as text they take one. What is no ordinary card (text of more
than one card, quotes, numbers that do not fit) is made by astropy.
FITS standard 4.0, sections 4 and 7.3; ESO's HIERARCH.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from fullwell.base.errors import HeaderError

__all__ = ["BLOCK", "PlainHdu", "ascii_text", "cards_of", "checksum_text", "fold", "sealed", "text_cards"]

BLOCK = 2880
CARD = 80
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|"
    r"DATASUM|END|EXTNAME|EXTVER|EXTLEVEL|TFIELDS|CONTINUE"
)
_SHORT = re.compile(r"[A-Z0-9_-]{1,8}")
_LONG = re.compile(r"(?!HIERARCH)[A-Z0-9_-]+( [A-Z0-9_-]+)*")
_TEXT = ("COMMENT", "HISTORY", "")
_PRINTABLE = re.compile(r"[ -~]*")


def ascii_text(text: str) -> str:
    """Text with what FITS does not know written as ``\\x..``; line breaks and tabs become spaces."""
    if _PRINTABLE.fullmatch(text):
        return text
    line = text.replace("\n", " ").replace("\t", " ")
    return "".join(c if " " <= c <= "~" else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 128 else character.encode("ascii", "backslashreplace").decode()


def _plain_value(value: Any) -> Any:
    """A value that a card can hold: NumPy's numbers as Python's, no NaN, ASCII text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, complex)):
        return value
    return ascii_text(str(value))


@lru_cache(maxsize=4096)
def _head(key: str) -> str:
    """The beginning of the card of a keyword, up to its value; "" for a keyword that astropy must look at."""
    if _SHORT.fullmatch(key):
        return f"{key:8}= "
    return f"HIERARCH {key} = " if _LONG.fullmatch(key) else ""


@lru_cache(maxsize=4096)
def _structural(key: str) -> bool:
    return bool(_STRUCTURE.fullmatch(key))


def plain_card(key: str, value: Any, comment: str) -> str:
    """The 80 characters of an ordinary card; "" where it is not one."""
    head = _head(key)
    if isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, (int, float)):
        text = str(value).replace("e", "E")
    elif isinstance(value, str) and value and value[-1] != " " and "'" not in value:
        text = f"'{value:8}'"
    else:
        return ""
    if len(key) <= 8:
        text = f"{text:20}" if text[0] == "'" else f"{text:>20}"
    body = head + text
    if not head or len(body) > CARD - 8 or (text[0] != "'" and len(text) > 20):
        return ""
    room = CARD - max(len(body), 30) - 3
    return f"{body} / {comment[:room]}".ljust(CARD) if comment.strip() else body.ljust(CARD)


def odd_card(key: str, value: Any, comment: str) -> str:
    """The card or cards of any keyword as astropy makes them; ValueError or TypeError where there are none."""
    from astropy.io import fits

    name = key if _SHORT.fullmatch(key) else f"HIERARCH {key}"
    text = str(fits.Card(name, value))
    room = CARD - max(len(text.rstrip()), 30) - 3
    return str(fits.Card(name, value, comment[:room])) if comment and room > 0 else text


def text_cards(word: str, text: str) -> str:
    """COMMENT or HISTORY cards of `text`, 72 characters each, a new one at each line break."""
    out = []
    for given in text.split("\n"):
        line = ascii_text(given)
        out += [f"{word:8}{line[i : i + 72]}".ljust(CARD) for i in range(0, max(len(line), 1), 72)]
    return "".join(out)


def cards_of(metadata: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
    """Cards of keyword -> value: without structural keywords, long ones as HIERARCH.

    A NaN or None becomes an undefined value.

    Returns
    -------
    cards : multiples of 80 characters. texts : COMMENT, HISTORY -> their cards, one or more per line.

    Raises
    ------
    HeaderError
        a keyword that FITS cannot hold; names it.
    """
    texts: dict[str, str] = {}
    lines, words = [], comments or {}
    for key, given in metadata.items():
        if key in _TEXT:
            texts[key or "COMMENT"] = text_cards(key or "COMMENT", str(given))
        elif not _structural(key):
            value, comment = _plain_value(given), words.get(key, "")
            comment = ascii_text(comment) if comment else ""
            try:
                lines.append(plain_card(key, value, comment) or odd_card(key, value, comment))
            except (ValueError, TypeError) as err:
                raise HeaderError(
                    f"FITS cannot hold the keyword: {err}",
                    where=f"keyword {key!r}",
                    remedy="rename or remove it in frame.metadata",
                ) from err
    return "".join(lines), texts


def fold(total: int) -> int:
    """A plain sum of 32-bit words as the ones'-complement sum of the FITS checksum standard."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _sum(data: bytes) -> int:
    """Plain sum of big-endian 32-bit words."""
    return int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))


def checksum_text(value: int) -> str:
    """The 16 letters that make the sum of an HDU all ones; `value` is the complement of its sum without them.

    FITS standard 4.0, appendix J: each byte is split over four letters, punctuation is avoided by moving
    one unit from the second of a pair of letters to the first, and the text is rotated by one.
    """
    letters = [0] * 16
    for i in range(4):
        byte = (value >> (24 - 8 * i)) & 0xFF
        group = [byte // 4 + 48 + byte % 4, *[byte // 4 + 48] * 3]
        while any(0x3A <= g <= 0x40 or 0x5B <= g <= 0x60 for g in group):
            for j in (0, 2):
                if any(0x3A <= g <= 0x40 or 0x5B <= g <= 0x60 for g in group[j : j + 2]):
                    group[j] += 1
                    group[j + 1] -= 1
        letters[i::4] = group
    return bytes(letters[-1:] + letters[:-1]).decode("ascii")


@dataclass(frozen=True)
class PlainHdu:
    """An HDU as text: what a `MappedWriter` puts before and between the planes.

    Parameters
    ----------
    name : EXTNAME, "" of the primary.
    cards : of 80 characters each, structure first, without CHECKSUM, DATASUM and END.
    texts : COMMENT and HISTORY cards, which come last.
    data : the data unit, filled up to whole blocks; b"" where there is none or the pixels come in tiles.
    shape : (ny, nx) of an image of 32-bit pixels that come in tiles, else None.
    """

    name: str
    cards: str
    texts: str = ""
    data: bytes = b""
    shape: tuple[int, int] | None = None

    @classmethod
    def primary(cls, cards: str, texts: str = "") -> PlainHdu:
        """A primary HDU without data, with extensions behind it."""
        first = (("SIMPLE", True, "conforms to FITS standard"), ("BITPIX", 8, "array data type"),
                 ("NAXIS", 0, "number of array dimensions"), ("EXTEND", True, ""))  # fmt: skip
        return cls("", _joined(first) + cards, texts)

    @classmethod
    def image(cls, name: str, shape: tuple[int, int], bitpix: int, cards: str, texts: str = "") -> PlainHdu:
        """An image extension whose pixels (`bitpix` 32 or -32) come in tiles."""
        first = (("XTENSION", "IMAGE", "Image extension"), ("BITPIX", bitpix, "array data type"),
                 ("NAXIS", 2, "number of array dimensions"), ("NAXIS1", shape[1], ""), ("NAXIS2", shape[0], ""),
                 ("PCOUNT", 0, "number of parameters"), ("GCOUNT", 1, "number of groups"))  # fmt: skip
        return cls(name, _joined(first) + cards + plain_card("EXTNAME", name, "extension name"), texts, b"", shape)

    @classmethod
    def table(cls, name: str, columns: Mapping[str, Sequence[str]]) -> PlainHdu:
        """A binary table of columns of ASCII text, each as wide as its longest.

        Spaces at the end are left out, but for one where there is nothing else, as astropy does.
        """
        widths = [max(map(len, column), default=1) or 1 for column in columns.values()]
        held = [[(text.rstrip(" ") or text[:1]).encode("ascii") for text in column] for column in columns.values()]
        rows = [b"".join(t.ljust(w, b"\0") for t, w in zip(r, widths, strict=True)) for r in zip(*held, strict=True)]
        first = [("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8, "array data type"),
                 ("NAXIS", 2, "number of array dimensions"), ("NAXIS1", sum(widths), "length of dimension 1"),
                 ("NAXIS2", len(rows), "length of dimension 2"), ("PCOUNT", 0, "number of group parameters"),
                 ("GCOUNT", 1, "number of groups"), ("TFIELDS", len(widths), "number of table fields")]  # fmt: skip
        for i, (column, width) in enumerate(zip(columns, widths, strict=True), 1):
            first += [(f"TTYPE{i}", column, ""), (f"TFORM{i}", f"{width}A", "")]
        data = b"".join(rows)
        data = data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")
        return cls(name, _joined(first) + plain_card("EXTNAME", name, "extension name"), "", data)

    @property
    def header_size(self) -> int:
        """Bytes of the header once it has its two checksum cards and its end."""
        return -(-(len(self.cards) + len(self.texts) + 3 * CARD) // BLOCK) * BLOCK

    def sealed(self, total: int | None = None, size: int = 0) -> bytes:
        """The bytes of the header with DATASUM and CHECKSUM.

        Parameters
        ----------
        total : plain sum of the words of the data unit; None: that of `data`.
        size : blank cards fill the header up to so many bytes.
        """
        return sealed(self.cards, self.texts, fold(_sum(self.data) if total is None else total), size)


def sealed(cards: str, texts: str, datasum: int, size: int = 0) -> bytes:
    """The bytes of a header with DATASUM and CHECKSUM of its HDU; blank cards fill it up to `size` bytes."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    before = cards + plain_card("CHECKSUM", "0" * 16, f"HDU checksum updated {now}")
    rest = plain_card("DATASUM", str(datasum), f"data unit checksum updated {now}") + texts
    have = len(before) + len(rest) + CARD
    text = before + rest
    if have <= size - BLOCK:
        text = text.ljust(size - CARD) + "END".ljust(CARD)
    else:
        text = (text + "END").ljust(-(-have // BLOCK) * BLOCK)
    raw = text.encode("ascii")
    total = fold(_sum(raw) + datasum)
    at = len(cards) + 11
    return raw[:at] + checksum_text(~total & 0xFFFFFFFF).encode() + raw[at + 16 :]


def _joined(cards: Iterable[tuple[str, Any, str]]) -> str:
    return "".join(plain_card(*card) for card in cards)
