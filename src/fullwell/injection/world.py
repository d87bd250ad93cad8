"""Where the sky lies in a frame, and what a unit of it is worth in nJy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.frames import Frame

__all__ = ["Photo", "World", "photo_of", "world_of"]

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Celestial coordinates of a frame: an astropy WCS whose pixel (0, 0) is pixel (x0, y0) of the detector."""

    wcs: Any
    x0: int = 0
    y0: int = 0

    def pixels(self, ra: F8, dec: F8) -> tuple[F8, F8]:
        """Detector coordinates [pixel] of places on the sky [deg]; NaN where there are none."""
        try:
            x, y = self.wcs.all_world2pix(ra, dec, 0, quiet=True)
        except (AttributeError, TypeError):
            x, y = self.wcs.world_to_pixel_values(ra, dec)
        return np.asarray(x, np.float64) + self.x0, np.asarray(y, np.float64) + self.y0

    def sky(self, x: F8, y: F8) -> tuple[F8, F8]:
        """(ra, dec) [deg] of detector coordinates."""
        ra, dec = self.wcs.pixel_to_world_values(np.asarray(x) - self.x0, np.asarray(y) - self.y0)
        return np.asarray(ra, np.float64), np.asarray(dec, np.float64)

    def jacobian(self, x: float, y: float) -> F8:
        """(2, 2) [arcsec/pixel]: rows east and north, columns x and y, at a place of the detector."""
        at = np.array([[x, y], [x + 1, y], [x, y + 1]])
        ra, dec = self.sky(at[:, 0], at[:, 1])
        east = ((ra - ra[0] + 180) % 360 - 180) * np.cos(np.radians(dec[0]))
        north = dec - dec[0]
        return np.array([[east[1], east[2]], [north[1], north[2]]]) * 3600


def world_of(frame: Frame, given: Any = None) -> World | None:
    """The celestial coordinates of `frame`: those given (an astropy WCS), its own, or those of its header; or None."""
    if isinstance(given, World):
        return given
    x0, y0 = (int(frame.metadata.get(key, 0) or 0) for key in ("FWX0", "FWY0"))
    wcs = given if given is not None else frame.wcs
    if wcs is None:
        from fullwell.cameras import Box
        from fullwell.io.partial import celestial

        wcs = celestial(frame.metadata, Box.from_shape(frame.shape), frame.source)
    return None if wcs is None else World(wcs, x0, y0)


@dataclass(frozen=True)
class Photo:
    """nJy of one unit of the image: a number, a map of the frame, or a function of (x, y) [pixel of the detector]."""

    value: float | NDArray[Any] | Callable[[F8, F8], Any] | None
    frame: Frame

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self.value is not None

    def scale(self, x: F8, y: F8) -> F8:
        """nJy of a unit at (x, y), the nearest pixel of a map.

        Raises
        ------
        UsageError
            the frame has no photometric calibration, or one of another shape.
        """
        if self.value is None:
            raise UsageError(
                f"the frame is in {self.frame.unit} and has no photometric calibration for magnitudes and nJy",
                where=self.frame.source or None,
                remedy="give photo=… (--photo: nJy of one unit of the image), or a column flux in that unit",
            )
        if callable(self.value):
            return np.asarray(self.value(x, y), np.float64)
        if np.ndim(self.value) == 0:
            return np.full(np.shape(x), float(self.value))  # type: ignore[arg-type]
        plane, box = np.asarray(self.value), self.frame.box
        if plane.shape != box.shape:
            raise UsageError(
                f"the photometric map has shape {plane.shape}, the frame {box.shape}", remedy="one number, or its shape"
            )
        j = np.clip(np.rint(np.nan_to_num(y)) - box.y0, 0, box.height - 1).astype(int)
        i = np.clip(np.rint(np.nan_to_num(x)) - box.x0, 0, box.width - 1).astype(int)
        return np.asarray(plane[j, i], np.float64)


def photo_of(frame: Frame, given: Any = None) -> Photo:
    """The photometric calibration of `frame`: 1 for an image in nJy, else the one given, or its own."""
    value = 1.0 if frame.unit.lower() == "njy" else (given if given is not None else frame.photo_calib)
    if value is not None and not callable(value) and not np.all(np.asarray(value, np.float64) > 0):
        raise UsageError("the photometric calibration is not above 0 everywhere", remedy="nJy of one unit of the image")
    return Photo(value, frame)
