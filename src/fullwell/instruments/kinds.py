"""The type of a frame out of the many words that headers use for it."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

__all__ = ["KINDS", "band_of", "hint_of", "kind_of"]

KINDS = ("bias", "dark", "flat", "science", "arc", "focus", "unknown")
"""Frame types that every part of the package knows; test stands add "fe55", "spot", "ppump" and the like."""

_WORDS = {
    "bias": "bias zero zeros offset biasframe zeroframe",
    "dark": "dark darks darkframe darkflat flatdark dkflat",
    "flat": "flat flats flatfield flatframe domeflat skyflat twiflat twflat lampflat dflat sflat tflat pflat iflat "
    "superflat qthflat twilight ff skyflats domeflats flatlamp internalflat eveningflat morningflat",
    "science": "science sci object target obj skyexp light lightframe sky std standard acq acquisition stare lights",
    "arc": "arc comp comparison wave wavelength thar calibrationlamp arclamp lamp wavecal hear hene cuar complamp",
    "focus": "focus foc focusing",
    "fe55": "fe55",
    "spot": "spot",
    "ppump": "ppump pocketpump",
    "unknown": "unknown test engtest other none calib calibration na",
}
_KNOWN = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_WEAK = {"light", "lightframe", "lights"}
_SBIG = {1: "light", 2: "bias", 3: "dark", 4: "flat"}
_FILLERS = {"frame", "frames", "field", "image", "exposure", "exp", "master", "raw"}


def kind_of(value: Any) -> tuple[str, bool]:
    """The type that a header value names, and whether the word is weak.

    "Bias Frame", "zero", "FLAT,SKY", "Dome Flat", "object", "Light Frame" and numbers 1 to 4 (SBIG: light, bias,
    dark, flat) are understood. A flat-dark is a dark. "Light" is weak: camera programs write it for
    whatever is neither bias, dark nor flat to them, flats of lamps included.

    >>> kind_of("FLAT,SKY"), kind_of("Light Frame"), kind_of("tea time")
    (('flat', False), ('science', True), ('unknown', True))
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = _SBIG.get(int(value), "unknown")
    words = [word for word in re.split(r"[^a-z0-9]+", str(value).lower()) if word]
    joined = "".join(words)
    if joined in _KNOWN:
        return _KNOWN[joined], joined in _WEAK or _KNOWN[joined] == "unknown"
    core = [word for word in words if word not in _FILLERS] or words
    if any("dark" in word for word in core):
        return "dark", False
    if any("flat" in word for word in core):
        return "flat", False
    found = [_KNOWN[word] for word in core if word in _KNOWN]
    for kind in ("bias", "arc", "focus", "science"):
        if kind in found:
            return kind, all(word in _WEAK for word in core if _KNOWN.get(word) == kind)
    return "unknown", True


_HINTS = (
    ("dark", re.compile(r"dark")),
    ("flat", re.compile(r"flat|(?<![a-z])ff(?![a-z])")),
    ("bias", re.compile(r"bias|(?<![a-z])zero(?![a-z])|offset")),
    ("arc", re.compile(r"(?<![a-z])(arc|comp|thar)(?![a-z])")),
)


def hint_of(path: str, *texts: str) -> tuple[str, str]:
    """What the file name, or a free text such as OBJECT, says of the type: (kind, where it was found).

    Weak evidence, for a person or a later look at the levels; ("", "") where nothing is said.
    """
    for place, text in (*((f"text '{t}'", t) for t in texts), ("file name", PurePath(path).name)):
        for kind, pattern in _HINTS:
            if pattern.search(text.lower()):
                return kind, place
    return "", ""


_MAKER = re.compile(r"^(sdss|sloan|ps1|gunn|bessell?|johnson|cousins|kc|lsst|hsc|decam)", re.IGNORECASE)
_BAND = re.compile(r"^([ugrizyUBVRI])(?:'|p|prime)?(?:[#_\-\s.~].*|\d.*)?$")


def band_of(name: str) -> str:
    """The band of a filter's name, "" where it does not begin with one.

    >>> band_of("g#782"), band_of("SDSSi"), band_of("r_57"), band_of("Visible")
    ('g', 'i', 'r', '')
    """
    found = _BAND.match(_MAKER.sub("", name).strip(" _-."))
    return found.group(1) if found else ""
