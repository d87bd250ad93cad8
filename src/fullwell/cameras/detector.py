"""Amplifier, Detector, Camera: the geometry and electronics of a sensor, without pixels.

A segment is all that one amplifier reads. Its boxes are given in **read-out order**: pixel
[0, 0] is read first, rows run along the parallel direction. Two orientations say how the
segment lies in the raw image and how its data box lies in the assembled image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fullwell.base.errors import GeometryError
from fullwell.cameras.geometry import Box, Orientation

__all__ = ["Amplifier", "Camera", "Detector"]

EMPTY = Box(0, 0, 0, 0)


@dataclass(frozen=True)
class Amplifier:
    """One read-out channel.

    Parameters
    ----------
    name : as the camera calls it ("C10").
    shape : (rows, columns) of the whole segment, read-out order.
    data, prescan, serial_overscan, parallel_overscan : boxes in the segment, read-out order;
        a box of area 0 where there is none. The serial overscan and prescan span the data rows
        and, where the camera has them, the parallel-overscan rows as well.
    raw : place of the segment in the raw image; `raw_orientation` turns read-out order into it.
    trimmed : place of the data in the assembled image; `orientation` turns read-out order into it.
    hdu : HDU (EXTNAME or number) that holds the segment; None where the raw image is one HDU.
    hdu_orientation : how the segment lies in that HDU's array.
    gain [electron/adu], read_noise [electron], saturation [adu above overscan], suspect [adu]:
        nominal values; NaN where unknown.
    """

    name: str
    shape: tuple[int, int]
    data: Box
    raw: Box
    trimmed: Box
    prescan: Box = EMPTY
    serial_overscan: Box = EMPTY
    parallel_overscan: Box = EMPTY
    raw_orientation: Orientation = Orientation()
    orientation: Orientation = Orientation()
    hdu: str | int | None = None
    hdu_orientation: Orientation = Orientation()
    gain: float = math.nan
    read_noise: float = math.nan
    saturation: float = math.nan
    suspect: float = math.nan

    def __post_init__(self) -> None:
        segment = Box.from_shape(self.shape)
        for label in ("data", "prescan", "serial_overscan", "parallel_overscan"):
            box = getattr(self, label)
            if box.area and not segment.contains(box):
                raise GeometryError(
                    f"{label} {box} of amplifier {self.name} lies outside its segment {segment}",
                    where=f"amplifier {self.name}",
                )
        if self.raw.shape != self.raw_orientation.shape(self.shape):
            raise GeometryError(f"raw box {self.raw} of amplifier {self.name} does not fit its segment {segment}")
        if self.trimmed.shape != self.orientation.shape(self.data.shape):
            raise GeometryError(f"trimmed box {self.trimmed} of amplifier {self.name} does not fit its data box")

    @property
    def readout_corner(self) -> str:
        """Corner of the assembled image next to the output: LL, LR, UL or UR."""
        return self.orientation.corner

    def raw_box(self, label: str) -> Box:
        """Box `label` ("data", "serial_overscan" …) in raw-image coordinates."""
        inner = getattr(self, label)
        return self.raw_orientation.box(inner, self.shape).shifted(self.raw.x0, self.raw.y0)


@dataclass(frozen=True)
class Detector:
    """One sensor.

    Parameters
    ----------
    name, id : within the camera ("R22_S11", 94).
    amplifiers : in the order that every product uses.
    serial : serial number of the sensor, "" if unknown.
    physical_type : "E2V", "ITL" …, "" if unknown.
    pixel_size : [mm]; centre : (x, y) of the detector's centre on the focal plane [mm];
    rotation : of the assembled x axis against the focal plane's, counter-clockwise [degree].
    """

    name: str
    id: int
    amplifiers: tuple[Amplifier, ...]
    serial: str = ""
    physical_type: str = ""
    pixel_size: float = 0.01
    centre: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0

    def __post_init__(self) -> None:
        names = [amp.name for amp in self.amplifiers]
        if len(set(names)) != len(names) or not names:
            raise GeometryError(f"detector {self.name} needs amplifiers of different names, got {names}")

    def __iter__(self) -> Iterator[Amplifier]:
        return iter(self.amplifiers)

    def __len__(self) -> int:
        return len(self.amplifiers)

    def __getitem__(self, name: str) -> Amplifier:
        for amp in self.amplifiers:
            if amp.name == name:
                return amp
        known = ", ".join(amp.name for amp in self.amplifiers)
        raise GeometryError(f"detector {self.name} has no amplifier '{name}'", remedy=f"it has {known}")

    @property
    def names(self) -> tuple[str, ...]:
        """Amplifier names in product order."""
        return tuple(amp.name for amp in self.amplifiers)

    @property
    def box(self) -> Box:
        """The assembled image."""
        return Box(0, 0, max(a.trimmed.x1 for a in self), max(a.trimmed.y1 for a in self))

    @property
    def raw_box(self) -> Box:
        """The raw image."""
        return Box(0, 0, max(a.raw.x1 for a in self), max(a.raw.y1 for a in self))

    def values(self, label: str) -> np.ndarray:
        """`gain`, `read_noise` … of all amplifiers, shape (n_amp,), float64."""
        return np.array([getattr(amp, label) for amp in self], dtype=np.float64)

    def with_values(self, **values: Mapping[str, float]) -> Detector:
        """A copy with new numbers by amplifier name, e.g. ``with_values(gain={"C00": 1.5})``."""
        amps: list[Amplifier] = []
        for amp in self.amplifiers:
            change: dict[str, Any] = {k: v[amp.name] for k, v in values.items() if amp.name in v}
            amps.append(replace(amp, **change) if change else amp)
        return replace(self, amplifiers=tuple(amps))

    def check_tiling(self) -> None:
        """Prove that the trimmed boxes tile the assembled image and the raw boxes do not overlap.

        Raises
        ------
        GeometryError
            names the two amplifiers that overlap, or counts the pixels that belong to none.
        """
        for label, whole, complete in (("trimmed", self.box, True), ("raw", self.raw_box, False)):
            boxes = [(amp.name, getattr(amp, label)) for amp in self]
            for i, (name, box) in enumerate(boxes):
                for other, second in boxes[i + 1 :]:
                    if box.intersection(second).area:
                        raise GeometryError(
                            f"the {label} boxes of amplifiers {name} {box} and {other} {second} overlap",
                            where=f"detector {self.name}",
                        )
            missing = whole.area - sum(box.area for _, box in boxes)
            if complete and missing:
                raise GeometryError(
                    f"{missing} pixels of the assembled image belong to no amplifier",
                    where=f"detector {self.name}",
                )

    def to_focal_plane(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Pixel (x, y) of the assembled image to focal-plane position [mm]."""
        ny, nx = self.box.shape
        dx = (np.asarray(x, float) - (nx - 1) / 2) * self.pixel_size
        dy = (np.asarray(y, float) - (ny - 1) / 2) * self.pixel_size
        c, s = math.cos(math.radians(self.rotation)), math.sin(math.radians(self.rotation))
        return self.centre[0] + c * dx - s * dy, self.centre[1] + s * dx + c * dy

    def from_focal_plane(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Focal-plane position [mm] to pixel (x, y): the inverse of `to_focal_plane`."""
        ny, nx = self.box.shape
        c, s = math.cos(math.radians(self.rotation)), math.sin(math.radians(self.rotation))
        u, v = np.asarray(x, float) - self.centre[0], np.asarray(y, float) - self.centre[1]
        return (
            (c * u + s * v) / self.pixel_size + (nx - 1) / 2,
            (-s * u + c * v) / self.pixel_size + (ny - 1) / 2,
        )


@dataclass(frozen=True)
class Camera:
    """A set of detectors that are exposed together."""

    name: str
    detectors: tuple[Detector, ...]
    description: str = ""
    bands: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Detector]:
        return iter(self.detectors)

    def __len__(self) -> int:
        return len(self.detectors)

    def __getitem__(self, key: str | int) -> Detector:
        for det in self.detectors:
            if key in (det.name, det.id):
                return det
        names = ", ".join(det.name for det in self.detectors[:8])
        more = " …" if len(self.detectors) > 8 else ""
        raise GeometryError(f"camera {self.name} has no detector {key!r}", remedy=f"it has {names}{more}")
