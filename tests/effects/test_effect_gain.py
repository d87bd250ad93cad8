"""Gain: counts to electrons and back, by amplifier."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError, GeometryError, UnitError
from fullwell.effects import gain, variance
from fullwell.frames import Frame
from fullwell.products import Gain

NAMES = ("LL", "LR", "UL", "UR")


def product(values, noise: float = 5.0, names=NAMES) -> Gain:
    nan = np.full(len(names), np.nan)
    return Gain(amps=names, gain=np.array(values), gain_error=nan, read_noise=np.full(len(names), noise),
                read_noise_error=nan)  # fmt: skip


def test_image_and_variance_by_hand(quad, raw_frame, segments_of) -> None:
    frame = raw_frame(quad(), [100.0, 100.0, 100.0, 100.0])
    frame.variance = type(frame.image)(np.full(frame.shape, 3, np.float32), unit="adu2")
    out = gain.remove(frame, product([1.5, 2.0, 0.5, 1.0]))
    assert [s[0, 0] for s in segments_of(out)] == [150.0, 200.0, 50.0, 100.0]
    assert [s[6, 7] for s in segments_of(out, out.variance.array)] == [6.75, 12.0, 0.75, 3.0]
    assert (out.unit, out.variance.unit) == ("electron", "electron2")
    back = gain.add(out, product([1.5, 2.0, 0.5, 1.0]))
    np.testing.assert_array_equal(back.image.array, frame.image.array)
    assert back.unit == "adu"


def test_adding_divides(quad, raw_frame, segments_of) -> None:
    out = gain.add(raw_frame(quad(), [100.0] * 4, "electron"), product([2.0, 4.0, 5.0, 1.0]))
    assert [s[0, 0] for s in segments_of(out)] == [50.0, 25.0, 20.0, 100.0]


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, np.inf])
def test_exactly_the_amplifier_without_a_gain_is_bad(quad, raw_frame, segments_of, bad: float) -> None:
    """Acceptance case 13 of the reference."""
    out = gain.remove(raw_frame(quad(), [100.0] * 4), product([1.0, 1.0, bad, 1.0]))
    assert [bool(s.all()) for s in segments_of(out, out.mask["BAD"])] == [False, False, True, False]
    assert out.mask.counts() == {"BAD": 7 * 8}
    assert [bool(np.isnan(s).all()) for s in segments_of(out)] == [False, False, True, False]
    assert out.history[-1].numbers["bad_amplifiers"] == ["UL"]


def test_no_gain_at_all_is_an_error(quad, raw_frame) -> None:
    with pytest.raises(DataError, match="no positive gain"):
        gain.remove(raw_frame(quad(), [1.0] * 4), product([np.nan] * 4))


def test_gains_go_by_name(quad, raw_frame, segments_of) -> None:
    out = gain.remove(raw_frame(quad(), [100.0] * 4), product([4.0, 3.0, 2.0, 1.0], names=NAMES[::-1]))
    assert [s[0, 0] for s in segments_of(out)] == [100.0, 200.0, 300.0, 400.0]


def test_a_gain_of_another_camera_names_what_is_missing(quad, raw_frame) -> None:
    with pytest.raises(GeometryError, match="nothing of amplifier LL, LR, UL, UR"):
        gain.remove(raw_frame(quad(), [1.0] * 4), product([1.0], names=("X",)))


def test_a_frame_in_electron_is_refused(quad, raw_frame) -> None:
    with pytest.raises(UnitError, match="takes adu, the frame is in electron"):
        gain.remove(raw_frame(quad(), [1.0] * 4, "electron"), product([1.0] * 4))


def test_the_variance_step_knows_the_read_noise_that_came_with_the_gain() -> None:
    frame = gain.remove(Frame.from_arrays(np.full((2, 3), 100, np.float32), unit="adu"), product([2.0], 7.0, ("A",)))
    np.testing.assert_allclose(variance.flag(frame).variance.array, 200 + 49)
