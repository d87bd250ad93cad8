"""A component or a sub-image of a frame from its file, without the rest.

Plain FITS is mapped, so that only the rows of the box are read; of tile-compressed images only the tiles that hold it
are decompressed; of a raw file with one HDU per amplifier only the HDUs that it touches. World coordinates: FITS
WCS papers I and II.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import HeaderError, UsageError
from fullwell.cameras import Box, Detector
from fullwell.frames import Frame
from fullwell.io.fitsfile import open_fits, sniff
from fullwell.io.framefile import inside, stored_frame
from fullwell.io.keywords import Affine, moved_wcs
from fullwell.io.layout import header_of, is_wcs
from fullwell.io.reading import Path, raw_frame, read

if TYPE_CHECKING:
    from fullwell.instruments import CameraOptions, Instrument

__all__ = ["COMPONENTS", "read_part"]

COMPONENTS = ("image", "variance", "mask", "metadata", "wcs")


def read_part(
    path: Path,
    component: str | None = None,
    box: Box | None = None,
    *,
    instrument: Instrument | str | None = None,
    detector: Detector | str | int | None = None,
    options: CameraOptions | None = None,
) -> Any:
    """Read a component of a frame, a sub-image, or both: what ``read(path)[box].component`` would give, and no more.

    Parameters
    ----------
    path : any file that `read` takes: raw, corrected, image product, of the LSST library, of CCDData.
    component : "image", "variance" (`Plane`), "mask" (`Mask`), "metadata" (dict), "wcs" (astropy ``WCS``); None: the
        frame. None is returned for what the frame has not got.
    box : in the frame's own coordinates; None: all of it. Planes keep these coordinates and metadata stay those of
        the whole frame, as with ``frame[box]``; pixel (0, 0) of the WCS is the first pixel of the box.
    instrument, detector, options : of a raw file, as for `read`.

    Returns
    -------
    object
        pixels are writable memory of the caller's own.

    Raises
    ------
    GeometryError
        the box reaches outside the frame; names both.
    UsageError
        there is no such component.
    HeaderError
        the world coordinates cannot be true; else as `read`. FileError: as `read`.
    """
    if component is not None and component not in COMPONENTS:
        raise UsageError(
            f"a frame has no component {component!r}", where=str(path), remedy=f"it has {', '.join(COMPONENTS)}"
        )
    if sniff(path) in ("png", "tiff"):
        frame = read(path, instrument=instrument, detector=detector, options=options)
        covered = inside(box, frame.box, frame.source)
        return _taken(frame if box is None else frame[box].copy(), component, covered)
    with open_fits(path) as file:
        stored = stored_frame(file, box)
        if stored is None:
            pixels = component in (None, "image")
            frame = raw_frame(file, instrument, detector, options, pixels=pixels, box=box)
            return _taken(frame, component, frame.box)
        if component is None:
            return stored.frame()
        if component == "metadata":
            return stored.metadata
        if component == "wcs":
            local = stored.box.shifted(-stored.whole.x0, -stored.whole.y0)
            return celestial(stored.metadata, local, file.path)
        return {"image": stored.image_plane, "variance": stored.variance_plane, "mask": stored.mask_plane}[component]()


def _taken(frame: Frame, component: str | None, local: Box) -> Any:
    """A component of a frame that was read; `local` is its box in the image that the header describes."""
    if component == "wcs":
        return celestial(frame.metadata, local, frame.source)
    return frame if component is None else getattr(frame, component)


def celestial(metadata: Mapping[str, Any], box: Box, path: str) -> Any:
    """The celestial coordinates of the pixels in `box` (0-based in the image that `metadata` describes), or None."""
    if not any("-" in str(metadata.get(f"CTYPE{axis}", "")) for axis in (1, 2)):
        return None
    from astropy.wcs import WCS

    plain = {k: v for k, v in metadata.items() if is_wcs(k) and not k.startswith("LT") and v is not None}
    moved = {**plain, **moved_wcs(plain, Affine.cut(box))}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = WCS(header_of({k: v for k, v in moved.items() if v is not None}), naxis=2)
            world.wcs.set()
    except Exception as err:
        raise HeaderError(
            f"the world coordinates cannot be read: {' '.join(str(err).split())}",
            where=f"{path}, keywords CTYPE, CRPIX, CRVAL, CD",
            remedy="the header contradicts itself: mend or delete these keywords",
        ) from err
    world.pixel_shape = (box.width, box.height)
    return world if world.has_celestial else None
