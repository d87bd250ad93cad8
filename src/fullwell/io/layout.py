"""The layout of a frame on disk: IMAGE, MASK and VARIANCE HDUs after an empty primary one, as LSST has it.

========  =====================================================================================
HDU       content
========  =====================================================================================
PRIMARY   no data; the header of the exposure, what was done (HISTORY), ``LSST CALIB UUID <KIND>``
IMAGE     float32; world coordinates, BUNIT, GAIN, RDNOISE, SATURATE
MASK      int32; ``MP_<NAME>`` is the bit number of each plane
VARIANCE  float32, unit of the image squared
VAR_…     components of the variance, where they were kept
HISTORY   table: one row per step, with the whole record as JSON
FULLWELL  table: key and JSON value (observation, detector, gain map, PSF, photometric scale, background)
========  =====================================================================================
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FullwellWarning, HeaderError
from fullwell.base.provenance import Record
from fullwell.cameras import Detector
from fullwell.frames import Frame, Mask
from fullwell.frames.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf
from fullwell.io.codec import to_json
from fullwell.io.headertext import PlainHdu, ascii_text, cards_of, text_cards
from fullwell.io.keywords import output_header, stale

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

__all__ = [
    "frame_hdus",
    "header_of",
    "history_table",
    "image_hdu",
    "key_table",
    "mask_header",
    "plain_hdus",
    "record_line",
]

MARK = "fullwell: "
_WCS = re.compile(
    r"^(CTYPE|CRPIX|CRVAL|CUNIT|CDELT|CROTA|CRDER|CSYER|CNAME|PV|PS|LTV|LTM|AP?_|BP?_|CD\d|PC\d)[\d_]*(ORDER|DMAX)?[A-Z]?$"
)
_WCS_WORDS = re.compile(r"^(WCSAXES|WCSNAME|LONPOLE|LATPOLE|RADESYS|EQUINOX)[A-Z]?$")
_IMAGE_WORDS = ("BUNIT", "GAIN", "RDNOISE", "SATURATE", "FWX0", "FWY0")
_COMMENTS = {
    "BUNIT": "unit of the pixels",
    "GAIN": "[electron/BUNIT] electrons per unit of this image",
    "RDNOISE": "[electron] read noise, rms of the amplifiers",
    "SATURATE": "[BUNIT] lowest saturation level, before the flat",
    "FWX0": "[pixel] first column on the assembled detector, from 0",
    "FWY0": "[pixel] first row on the assembled detector, from 0",
}


def header_of(metadata: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> Header:
    """A FITS header of keyword -> value as `headertext.cards_of` writes it.

    Raises
    ------
    HeaderError
        a keyword that FITS cannot hold; names it.
    """
    from astropy.io import fits

    cards, texts = cards_of(metadata, comments)
    return fits.Header.fromstring(cards + "".join(texts.values()))


def record_line(record: Record) -> str:
    """One readable line of a record, without the mark."""
    state = "" if record.state == "done" else f" ({record.state})"
    return f"{record.step}{state}" + (f": {record.note}" if record.note else "")


def history_table(records: Iterable[Record]) -> Any:
    """The HISTORY table HDU: step, state, note for people; the whole record as JSON."""
    return _text_table("HISTORY", _history_columns(records))


def _history_columns(records: Iterable[Record]) -> dict[str, list[str]]:
    rows = [(ascii_text(r.step), r.state, ascii_text(r.note), to_json(r)) for r in records]
    return {name: [row[i] for row in rows] for i, name in enumerate(("step", "state", "note", "record"))}


def _text_table(name: str, columns: Mapping[str, list[str]]) -> Any:
    """A table HDU of columns of ASCII text, given as bytes: astropy converts wide columns of str slowly."""
    from astropy.io import fits

    made = []
    for label, texts in columns.items():
        width = max(map(len, texts), default=1) or 1
        made.append(fits.Column(label, format=f"{width}A", array=np.array(texts, f"S{width}")))
    return fits.BinTableHDU.from_columns(made, name=name)


@lru_cache(maxsize=256)
def _detector_json(detector: Detector) -> str:
    """A night has one text per detector, not one per frame."""
    return to_json(detector)


def key_table(values: Mapping[str, Any]) -> Any:
    """The FULLWELL table HDU: key and JSON value."""
    return _text_table("FULLWELL", _key_columns(values))


def _key_columns(values: Mapping[str, Any]) -> dict[str, list[str]]:
    texts = [_detector_json(v) if isinstance(v, Detector) else to_json(v) for v in values.values()]
    return {"key": list(values), "value": texts}


def mask_header(schema: Mapping[str, int]) -> dict[str, Any]:
    """``MP_<NAME>`` -> bit number."""
    return {f"MP_{name}": int(number) for name, number in sorted(schema.items(), key=lambda item: item[1])}


def image_hdu(array: NDArray[Any], name: str, header: Mapping[str, Any], compress: bool | str) -> Any:
    """One image HDU; compressed without loss where asked: integers by RICE_1, floats by GZIP_2."""
    from astropy.io import fits

    cards = header_of(_image_keys(name, header), _COMMENTS)
    if not compress:
        hdu = fits.ImageHDU(array, cards)
        hdu.name = name
        return hdu
    kind = "RICE_1" if array.dtype.kind in "iu" and compress != "gzip" else "GZIP_2"
    return fits.CompImageHDU(np.ascontiguousarray(array), cards, name=name, compression_type=kind, quantize_level=0.0)


def _image_keys(name: str, header: Mapping[str, Any]) -> dict[str, Any]:
    return {**header, "EXTTYPE": name, "INHERIT": True}


def _electronics(frame: Frame) -> dict[str, Any]:
    """Gain, read noise and saturation that hold for the pixels of `frame`, as keyword arguments of `output_header`."""
    out: dict[str, Any] = {}
    record = next((r for r in reversed(frame.history) if r.step == "variance" and r.state == "done"), None)
    noise = dict(record.numbers.get("read_noise", {})) if record else {}
    gain = dict(frame.gain_map.gain) if frame.gain_map else {}
    if frame.detector is not None:
        noise = noise or {amp.name: amp.read_noise for amp in frame.detector}
        gains = gain or {amp.name: amp.gain for amp in frame.detector}
        levels = [
            amp.saturation * (gains.get(amp.name, math.nan) if frame.unit == "electron" else 1.0)
            for amp in frame.detector
        ]
        finite = [level for level in levels if math.isfinite(level)]
        if finite and frame.unit in ("adu", "electron"):
            out["saturation"] = min(finite)
    if frame.unit in ("adu", "electron") and all(isinstance(v, (int, float)) for v in noise.values()):
        out["read_noise"] = noise
    out["gain"] = gain
    return out


def _primary(frame: Frame, header: Mapping[str, Any]) -> tuple[str, str]:
    """Cards and texts of the primary HDU: exposure header, ids of the calibrations, readable history."""
    values = {k: v for k, v in header.items() if k != "HISTORY"}
    values["LSST ISR UNITS"] = frame.unit
    for record in frame.history:
        for role, ident in record.inputs.items():
            values.setdefault(f"LSST CALIB UUID {role.upper()}", ident)
    cards, texts = cards_of(values, frame.comments)
    before = [line for line in str(header.get("HISTORY", "")).split("\n") if line]
    lines = [*before, *(MARK + record_line(r) for r in frame.history)]
    return cards, "".join([*texts.values(), *(text_cards("HISTORY", line) for line in lines)])


@lru_cache(maxsize=4096)
def is_wcs(key: str) -> bool:
    """Whether a keyword belongs to a description of world or physical coordinates."""
    return bool(_WCS.match(key) or _WCS_WORDS.match(key))


def split_header(header: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what belongs to the exposure, what belongs to the pixels: coordinates, unit, gain)."""
    image = {k: v for k, v in header.items() if k in _IMAGE_WORDS or is_wcs(k)}
    return {k: v for k, v in header.items() if k not in image}, image


def _header(frame: Frame) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of the exposure, and of the pixels."""
    detector = None if frame.raw else frame.detector
    header = output_header(frame.metadata, detector, frame.box, frame.unit, **_electronics(frame))
    if frame.wcs is not None and hasattr(frame.wcs, "to_header"):
        header = {k: v for k, v in header.items() if not (_WCS.match(k) and not k.endswith("A") and "LT" not in k)}
        header.update({k: v for k, v in frame.wcs.to_header(relax=True).items() if not stale(k)})
    return split_header(header)


def _images(frame: Frame, pixels: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any], dict[str, Any]]]:
    """Name, pixels as stored, and keywords of each image HDU."""
    f4 = np.float32
    yield "IMAGE", frame.image.array.astype(f4, copy=False), dict(pixels)
    bare = {k: v for k, v in pixels.items() if k not in _IMAGE_WORDS or k in ("FWX0", "FWY0")}
    if frame.mask is not None:
        bits = frame.mask.array.astype(np.uint32, copy=False).view(np.int32)
        yield "MASK", bits, {**mask_header(frame.mask.schema), **bare}
    if frame.variance is not None:
        unit = {"BUNIT": frame.variance.unit or f"{frame.unit}2"}
        yield "VARIANCE", frame.variance.array.astype(f4, copy=False), {**unit, **bare}
    for name, plane in frame.components.items():
        unit = {"BUNIT": plane.unit, "FWPART": name}
        yield f"VAR_{name.upper()}", plane.array.astype(f4, copy=False), {**unit, **bare}


def _tables(frame: Frame) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Name and columns of each table HDU."""
    if frame.history:
        yield "HISTORY", _history_columns(frame.history)
    values: dict[str, Any] = {"format": 1, "observation": frame.observation, "raw": frame.raw}
    if frame.gain_map is not None:
        values["gain_map"] = replace(frame.gain_map, gain=dict(frame.gain_map.gain))
    values.update(_companions(frame))
    if frame.detector is not None:
        values["detector"] = frame.detector
    yield "FULLWELL", _key_columns(values)


def _companions(frame: Frame) -> dict[str, Any]:
    """PSF, photometric calibration and background where a file can carry them; a warning names the others."""
    out: dict[str, Any] = {}
    for name, kinds in (
        ("psf", (GaussianPsf, GridPsf, ImagePsf, MoffatPsf)),
        ("photo_calib", (int, float)),
        ("background", (int, float)),
    ):
        value = getattr(frame, name)
        if isinstance(value, kinds):
            out[name] = value
        elif value is not None:
            warnings.warn(
                f"the {name} of this frame, {type(value).__name__}, is not written with it: keep it beside the file",
                FullwellWarning,
                stacklevel=4,
            )
    return out


def frame_hdus(frame: Frame, compress: bool | str = False) -> HDUList:
    """The HDUs of a corrected frame, as they are written.

    Parameters
    ----------
    compress : False; True or "rice" (RICE_1 for the mask, GZIP_2 for floats, without loss); "gzip" (GZIP_2).
    """
    from astropy.io import fits

    exposure, pixels = _header(frame)
    hdus = fits.HDUList([fits.PrimaryHDU(header=fits.Header.fromstring("".join(_primary(frame, exposure))))])
    for name, array, keys in _images(frame, pixels):
        hdus.append(image_hdu(array, name, keys, compress))
    for name, columns in _tables(frame):
        hdus.append(_text_table(name, columns))
    return hdus


def plain_hdus(frame: Frame) -> list[PlainHdu]:
    """The same HDUs, not compressed, as text for a `MappedWriter`; the pixels of all images come in tiles.

    Raises
    ------
    HeaderError
        a keyword that FITS cannot hold; names it.
    """
    exposure, pixels = _header(frame)
    hdus = [PlainHdu.primary(*_primary(frame, exposure))]
    for name, array, keys in _images(frame, pixels):
        cards, texts = cards_of(_image_keys(name, keys), _COMMENTS)
        bitpix = 32 if array.dtype.kind == "i" else -32
        hdus.append(PlainHdu.image(name, (array.shape[0], array.shape[1]), bitpix, cards, "".join(texts.values())))
    hdus.extend(PlainHdu.table(name, columns) for name, columns in _tables(frame))
    return hdus


def mask_of(array: NDArray[Any], header: Mapping[str, Any], where: str) -> Mask:
    """A mask plane whose bits are those that the file's own keys name: ``MP_<NAME>`` = bit, or ``MSKN<bit>`` = name.

    Raises
    ------
    HeaderError
        a bit number is no number, outside 0 … 31, or two planes share one.
    """
    schema: dict[str, int] = {}
    for key, value in header.items():
        newer = re.fullmatch(r"MSKN(\d{4})", key)
        if not key.startswith("MP_") and newer is None:
            continue
        name, bit = (str(value), int(newer.group(1))) if newer else (key[3:], value)
        if isinstance(bit, bool) or not isinstance(bit, int) or not 0 <= bit <= 31 or bit in schema.values():
            raise HeaderError(f"the bit number of mask plane {name} cannot be {bit!r}", where=f"{where}, {key}")
        schema[name] = bit
    bits = array.astype(np.int64, copy=False) & 0xFFFFFFFF if array.dtype.itemsize == 8 else array
    if bits.dtype == np.int32:
        return Mask(bits.view(np.uint32), schema=schema or None)
    return Mask(bits.astype(np.uint32), schema=schema or None)
