"""Steps as functions on frames: one after the other they give what a recipe gives."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.effects import bias, dither, gain, overscan_serial, variance
from fullwell.frames import Frame
from fullwell.products import Bias, Gain
from fullwell.recipes import Recipe
from fullwell.reduction import isr

ROWS, COLS, OVER = 20, 12, 9


def detector() -> Detector:
    """Two amplifiers side by side, read at opposite corners."""
    amps = []
    for i, turn in enumerate((Orientation(), Orientation(flip_x=True))):
        segment = (ROWS, COLS + OVER)
        place = Box((COLS + OVER) * i, 0, COLS + OVER, ROWS)
        data, over = Box(0, 0, COLS, ROWS), Box(COLS, 0, OVER, ROWS)
        amps.append(
            Amplifier(f"A{i}", segment, data, place, Box(COLS * i, 0, COLS, ROWS), serial_overscan=over,
                      raw_orientation=turn, orientation=turn, gain=1.5 + i, read_noise=5.0 + i)
        )  # fmt: skip
    return Detector("two", 0, tuple(amps))


def raw(det: Detector) -> Frame:
    image = np.random.default_rng(5).normal(1000, 4, det.raw_box.shape).round().astype(np.uint16)
    return Frame.from_arrays(image, unit="adu", detector=det, raw=True)


@pytest.mark.parametrize("mode", ["none", "symmetric"])
def test_verbs_one_by_one_give_the_variance_of_the_recipe(mode: str) -> None:
    """Of the fitted overscan (pi/2 s^2/n per row), of dither and quantisation, of the bias: none is lost on the way."""
    det = detector()
    frame, gains = raw(det), Gain.of_detector(det)
    level = Bias(image=np.full(det.box.shape, 2, np.float32), variance=np.full(det.box.shape, 0.3, np.float32),
                 unit="electron")  # fmt: skip
    steps = ("dither", "overscan_serial", "gain", "assemble", "bias", "variance")
    want = isr(
        frame, {"gain": gains, "bias": level}, recipe=Recipe("here", steps),
        settings={"dither": {"mode": mode, "seed": 7}},
    )  # fmt: skip
    out = overscan_serial.remove(dither.remove(frame, mode=mode, seed=7))
    out = isr(gain.remove(out, gains), {"gain": gains}, recipe=Recipe("place", ("assemble",), strict=False))
    out = variance.flag(bias.remove(out, level))
    np.testing.assert_array_equal(out.image.array, want.image.array)
    # two sums of four terms in single precision, in another order
    np.testing.assert_allclose(out.variance.array, want.variance.array, rtol=8 * 2.0**-24)


def test_variance_along_rows_goes_into_the_plane() -> None:
    """By hand: 1/12 of the rounding, 1/12 of the dither; added to a plane that is there."""
    det = detector()
    frame = raw(det)
    made = dither.remove(frame)
    assert made.variance.unit == "adu2"
    np.testing.assert_allclose(made.variance.array, 1 / 6, rtol=1e-6)
    again = dither.remove(made, count_quantisation=False)
    np.testing.assert_allclose(again.variance.array, 1 / 4, rtol=1e-6)
    assert dither.remove(frame, mode="none", count_quantisation=False).variance is None


def test_the_error_of_an_overscan_level_is_in_the_plane() -> None:
    """Nine columns less three at each end leave three: pi/2 s^2/3 in every column of the row."""
    frame = raw(detector())
    out = overscan_serial.remove(frame, clip=0)
    assert (np.ptp(out.variance.array[:, : COLS + OVER], axis=1) == 0).all()
    ratio = out.variance.array[:, 0] / (np.pi / 2 / 3)
    # s from 60 pixels whose own row medians were taken off: 4 adu within 4 x 1.17/sqrt(60) of itself
    assert np.ptp(ratio) == pytest.approx(0, abs=1e-5) and abs(np.sqrt(ratio[0]) / 4 - 1) < 4 * 1.17 / np.sqrt(60)
