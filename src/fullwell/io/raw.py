"""Raw frames: segments from their HDUs into one raw image, and back."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError, HeaderError, UsageError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame
from fullwell.instruments.headers import FileHeaders, HduHeader
from fullwell.io.atomic import atomic_path
from fullwell.io.fitsfile import FitsFile, Hdu
from fullwell.io.keywords import Affine, moved_wcs
from fullwell.io.layout import header_of, is_wcs

__all__ = ["check_colour", "of_detector", "raw_image", "raw_metadata", "write_raw"]

_BAYER = ("BAYERPAT", "BAYRPAT", "COLORTYP", "COLORTYPE", "CFAPAT", "CFATYPE")
_SKY = ("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT")
_GREY = ("", "none", "mono", "monochrome", "grey", "gray", "0", "no", "false", "unknown", "n/a")
_DETECTOR_KEYS = (
    "CCDNUM",
    "CCDNAME",
    "DETECTOR",
    "DETNAME",
    "DET_NAME",
    "DET-ID",
    "CHIPID",
    "CHIPNAME",
    "ESO DET CHIP NO",
)


def check_colour(headers: FileHeaders) -> None:
    """Refuse the file of a colour camera: neighbouring pixels lie behind different filters.

    Raises
    ------
    HeaderError
        names the keyword that says so.
    """
    for hdu in headers:
        for key in _BAYER:
            value = hdu.header.get(key)
            if value is None or value is False or str(value).strip().lower() in _GREY:
                continue
            raise HeaderError(
                f"this is a Bayer mosaic ({key} = {value!r}): neighbouring pixels lie behind different filters",
                where=f"{headers.path}, HDU {hdu.index}, keyword {key}",
                remedy="split the colours into four files first (a pixel in two each way), or delete the keyword if "
                "the sensor is monochrome",
                code="FW131",
            )


def _flat_shape(hdu: Hdu | HduHeader, path: str) -> tuple[int, int]:
    """(ny, nx) of an image HDU; axes of length 1 are dropped."""
    shape = tuple(n for n in hdu.shape or () if n > 1)
    if len(shape) > 2:
        raise HeaderError(
            f"the image has {len(shape)} axes {shape}, a frame has two",
            where=f"{path}, HDU {hdu.index}, keyword NAXIS",
            remedy="read the planes of a cube one by one with fullwell.io.read_series",
            code="FW132",
        )
    full = hdu.shape or ()
    return int(full[-2]), int(full[-1])


def _squeezed(file: FitsFile, hdu: Hdu, box: Box | None = None) -> NDArray[Any]:
    shape = _flat_shape(hdu, file.path)
    return file.pixels(hdu).reshape(shape) if box is None else file.pixels(hdu, box.slices)


def of_detector(headers: FileHeaders, detector: str | int) -> FileHeaders:
    """The HDUs of one detector of a focal-plane file, and those without an image.

    Parameters
    ----------
    detector : value of the keyword that tells detectors apart (CCDNUM, DETNAME …), or an EXTNAME.

    Raises
    ------
    HeaderError
        the file holds several detectors, and not this one; the message lists them.
    """
    wanted = str(detector).strip().lower()
    listed: list[str] = []
    for key in _DETECTOR_KEYS:
        values = {h.index: str(h.header[key]).strip() for h in headers.images if h.index and key in h.header}
        keep = {i for i, value in values.items() if value.lower() == wanted}
        if keep:
            return _only(headers, keep)
        names = list(dict.fromkeys(values.values()))
        listed = listed or (names if len(names) > 1 else [])
    named = {h.index for h in headers.images if h.name.lower() == wanted}
    if named and len(headers.images) > 1:
        return _only(headers, named)
    if listed:
        raise HeaderError(
            f"the file holds no detector {detector!r}",
            where=headers.path,
            remedy=f"it holds {', '.join(listed[:12])}" + (" …" if len(listed) > 12 else ""),
            code="FW133",
        )
    return headers


def detectors_of(headers: FileHeaders) -> list[FileHeaders]:
    """The headers of each detector of a focal-plane file; of any other file, all headers as one.

    A file holds several detectors where a keyword that names one differs from HDU to HDU, with more than one amplifier
    or with the whole of a detector in each.
    """
    for key in _DETECTOR_KEYS:
        values = {h.index: str(h.header[key]).strip() for h in headers.images if h.index and key in h.header}
        names = list(dict.fromkeys(values.values()))
        if len(names) > 1 and len(values) == len([h for h in headers.images if h.index]):
            return [_only(headers, {i for i, v in values.items() if v == name}) for name in names]
    return [headers]


def _only(headers: FileHeaders, keep: set[int]) -> FileHeaders:
    hdus = tuple(h for h in headers if h.index in keep or h.shape is None or h.index == 0)
    return FileHeaders(headers.path, hdus, headers.comments)


def raw_metadata(headers: FileHeaders) -> dict[str, Any]:
    """The header of a raw frame: the primary one, with those of auxiliary HDUs of a Rubin raw (REB_COND) and of
    the image HDU, where there is one only, laid over it."""
    out = headers.merged("REB_COND")
    images = headers.images
    if len(images) == 1 and images[0].index:
        out.update(images[0].header)
    return out


def segment_wcs(headers: FileHeaders, detector: Detector) -> dict[str, Any]:
    """World coordinates of the raw image from the HDU of the first amplifier that has celestial ones.

    They hold in the data of that amplifier, named by FWWCSAMP: between amplifiers lie overscans.
    Empty where no HDU of a single amplifier has any.
    """
    holders = [amp.hdu for amp in detector]
    for amp in detector:
        if amp.hdu is None or holders.count(amp.hdu) > 1:
            continue
        for hdu in headers.images:
            if amp.hdu not in (hdu.index, hdu.name) or not str(hdu.header.get("CTYPE1", "")).startswith(_SKY):
                continue
            plain = {k: v for k, v in hdu.header.items() if is_wcs(k) and not k.startswith("LT")}
            moved = moved_wcs(plain, Affine.segment(amp))
            kept = {k: v for k, v in {**plain, **moved}.items() if v is not None}
            return {**kept, "FWWCSAMP": amp.name}
    return {}


def raw_image(
    file: FitsFile, detector: Detector, allowed: Iterable[int] | None = None, box: Box | None = None
) -> NDArray[Any]:
    """The raw image of `detector`, shape of ``detector.raw_box``, in the type of the file.

    One HDU: as it is. One HDU per amplifier: each segment at its raw box, 0 where no segment lies. With a `box`
    of the raw image, that part alone, and only what holds it is read.

    Raises
    ------
    GeometryError
        an array has another size than the description; names the amplifier. FileError: an HDU is missing.
    """
    images = [h for h in file.images() if allowed is None or h.index in set(allowed)]
    holders = {amp.hdu for amp in detector}
    shape = detector.raw_box.shape
    if len(holders) == 1:
        key = next(iter(holders))
        if key is not None:
            hdu = file.find(key)
        elif len(images) == 1:
            hdu = images[0]
        else:
            have = ", ".join(f"{h.index} {h.name}".strip() for h in images) or "none"
            raise HeaderError(
                f"the frame is one image, the file has {len(images)} ({have})",
                where=file.path,
                remedy="name the detector or the instrument, so that it is known which belong together",
                code="FW133",
            )
        if len(detector) == 1 and key is not None:
            return _pasted(file, detector, box)
        stored = _flat_shape(hdu, file.path)
        if stored != shape:
            raise GeometryError(
                f"the image has shape {stored}, detector {detector.name} {shape}",
                where=f"{file.path}, {hdu.label}, keywords NAXIS1, NAXIS2",
                remedy="binned or windowed? choose the instrument that fits, or describe the camera in a file",
            )
        return _squeezed(file, hdu, box)
    return _pasted(file, detector, box)


def _segments(file: FitsFile, detector: Detector) -> list[tuple[Amplifier, Hdu]]:
    """Each amplifier with the HDU that holds it alone."""
    holders = [amp.hdu for amp in detector]
    if None in holders or len(set(holders)) != len(holders):
        raise GeometryError(
            "some amplifiers share an HDU and others do not",
            where=f"detector {detector.name}",
            remedy="describe the camera with one HDU for all amplifiers, or one for each",
        )
    out = []
    for amp in detector:
        hdu = file.find(amp.hdu)  # type: ignore[arg-type]
        where = f"{file.path}, {hdu.label}"
        if hdu.shape is None:
            raise HeaderError(
                f"the HDU of amplifier {amp.name} holds no image",
                where=where,
                remedy="is this a raw frame of the camera that was named?",
            )
        stored, expected = _flat_shape(hdu, file.path), amp.hdu_orientation.shape(amp.shape)
        if stored != expected:
            raise GeometryError(
                f"the array of amplifier {amp.name} has shape {stored}, the camera description says {expected}",
                where=f"{where}, keywords NAXIS1, NAXIS2",
                remedy="binned or windowed? choose the instrument that fits, or describe the camera in a file",
            )
        out.append((amp, hdu))
    return out


def _pasted(file: FitsFile, detector: Detector, box: Box | None) -> NDArray[Any]:
    """The raw image of a detector with one HDU per amplifier, or the part of it in `box`."""
    segments = _segments(file, detector)
    if box is not None and any(hdu.blank is not None for _, hdu in segments):
        return _pasted(file, detector, None)[box.slices].copy()
    wanted = detector.raw_box if box is None else box
    raw = np.zeros(wanted.shape, np.result_type(*(hdu.dtype for _, hdu in segments)))
    for amp, hdu in segments:
        common = amp.raw.intersection(wanted)
        if not common.area:
            continue
        local = amp.raw_orientation.undo_box(common.shifted(-amp.raw.x0, -amp.raw.y0), amp.shape)
        part = None if common == amp.raw else amp.hdu_orientation.box(local, amp.shape)
        array = _squeezed(file, hdu, part)
        if array.dtype != raw.dtype:
            raw = raw.astype(np.result_type(raw.dtype, array.dtype), copy=False)
        target = raw[common.shifted(-wanted.x0, -wanted.y0).slices]
        target[...] = amp.raw_orientation.apply(amp.hdu_orientation.undo(array))
    return raw


def _section(box: Box, flip_x: bool = False, flip_y: bool = False) -> str:
    """A box as a FITS section, limits descending where flipped."""
    x = (box.x1, box.x0 + 1) if flip_x else (box.x0 + 1, box.x1)
    y = (box.y1, box.y0 + 1) if flip_y else (box.y0 + 1, box.y1)
    return f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]"


def _segment_header(amp: Amplifier) -> dict[str, Any]:
    """DATASEC, BIASSEC and DETSEC of an amplifier's own HDU."""
    out: dict[str, Any] = {"DATASEC": _section(amp.hdu_orientation.box(amp.data, amp.shape))}
    if amp.serial_overscan.area:
        out["BIASSEC"] = _section(amp.hdu_orientation.box(amp.serial_overscan, amp.shape))
    stored, final = amp.hdu_orientation, amp.orientation
    if stored.transpose == final.transpose:
        out["DETSEC"] = _section(amp.trimmed, stored.flip_x != final.flip_x, stored.flip_y != final.flip_y)
    return out


def _raw_hdus(frame: Frame) -> list[Any]:
    from astropy.io import fits

    header = header_of(frame.metadata, frame.comments)
    image, detector = frame.image.array, frame.detector
    holders = [] if detector is None else [amp.hdu for amp in detector]
    if detector is None or (len(set(holders)) == 1 and (holders[0] in (None, 0) or len(detector) > 1)):
        return [fits.PrimaryHDU(image, header)]
    if None in holders or len(set(holders)) != len(holders):
        raise GeometryError("some amplifiers share an HDU and others do not", where=f"detector {detector.name}")
    amps: list[Amplifier] = list(detector)
    if all(isinstance(h, int) for h in holders):
        amps.sort(key=lambda amp: int(amp.hdu or 0))
        if [amp.hdu for amp in amps] != list(range(1, len(amps) + 1)):
            raise GeometryError(f"HDUs {holders} leave gaps", where=f"detector {detector.name}", remedy="use 1 … n")
    hdus: list[Any] = [fits.PrimaryHDU(header=header)]
    for amp in amps:
        array = amp.hdu_orientation.apply(amp.raw_orientation.undo(image[amp.raw.slices]))
        part = fits.ImageHDU(np.ascontiguousarray(array), header_of(_segment_header(amp)))
        part.name = amp.hdu if isinstance(amp.hdu, str) else amp.name
        if isinstance(amp.hdu, str):
            part.header["EXTNAME"] = amp.hdu
        hdus.append(part)
    return hdus


def write_raw(frame: Frame, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a raw frame as a camera would: integers, one HDU, or one per amplifier where ``Amplifier.hdu`` says so.

    The header is ``frame.metadata``; unsigned integers get BZERO; checksums are written. `read` gives the frame back.

    Raises
    ------
    UsageError
        the frame is not raw. FileError: the file cannot be written.
    """
    if not frame.raw:
        raise UsageError("this frame is not raw", where=frame.source, remedy="use write_frame for a corrected frame")
    if frame.image.dtype.kind == "b" or frame.image.dtype == np.uint64:
        raise UsageError(f"FITS has no pixels of type {frame.image.dtype}", remedy="convert the image to int32")
    if not math.prod(frame.shape):
        raise UsageError("the frame has no pixels", where=frame.source)
    from astropy.io import fits

    hdus = fits.HDUList(_raw_hdus(frame))
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        hdus.writeto(handle, checksum=True, output_verify="fix+ignore")
