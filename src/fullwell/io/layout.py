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
FULLWELL  table: key and JSON value (observation, detector, gain map)
========  =====================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import HeaderError
from fullwell.base.provenance import Record
from fullwell.cameras import Detector
from fullwell.frames import Frame, Mask
from fullwell.io.codec import to_json
from fullwell.io.keywords import output_header, stale

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

__all__ = ["frame_hdus", "header_of", "history_table", "image_hdu", "key_table", "mask_header", "record_line"]

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


def _ascii(text: str) -> str:
    """Text with what FITS does not know written as ``\\x..``; line breaks become spaces."""
    line = text.replace("\n", " ").replace("\t", " ")
    return "".join(c if " " <= c <= "~" else c.encode("ascii", "backslashreplace").decode() for c in line)


def _card_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, complex)):
        return value
    return _ascii(str(value))


def header_of(metadata: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> Header:
    """A FITS header of keyword -> value: without structural keywords, long ones as HIERARCH.

    A NaN or None becomes an undefined value. COMMENT and HISTORY become one card per line.

    Raises
    ------
    HeaderError
        a keyword that FITS cannot hold; names it.
    """
    from astropy.io import fits

    texts: dict[str, str] = {}
    cards = []
    for key, value in metadata.items():
        if key in ("COMMENT", "HISTORY", ""):
            texts[key or "COMMENT"] = str(value)
        elif not _structural(key):
            cards.append((key, _card_value(value), _ascii((comments or {}).get(key, ""))))
    lines = []
    for key, value, comment in cards:
        try:
            lines.append(_plain_card(key, value, comment) or str(_card(fits, key, value, comment)))
        except (ValueError, TypeError) as err:
            raise HeaderError(
                f"FITS cannot hold the keyword: {err}",
                where=f"keyword {key!r}",
                remedy="rename or remove it in frame.metadata",
            ) from err
    header = fits.Header.fromstring("".join(lines))
    for key, text in texts.items():
        for line in text.split("\n"):
            for start in range(0, max(len(line), 1), 72):
                header.add_history(_ascii(line[start : start + 72])) if key == "HISTORY" else header.add_comment(
                    _ascii(line[start : start + 72])
                )
    return header


def _plain_card(key: str, value: Any, comment: str) -> str:
    """The 80 characters of an ordinary card as astropy formats it, at a tenth of the cost; "" where it is not one."""
    if not re.fullmatch(r"[A-Z0-9_-]{1,8}", key):
        return ""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, (int, float)) and len(str(value)) <= 20:
        text = f"{str(value).replace('e', 'E'):>20}"
    elif isinstance(value, str) and value == value.rstrip() and "'" not in value and 0 < len(value) <= 60:
        quoted = f"'{value:8}'"
        text = f"{quoted:20}"
    else:
        return ""
    room = 80 - 10 - len(text) - 3
    return f"{key:8}= {text}{' / ' + comment[:room] if comment.strip() and room > 0 else ''}".ljust(80)


def _card(fits: Any, key: str, value: Any, comment: str) -> Any:
    name = key if len(key) <= 8 and re.fullmatch(r"[A-Z0-9_-]+", key) else f"HIERARCH {key}"
    card = fits.Card(name, value)
    room = 80 - max(len(str(card).rstrip()), 30) - 3
    if comment and room > 0:
        card = fits.Card(name, value, comment[:room])
    str(card)
    return card


def _structural(key: str) -> bool:
    return bool(re.fullmatch(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|"
                             r"DATASUM|END|EXTNAME|EXTVER|EXTLEVEL|TFIELDS|CONTINUE", key))  # fmt: skip


def record_line(record: Record) -> str:
    """One readable line of a record, without the mark."""
    state = "" if record.state == "done" else f" ({record.state})"
    return f"{record.step}{state}" + (f": {record.note}" if record.note else "")


def history_table(records: Iterable[Record]) -> Any:
    """The HISTORY table HDU: step, state, note for people; the whole record as JSON."""
    from astropy.io import fits

    rows = [(r.step, r.state, _ascii(r.note), to_json(r)) for r in records]
    names = ("step", "state", "note", "record")
    columns = [_text_column(fits, name, [row[i] for row in rows]) for i, name in enumerate(names)]
    return fits.BinTableHDU.from_columns(columns, name="HISTORY")


def _text_column(fits: Any, name: str, texts: list[str]) -> Any:
    """A column of ASCII text, given as bytes: astropy converts wide columns of str slowly."""
    width = max([len(text) for text in texts] or [1]) or 1
    return fits.Column(name, format=f"{width}A", array=np.array(texts, f"S{width}"))


@lru_cache(maxsize=256)
def _detector_json(detector: Detector) -> str:
    """A night has one text per detector, not one per frame."""
    return to_json(detector)


def key_table(values: Mapping[str, Any]) -> Any:
    """The FULLWELL table HDU: key and JSON value."""
    from astropy.io import fits

    texts = {k: _detector_json(v) if isinstance(v, Detector) else to_json(v) for k, v in values.items()}
    columns = [_text_column(fits, "key", list(texts)), _text_column(fits, "value", list(texts.values()))]
    return fits.BinTableHDU.from_columns(columns, name="FULLWELL")


def mask_header(schema: Mapping[str, int]) -> dict[str, Any]:
    """``MP_<NAME>`` -> bit number."""
    return {f"MP_{name}": int(number) for name, number in sorted(schema.items(), key=lambda item: item[1])}


def image_hdu(array: NDArray[Any], name: str, header: Mapping[str, Any], compress: bool | str) -> Any:
    """One image HDU; compressed without loss where asked: integers by RICE_1, floats by GZIP_2."""
    from astropy.io import fits

    cards = header_of({**header, "EXTTYPE": name, "INHERIT": True}, _COMMENTS)
    if not compress:
        hdu = fits.ImageHDU(array, cards)
        hdu.name = name
        return hdu
    kind = "RICE_1" if array.dtype.kind in "iu" and compress != "gzip" else "GZIP_2"
    return fits.CompImageHDU(np.ascontiguousarray(array), cards, name=name, compression_type=kind, quantize_level=0.0)


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


def _primary(frame: Frame, header: Mapping[str, Any]) -> Any:
    """The primary HDU: exposure header, ids of the calibrations, readable history."""
    from astropy.io import fits

    values = {k: v for k, v in header.items() if k != "HISTORY"}
    values["LSST ISR UNITS"] = frame.unit
    for record in frame.history:
        for role, ident in record.inputs.items():
            values[f"LSST CALIB UUID {role.upper()}"] = ident
    cards = header_of(values, frame.comments)
    before = [line for line in str(header.get("HISTORY", "")).split("\n") if line]
    for line in [*before, *(MARK + record_line(r) for r in frame.history)]:
        cards.add_history(_ascii(line))
    return fits.PrimaryHDU(header=cards)


def is_wcs(key: str) -> bool:
    """Whether a keyword belongs to a description of world or physical coordinates."""
    return bool(_WCS.match(key) or _WCS_WORDS.match(key))


def split_header(header: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what belongs to the exposure, what belongs to the pixels: coordinates, unit, gain)."""
    image = {k: v for k, v in header.items() if k in _IMAGE_WORDS or is_wcs(k)}
    return {k: v for k, v in header.items() if k not in image}, image


def frame_hdus(frame: Frame, compress: bool | str = False) -> HDUList:
    """The HDUs of a corrected frame, as they are written.

    Parameters
    ----------
    compress : False; True or "rice" (RICE_1 for the mask, GZIP_2 for floats, without loss); "gzip" (GZIP_2).
    """
    from astropy.io import fits

    detector = None if frame.raw else frame.detector
    header = output_header(frame.metadata, detector, frame.box, frame.unit, **_electronics(frame))
    if frame.wcs is not None and hasattr(frame.wcs, "to_header"):
        header = {k: v for k, v in header.items() if not (_WCS.match(k) and not k.endswith("A") and "LT" not in k)}
        header.update({k: v for k, v in frame.wcs.to_header(relax=True).items() if not stale(k)})
    exposure, pixels = split_header(header)
    hdus = fits.HDUList([_primary(frame, exposure)])
    hdus.append(image_hdu(frame.image.array.astype(np.float32, copy=False), "IMAGE", pixels, compress))
    bare = {k: v for k, v in pixels.items() if k not in _IMAGE_WORDS or k in ("FWX0", "FWY0")}
    if frame.mask is not None:
        bits = frame.mask.array.astype(np.uint32, copy=False).view(np.int32)
        hdus.append(image_hdu(bits, "MASK", {**mask_header(frame.mask.schema), **bare}, compress))
    if frame.variance is not None:
        unit = {"BUNIT": frame.variance.unit or f"{frame.unit}2"}
        hdus.append(
            image_hdu(frame.variance.array.astype(np.float32, copy=False), "VARIANCE", {**unit, **bare}, compress)
        )
    for name, plane in frame.components.items():
        unit = {"BUNIT": plane.unit, "FWPART": name}
        part = plane.array.astype(np.float32, copy=False)
        hdus.append(image_hdu(part, f"VAR_{name.upper()}", {**unit, **bare}, compress))
    if frame.history:
        hdus.append(history_table(frame.history))
    values: dict[str, Any] = {"format": 1, "observation": frame.observation, "raw": frame.raw}
    if frame.gain_map is not None:
        values["gain_map"] = replace(frame.gain_map, gain=dict(frame.gain_map.gain))
    if frame.detector is not None:
        values["detector"] = frame.detector
    hdus.append(key_table(values))
    return hdus


def mask_of(array: NDArray[Any], header: Mapping[str, Any], where: str) -> Mask:
    """A mask plane whose bits are those that the file's own ``MP_`` keys name.

    Raises
    ------
    HeaderError
        a bit number is no number, outside 0 … 31, or two planes share one.
    """
    schema: dict[str, int] = {}
    for key, value in header.items():
        if not key.startswith("MP_"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 31 or value in schema.values():
            raise HeaderError(f"the bit number of mask plane {key[3:]} cannot be {value!r}", where=f"{where}, {key}")
        schema[key[3:]] = value
    bits = array.astype(np.int64, copy=False) & 0xFFFFFFFF if array.dtype.itemsize == 8 else array
    if bits.dtype == np.int32:
        return Mask(bits.view(np.uint32), schema=schema or None)
    return Mask(bits.astype(np.uint32), schema=schema or None)
