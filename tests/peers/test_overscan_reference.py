"""Every case of the reference's overscan outputs, image and numbers, with the settings `compat="lsst"`.

Tolerance of images: the levels are near 20000, where single precision has steps of 2**-9 = 0.00195 adu. Both sides
round the level and the difference once each, so that two results of one formula may lie two steps apart, 0.0040 adu.
Parallel levels are a few adu: steps of 2**-21; the fits see sums in another order, 1e-5 adu.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.effects import overscan_parallel, overscan_serial
from fullwell.frames import Frame
from fullwell.kernels.overscan_fit import clipped

CASES = ("case1", "case2_noflip")
SCALAR = {"MEAN": "mean", "MEDIAN": "median", "MEANCLIP": "clipped_mean"}
OTHER = {"POLY": "polynomial", "LEG": "legendre", "CHEB": "chebyshev"}
SERIAL = ("MEAN", "MEANCLIP", "MEDIAN", "MEDIAN_PER_ROW", "MEAN_PER_ROW", "POLY", "CHEB", "LEG",
          "NATURAL_SPLINE", "CUBIC_SPLINE", "AKIMA_SPLINE")  # fmt: skip
BOTH = ("MEDIAN_PER_ROW", "MEAN_PER_ROW", "AKIMA_SPLINE", "POLY", "MEDIAN", "nosmooth")


def method(name: str) -> str:
    """The reference's fit type in our words."""
    return (SCALAR | OTHER).get(name, name.lower())


def detector(amps: list[dict[str, Any]]) -> Detector:
    """Geometry of the case; the serial overscan spans the parallel rows as well."""
    out = []
    for amp in amps:
        x, y, width, height = amp["rawBBox"]
        turn = Orientation(
            amp["serialOverscan"][0] < amp["rawDataBBox"][0], amp["parallelOverscan"][1] < amp["rawDataBBox"][1]
        )

        def box(key: str, amp: Any = amp, turn: Any = turn) -> Box:
            x, y, width, height = amp["rawBBox"]
            return turn.undo_box(Box(*amp[key]).shifted(-x, -y), (height, width))

        serial = box("serialOverscan")
        out.append(
            Amplifier(
                amp["name"],
                (height, width),
                box("rawDataBBox"),
                Box(x, y, width, height),
                Box(*amp["bbox"]),
                box("serialPrescan"),
                Box(serial.x0, 0, serial.width, height),
                box("parallelOverscan"),
                turn,
                turn,
                gain=amp["gain"],
                saturation=amp["saturation"],
            )
        )
    return Detector("reference", 0, tuple(out))


class Case:
    """One file: raw frame, settings, outputs."""

    def __init__(self, path: Path) -> None:
        self.file = np.load(path)
        self.meta = json.loads(str(self.file["meta_json"]))
        self.frame = Frame.from_arrays(self.file["in/raw"], unit="adu", detector=detector(self.meta["amps"]), raw=True)

    def serial(self, label: str) -> Frame:
        """Our serial step with the settings of `label`."""
        cfg = self.meta["configs"][label]["serial"]
        return overscan_serial.remove(
            self.frame,
            method=method(cfg["fitType"]),
            order=cfg["order"],
            skip_leading=cfg["leadingToSkip"],
            skip_trailing=cfg["trailingToSkip"],
            max_deviation=cfg["maxDeviation"],
            compat="lsst",
        )

    def both(self, label: str) -> Frame:
        """Serial, then our parallel step with the settings of `label`."""
        cfg = self.meta["configs"][label]["parallel"]
        return overscan_parallel.remove(
            self.serial(label),
            method=method(cfg["fitType"]),
            order=cfg["order"],
            skip_leading=cfg["leadingToSkip"],
            skip_trailing=cfg["trailingToSkip"],
            max_deviation=cfg["maxDeviation"],
            smoothing=cfg["doMedianSmoothingOutlierRejection"],
            compat="lsst",
        )


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    """Each file in turn."""
    return Case(shared / "oracle" / "overscan" / f"{request.param}.npz")


@pytest.mark.parametrize("name", SERIAL)
def test_serial_image(case: Case, name: str) -> None:
    out = case.serial(f"serial_{name}")
    np.testing.assert_allclose(out.image.array, case.file[f"out/serial_{name}"], rtol=0, atol=0.0040)


@pytest.mark.parametrize("name", SERIAL)
def test_serial_numbers(case: Case, name: str) -> None:
    """Mean, median and clipped width of the level vector; mean, median and clipped width of the whole strip after."""
    out = case.serial(f"serial_{name}")
    for amp in out.detector or ():
        expected = case.meta["results"][f"serial_{name}"][amp.name]["serial"]
        column = amp.raw_orientation.undo(np.asarray(case.frame.image.array[amp.raw.slices], float))
        after = amp.raw_orientation.undo(out.image.array[amp.raw.slices].astype(float))
        level = (column - after)[:, amp.data.x0]
        strip = after[:, amp.serial_overscan.slices[1]]
        assert np.mean(level) == pytest.approx(expected["overscanMean"], abs=0.002)
        assert np.median(level) == pytest.approx(expected["overscanMedian"], abs=0.002)
        if name not in SCALAR:
            assert clipped(level)[1] == pytest.approx(expected["overscanSigma"], abs=0.003)
        assert np.mean(strip) == pytest.approx(expected["residualMean"], abs=0.002)
        assert clipped(strip)[1] == pytest.approx(expected["residualSigma"], rel=0.002)
        assert np.median(strip) == pytest.approx(expected["residualMedian"], abs=0.004)


@pytest.mark.parametrize("name", BOTH)
def test_parallel_image_and_mask(case: Case, name: str) -> None:
    """Only the mask of single serial overscan pixels differs: the reference flags them, no later step reads them."""
    out = case.both(f"both_{name}")
    np.testing.assert_allclose(out.image.array, case.file[f"out/both_{name}"], rtol=0, atol=1e-5)
    assert out.mask is not None
    for amp in out.detector or ():
        for label in ("data", "parallel_overscan"):
            where = amp.raw_box(label).slices
            np.testing.assert_array_equal(out.mask.array[where], case.file[f"outmask/both_{name}"][where])


@pytest.mark.parametrize("name", BOTH)
def test_parallel_finds_the_bad_columns(case: Case, name: str) -> None:
    out = case.both(f"both_{name}")
    record = out.last("overscan_parallel")
    assert record is not None
    for amp in out.detector or ():
        (column,) = case.meta["results"][f"both_{name}"][amp.name]["badColumns"]
        assert record.numbers["left_out"] == {}
        bad = amp.raw_orientation.undo(out.mask.array[amp.raw.slices])[amp.parallel_overscan.slices][0] != 0
        x = column if not amp.raw_orientation.flip_x else amp.data.width - 1 - column
        assert np.flatnonzero(bad).tolist() == [x - 2, x - 1, x, x + 1, x + 2]
