"""Corrected frames from files and to files: our own, those of the LSST library, and those of astropy's CCDData."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullwell.base.errors import FileError, GeometryError, HeaderError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Observation, Plane
from fullwell.io.atomic import atomic_path
from fullwell.io.codec import from_json
from fullwell.io.fitsfile import FitsFile, Hdu
from fullwell.io.keywords import unit_name
from fullwell.io.layout import MARK, frame_hdus, mask_of
from fullwell.io.texttable import text_columns

__all__ = ["inside", "is_ccddata", "is_layout", "read_layout", "stored_frame", "write_frame"]

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


def _shape(file: FitsFile, hdu: Hdu) -> tuple[int, int]:
    """(ny, nx) of an image HDU that must have two axes."""
    shape = hdu.shape or ()
    if len(shape) != 2:
        raise HeaderError(
            f"the {hdu.name or 'image'} has {len(shape)} axes, a frame has two",
            where=f"{file.path}, {hdu.label}, keyword NAXIS",
            remedy="read the planes of a cube one by one with fullwell.io.read_series",
            code="FW132",
        )
    return shape[0], shape[1]


def inside(box: Box | None, whole: Box, path: str) -> Box:
    """`box`, or `whole` where there is none.

    Raises
    ------
    GeometryError
        it reaches outside `whole`; names both.
    """
    if box is not None and not whole.contains(box):
        raise GeometryError(
            f"box {box} reaches outside the frame, which covers {whole}",
            where=path,
            remedy="coordinates are those of the frame (FWX0, FWY0; LTV1, LTV2 of LSST files), from 0",
        )
    return whole if box is None else box


@dataclass(frozen=True)
class Stored:
    """A corrected frame in a file of which nothing but the headers was read.

    Parameters
    ----------
    image : its HDU; others : the other HDUs by role, "MASK", "VARIANCE" and "VAR_…".
    metadata, comments : the merged headers.
    whole : what the file covers; box : the part that is wanted, inside it.
    unit : of the image.
    """

    file: FitsFile
    image: Hdu
    others: dict[str, Hdu]
    metadata: dict[str, Any]
    comments: dict[str, str]
    whole: Box
    box: Box
    unit: str

    def pixels(self, hdu: Hdu, what: str) -> Any:
        """The wanted pixels of one HDU, which must have the size of the image."""
        shape = _shape(self.file, hdu)
        if shape != self.whole.shape:
            raise HeaderError(
                f"the {what} has shape {shape}, the image {self.whole.shape}",
                where=f"{self.file.path}, {hdu.label}, keywords NAXIS1, NAXIS2",
                remedy="the planes of a frame have one size: write the file again",
            )
        if self.box == self.whole:
            return self.file.pixels(hdu)
        return self.file.pixels(hdu, self.box.shifted(-self.whole.x0, -self.whole.y0).slices)

    def image_plane(self) -> Plane:
        """The image."""
        return Plane(self.pixels(self.image, "image"), self.box, self.unit)


class StoredLayout(Stored):
    """One with IMAGE, MASK, VARIANCE."""

    @classmethod
    def of(cls, file: FitsFile, box: Box | None) -> StoredLayout:
        """The frame in `file`; archive HDUs of the LSST library are passed over."""
        others = _planes(file)
        image = others.pop("IMAGE")
        shape = _shape(file, image)
        metadata, comments = _metadata(file, image)
        x0, y0 = _origin(metadata)
        primary = file.hdus[0].header
        unit = unit_name(image.header.get("BUNIT") or primary.get("BUNIT") or primary.get("LSST ISR UNITS"))
        metadata["FWX0"], metadata["FWY0"], metadata["BUNIT"] = x0, y0, unit
        others.update({h.name: h for h in file.hdus if h.shape is not None and h.name.startswith("VAR_")})
        whole = Box(x0, y0, shape[1], shape[0])
        return cls(file, image, others, metadata, comments, whole, inside(box, whole, file.path), unit)

    def mask_plane(self) -> Mask | None:
        """The mask with the bits that its header names."""
        hdu = self.others.get("MASK")
        if hdu is None:
            return None
        named = mask_of(self.pixels(hdu, "mask"), hdu.header, f"{self.file.path}, {hdu.label}")
        return Mask(named.array, self.box, schema=named.schema)

    def variance_plane(self) -> Plane | None:
        """The variance."""
        hdu = self.others.get("VARIANCE")
        if hdu is None:
            return None
        return Plane(self.pixels(hdu, "variance"), self.box, str(hdu.header.get("BUNIT") or f"{self.unit}2"))

    def component(self, role: str) -> tuple[str, Plane]:
        """A part of the variance with its name."""
        hdu = self.others[role]
        name = str(hdu.header.get("FWPART", role[4:].lower()))
        return name, Plane(self.pixels(hdu, name), self.box, str(hdu.header.get("BUNIT", "")))

    def frame(self) -> Frame:
        """All of it, with history and keys."""
        keys = read_keys(self.file)
        return Frame(
            self.image_plane(),
            self.variance_plane(),
            self.mask_plane(),
            detector=keys.get("detector"),
            observation=keys.get("observation", Observation()),
            metadata=self.metadata,
            comments=self.comments,
            history=read_history(self.file),
            components=dict(self.component(role) for role in self.others if role.startswith("VAR_")),
            raw=bool(keys.get("raw", False)),
            gain_map=keys.get("gain_map"),
            psf=keys.get("psf"),
            photo_calib=keys.get("photo_calib"),
            background=keys.get("background"),
            source=self.file.path,
        )


class StoredCCDData(Stored):
    """One that astropy's CCDData wrote: an image in the primary HDU, UNCERT and MASK after it.

    It lies where our keys FWX0 and FWY0 say, which a frame of ours gives to its CCDData; else at the origin.
    """

    @classmethod
    def of(cls, file: FitsFile, box: Box | None) -> StoredCCDData:
        """The frame in `file`."""
        primary = file.hdus[0]
        shape = _shape(file, primary)
        metadata, comments = _metadata(file, primary)
        x0, y0 = _origin({k: metadata.get(k) for k in ("FWX0", "FWY0")})
        metadata["FWX0"], metadata["FWY0"] = x0, y0
        whole = Box(x0, y0, shape[1], shape[0])
        roles = {"MASK": "MASK", "UNCERT": "VARIANCE"}
        others = {roles[h.name.upper()]: h for h in file.hdus[1:] if h.shape is not None and h.name.upper() in roles}
        unit = unit_name(primary.header.get("BUNIT"))
        return cls(file, primary, others, metadata, comments, whole, inside(box, whole, file.path), unit)

    def mask_plane(self) -> Mask | None:
        """The mask as the plane BAD."""
        hdu = self.others.get("MASK")
        return None if hdu is None else Mask((self.pixels(hdu, "mask") != 0).astype(np.uint32), self.box)

    def variance_plane(self) -> Plane | None:
        """The variance of the uncertainty.

        Raises
        ------
        HeaderError
            the kind of uncertainty (UTYPE) is unknown.
        """
        hdu = self.others.get("VARIANCE")
        if hdu is None:
            return None
        kind = str(hdu.header.get("UTYPE", "StdDevUncertainty")).strip()
        values = variance_of(self.pixels(hdu, "uncert"), kind, f"{self.file.path}, {hdu.label}")
        return Plane(values, self.box, f"{self.unit}2")

    def frame(self) -> Frame:
        """All of it."""
        planes = self.image_plane(), self.variance_plane(), self.mask_plane()
        return Frame(*planes, metadata=self.metadata, comments=self.comments, source=self.file.path)


def stored_frame(file: FitsFile, box: Box | None = None) -> StoredLayout | StoredCCDData | None:
    """The corrected frame in `file`, of which `box` is wanted; None where the file holds no corrected frame."""
    if is_layout(file):
        return StoredLayout.of(file, box)
    return StoredCCDData.of(file, box) if is_ccddata(file) else None


def read_layout(file: FitsFile) -> Frame:
    """A frame of a file with IMAGE, MASK, VARIANCE; archive HDUs of the LSST library are passed over."""
    return StoredLayout.of(file, None).frame()


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
