"""Proof of a camera's description: what is wrong with it, as a list of sentences."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fullwell.base.errors import GeometryError
from fullwell.cameras import Camera, Detector
from fullwell.instruments.instrument import Instrument

__all__ = ["Finding", "check"]


@dataclass(frozen=True)
class Finding:
    """One thing found: `level` "error" (cannot be true) or "note" (missing or nominal), `where`, and a sentence."""

    level: str
    where: str
    text: str


def _outline(det: Detector) -> np.ndarray:
    """Corners of a detector on the focal plane, shape (4, 2) [mm], going round."""
    ny, nx = det.box.shape
    x, y = det.to_focal_plane([-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
    return np.stack([x, y], axis=1)


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two rectangles share area: no edge normal of either separates them (by more than 1 micrometre)."""
    for shape in (a, b):
        for edge in (shape[1] - shape[0], shape[2] - shape[1]):
            normal = np.array([-edge[1], edge[0]]) / math.hypot(*edge)
            pa, pb = a @ normal, b @ normal
            if pa.max() <= pb.min() + 1e-3 or pb.max() <= pa.min() + 1e-3:
                return False
    return True


def _amplifiers(det: Detector) -> list[Finding]:
    """Findings within one detector."""
    out = []
    try:
        det.check_tiling()
    except GeometryError as err:
        out.append(Finding("error", det.name, err.problem))
    for amp in det:
        place = f"{det.name} {amp.name}"
        parts = [("data", amp.data), ("prescan", amp.prescan), ("serial overscan", amp.serial_overscan)]
        for i, (label, box) in enumerate(parts):
            for other, second in parts[i + 1 :]:
                if box.intersection(second).area:
                    out.append(Finding("error", place, f"{label} {box} and {other} {second} overlap"))
        if amp.parallel_overscan.intersection(amp.data).area:
            out.append(Finding("error", place, "the parallel overscan overlaps the data"))
        if amp.gain <= 0 or amp.read_noise < 0:
            out.append(Finding("error", place, f"gain {amp.gain} electron/adu or read noise {amp.read_noise} electron"))
    if not any(amp.serial_overscan.area for amp in det):
        out.append(Finding("note", det.name, "no serial overscan: the bias level comes from bias frames"))
    if not np.all(np.isfinite(det.values("gain"))):
        out.append(Finding("note", det.name, "gain unknown: measure it, or images stay in adu"))
    hdus = [amp.hdu for amp in det if amp.hdu is not None]
    if len(set(hdus)) not in (0, 1, len(hdus)):
        twice = [str(name) for name, count in Counter(hdus).items() if count > 1]
        out.append(Finding("error", det.name, f"HDU {', '.join(twice)} belongs to several amplifiers, others do not"))
    return out


def check(instrument: Instrument | Camera | Detector) -> list[Finding]:
    """Prove the geometry of an instrument.

    Sections tile each detector and lie inside their segments; names, ids are unique; detectors do not overlap on
    the focal plane (each pair, as rotated rectangles). Detectors that share all amplifiers are examined once.

    Returns
    -------
    list of Finding
        empty where nothing is wrong or missing. An instrument that reads its geometry from headers has one note.
    """
    if isinstance(instrument, Detector):
        return _amplifiers(instrument)
    camera = instrument.camera if isinstance(instrument, Instrument) else instrument
    if camera is None:
        return [
            Finding("note", instrument.name, "the geometry comes from the headers of each file: check a file instead")
        ]
    out = []
    for label in ("name", "id"):
        for value, count in Counter(getattr(det, label) for det in camera).items():
            if count > 1:
                out.append(Finding("error", camera.name, f"{count} detectors have the {label} {value}"))
    seen: set[int] = set()
    for det in camera:
        if id(det.amplifiers) not in seen:
            seen.add(id(det.amplifiers))
            out += _amplifiers(det)
    outlines = [(det.name, _outline(det)) for det in camera]
    centres = np.array([shape.mean(axis=0) for _, shape in outlines])
    radius = np.array([np.hypot(*(shape[0] - shape.mean(axis=0))) for _, shape in outlines])
    for i, (name, shape) in enumerate(outlines):
        near = np.hypot(*(centres[i + 1 :] - centres[i]).T) < radius[i] + radius[i + 1 :]
        for j in np.flatnonzero(near) + i + 1:
            if _overlap(shape, outlines[j][1]):
                out.append(Finding("error", f"{name}, {outlines[j][0]}", "the detectors overlap on the focal plane"))
    return out
