"""The series of images of a camera test after EMVA 1288: which files are of which level.

Two ways lead to a `CameraTest`: the descriptor file of the standard's image data sets, and the headers of a folder.
The descriptor is text with one word of one letter at the start of each line::

    # a comment
    v 4.0                       release of the standard
    n 12 640 480                bits, width, height
    b 40000.0 120.0             bright level: exposure time [ns], photons per pixel
    i images\\b_000_snap_001.png a file of the level above, relative to the descriptor
    d 40000.0                   dark level: exposure time [ns]
    l Model AnyCam 640          a text about the camera

A level of more than two files is a stack for the spatial nonuniformity.

Reference: EMVA 1288 image data sets, https://github.com/EMVA1288/datasets.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, FullwellError, HeaderError
from fullwell.io.reading import read_headers

if TYPE_CHECKING:
    from fullwell.frames import Observation

__all__ = ["CameraTest", "TestLevel", "find_camera_test", "read_descriptor"]

_MOST_TEXT = 1 << 24
_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class TestLevel:
    """Images of one light and one exposure time.

    Parameters
    ----------
    time : exposure time [s]; photons : mean number per pixel in that time, NaN where unknown, 0 in the dark.
    files : the images, in order.
    where : place of the level in its descriptor, for messages.
    """

    __test__ = False  # its name must not make pytest take it for a test

    time: float
    photons: float
    files: tuple[Path, ...]
    where: str = ""


@dataclass(frozen=True)
class CameraTest:
    """The images of one camera at one setting.

    Parameters
    ----------
    bright, dark : levels of two images, in order of photons (else of time).
    bright_stack, dark_stack : levels of more images, None where there are none.
    bits : of the converter, 0 where unknown; width, height : of the images, 0 where unknown.
    release : of the standard that the descriptor names, "" if none; texts : about the camera.
    notes : levels and files left out, and why. source : descriptor or folder.
    """

    bright: tuple[TestLevel, ...]
    dark: tuple[TestLevel, ...]
    bright_stack: TestLevel | None = None
    dark_stack: TestLevel | None = None
    bits: int = 0
    width: int = 0
    height: int = 0
    release: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str = ""


@dataclass
class _Reading:
    """What the lines of a descriptor have said so far."""

    path: Path
    levels: list[tuple[str, TestLevel]] = field(default_factory=list)
    size: tuple[int, int, int] = (0, 0, 0)
    release: str = ""
    texts: dict[str, str] = field(default_factory=dict)


def read_descriptor(path: Path | str) -> CameraTest:
    """Read a descriptor. Files that it names but that are not there are left out, with a note.

    Raises
    ------
    FileError
        the descriptor cannot be read or is no text, or none of its files is there.
    HeaderError
        a line cannot be understood; the message has its number.
    """
    path = Path(path)
    reading = _Reading(path)
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.strip().split(None, 1)
        if words and not words[0].startswith("#"):
            _line(reading, words[0], words[1] if len(words) > 1 else "", f"{path}, line {number}")
    if not reading.levels:
        raise HeaderError(
            "the descriptor has no level",
            where=str(path),
            remedy="a level is a line 'b TIME_NS PHOTONS' or 'd TIME_NS'",
        )
    bits, width, height = reading.size
    kept, notes = _present(reading.levels)
    if not kept:
        raise FileError("none of the images that the descriptor names is there", where=str(path),
                        remedy="are the images beside the descriptor, under the folder that it names?")  # fmt: skip
    return _sorted(
        kept, notes,
        CameraTest((), (), bits=bits, width=width, height=height, release=reading.release, texts=reading.texts,
                   source=str(path)),
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_TEXT:
            raise FileError("the descriptor is too large to be one", where=str(path))
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FileError("the descriptor is no text", where=str(path), remedy="give the .txt file of the set") from None
    except OSError as err:
        raise FileError(f"the descriptor cannot be read: {err.strerror}", where=str(path)) from err


def _line(reading: _Reading, word: str, rest: str, where: str) -> None:
    if word in ("b", "d"):
        values = _numbers(rest, 2 if word == "b" else 1, where, "b TIME_NS PHOTONS" if word == "b" else "d TIME_NS")
        photons = values[1] if word == "b" else 0.0
        reading.levels.append((word, TestLevel(values[0] * 1e-9, photons, (), where)))
    elif word == "i":
        if not reading.levels:
            raise HeaderError("an image stands before the first level", where=where, remedy="begin with a line b or d")
        if not rest:
            raise HeaderError("a line i without a file", where=where, remedy="write 'i images/NAME.png'")
        kind, level = reading.levels[-1]
        file = reading.path.parent / rest.strip().replace("\\", "/")
        reading.levels[-1] = (kind, replace(level, files=(*level.files, file)))
    elif word == "n":
        bits, width, height = (int(v) for v in _numbers(rest, 3, where, "n BITS WIDTH HEIGHT"))
        if not (1 <= bits <= 32 and width > 0 and height > 0):
            raise HeaderError(f"{bits} bits, {width} x {height} pixels cannot be true", where=where,
                              remedy="write 'n BITS WIDTH HEIGHT'")  # fmt: skip
        reading.size = (bits, width, height)
    elif word == "v":
        reading.release = rest.strip()
    elif word == "l":
        key, _, value = rest.strip().partition(" ")
        reading.texts[key] = value.strip()
    else:
        raise HeaderError(f"a line begins with '{word[:20]}'", where=where,
                          remedy="lines begin with #, v, n, b, d, i or l")  # fmt: skip


def _numbers(text: str, count: int, where: str, form: str) -> list[float]:
    """`count` finite numbers, none below zero."""
    try:
        values = [float(w) for w in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(v) and v >= 0 for v in values):
        raise HeaderError(f"'{text[:60]}' is not what the line is to hold", where=where, remedy=f"write '{form}'")
    return values


def _present(levels: Iterable[tuple[str, TestLevel]]) -> tuple[list[tuple[str, TestLevel]], list[str]]:
    """Levels with the files that are there; sentences about the others."""
    kept, notes, absent = [], [], 0
    for kind, level in levels:
        there = tuple(f for f in level.files if f.is_file())
        gone = [f for f in level.files if f not in there]
        name = f"{'bright' if kind == 'b' else 'dark'} level of {level.time:.6g} s"
        if level.files and not there:
            absent += 1
        elif len(there) < 2:
            why = f"'{gone[0].name}' is not there" if gone else "it has fewer than two images"
            notes.append(f"{name} is left out: {why}")
        else:
            if gone:
                notes.append(f"{name} has {len(there)} of {len(level.files)} images; the others are not there")
            kept.append((kind, replace(level, files=there)))
    if absent:
        notes.insert(0, f"{absent} levels are left out: none of their images is there")
    return kept, notes


def _sorted(levels: list[tuple[str, TestLevel]], notes: Iterable[str], like: CameraTest) -> CameraTest:
    """Levels of two images as series, the largest stack of more as the one for the spatial measurement."""
    pairs: dict[str, list[TestLevel]] = {"b": [], "d": []}
    stacks: dict[str, list[TestLevel]] = {"b": [], "d": []}
    for kind, level in levels:
        (pairs if len(level.files) == 2 else stacks)[kind].append(level)
    said = list(notes)
    chosen = {}
    for kind, found in stacks.items():
        found.sort(key=lambda s: len(s.files))
        chosen[kind] = found.pop() if found else None
        for rest in found:
            pairs[kind].append(replace(rest, files=rest.files[:2]))
            said.append(f"the stack of {rest.time:.6g} s gives its first two images to the series")
    bright = sorted(pairs["b"], key=lambda s: (s.photons, s.time) if math.isfinite(s.photons) else (s.time, 0.0))
    return replace(
        like, bright=tuple(bright), dark=tuple(sorted(pairs["d"], key=lambda s: s.time)),
        bright_stack=chosen["b"], dark_stack=chosen["d"], notes=tuple(said),
    )  # fmt: skip


def find_camera_test(folder: Path | str, *, rate: float = math.nan) -> CameraTest:
    """The camera test of a folder: by its descriptor if there is one, else by the headers of its images.

    By headers an image is dark where its kind is "dark" or "bias", bright where it is "flat", and its level is its
    exposure time; the keyword PHOTONS, else `rate` times the exposure time, gives the photons per pixel.

    Parameters
    ----------
    rate : photons per pixel and second, NaN where unknown. It overrules a descriptor.

    Raises
    ------
    FileError
        there is no such folder, no image in it, or none with a time.
    HeaderError
        a descriptor or a header that cannot be understood; several descriptors.
    """
    folder = Path(folder)
    if folder.is_file():
        return _relit(read_descriptor(folder), rate)
    if not folder.is_dir():
        raise FileError(f"there is no folder '{folder}'", remedy="give the folder of the image series")
    texts = [p for p in sorted(folder.glob("*.txt")) if _is_descriptor(p)]
    if len(texts) > 1:
        raise HeaderError(f"there are {len(texts)} descriptors: {', '.join(p.name for p in texts[:3])}",
                          where=str(folder), remedy="give the one that is meant instead of the folder")  # fmt: skip
    if texts:
        return _relit(read_descriptor(texts[0]), rate)
    return _by_headers(folder, rate)


def _relit(test: CameraTest, rate: float) -> CameraTest:
    """With the photons of the rate that the user gives, where he gives one."""
    if not math.isfinite(rate):
        return test

    def change(level: TestLevel) -> TestLevel:
        return replace(level, photons=rate * level.time)

    stack = None if test.bright_stack is None else change(test.bright_stack)
    return replace(test, bright=tuple(map(change, test.bright)), bright_stack=stack)


def _is_descriptor(path: Path) -> bool:
    """Whether the first lines of a text that are no comments look like a descriptor."""
    try:
        with open(path, encoding="utf-8") as stream:
            head = [line.split() for line in stream.read(20000).splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    first = [words for words in head if words and not words[0].startswith("#")][:3]
    return bool(first) and all(words[0] in ("v", "n", "b", "d", "i", "l") for words in first)


def _by_headers(folder: Path, rate: float) -> CameraTest:
    found: dict[tuple[str, float], list[Path]] = {}
    light: dict[tuple[str, float], float] = {}
    notes: list[str] = []
    files = [p for p in sorted(folder.rglob("*")) if p.name.lower().endswith(_SUFFIXES) and not p.name.startswith(".")]
    if not files:
        raise FileError("there is no descriptor and no image", where=str(folder),
                        remedy="the folder is to hold EMVA1288_Data.txt, or FITS, PNG or TIFF images")  # fmt: skip
    for path in files:
        try:
            kind, time, value = _told(path)
        except FullwellError as err:
            notes.append(f"{path.name} is left out: {err.problem}")
            continue
        key = (kind, round(time, 9))
        found.setdefault(key, []).append(path)
        if kind == "b":
            light[key] = value if math.isfinite(value) else rate * time
    levels = [(key[0], TestLevel(key[1], light.get(key, 0.0), tuple(paths))) for key, paths in found.items()]
    kept, more = _present(levels)
    if not kept:
        raise FileError(
            "no image of the folder says its exposure time and whether it is bright or dark",
            where=f"{files[0]}: {notes[0].partition(': ')[2] if notes else 'one image of its level'}",
            remedy="give a descriptor (EMVA1288_Data.txt), or headers with IMAGETYP and EXPTIME",
        )
    return _sorted(kept, [*notes, *more], CameraTest((), (), source=os.fspath(folder)))


def _told(path: Path) -> tuple[str, float, float]:
    """ "b" or "d", exposure time [s] and photons (NaN where not told) of an image, by its header."""
    from fullwell import instruments

    headers = read_headers(path)
    seen: Observation = instruments.identify(headers).observation(headers)
    kind = {"dark": "d", "bias": "d", "flat": "b"}.get(seen.kind, "")
    if not kind:
        raise HeaderError(f"its kind is '{seen.kind}', neither flat nor dark", where=str(path))
    time = 0.0 if seen.kind == "bias" and not math.isfinite(seen.exposure_time) else seen.exposure_time
    if not math.isfinite(time):
        raise HeaderError("its header has no exposure time", where=str(path))
    told: Any = headers.primary.get("PHOTONS")
    try:
        return kind, time, float(told) if told is not None else math.nan
    except (TypeError, ValueError):
        raise HeaderError(f"PHOTONS is '{told}', not a number", where=f"{path}, keyword PHOTONS") from None
