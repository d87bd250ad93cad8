"""A FITS file opened for reading: where its HDUs lie, what they hold, and their pixels in native form.

Plain images are decoded here; tile-compressed ones by astropy, tile by tile where only a part is wanted. Sizes
are checked against the length of the file before memory is taken. A gzipped file is decompressed once, into memory.
"""

from __future__ import annotations

import bz2
import lzma
import math
import mmap
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, FullwellError, FullwellWarning, HeaderError
from fullwell.instruments.headers import FileHeaders, HduHeader
from fullwell.io.cards import BLOCK, find_end, parse
from fullwell.io.window import Window

__all__ = ["FitsFile", "Hdu", "decoding", "open_fits", "sniff"]

_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_TABLE_WORDS = ("TTYPE", "TFORM", "TDIM", "TUNIT", "TNULL", "TSCAL", "TZERO", "ZTILE", "ZNAME", "ZVAL", "ZNAXIS")
_TABLE_KEYS = {
    *("TFIELDS", "THEAP", "ZIMAGE", "ZBITPIX", "ZCMPTYPE", "ZQUANTIZ", "ZDITHER0", "ZBLANK", "ZSIMPLE", "ZTENSION"),
    *("ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM", "ZEXTEND", "ZMASKCMP", "ZNAXIS", "CHECKSUM", "DATASUM"),
}
MOST_BYTES = 32 << 30


@contextmanager
def decoding(path: str, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged data into a `FileError` that names `path` and `what`."""
    try:
        yield
    except FullwellError:
        raise
    except MemoryError as err:
        raise FileError(f"{what} does not fit into memory", where=path, remedy="is the file damaged?") from err
    except Exception as err:
        reason = str(err).strip() or type(err).__name__
        raise FileError(
            f"{what} cannot be decoded: {reason}",
            where=path,
            remedy="the file seems damaged: fetch or write it again",
            code="FW102",
        ) from err


@dataclass
class Hdu:
    """One HDU: its header, what it holds and where.

    Parameters
    ----------
    kind : "image", "compressed" (a tile-compressed image), "table", "empty" or "other".
    shape : NumPy order, of images only. dtype : of the native pixels.
    start : where the header begins; offset, size : of the stored data [byte].
    """

    index: int
    name: str
    header: dict[str, Any]
    comments: dict[str, str]
    kind: str
    bitpix: int
    shape: tuple[int, ...] | None
    dtype: str
    offset: int
    size: int
    bzero: float = 0.0
    bscale: float = 1.0
    extra: dict[str, Any] = field(default_factory=dict)
    start: int = 0

    @property
    def label(self) -> str:
        """For messages: ``HDU 3 (MASK)``."""
        return f"HDU {self.index}" + (f" ({self.name})" if self.name else "")

    @property
    def blank(self) -> int | None:
        """The stored integer that stands for no value; None where there is none."""
        blank = self.header.get("BLANK")
        return blank if self.bitpix > 0 and isinstance(blank, int) and not isinstance(blank, bool) else None


def sniff(path: str | os.PathLike[str]) -> str:
    """What a file is by its first bytes: "fits", "packed", "png", "tiff", "ecsv", "text", "empty" or "unknown".

    Raises
    ------
    FileError
        the file is missing, a folder, or unreadable.
    """
    try:
        with open(path, "rb") as handle:
            head = handle.read(64)
    except IsADirectoryError as err:
        raise FileError(
            "this is a folder, not a file", where=str(path), remedy="name the files in it, e.g. FOLDER/*.fits"
        ) from err
    except FileNotFoundError as err:
        raise FileError("there is no such file", where=str(path), remedy="check the name and the folder") from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise FileError(f"cannot read: {reason}", where=str(path), remedy="check the file's permissions") from err
    if not head:
        return "empty"
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if any(head.startswith(magic) for magic in _PACKED):
        return "packed"
    if head.startswith(b"\x89PNG"):
        return "png"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if head.startswith((b"# %ECSV", b"#%ECSV")):
        return "ecsv"
    return "text" if all(32 <= c < 127 or c in (9, 10, 13) or c >= 160 for c in head) else "unknown"


def unpack(path: str) -> bytes:
    """A gzip, bzip2 or xz file decompressed into memory, at most `MOST_BYTES`."""
    with decoding(path, "the compressed file"), open(path, "rb") as handle:
        data = handle.read()
        name = next(kind for magic, kind in _PACKED.items() if data.startswith(magic))
        if name != "gzip":
            out = bz2.decompress(data) if name == "bzip2" else lzma.decompress(data)
            return out
        parts, rest, total = [], data, 0
        while rest.startswith(b"\x1f\x8b"):
            engine = zlib.decompressobj(wbits=31)
            part = engine.decompress(rest, MOST_BYTES - total)
            if not engine.eof:
                raise EOFError("the gzip stream ends too early")
            parts.append(part)
            total += len(part)
            rest = engine.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)


class FitsFile:
    """The HDUs of one FITS file; see `open_fits`."""

    def __init__(self, path: str, buffer: Any) -> None:
        self.path = path
        self.buffer = buffer
        self.hdus = list(_walk(path, buffer))
        self._astropy: dict[int, Any] = {}

    def __iter__(self) -> Iterator[Hdu]:
        return iter(self.hdus)

    def find(self, key: str | int) -> Hdu:
        """The HDU of number or EXTNAME (or EXTTYPE) `key`.

        Raises
        ------
        FileError
            there is none; the message lists those that exist.
        """
        for hdu in self.hdus:
            if isinstance(key, int):
                if hdu.index == key:
                    return hdu
            elif key.upper() in (hdu.name.upper(), str(hdu.header.get("EXTTYPE", "")).upper()):
                return hdu
        have = ", ".join(f"{h.index} {h.name or h.kind}" for h in self.hdus)
        raise FileError(f"there is no HDU {key!r}", where=self.path, remedy=f"the file has {have}", code="FW103")

    def images(self) -> list[Hdu]:
        """HDUs that hold an array of two or more dimensions with pixels in it."""
        return [h for h in self.hdus if h.shape is not None and len(h.shape) > 1 and math.prod(h.shape) > 0]

    def headers(self) -> FileHeaders:
        """The headers alone, as the instruments read them; leading axes of length 1 are dropped."""
        hdus = tuple(HduHeader(h.index, h.name, h.header, _without_units(h.shape), h.dtype) for h in self.hdus)
        comments = {k: v for h in reversed(self.hdus) for k, v in h.comments.items()}
        return FileHeaders(self.path, hdus, comments)

    def pixels(self, hdu: Hdu, part: tuple[slice, slice] | None = None) -> NDArray[Any]:
        """The pixels of an image HDU: native byte order, the caller's own memory.

        Integers stay integers (BZERO of the unsigned convention applied); other BZERO, BSCALE give floats.
        Integer pixels equal to BLANK become NaN, which makes the array float.

        Parameters
        ----------
        part : rows and columns; only the rows or tiles that hold them are read. Of the first plane where there are
            more than two axes.
        """
        where = f"{self.path}, {hdu.label}"
        if hdu.shape is None:
            raise FileError("this HDU holds no image", where=where, remedy="name an HDU that does", code="FW103")
        index: Any = ... if part is None else (*[0] * (len(hdu.shape) - 2), *part)
        if part is not None and (hdu.blank is not None or any(s.stop <= s.start for s in part)):
            return self.pixels(hdu)[index].copy()
        with decoding(where, "the image"):
            if hdu.kind == "compressed":
                return self._unpacked(hdu, index)
            count = math.prod(hdu.shape)
            stored = np.frombuffer(self.buffer, f">{_TYPES[hdu.bitpix]}", count, hdu.offset).reshape(hdu.shape)
            return _scaled(stored[index], hdu)

    def _unpacked(self, hdu: Hdu, index: Any) -> NDArray[Any]:
        """The pixels of a tile-compressed image at `index`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = self.library(hdu)
            if image.shape != hdu.shape:
                raise ValueError(f"it has shape {image.shape}, the header says {hdu.shape}")
            data = image.section[index]
        return np.require(data, data.dtype.newbyteorder("="), ("C", "W", "O"))

    def library(self, hdu: Hdu) -> Any:
        """One HDU as an astropy HDU, read where it lies: tables and compressed images."""
        if hdu.index not in self._astropy:
            from astropy.io import fits

            window = Window(self.buffer, hdu.start, hdu.offset + -(-hdu.size // BLOCK) * BLOCK)
            with decoding(f"{self.path}, {hdu.label}", "the HDU"):
                self._astropy[hdu.index] = fits.open(window, lazy_load_hdus=False, character_as_bytes=True)
        return self._astropy[hdu.index][1]

    def table(self, hdu: Hdu) -> Any:
        """A table HDU as an astropy Table."""
        from astropy.table import Table

        with decoding(f"{self.path}, {hdu.label}", "the table"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = Table.read(self.library(hdu), format="fits")
            table.convert_bytestring_to_unicode()
            return table

    def close(self) -> None:
        """Give the file back; a map that an error's traceback still looks into goes with that."""
        for opened in self._astropy.values():
            opened.close()
        self._astropy.clear()
        if isinstance(self.buffer, mmap.mmap):
            with suppress(BufferError):
                self.buffer.close()


def _without_units(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """A shape without leading axes of length 1."""
    while shape is not None and len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _scaled(stored: NDArray[Any], hdu: Hdu) -> NDArray[Any]:
    """Stored numbers to physical ones: FITS standard 4.0, section 4.4.2.5."""
    native = stored.dtype.newbyteorder("=")
    if hdu.bscale == 1.0 and np.dtype(hdu.dtype).kind in "iu" and np.dtype(hdu.dtype) != native:
        unsigned = stored.astype(native).view(hdu.dtype)
        unsigned ^= np.array(1 << (8 * stored.itemsize - 1), np.uint64).astype(f"u{stored.itemsize}").view(hdu.dtype)
        out: NDArray[Any] = unsigned
    elif hdu.bscale == 1.0 and hdu.bzero == 0.0:
        out = stored.astype(native)
    else:
        out = stored.astype(hdu.dtype) * np.dtype(hdu.dtype).type(hdu.bscale)
        out += np.dtype(hdu.dtype).type(hdu.bzero)
    if hdu.blank is not None:
        gone = stored == hdu.blank
        if gone.any():
            out = out.astype(np.float32 if stored.itemsize < 4 else np.float64)
            out[gone] = np.nan
    return out


def _integer(header: dict[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise HeaderError(
            f"{key} must be a whole number, it is {value!r}" if key in header else f"{key} is missing",
            where=f"{where}, keyword {key}",
            remedy="the header is damaged or is not that of a FITS image: write the file again",
        )
    return value


def _axes(header: dict[str, Any], where: str, letter: str = "") -> tuple[int, tuple[int, ...]]:
    """(BITPIX, shape in NumPy order) as the header says them; of the image within, for the letter Z."""
    bitpix = _integer(header, f"{letter}BITPIX", where)
    if bitpix not in _TYPES:
        raise HeaderError(
            f"{letter}BITPIX = {bitpix} does not exist", where=where, remedy="it is one of 8, 16, 32, 64, -32, -64"
        )
    naxis = _integer(header, f"{letter}NAXIS", where)
    if not 0 <= naxis <= 999:
        raise HeaderError(f"{letter}NAXIS = {naxis} is impossible", where=where, remedy="an image has NAXIS = 2")
    shape = []
    for axis in range(naxis, 0, -1):
        length = _integer(header, f"{letter}NAXIS{axis}", where)
        if length < 0:
            raise HeaderError(f"{letter}NAXIS{axis} = {length} is negative", where=where, remedy="write the file again")
        shape.append(length)
    return bitpix, tuple(shape)


def _real(header: dict[str, Any], key: str, default: float, where: str) -> float:
    value = header.get(key, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise HeaderError(f"{key} must be a number, it is {value!r}", where=f"{where}, keyword {key}")
    return float(value)


def _dtype(bitpix: int, bzero: float, bscale: float) -> str:
    """Type of the native pixels."""
    if bitpix < 0:
        return "float32" if bitpix == -32 else "float64"
    if bscale == 1.0:
        if bzero == 0.0:
            return np.dtype(_TYPES[bitpix]).name
        if bitpix > 8 and bzero == 2.0 ** (bitpix - 1):
            return f"uint{bitpix}"
        if bitpix == 8 and bzero == -128.0:
            return "int8"
    return "float32" if bitpix <= 16 else "float64"


def _image_header(header: dict[str, Any]) -> dict[str, Any]:
    """The header of the image within a compressed HDU: words that describe the table around it left out."""
    out = {}
    for key, value in header.items():
        if key in _TABLE_KEYS or any(key.startswith(w) and key[len(w) :].isdigit() for w in _TABLE_WORDS):
            continue
        out[key] = value
    out.update(XTENSION="IMAGE", PCOUNT=0, GCOUNT=1)
    out["BITPIX"], out["NAXIS"] = header["ZBITPIX"], header["ZNAXIS"]
    for axis in range(1, header["ZNAXIS"] + 1):
        out[f"NAXIS{axis}"] = header[f"ZNAXIS{axis}"]
    if out.get("EXTNAME") == "COMPRESSED_IMAGE":
        del out["EXTNAME"]
    return out


def _one(path: str, buffer: Any, start: int, index: int) -> Hdu:
    """The HDU that begins at byte `start`."""
    where = f"{path}, HDU {index}"
    stop = find_end(buffer, start)
    if stop < 0:
        raise FileError(
            "the header has no END card: the file is cut off or damaged",
            where=where,
            remedy="fetch or write the file again",
            code="FW101",
        )
    header, comments = parse(buffer[start:stop])
    bitpix, shape = _axes(header, where)
    count = math.prod(shape) if shape else 0
    groups = _integer(header, "GCOUNT", where, 1) if index or "GCOUNT" in header else 1
    heap = _integer(header, "PCOUNT", where, 0) if index or "PCOUNT" in header else 0
    if groups < 0 or heap < 0:
        raise HeaderError("PCOUNT or GCOUNT is negative", where=where, remedy="write the file again")
    size = abs(bitpix) // 8 * groups * (heap + count)
    if stop + size > len(buffer):
        raise FileError(
            f"the file is cut off: {size} bytes of data should begin at byte {stop}, the file ends at {len(buffer)}",
            where=where,
            remedy="fetch or write the file again",
            code="FW101",
        )
    extension = str(header.get("XTENSION", "IMAGE")).strip().upper()
    name = str(header.get("EXTNAME") or "").strip()
    hdu = Hdu(index, name, header, comments, "empty", bitpix, None, "", stop, size, start=start)
    if extension == "BINTABLE" and header.get("ZIMAGE") is True:
        hdu.kind = "compressed"
        hdu.bitpix, hdu.shape = _axes(header, where, "Z")
        if math.prod(hdu.shape) * abs(hdu.bitpix) // 8 > MOST_BYTES:
            raise HeaderError(f"an image of shape {hdu.shape} is too large to be true", where=f"{where}, ZNAXIS")
        hdu.header = _image_header(header)
        hdu.name = str(hdu.header.get("EXTNAME") or "").strip()
    elif extension in ("BINTABLE", "TABLE", "A3DTABLE"):
        hdu.kind = "table"
    elif extension != "IMAGE":
        hdu.kind = "other"
    elif shape and count:
        hdu.kind, hdu.shape = "image", shape
    if hdu.shape is not None:
        hdu.bzero, hdu.bscale = _real(header, "BZERO", 0.0, where), _real(header, "BSCALE", 1.0, where)
        hdu.dtype = _dtype(hdu.bitpix, hdu.bzero, hdu.bscale)
    return hdu


def _walk(path: str, buffer: Any) -> Iterator[Hdu]:
    """All HDUs in order. What follows the last one and is no HDU is named in a warning."""
    start, index, total = 0, 0, len(buffer)
    while start < total:
        if index and buffer[start : start + 8] != b"XTENSION":
            rest = total - start
            if bytes(buffer[start : start + BLOCK]).strip(b"\x00 "):
                warnings.warn(f"{path}: {rest} bytes after HDU {index - 1} are no HDU", FullwellWarning, stacklevel=2)
            return
        hdu = _one(path, buffer, start, index)
        yield hdu
        start = hdu.offset + -(-hdu.size // BLOCK) * BLOCK
        index += 1


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[FitsFile]:
    """Context manager: a FITS file, plain (mapped) or compressed as a whole (in memory).

    Raises
    ------
    FileError
        the file is missing, empty, unreadable, cut off, or no FITS file.
    HeaderError
        a keyword that says how the data lie is missing or impossible.
    """
    name = str(path)
    kind = sniff(path)
    if kind == "empty":
        raise FileError("the file is empty", where=name, remedy="fetch or write it again", code="FW101")
    if kind not in ("fits", "packed"):
        what = {"text": "it is a text", "png": "it is a PNG image", "tiff": "it is a TIFF image", "ecsv": "a table"}
        raise FileError(
            f"this is no FITS file: {what.get(kind, 'it does not begin with SIMPLE')}",
            where=name,
            remedy="leave it out, or give it the right name",
            code="FW104",
        )
    buffer: Any
    if kind == "packed":
        buffer = unpack(name)
        if not buffer.startswith(b"SIMPLE  ="):
            raise FileError(
                "what is compressed in this file is no FITS file", where=name, remedy="leave it out", code="FW104"
            )
    else:
        with decoding(name, "the file"), open(path, "rb") as handle:
            buffer = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    file = FitsFile(name, buffer)
    try:
        yield file
    finally:
        file.close()
