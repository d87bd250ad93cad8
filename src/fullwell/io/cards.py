"""Header cards of FITS to Python values, without a FITS library.

Walking headers is what a folder of a thousand files costs; here a card is a slice of 80 bytes. The rules are
those of the FITS standard 4.0, sections 4.1 and 4.2, with ESO's HIERARCH and the CONTINUE convention.
A value that follows no rule is kept as its text: a bad card never hides the other ones.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["BLOCK", "CARD", "find_end", "parse"]

BLOCK = 2880
CARD = 80

_STRING = re.compile(r"'((?:[^']|'')*)'")
_END = b"END".ljust(8)
_TEXT = ("COMMENT", "HISTORY", "")


def find_end(buffer: Any, start: int) -> int:
    """Offset of the first byte after the END card's block, of a header that begins at `start`; -1 if it has none.

    `buffer` is bytes or a memory map.
    """
    size = len(buffer)
    at = buffer.find(_END, start)
    while at >= 0:
        if (at - start) % CARD == 0:
            stop = start + ((at - start) // BLOCK + 1) * BLOCK
            return min(stop, size)
        at = buffer.find(_END, at + 1)
    return -1


def _number(text: str) -> Any:
    """An integer, a float or the text itself."""
    if "." not in text:
        try:
            return int(text)
        except ValueError:
            pass
    try:
        return float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        return text


def _value(text: str) -> tuple[Any, str]:
    """The value field of a card to (value, comment)."""
    body = text.lstrip()
    if body.startswith("'"):
        match = _STRING.match(body)
        if match is None:
            return body[1:].rstrip(), ""
        rest = body[match.end() :].partition("/")[2]
        return match.group(1).replace("''", "'").rstrip(), rest.strip()
    field, _, comment = body.partition("/")
    field = field.strip()
    if field == "":
        return None, comment.strip()
    if field in ("T", "F"):
        return field == "T", comment.strip()
    if "_" in field:
        return field, comment.strip()
    return _number(field), comment.strip()


def parse(raw: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """A header's bytes (up to its END card) to (keyword -> value, keyword -> comment).

    Keywords are in upper case, those of HIERARCH without that word. The first of several cards of one keyword
    counts. COMMENT and HISTORY cards are joined by line breaks; cards without a keyword go to COMMENT.
    """
    text = raw.decode("latin-1")
    header: dict[str, Any] = {}
    comments: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    last = ""
    for start in range(0, len(text), CARD):
        card = text[start : start + CARD]
        word = card[:8].rstrip()
        if word == "END":
            break
        if word == "CONTINUE" and isinstance(header.get(last), str) and header[last].endswith("&"):
            more, comment = _value(card[8:])
            header[last] = header[last][:-1] + str(more)
            comments[last] = (comments.get(last, "") + " " + comment).strip()
            continue
        if card[8:10] == "= " and word != "HIERARCH":
            key, field = word.upper(), card[10:]
        elif word == "HIERARCH" and "=" in card:
            name, _, field = card[8:].partition("=")
            key = " ".join(name.upper().split())
        elif word in _TEXT:
            if card.strip():
                texts.setdefault(word or "COMMENT", []).append(card[8:].rstrip())
            continue
        else:
            continue
        if key in header:
            last = ""
            continue
        last = key
        header[key], comments[key] = _value(field)
    for key, lines in texts.items():
        header[key] = "\n".join(lines)
    return header, {k: v for k, v in comments.items() if v}
