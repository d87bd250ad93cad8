"""The whole bootstrap chain against the reference's output for a simulated flat (its case 4).

Dither, serial and parallel overscan, crosstalk, assembly, bias, dark, defects and flat, in adu. Subtracting the
overscan from 25000 adu is exact in float32; the operations that follow round at 1700 adu, where one step of float32 is
0.00012 adu. Some eight of them round once each: 0.001 adu bounds the sum. The reference fills bad pixels (INTRP) by
its own weights; those are left out. Its variance in this mode takes the gain as 1 and calls adu**2 electrons; ours
makes none before a gain is known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Crosstalk, Dark, Defects, Flat
from fullwell.reduction import isr

ROUNDING = 0.001


def detector_of(amps: list[dict[str, Any]]) -> Detector:
    """Geometry of the mock camera; the serial overscan spans the parallel rows as well."""
    out = []
    for amp in amps:
        x, y, width, height = amp["rawBBox"]
        turn = Orientation(amp["serialOverscan"][0] < amp["rawDataBBox"][0])

        def box(key: str, amp: Any = amp, turn: Any = turn) -> Box:
            x, y, width, height = amp["rawBBox"]
            return turn.undo_box(Box(*amp[key]).shifted(-x, -y), (height, width))

        data, serial = box("rawDataBBox"), box("serialOverscan")
        out.append(
            Amplifier(
                amp["name"],
                (height, width),
                data,
                Box(x, y, width, height),
                Box(*amp["bbox"]),
                box("serialPrescan"),
                Box(serial.x0, data.y0, serial.width, height - data.y0),
                box("parallelOverscan"),
                turn,
                turn,
            )
        )
    return Detector("reference", 0, tuple(out))


@pytest.fixture(scope="module")
def case(shared: Path) -> tuple[Any, dict[str, Any]]:
    """Arrays and settings of case 4."""
    file = np.load(shared / "oracle" / "isr_full" / "case4_bootstrap_flat.npz")
    return file, json.loads(str(file["meta_json"]))


def corrected(file: Any, meta: dict[str, Any], **change: Any) -> Frame:
    """Our bootstrap recipe with the reference's settings."""
    detector = detector_of(meta["amps"])
    gains = file["calib/crosstalk_fitGains"]
    products = {
        "crosstalk": Crosstalk(
            amps=detector.names,
            coefficients=file["calib/crosstalk_coeffs"],
            errors=np.zeros((8, 8)),
            valid=np.ones((8, 8), bool),
            unit=meta["crosstalkUnits"],
            gains=gains,
        ),
        "bias": Bias(image=file["calib/bias/image"], variance=file["calib/bias/variance"], unit="adu"),
        "dark": Dark(image=file["calib/dark/image"], variance=file["calib/dark/variance"], unit="adu/s"),
        "flat": Flat(image=file["calib/flat/image"], variance=file["calib/flat/variance"]),
        "defects": Defects(boxes=tuple(Box(*(int(v) for v in box)) for box in file["calib/defect_boxes"])),
    }
    cfg = meta["isrConfig"]["overscanCamera"]["defaultDetectorConfig"]["defaultAmpConfig"]
    serial, parallel = cfg["serialOverscanConfig"], cfg["parallelOverscanConfig"]
    frame = Frame.from_arrays(
        file["in/raw"],
        unit="adu",
        raw=True,
        detector=detector,
        observation=Observation(exposure_time=meta["exposureTime"], dark_time=meta["darkTime"]),
    )
    settings: dict[str, dict[str, Any]] = {
        "dither": {"mode": "symmetric", "compat": "lsst"},
        "overscan_serial": {
            "method": "median_per_row",
            "skip_leading": serial["leadingToSkip"],
            "skip_trailing": serial["trailingToSkip"],
            "max_deviation": serial["maxDeviation"],
            "compat": "lsst-float",
        },
        "overscan_parallel": {
            "method": "median_per_row",
            "skip_leading": parallel["leadingToSkip"],
            "skip_trailing": parallel["trailingToSkip"],
            "max_deviation": parallel["maxDeviation"],
            "compat": "lsst-float",
        },
    }
    for step, values in change.items():
        settings[step] = {**settings[step], **values}
    return isr(frame, products, recipe="bootstrap", settings=settings)


def test_image_of_the_bootstrap_chain(case: tuple[Any, dict[str, Any]]) -> None:
    file, meta = case
    out = corrected(file, meta)
    assert out.mask is not None
    interpolated = (file["out/mask"] & (1 << meta["maskPlanes"]["INTRP"])) != 0
    difference = np.abs(out.image.array - file["out/image"])[~interpolated]
    assert difference.max() < ROUNDING, f"{np.percentile(difference, [50, 90, 99, 100])}"
    bad = (file["out/mask"] & (1 << meta["maskPlanes"]["BAD"])) != 0
    assert np.array_equal(out.mask["BAD"], bad)
    assert out.variance is None and out.unit == "adu"


def test_it_can_fail(case: tuple[Any, dict[str, Any]]) -> None:
    """Another seed of the dither, and the difference shows."""
    file, meta = case
    other = corrected(file, meta, dither={"seed": 54321})
    assert np.median(np.abs(other.image.array - file["out/image"])) > 100 * ROUNDING
