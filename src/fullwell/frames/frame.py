"""Frame: image, mask and variance of one detector of one exposure, with their history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.base.provenance import Record
from fullwell.cameras import Box, Detector
from fullwell.frames.observation import Observation
from fullwell.frames.plane import Mask, Plane

__all__ = ["Frame", "GainMap"]


@dataclass(frozen=True)
class GainMap:
    """K, the calibrated units per collected electron, by reference to what was applied.

    ``K = scale / flat`` for a frame in electron, ``scale / (gain * flat)`` for one in adu.

    Parameters
    ----------
    scale : [unit/electron] constant factor after the flat (1 for electron).
    flat_id : id of the flat that was divided out, "" if none.
    gain : by amplifier [electron/adu], empty for a frame in electron.
    convention : "realised" where the variance came from the pixel's own counts, "expected" where from a model.
    """

    scale: float = 1.0
    flat_id: str = ""
    gain: Mapping[str, float] = field(default_factory=dict)
    convention: str = "realised"


@dataclass
class Frame:
    """One detector of one exposure.

    Parameters
    ----------
    image : plane; unit "adu" (raw, or gain unknown) or "electron".
    variance : unit of the image squared; None before ISR.
    mask : named bits; None before ISR.
    detector : geometry; None for a plain image. `raw` says whether the image is untrimmed.
    observation : ids, times, filter, type.
    metadata : the header as read, keyword -> value (comments in `comments`).
    history : what was done, oldest first.
    components : parts of the variance by name, where they were asked for.
    wcs, psf, photo_calib, background : optional, None where absent.
    gain_map : see `GainMap`; None before ISR.
    """

    image: Plane
    variance: Plane | None = None
    mask: Mask | None = None
    detector: Detector | None = None
    observation: Observation = field(default_factory=Observation)
    metadata: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    history: tuple[Record, ...] = ()
    components: dict[str, Plane] = field(default_factory=dict)
    raw: bool = False
    wcs: Any = None
    psf: Any = None
    photo_calib: Any = None
    background: Any = None
    gain_map: GainMap | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for label in ("variance", "mask"):
            plane = getattr(self, label)
            if plane is not None and plane.box != self.image.box:
                raise GeometryError(f"the {label} covers {plane.box}, the image {self.image.box}")

    @classmethod
    def from_arrays(
        cls,
        image: NDArray[Any],
        variance: NDArray[Any] | None = None,
        mask: NDArray[Any] | None = None,
        *,
        unit: str,
        **more: Any,
    ) -> Frame:
        """A frame at the origin made of arrays of one shape; `unit` is that of the image."""
        return cls(
            Plane(image, unit=unit),
            None if variance is None else Plane(variance, unit=f"{unit}2"),
            None if mask is None else Mask(mask.astype(np.uint32, copy=False)),
            **more,
        )

    @property
    def unit(self) -> str:
        """Unit of the image."""
        return self.image.unit

    @property
    def box(self) -> Box:
        """Pixels covered, in the detector's coordinates."""
        return self.image.box

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.image.shape

    def __getitem__(self, box: Box) -> Frame:
        """The part inside `box`: views that keep the parent's coordinates."""
        return replace(
            self,
            image=self.image[box],
            variance=None if self.variance is None else self.variance[box],
            mask=None if self.mask is None else self.mask[box],
            components={k: v[box] for k, v in self.components.items()},
        )

    def amp(self, name: str, part: str = "data") -> Frame:
        """The pixels of one amplifier, a view. `part` ("serial_overscan" …) applies to raw frames."""
        if self.detector is None:
            raise GeometryError("this frame has no detector description", where=self.source)
        amplifier = self.detector[name]
        return self[amplifier.raw_box(part) if self.raw else amplifier.trimmed]

    def copy(self) -> Frame:
        """A frame with its own pixels."""
        return replace(
            self,
            image=self.image.copy(),
            variance=None if self.variance is None else self.variance.copy(),
            mask=None if self.mask is None else self.mask.copy(),
            metadata=dict(self.metadata),
            comments=dict(self.comments),
            components={k: v.copy() for k, v in self.components.items()},
        )

    def with_history(self, *records: Record) -> Frame:
        """The same planes with `records` added to the history."""
        return replace(self, history=(*self.history, *records))

    def last(self, step: str) -> Record | None:
        """The latest record of `step`, or None."""
        for record in reversed(self.history):
            if record.step == step:
                return record
        return None

    def good(self, planes: tuple[str, ...] = ("BAD", "SAT", "NO_DATA", "UNMASKEDNAN")) -> NDArray[np.bool_]:
        """Pixels that are finite and carry none of `planes`, shape (ny, nx)."""
        ok = np.isfinite(self.image.array)
        if self.mask is not None:
            ok &= ~self.mask.any_of([p for p in planes if p in self.mask.schema])
        return ok

    def _repr_html_(self) -> str:
        """What a notebook shows: thumbnail, table, history."""
        from fullwell.frames.html import frame_html

        return frame_html(self)
