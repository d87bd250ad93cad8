"""Corrected frames from files and to files: our own, those of the LSST library, and those of astropy's CCDData."""

from __future__ import annotations

import math
import os
import re
from typing import Any

import numpy as np

from fullwell.base.errors import FileError, HeaderError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Observation, Plane
from fullwell.io.atomic import atomic_path
from fullwell.io.codec import from_json
from fullwell.io.fitsfile import FitsFile, Hdu
from fullwell.io.keywords import unit_name
from fullwell.io.layout import MARK, frame_hdus, mask_of
from fullwell.io.texttable import text_columns

__all__ = ["is_ccddata", "is_layout", "read_ccddata", "read_layout", "write_frame"]

_PLANES = ("IMAGE", "MASK", "VARIANCE")
_DROP = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BZERO|BSCALE|CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTTYPE|"
    r"INHERIT|AR_HDU|MP_\w+|LSST ISR UNITS)$"
)

_ARCHIVE = re.compile(r"^\w+_ID$")
"""Numbers of objects in the archive HDUs of the LSST library, which are not carried along."""


def write_frame(
    frame: Frame, path: str | os.PathLike[str], *, compress: bool | str = False, overwrite: bool = True
) -> None:
    """Write a corrected frame in the LSST layout (see `fullwell.io.layout`), whole or not at all, with checksums.

    Parameters
    ----------
    compress : False; True or "rice" (without loss: RICE_1 for the mask, GZIP_2 for floats); "gzip".
    overwrite : whether a file of that name may be replaced.

    Raises
    ------
    FileError
        the file cannot be written; nothing is left then. UsageError: the frame holds raw integers.
    """
    if frame.raw and frame.image.dtype.kind in "iu":
        raise UsageError("this frame holds raw integers", where=frame.source, remedy="use write_raw to keep them")
    if compress not in (False, True, "rice", "gzip"):
        raise UsageError(f"compression {compress!r} is unknown", remedy='use False, True, "rice" or "gzip"')
    hdus = frame_hdus(frame, compress)
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        hdus.writeto(handle, checksum=True, output_verify="fix+ignore")


def _planes(file: FitsFile) -> dict[str, Hdu]:
    """The image HDUs by role: EXTNAME, or EXTTYPE (older LSST files), or their order."""
    found: dict[str, Hdu] = {}
    images = [h for h in file.hdus if h.shape is not None]
    for hdu in images:
        for word in (str(hdu.header.get("EXTTYPE", "")).strip().upper(), hdu.name.upper()):
            if word in _PLANES and word not in found:
                found[word] = hdu
                break
    return found


def is_layout(file: FitsFile) -> bool:
    """Whether a file holds IMAGE with MASK or VARIANCE, or an IMAGE that we wrote."""
    found = _planes(file)
    if "IMAGE" not in found:
        return False
    images = [h for h in file.hdus if h.shape is not None and h.name.upper() == "IMAGE"]
    ours = any(h.name == "FULLWELL" for h in file.hdus)
    return len(images) < 2 and (ours or "MASK" in found or "VARIANCE" in found)


def is_ccddata(file: FitsFile) -> bool:
    """Whether a file was written by astropy's CCDData: an image in the primary HDU, MASK or UNCERT after it."""
    names = {h.name.upper() for h in file.hdus[1:]}
    return file.hdus[0].shape is not None and bool(names & {"MASK", "UNCERT"})


def _origin(header: dict[str, Any]) -> tuple[int, int]:
    """(x0, y0) on the assembled detector: our keys, the linear WCS "A", or LTV (LSST files); else 0."""
    if isinstance(header.get("FWX0"), int) and isinstance(header.get("FWY0"), int):
        return header["FWX0"], header["FWY0"]
    places: list[Any] = [header.get(f"CRVAL{i}A") for i in (1, 2)]
    if str(header.get("CTYPE1A", "")).strip() != "LINEAR" or header.get("CRPIX1A") != 1.0:
        shifts: list[Any] = [header.get(f"LTV{i}") for i in (1, 2)]
        places = [-v if _finite(v) else None for v in shifts]
        if header.get("LTM1_1", 1.0) != 1.0:
            return 0, 0
    if not all(_finite(v) for v in places):
        return 0, 0
    return round(places[0]), round(places[1])


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_keys(file: FitsFile) -> dict[str, Any]:
    """The FULLWELL table: key -> object."""
    for hdu in file.hdus:
        if hdu.name == "FULLWELL" and hdu.kind == "table":
            keys, values = text_columns(file, hdu, ("key", "value"))
            where = f"{file.path}, {hdu.label}"
            return {key: from_json(value, where=where) for key, value in zip(keys, values, strict=True)}
    return {}


def read_history(file: FitsFile) -> tuple[Record, ...]:
    """The records of the HISTORY table; none where there is no such table."""
    for hdu in file.hdus:
        if hdu.name == "HISTORY" and hdu.kind == "table":
            where = f"{file.path}, {hdu.label}"
            (texts,) = text_columns(file, hdu, ("record",))
            records = tuple(from_json(text, where=where) for text in texts)
            if not all(isinstance(r, Record) for r in records):
                raise FileError("a row of the history is no record", where=where, remedy="write the file again")
            return records
    return ()


def _metadata(file: FitsFile, image: Hdu) -> tuple[dict[str, Any], dict[str, str]]:
    merged = {**file.hdus[0].header, **image.header}
    for key in ("HISTORY", "COMMENT"):
        text = str(file.hdus[0].header.get(key, ""))
        lines = [line for line in text.split("\n") if line and not line.startswith(MARK)]
        merged.pop(key, None)
        if lines:
            merged[key] = "\n".join(lines)
    if "AR_HDU" in file.hdus[0].header:
        merged = {k: v for k, v in merged.items() if not (_ARCHIVE.match(k) and isinstance(v, int))}
    comments = {**file.hdus[0].comments, **image.comments}
    return {k: v for k, v in merged.items() if not _DROP.match(k)}, comments


def _same_shape(plane: Any, image: Any, what: str, where: str) -> None:
    if plane.shape != image.shape:
        raise HeaderError(
            f"the {what} has shape {plane.shape}, the image {image.shape}",
            where=f"{where}, keywords NAXIS1, NAXIS2",
            remedy="the planes of a frame have one size: write the file again",
        )


def _two_axes(file: FitsFile, hdu: Hdu) -> Any:
    array = file.pixels(hdu)
    if array.ndim != 2:
        raise HeaderError(
            f"the {hdu.name or 'image'} has {array.ndim} axes, a frame has two",
            where=f"{file.path}, {hdu.label}, keyword NAXIS",
            remedy="read the planes of a cube one by one with fullwell.io.read_series",
            code="FW132",
        )
    return array


def read_layout(file: FitsFile) -> Frame:
    """A frame of a file with IMAGE, MASK, VARIANCE; archive HDUs of the LSST library are passed over."""
    planes = _planes(file)
    image_hdu = planes["IMAGE"]
    image = _two_axes(file, image_hdu)
    metadata, comments = _metadata(file, image_hdu)
    x0, y0 = _origin(metadata)
    box = Box(x0, y0, image.shape[1], image.shape[0])
    unit = unit_name(image_hdu.header.get("BUNIT") or file.hdus[0].header.get("LSST ISR UNITS"))
    metadata["FWX0"], metadata["FWY0"], metadata["BUNIT"] = x0, y0, unit
    mask = variance = None
    if "MASK" in planes:
        hdu = planes["MASK"]
        bits = _two_axes(file, hdu)
        _same_shape(bits, image, "mask", f"{file.path}, {hdu.label}")
        named = mask_of(bits, hdu.header, f"{file.path}, {hdu.label}")
        mask = Mask(named.array, box, schema=named.schema)
    if "VARIANCE" in planes:
        hdu = planes["VARIANCE"]
        values = _two_axes(file, hdu)
        _same_shape(values, image, "variance", f"{file.path}, {hdu.label}")
        variance = Plane(values, box, str(hdu.header.get("BUNIT") or f"{unit}2"))
    components = {}
    for hdu in file.hdus:
        if hdu.shape is not None and hdu.name.startswith("VAR_"):
            name = str(hdu.header.get("FWPART", hdu.name[4:].lower()))
            part = _two_axes(file, hdu)
            _same_shape(part, image, name, f"{file.path}, {hdu.label}")
            components[name] = Plane(part, box, str(hdu.header.get("BUNIT", "")))
    keys = read_keys(file)
    return Frame(
        Plane(image, box, unit),
        variance,
        mask,
        detector=keys.get("detector"),
        observation=keys.get("observation", Observation()),
        metadata=metadata,
        comments=comments,
        history=read_history(file),
        components=components,
        raw=bool(keys.get("raw", False)),
        gain_map=keys.get("gain_map"),
        source=file.path,
    )


def read_ccddata(file: FitsFile) -> Frame:
    """A frame of a file that astropy's CCDData wrote: UNCERT to variance, MASK to the plane BAD.

    Raises
    ------
    HeaderError
        the kind of uncertainty (UTYPE) is unknown.
    """
    primary = file.hdus[0]
    image = _two_axes(file, primary)
    unit = unit_name(primary.header.get("BUNIT"))
    metadata, comments = _metadata(file, primary)
    mask = variance = None
    for hdu in file.hdus[1:]:
        if hdu.shape is None or hdu.name.upper() not in ("MASK", "UNCERT"):
            continue
        values = _two_axes(file, hdu)
        _same_shape(values, image, hdu.name.lower(), f"{file.path}, {hdu.label}")
        if hdu.name.upper() == "MASK":
            mask = Mask((values != 0).astype(np.uint32))
        else:
            kind = str(hdu.header.get("UTYPE", "StdDevUncertainty")).strip()
            variance = Plane(variance_of(values, kind, f"{file.path}, {hdu.label}"), unit=f"{unit}2")
    return Frame(Plane(image, unit=unit), variance, mask, metadata=metadata, comments=comments, source=file.path)


def variance_of(values: Any, kind: str, where: str) -> Any:
    """The variance, float32, of an uncertainty of `kind` (std, var, ivar, or astropy's class names)."""
    word = kind.lower()
    exact = np.asarray(values, np.float64)
    if word in ("stddevuncertainty", "std"):
        exact = exact**2
    elif word in ("inversevariance", "ivar"):
        with np.errstate(divide="ignore"):
            exact = 1.0 / exact
    elif word not in ("varianceuncertainty", "var"):
        raise HeaderError(
            f"uncertainty of kind {kind!r} is unknown",
            where=f"{where}, keyword UTYPE",
            remedy="it is one of StdDevUncertainty, VarianceUncertainty, InverseVariance",
        )
    return exact.astype(np.float32)
