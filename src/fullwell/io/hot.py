"""The hot path in: plain FITS mapped from disk, indexed without header objects, decoded where it is used.

The general readers of `io` take any file and build astropy headers; that costs more than correcting the
frame. This reader knows only what a raw image needs: uncompressed HDUs, integer or 32-bit float pixels,
BSCALE 1. Anything else raises `NotPlain`, whose text says why, and the caller takes the general reader.

A mapped file that another program cuts short while it is read ends the process (a property of mapped
memory on every system); the size is checked when the file is opened.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, GeometryError
from fullwell.cameras import Box, Detector, Orientation
from fullwell.kernels import transfer, words

__all__ = ["HotHdu", "MappedRaw", "NotPlain", "Segment", "index", "read_image"]

BLOCK = 2880
_STRUCTURE = (
    *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "NAXIS4", "NAXIS5"),
    *("PCOUNT", "GCOUNT", "GROUPS", "BZERO", "BSCALE", "BLANK", "ZIMAGE", "EXTNAME"),
)
_END = b"END".ljust(80)
_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}


class NotPlain(FileError):
    """The file is good FITS but not of the plain kind that can be mapped; the general reader takes it."""

    code = "FW111"


@dataclass(frozen=True)
class HotHdu:
    """What the index keeps of one HDU.

    Parameters
    ----------
    number : 0-based; name : EXTNAME, "" if it has none; kind : "IMAGE", "BINTABLE", "TABLE" ….
    header : byte at which the header begins; data : byte at which the data begin; size : bytes of data, unpadded.
    bitpix, shape (numpy order, () without data), bzero, bscale : as in the header.
    values : the keywords that were asked for and are there.
    compressed : whether it is a tile-compressed image.
    """

    number: int
    name: str
    kind: str
    header: int
    data: int
    size: int
    bitpix: int
    shape: tuple[int, ...]
    bzero: float = 0.0
    bscale: float = 1.0
    blank: bool = False
    compressed: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> bool:
        """Whether it holds a two-dimensional image, stored as it is."""
        return self.kind == "IMAGE" and len(self.shape) == 2 and self.size > 0

    def code(self, path: str) -> int:
        """How the pixels are stored (`kernels.transfer`).

        Raises
        ------
        NotPlain
            scaled, compressed, blanked or of a size that no raw image has.
        """
        known = {
            (8, 0.0): transfer.NATIVE,
            (16, 0.0): transfer.SWAP16,
            (16, 32768.0): transfer.SWAP16U,
            (32, 0.0): transfer.SWAP32,
            (-32, 0.0): transfer.SWAPF32,
        }
        code = known.get((self.bitpix, self.bzero))
        reason = ""
        if self.compressed:
            reason = "it is tile-compressed"
        elif self.bscale != 1 or code is None:
            reason = f"its pixels are scaled (BITPIX {self.bitpix}, BZERO {self.bzero:g}, BSCALE {self.bscale:g})"
        elif self.blank:
            reason = "it has BLANK pixels"
        if reason or code is None:
            raise _not_plain(path, f"HDU {self.number}{f' ({self.name})' if self.name else ''}", reason)
        return code


def _not_plain(path: str, where: str, reason: str) -> NotPlain:
    return NotPlain(
        f"the file cannot be mapped: {reason}", where=f"{path}, {where}", remedy="read it with fullwell.io.read"
    )


def _value(card: bytes) -> Any:
    """Value of a fixed-format card of the kinds an index needs: string, logical, number."""
    text = card[10:].decode("ascii", "replace").strip()
    if card[8:10] != b"= ":
        return None
    if text.startswith("'"):
        out, i = [], 1
        while i < len(text):
            if text[i] == "'":
                if text[i + 1 : i + 2] != "'":
                    break
                i += 1
            out.append(text[i])
            i += 1
        return "".join(out).rstrip()
    text = text.split("/", 1)[0].strip()
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text.upper().replace("D", "E"))
        except ValueError:
            return text or None


def _cards(data: Any, start: int, size: int, wanted: dict[bytes, str], path: str) -> tuple[dict[str, Any], int]:
    """Values of the wanted keywords of the header at `start`, and the byte after the header."""
    found: dict[str, Any] = {}
    at = start
    while at < size:
        block = bytes(data[at : at + BLOCK])
        for i in range(0, len(block), 80):
            key = block[i : i + 8]
            if key in wanted:
                name = wanted[key]
                if name not in found:
                    found[name] = _value(block[i : i + 80])
            elif key == b"END     " and block[i : i + 80] == _END:
                return found, at + BLOCK
        at += BLOCK
    raise FileError(
        "the header has no END card", where=f"{path}, byte {start}", remedy="the file is cut short; fetch it again"
    )


def _whole(found: dict[str, Any], key: str, default: int | None, where: str) -> int:
    value = found.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or (key != "BITPIX" and value < 0):
        raise FileError(f"{key} is {value!r}, not a whole number", where=f"{where}, keyword {key}")
    return value


def index(path: str | Path, keys: Iterable[str] = (), data: Any = None) -> list[HotHdu]:
    """All HDUs of an uncompressed FITS file, with the values of `keys`.

    Parameters
    ----------
    path : of the file.
    keys : keywords of at most eight letters whose values are wanted (first occurrence; CONTINUE is not followed).
    data : the file's bytes, where it is mapped already.

    Raises
    ------
    FileError
        not FITS, cut short, or a header that cannot be true. NotPlain for random groups.
    """
    name = str(path)
    if data is None:
        with _opened(name) as mapped:
            return index(path, keys, mapped)
    size = len(data)
    if bytes(data[:9]) != b"SIMPLE  =":
        raise FileError("this is not a FITS file", where=name, remedy="a FITS file begins with SIMPLE  =")
    keys = tuple(keys)
    wanted = {k.upper().ljust(8).encode(): k.upper() for k in (*_STRUCTURE, *keys)}
    asked = {k.upper() for k in keys}
    out: list[HotHdu] = []
    at = 0
    while at < size:
        if out and bytes(data[at : at + 8]) != b"XTENSION":
            break  # special records after the last HDU: the standard allows them, nobody writes them
        found, start = _cards(data, at, size, wanted, name)
        hdu = _hdu(len(out), at, start, found, asked, name)
        if start + hdu.size > size:
            raise FileError(
                f"the data of HDU {hdu.number} need {hdu.size} bytes, {max(size - start, 0)} are there",
                where=f"{name}, HDU {hdu.number}",
                remedy="the file is cut short; fetch it again",
            )
        out.append(hdu)
        at = start + -(-hdu.size // BLOCK) * BLOCK
    return out


def _hdu(number: int, at: int, start: int, found: dict[str, Any], asked: set[str], path: str) -> HotHdu:
    where = f"{path}, HDU {number}"
    bitpix = _whole(found, "BITPIX", None, where)
    if bitpix not in _TYPES:
        raise FileError(f"BITPIX is {bitpix}", where=f"{where}, keyword BITPIX")
    naxis = _whole(found, "NAXIS", None, where)
    if naxis > 5:
        raise _not_plain(path, f"HDU {number}", f"it has {naxis} axes")
    axes = [_whole(found, f"NAXIS{i + 1}", None, where) for i in range(naxis)]
    if found.get("GROUPS") is True and axes and axes[0] == 0:
        raise _not_plain(path, f"HDU {number}", "it holds random groups")
    count = _whole(found, "PCOUNT", 0, where)
    pixels = math.prod(axes) if axes else 0
    size = abs(bitpix) // 8 * _whole(found, "GCOUNT", 1, where) * (count + pixels) if axes else 0
    bzero, bscale = found.get("BZERO", 0.0), found.get("BSCALE", 1.0)
    if not all(isinstance(v, (int, float)) for v in (bzero, bscale)):
        raise FileError("BZERO or BSCALE is not a number", where=f"{where}, keyword BZERO")
    return HotHdu(
        number,
        str(found.get("EXTNAME") or ""),
        "IMAGE" if number == 0 else str(found.get("XTENSION") or ""),
        at,
        start,
        size,
        bitpix,
        tuple(reversed(axes)),
        float(bzero),
        float(bscale),
        found.get("BLANK") is not None and bitpix > 0,
        found.get("ZIMAGE") is True,
        {k: v for k, v in found.items() if k in asked},
    )


def _opened(path: str) -> mmap.mmap:
    """The file mapped read-only."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < BLOCK:
                raise FileError("the file is too short for FITS", where=path, remedy="check that it was written whole")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"the file cannot be read: {error}", where=path) from error


def _chosen(hdus: list[HotHdu], wanted: str | int | None, path: str) -> HotHdu:
    """The HDU of a name or number; the first image where None is asked for."""
    for hdu in hdus:
        if wanted is None:
            if hdu.image or hdu.compressed:
                return hdu
        elif wanted == hdu.number or (isinstance(wanted, str) and wanted.upper() == hdu.name.upper()):
            return hdu
    names = ", ".join(hdu.name or str(hdu.number) for hdu in hdus)
    what = "no image" if wanted is None else f"no HDU {wanted!r}"
    raise FileError(f"the file has {what}", where=path, remedy=f"it has {names}")


@dataclass(frozen=True)
class Segment:
    """Where one amplifier's pixels are in the flat array of a `MappedRaw`.

    Parameters
    ----------
    first : element of the flat array at which the image that holds it begins; shape : of that image (ny, nx).
    box : the segment in that image; orientation : how read-out order lies in it; size : (rows, columns) read.
    """

    first: int
    shape: tuple[int, int]
    box: Box
    orientation: Orientation
    size: tuple[int, int]


@dataclass(frozen=True)
class MappedRaw:
    """A raw file mapped read-only: nothing is read or converted before a block asks for it.

    Parameters
    ----------
    path : of the file.
    flat : the whole file as unsigned integers of the pixel size, in the byte order of the file.
    code : how they are to be decoded (`kernels.transfer`).
    segments : one per amplifier, in the order of the detector.
    hdus : the index, with the keywords that were asked for.
    """

    path: str
    flat: NDArray[Any]
    code: int
    segments: tuple[Segment, ...]
    hdus: tuple[HotHdu, ...]

    @classmethod
    def open(cls, path: str | Path, detector: Detector, keys: Iterable[str] = ()) -> MappedRaw:
        """Map `path` and find the segments of all amplifiers of `detector`.

        Raises
        ------
        NotPlain
            compressed, scaled, or HDUs of different pixel types: take the general reader.
        FileError
            not FITS, cut short, an HDU missing. GeometryError: sizes that do not fit the detector.
        """
        name = str(path)
        mapped = _opened(name)
        hdus = index(path, keys, mapped)
        chosen = [_chosen(hdus, amp.hdu, name) for amp in detector]
        codes = {hdu.number: hdu.code(name) for hdu in chosen}
        if len(set(codes.values())) > 1:
            raise _not_plain(name, "its HDUs", "they differ in pixel type")
        width = abs(chosen[0].bitpix) // 8
        flat = np.frombuffer(mapped, np.dtype(f"u{width}"), count=len(mapped) // width)
        segments = []
        for amp, hdu in zip(detector, chosen, strict=True):
            if len(hdu.shape) != 2:
                raise _not_plain(name, f"HDU {hdu.number}", f"it has {len(hdu.shape)} axes")
            shape = (hdu.shape[0], hdu.shape[1])
            if amp.hdu is None:
                box, turn = amp.raw, amp.raw_orientation
            else:
                turn = amp.hdu_orientation
                box = Box.from_shape(turn.shape(amp.shape))
            fits = Box.from_shape(shape).contains(box) if amp.hdu is None else box.shape == shape
            if not fits:
                raise GeometryError(
                    f"the image is {shape[1]} x {shape[0]} pixels; amplifier {amp.name} needs {box}",
                    where=f"{name}, HDU {hdu.number}",
                    remedy="the file is windowed or binned, or it is of another detector: check the camera's geometry",
                )
            segments.append(Segment(hdu.data // width, shape, box, turn, amp.shape))
        return cls(name, flat, codes[chosen[0].number], tuple(segments), tuple(hdus))


def read_image(path: str | Path, hdu: str | int | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """One image of a plain file in native numbers, shape (ny, nx): uint8, int16, uint16, int32 or float32.

    Parameters
    ----------
    hdu : name or number; the first image if None.
    out : an array of the right shape and type to fill; pages that are in use already cost less than new ones.

    Raises
    ------
    NotPlain
        compressed or scaled: take the general reader. FileError: not FITS, or no such HDU.
    """
    name = str(path)
    mapped = _opened(name)
    chosen = _chosen(index(path, (), mapped), hdu, name)
    code = chosen.code(name)
    if not chosen.image:
        raise _not_plain(name, f"HDU {chosen.number}", "it holds no two-dimensional image")
    native = np.dtype(np.uint16) if code == transfer.SWAP16U else np.dtype(_TYPES[chosen.bitpix])
    if out is None:
        out = np.empty(chosen.shape, native)
    elif out.shape != chosen.shape or out.dtype != native or not out.flags.c_contiguous:
        raise GeometryError(
            f"the image is {chosen.shape} {native}, the array given {out.shape} {out.dtype}", where=name
        )
    width = native.itemsize
    unsigned = np.dtype(f"u{width}")
    stored = np.frombuffer(mapped, unsigned, chosen.size // width, chosen.data)
    flat = out.reshape(-1).view(unsigned)
    if width == 1:
        flat[:] = stored
    elif width == 2:
        words.decode16(stored, 0x8000 if code == transfer.SWAP16U else 0, flat)
    else:
        words.decode32(stored, flat)
    return out
