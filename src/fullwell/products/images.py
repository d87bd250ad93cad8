"""Combined bias, dark and flat: image products in the assembled frame of one detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.cameras import Box, Detector
from fullwell.frames import Mask
from fullwell.products.base import Product

__all__ = ["Bias", "Dark", "Flat", "ImageProduct"]


@dataclass(frozen=True, kw_only=True)
class ImageProduct(Product):
    """An image with its variance and mask.

    Parameters
    ----------
    image : (ny, nx) float32.
    variance : (ny, nx) float32, of the image itself; None if unknown.
    mask : (ny, nx) uint32 with the bits of `frames.PLANES`; None if nothing is masked.
    count : (ny, nx) number of input values kept; None if unknown.
    unit : of the image.
    box : pixels covered, in the detector's coordinates.
    detector : geometry, where known.
    """

    content: ClassVar[tuple[str, ...]] = ("unit", "image", "variance", "mask")

    image: NDArray[np.float32]
    variance: NDArray[np.float32] | None = None
    mask: NDArray[np.uint32] | None = None
    count: NDArray[np.uint16] | None = None
    unit: str
    box: Box | None = None
    detector: Detector | None = None
    statistics: dict[str, Any] = field(default_factory=dict)

    def _settle(self) -> None:
        for label in ("variance", "mask", "count"):
            plane = getattr(self, label)
            if plane is not None and plane.shape != self.image.shape:
                raise GeometryError(f"the {label} of a {self.kind} has shape {plane.shape}, not {self.image.shape}")
        if self.box is None:
            object.__setattr__(self, "box", Box.from_shape(self.image.shape))

    def _parts(self) -> list[Any]:
        planes = [p for p in (self.variance, self.mask) if p is not None]
        return [self.kind, self.unit, np.asarray(self.image), *planes]

    def facts(self) -> dict[str, str]:
        """Size, unit, level, and what is masked."""
        ny, nx = self.image.shape

        def median(plane: NDArray[np.float32]) -> str:
            finite = plane[np.isfinite(plane)]
            return f"median {np.median(finite):.4g}" if finite.size else "no finite value"

        masked = {} if self.mask is None else Mask(np.asarray(self.mask, np.uint32)).counts()
        return {
            "image": f"{ny} x {nx} {self.image.dtype}, {median(self.image)} {self.unit}".rstrip(),
            "variance": "none" if self.variance is None else median(self.variance),
            "masked": ", ".join(f"{name} {n}" for name, n in masked.items()),
        }


@dataclass(frozen=True, kw_only=True)
class Bias(ImageProduct):
    """Combined bias: level left in each pixel after the overscan, adu or electron."""

    kind: ClassVar[str] = "bias"
    schema: ClassVar[str] = "fullwell/bias"


@dataclass(frozen=True, kw_only=True)
class Dark(ImageProduct):
    """Combined dark: rate per second of dark time, adu/s or electron/s."""

    kind: ClassVar[str] = "dark"
    schema: ClassVar[str] = "fullwell/dark"


@dataclass(frozen=True, kw_only=True)
class Flat(ImageProduct):
    """Combined flat: relative response, mean 1, no unit."""

    kind: ClassVar[str] = "flat"
    schema: ClassVar[str] = "fullwell/flat"
    unit: str = ""
