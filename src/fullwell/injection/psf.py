"""The PSF of a frame in one form, whatever it was given as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError
from fullwell.frames import Frame
from fullwell.frames.psf import GaussianPsf, ImagePsf, MoffatPsf, Psf

__all__ = ["CalledPsf", "psf_of"]


@dataclass(frozen=True, eq=False)
class CalledPsf:
    """A function (x, y) [pixel of the detector] -> image of odd sides, centred on its middle."""

    function: Callable[[float, float], Any]
    sampling: int = 1
    size: int = 0

    constant = False

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""
        return self.size // 2 // self.sampling

    def table(self, x: float, y: float, half: int | None = None) -> NDArray[np.float64]:
        """The image there, on a square."""
        image = self.function(x, y)
        return ImagePsf(np.asarray(getattr(image, "array", image)), self.sampling).table(
            x, y, self.half if half is None else half
        )


def psf_of(frame: Frame, given: Any = None) -> Psf | None:
    """The PSF of `frame`: the one given, or its own, or None.

    Parameters
    ----------
    given : a `Psf`; an image of odd sides; a function (x, y) -> image; an object with ``computeKernelImage`` (LSST);
        a GalSim profile [pixel]; text: "gaussian:FWHM", "moffat:FWHM:BETA", or a FITS file of an image [pixel].

    Raises
    ------
    UsageError
        none of these. DataError: an image that is no PSF.
    """
    value = given if given is not None else frame.psf
    if value is None or isinstance(value, Psf):
        return value
    if isinstance(value, str):
        return _described(value)
    if isinstance(value, np.ndarray):
        return ImagePsf(value)
    if hasattr(value, "computeKernelImage"):
        return _lsst(value, frame)
    if hasattr(value, "drawImage"):
        half = int(np.ceil(5 * value.calculateFWHM()))
        from fullwell.injection.profiles import effective_table

        return ImagePsf(effective_table(value, half), 4)
    if callable(value):
        box = frame.box
        first = np.asarray(value(box.x0 + box.width / 2, box.y0 + box.height / 2))
        if first.ndim != 2:
            raise DataError(f"the PSF function gives an array of shape {first.shape}", remedy="an image of odd sides")
        return CalledPsf(value, size=max(first.shape))
    raise UsageError(
        f"a PSF cannot be made of {type(value).__name__}",
        remedy="GaussianPsf, MoffatPsf, ImagePsf, GridPsf, an image, or a function (x, y) -> image",
    )


def _described(text: str) -> Psf:
    kind, _, rest = text.partition(":")
    try:
        numbers = [float(v) for v in rest.split(":")] if rest else []
        if kind.lower() == "gaussian" and len(numbers) == 1:
            return GaussianPsf(*numbers)
        if kind.lower() == "moffat" and len(numbers) in (1, 2):
            return MoffatPsf(*numbers)
    except ValueError:
        numbers = []
    if text.lower().endswith((".fits", ".fits.gz", ".fit")):
        from fullwell import io

        return ImagePsf(np.asarray(io.read(text).image.array, np.float64))
    raise UsageError(
        f"'{text}' says no PSF", remedy="gaussian:4.0 or moffat:4.0:3.5 (FWHM [pixel]), or a FITS file of an image"
    )


def _lsst(value: Any, frame: Frame) -> Psf:
    def function(x: float, y: float) -> Any:
        try:
            from lsst.geom import Point2D

            return value.computeKernelImage(Point2D(x, y)).array
        except ImportError:
            return value.computeKernelImage((x, y)).array

    box = frame.box
    first = function(box.x0 + box.width / 2, box.y0 + box.height / 2)
    return CalledPsf(function, size=max(first.shape))
