"""Any file to a frame: what it is, whose it is, and its pixels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import FileError, HeaderError
from fullwell.cameras import Box, Detector
from fullwell.frames import Frame, Plane
from fullwell.instruments.headers import FileHeaders
from fullwell.io.fitsfile import FitsFile, open_fits, sniff
from fullwell.io.framefile import inside, stored_frame
from fullwell.io.hotwrite import blank_plane
from fullwell.io.keywords import unit_name
from fullwell.io.pictures import picture_headers, picture_pixels
from fullwell.io.raw import check_colour, of_detector, raw_image, raw_metadata, segment_wcs

if TYPE_CHECKING:
    from fullwell.instruments import CameraOptions, Instrument

__all__ = ["Path", "raw_frame", "read", "read_headers", "read_outline", "read_series"]

Path = str | os.PathLike[str]


def read_headers(path: Path) -> FileHeaders:
    """The headers of a FITS, PNG or TIFF file; no pixels are decoded.

    Raises
    ------
    FileError
        the file is missing, empty, unreadable, cut off or no image file.
    HeaderError
        a keyword that says how the data lie is missing or impossible.
    """
    kind = sniff(path)
    if kind in ("png", "tiff"):
        return picture_headers(str(path), kind)
    with open_fits(path) as file:
        return file.headers()


def _instrument(given: Instrument | str | None, headers: FileHeaders) -> Any:
    from fullwell import instruments

    if isinstance(given, str):
        return instruments.get(given)
    return instruments.identify(headers) if given is None else given


def _geometry(
    headers: FileHeaders, instrument: Any, detector: Detector | str | int | None, options: CameraOptions | None
) -> Detector:
    if isinstance(detector, Detector):
        return detector
    found: Detector = instrument.detector(headers, options)
    return found


def _images(headers: FileHeaders) -> None:
    if not headers.images:
        raise FileError(
            "the file holds no image",
            where=headers.path,
            remedy="is this a table or a header without its data?",
            code="FW103",
        )


def _unit_of(metadata: dict[str, Any]) -> str:
    return unit_name(metadata.get("BUNIT")) or "adu"


def raw_frame(
    file: FitsFile,
    instrument: Instrument | str | None,
    detector: Detector | str | int | None,
    options: CameraOptions | None,
    *,
    pixels: bool = True,
    box: Box | None = None,
) -> Frame:
    """A raw frame of a FITS file, or the part of it in `box`.

    Without `pixels`, its image takes no memory and holds zeros. Errors are those of `read`, and a GeometryError
    where `box` reaches outside the raw image.
    """
    headers = file.headers()
    _images(headers)
    check_colour(headers)
    chosen = options.detector if detector is None and options is not None else detector
    if chosen is not None and not isinstance(chosen, Detector):
        headers = of_detector(headers, chosen)
    for hdu in headers.images:
        if len([n for n in hdu.shape or () if n > 1]) > 2:
            raise HeaderError(
                f"the image is a cube of shape {hdu.shape}, a frame has two axes",
                where=f"{file.path}, HDU {hdu.index}, keyword NAXIS",
                remedy="read the planes of a cube one by one with fullwell.io.read_series",
                code="FW132",
            )
    camera = _instrument(instrument, headers)
    geometry = _geometry(headers, camera, detector, options)
    covered = inside(box, geometry.raw_box, file.path)
    if pixels:
        image = raw_image(file, geometry, [h.index for h in headers.images], box)
    else:
        image = blank_plane(covered.shape, headers.images[0].dtype or np.float32)
    metadata = raw_metadata(headers)
    if "CTYPE1" not in metadata:
        metadata.update(segment_wcs(headers, geometry))
    return Frame(
        Plane(image, covered, _unit_of(metadata)),
        detector=geometry,
        observation=camera.observation(headers),
        metadata=metadata,
        comments=dict(headers.comments),
        raw=True,
        source=file.path,
    )


def read(
    path: Path,
    *,
    instrument: Instrument | str | None = None,
    detector: Detector | str | int | None = None,
    options: CameraOptions | None = None,
) -> Frame:
    """Read one frame.

    A raw FITS file (plain, compressed as a whole or by tiles; one or many HDUs) gives a raw frame: integers stay
    integers, segments are pasted into the raw image, the detector is set. A file in the LSST layout, ours or
    the LSST library's, gives the corrected frame with its history; a CCDData file a frame without detector.
    A grey PNG or TIFF of one page is a raw frame as well.

    Parameters
    ----------
    instrument : name or object; None: told from the headers.
    detector : of a file with several: its name or number. A `Detector` is taken as the geometry.
    options : what the user says about sections, gain and the like; overrules the headers.

    Raises
    ------
    FileError
        the file is missing, empty, unreadable, damaged, or holds no image.
    HeaderError
        colour mosaic, cube, impossible keywords, several detectors and none chosen.
    GeometryError
        arrays and camera description differ in size.
    """
    kind = sniff(path)
    if kind in ("png", "tiff"):
        headers = picture_headers(str(path), kind)
        if len(headers.hdus) > 1:
            raise HeaderError(
                f"the file is a series of {len(headers.hdus)} images",
                where=str(path),
                remedy="read them all with fullwell.io.read_series",
                code="FW132",
            )
        return _picture(headers, kind, 0, instrument, detector, options)
    with open_fits(path) as file:
        stored = stored_frame(file)
        return raw_frame(file, instrument, detector, options) if stored is None else stored.frame()


def read_outline(
    path: Path,
    *,
    instrument: Instrument | str | None = None,
    detector: Detector | str | int | None = None,
    options: CameraOptions | None = None,
) -> Frame:
    """A raw FITS frame without its pixels: geometry, observation and header, read in a few milliseconds.

    Parameters and errors are those of `read`. The image holds zeros, takes no memory and cannot be written to.
    """
    with open_fits(path) as file:
        return raw_frame(file, instrument, detector, options, pixels=False)


def _picture(
    headers: FileHeaders,
    kind: str,
    page: int,
    instrument: Instrument | str | None,
    detector: Detector | str | int | None,
    options: CameraOptions | None,
) -> Frame:
    one = FileHeaders(headers.path, (headers.hdus[page],))
    return _single(one, picture_pixels(headers.path, kind, page), instrument, detector, options)


def _single(
    headers: FileHeaders,
    image: Any,
    instrument: Instrument | str | None,
    detector: Detector | str | int | None,
    options: CameraOptions | None,
) -> Frame:
    camera = _instrument(instrument, headers)
    metadata = dict(headers.primary)
    return Frame(
        Plane(image, unit=_unit_of(metadata)),
        detector=_geometry(headers, camera, detector, options),
        observation=camera.observation(headers),
        metadata=metadata,
        raw=True,
        source=headers.path,
    )


def read_series(
    path: Path,
    *,
    instrument: Instrument | str | None = None,
    detector: Detector | None = None,
    options: CameraOptions | None = None,
) -> list[Frame]:
    """The frames of a file that holds several of one detector: pages of a TIFF, planes of a FITS cube.

    A file of one frame gives a list of one.

    Raises
    ------
    FileError, HeaderError, GeometryError
        as `read`.
    """
    kind = sniff(path)
    if kind in ("png", "tiff"):
        headers = picture_headers(str(path), kind)
        return [_picture(headers, kind, page, instrument, detector, options) for page in range(len(headers.hdus))]
    with open_fits(path) as file:
        headers = file.headers()
        check_colour(headers)
        cubes = [h for h in file.images() if len([n for n in h.shape or () if n > 1]) > 2]
        if cubes:
            return _cube(file, headers, cubes[0], instrument, detector, options)
    return [read(path, instrument=instrument, detector=detector, options=options)]


def _cube(
    file: FitsFile,
    headers: FileHeaders,
    hdu: Any,
    instrument: Instrument | str | None,
    detector: Detector | None,
    options: CameraOptions | None,
) -> list[Frame]:
    from fullwell.instruments.headers import HduHeader

    cube = file.pixels(hdu)
    cube = cube.reshape(-1, *cube.shape[-2:])
    merged = {**headers.primary, **hdu.header}
    one = FileHeaders(headers.path, (HduHeader(0, "", merged, cube.shape[-2:], str(cube.dtype)),), headers.comments)
    return [_single(one, plane.copy(), instrument, detector, options) for plane in cube]
