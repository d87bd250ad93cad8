"""Crosstalk: who gives to whom, where, how much, and in which unit. Numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, UnitError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.effects import crosstalk
from fullwell.frames import Frame
from fullwell.products import Crosstalk

NAMES = ("LL", "LR", "UL", "UR")


def matrix(**entries: float) -> np.ndarray:
    """(4, 4) [source, target] with ``s0t1=1e-3``."""
    out = np.zeros((4, 4))
    for key, value in entries.items():
        out[int(key[1]), int(key[3])] = value
    return out


def one_pixel(quad, raw_frame, source: int, value: float, unit: str = "adu", **values) -> Frame:
    """A frame of zeros with one pixel of `value` at segment row 2, column 3 of one amplifier."""
    segments = [np.zeros((7, 8)) for _ in range(4)]
    segments[source][2, 3] = value
    return raw_frame(quad(**values), segments, unit)


def test_the_first_index_is_the_source(quad, raw_frame, segments_of) -> None:
    frame = one_pixel(quad, raw_frame, 0, 10000.0)
    out = segments_of(crosstalk.remove(frame, Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3, s2t0=5e-3))))
    assert out[1][2, 3] == pytest.approx(-10.0)
    assert out[0][2, 3] == 10000.0
    assert not out[2].any() and not out[3].any()


def test_adding_has_the_opposite_sign(quad, raw_frame, segments_of) -> None:
    frame = one_pixel(quad, raw_frame, 0, 10000.0)
    out = segments_of(crosstalk.add(frame, Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3))))
    assert out[1][2, 3] == pytest.approx(10.0)


@pytest.mark.parametrize("target", [1, 2, 3])
def test_pixels_read_together_meet_whatever_the_corner(quad, raw_frame, segments_of, target: int) -> None:
    frame = one_pixel(quad, raw_frame, 0, 10000.0)
    out = segments_of(crosstalk.remove(frame, Crosstalk(amps=NAMES, coefficients=matrix(**{f"s0t{target}": 1e-3}))))
    assert np.argwhere(out[target]).tolist() == [[2, 3]]


def test_the_quadratic_term(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t3=1e-3), quadratic=matrix(s0t3=2e-8, s0t2=1.0))
    frame = one_pixel(quad, raw_frame, 0, 10000.0)
    out = segments_of(crosstalk.remove(frame, product))
    assert out[3][2, 3] == pytest.approx(-(10.0 + 2.0))
    assert not out[2].any(), "a pair without a linear term has no quadratic one"
    linear = segments_of(crosstalk.remove(frame, product, quadratic=False))
    assert linear[3][2, 3] == pytest.approx(-10.0)


def test_sources_are_the_uncorrected_pixels(quad, raw_frame, segments_of) -> None:
    segments = [np.full((7, 8), v) for v in (1000.0, 2000.0, 0.0, 0.0)]
    frame = raw_frame(quad(), segments)
    out = segments_of(crosstalk.remove(frame, Crosstalk(amps=NAMES, coefficients=matrix(s0t1=0.01, s1t0=0.01))))
    assert out[0][0, 0] == pytest.approx(1000 - 0.01 * 2000)
    assert out[1][0, 0] == pytest.approx(2000 - 0.01 * 1000)


def test_the_overscan_is_corrected_too(quad, raw_frame, segments_of) -> None:
    frame = raw_frame(quad(), [1000.0, 0.0, 0.0, 0.0])
    out = segments_of(crosstalk.remove(frame, Crosstalk(amps=NAMES, coefficients=matrix(s0t1=0.01))))
    np.testing.assert_allclose(out[1], -10.0, rtol=1e-6)


def test_coefficients_in_adu_act_on_electrons_with_the_ratio_of_gains(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3), quadratic=matrix(s0t1=1e-8))
    frame = one_pixel(quad, raw_frame, 0, 20000.0, "electron", gain=(2.0, 3.0, 1.0, 1.0))
    out = segments_of(crosstalk.remove(frame, product))
    # 20000 electrons are 10000 adu: 10 adu + 1 adu in the target, times its gain 3.
    assert out[1][2, 3] == pytest.approx(-33.0)


def test_coefficients_in_electrons_act_on_adu_with_the_inverse_ratio(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3), quadratic=matrix(s0t1=1e-8), unit="electron")
    frame = one_pixel(quad, raw_frame, 0, 10000.0, "adu", gain=(2.0, 4.0, 1.0, 1.0))
    out = segments_of(crosstalk.remove(frame, product))
    # 10000 adu are 20000 electrons: 20 + 4 electrons in the target, divided by its gain 4.
    assert out[1][2, 3] == pytest.approx(-6.0)


def test_gains_of_the_product_serve_where_the_camera_has_none(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3), gains=np.array([2.0, 3.0, 1.0, 1.0]))
    out = segments_of(crosstalk.remove(one_pixel(quad, raw_frame, 0, 20000.0, "electron"), product))
    assert out[1][2, 3] == pytest.approx(-30.0)


def test_another_unit_without_gains_is_refused(quad, raw_frame) -> None:
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=1e-3), source="ct.fits")
    with pytest.raises(UnitError, match=r"ct.fits is per adu, the image is in electron"):
        crosstalk.remove(one_pixel(quad, raw_frame, 0, 1.0, "electron"), product)


def test_an_amplifier_without_gain_neither_gives_nor_takes(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=np.full((4, 4), 0.01))
    frame = raw_frame(quad(gain=(1.0, np.nan, 1.0, 1.0)), [100.0, 5000.0, 100.0, 100.0], "electron")
    out = segments_of(crosstalk.remove(frame, product))
    assert out[1][0, 0] == 5000.0
    assert out[0][0, 0] == pytest.approx(100 - 2.0)


def test_amplifiers_named_in_the_settings_are_left_out(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=NAMES, coefficients=np.full((4, 4), 0.01))
    out = segments_of(crosstalk.remove(raw_frame(quad(), [100.0, 5000.0, 100.0, 100.0]), product, skip=("LR",)))
    assert out[1][0, 0] == 5000.0
    assert out[0][0, 0] == pytest.approx(98.0)


def test_invalid_coefficients_and_sources_that_are_no_number_count_as_zero(quad, raw_frame, segments_of) -> None:
    valid = np.ones((4, 4), bool)
    valid[0, 1] = False
    coefficients = matrix(s0t1=0.5, s0t2=np.nan, s0t3=0.01)
    product = Crosstalk(amps=NAMES, coefficients=coefficients, valid=valid)
    segments = [np.full((7, 8), 100.0), 0.0, 0.0, 0.0]
    segments[0][2, 3] = np.nan
    out = segments_of(crosstalk.remove(raw_frame(quad(), segments), product))
    assert not out[1].any() and not out[2].any()
    assert out[3][2, 3] == 0.0 and out[3][2, 4] == pytest.approx(-1.0)


def test_the_product_may_name_the_amplifiers_in_another_order(quad, raw_frame, segments_of) -> None:
    product = Crosstalk(amps=("UR", "UL", "LR", "LL"), coefficients=matrix(s3t2=1e-3))
    out = segments_of(crosstalk.remove(one_pixel(quad, raw_frame, 0, 10000.0), product))
    assert out[1][2, 3] == pytest.approx(-10.0)


def test_an_amplifier_that_the_product_does_not_know_is_an_error(quad, raw_frame) -> None:
    product = Crosstalk(amps=("LL", "LR"), coefficients=np.zeros((2, 2)))
    with pytest.raises(GeometryError, match="knows nothing of amplifier UL, UR"):
        crosstalk.remove(one_pixel(quad, raw_frame, 0, 1.0), product)


def test_unequal_widths_share_their_common_columns() -> None:
    wide = Amplifier("W", (2, 600), Box(0, 0, 600, 2), Box(0, 0, 600, 2), Box(0, 0, 600, 2))
    turn = Orientation(flip_x=True)
    thin = Amplifier("T", (2, 400), Box(0, 0, 400, 2), Box(600, 0, 400, 2), Box(600, 0, 400, 2), orientation=turn,
                     raw_orientation=turn)  # fmt: skip
    image = np.zeros((2, 1000), np.float32)
    image[:, :600] = np.arange(600)
    frame = Frame.from_arrays(image, unit="adu", raw=True, detector=Detector("d", 0, (wide, thin)))
    product = Crosstalk(amps=("W", "T"), coefficients=np.array([[0, 0.5], [0.5, 0]]))
    out = crosstalk.remove(frame, product).image.array
    np.testing.assert_array_equal(out[0, 600:][::-1], -0.5 * np.arange(400))
    np.testing.assert_array_equal(out[0, :600], np.arange(600))


def test_flags_where_the_correction_leaves_its_median(quad, raw_frame, segments_of) -> None:
    segments = [np.full((7, 8), 1000.0), 0.0, 0.0, 0.0]
    segments[0][2, 3], segments[0][3, 3] = 1151.0, 1149.0
    frame = raw_frame(quad(), segments)
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=0.01))
    out = crosstalk.remove(frame, product, threshold=1.5)
    flags = segments_of(out, out.mask["CROSSTALK"])
    assert np.argwhere(flags[1]).tolist() == [[2, 3]]
    assert not any(flags[i].any() for i in (0, 2, 3))


def test_flags_by_the_level_of_the_source_and_no_flags(quad, raw_frame, segments_of) -> None:
    frame = one_pixel(quad, raw_frame, 0, 10000.0)
    product = Crosstalk(amps=NAMES, coefficients=matrix(s0t1=0.01))
    out = crosstalk.remove(frame, product, flag="source", threshold=10000.0)
    assert [int(f.sum()) for f in segments_of(out, out.mask["CROSSTALK"])] == [0, 1, 0, 0]
    assert not crosstalk.remove(frame, product, flag="none").mask.counts()


@pytest.mark.parametrize("quadratic", [False, True])
def test_four_corners_of_random_sources(quadratic: bool) -> None:
    """Acceptance case 17 of the reference: its geometry, numbers and tolerance."""
    rng = np.random.default_rng(12345)
    digits = np.array([[0, 1, 2, 3], [3, 0, 2, 1], [4, 5, 0, 6], [7, 8, 9, 0]], float)  # [target, source]
    amps = []
    for i, corner in enumerate(("LL", "LR", "UL", "UR")):
        turn = Orientation(flip_x=corner[1] == "R", flip_y=corner[0] == "U")
        box = Box(250 * (i % 2), 500 * (i // 2), 250, 500)
        amps.append(
            Amplifier(corner, (500, 250), Box(0, 0, 250, 500), box, box, raw_orientation=turn, orientation=turn)
        )
    detector = Detector("case17", 0, tuple(amps))
    truth = np.zeros((4, 500, 250))
    for segment in truth:
        segment.reshape(-1)[rng.choice(segment.size, 1000, replace=False)] = 12345.0
    measured = truth + 1e-4 * np.einsum("ts,syx->tyx", digits, truth)
    if quadratic:
        measured += 1e-10 * np.einsum("ts,syx->tyx", digits, truth**2)
    noise = rng.normal(0, 0.1, truth.shape)
    image, want = np.zeros((2, 1000, 500), np.float32)
    for a, amp in enumerate(detector):
        image[amp.raw.slices] = amp.raw_orientation.apply(measured[a] + noise[a])
        want[amp.raw.slices] = amp.raw_orientation.apply(truth[a] + noise[a])
    mask = np.zeros(image.shape, np.uint32)
    mask[:5, :5] = 2
    frame = Frame.from_arrays(image, mask=mask, unit="adu", detector=detector, raw=True)
    square = 1e-10 * digits.T if quadratic else None
    out = crosstalk.remove(frame, Crosstalk(amps=detector.names, coefficients=1e-4 * digits.T, quadratic=square))
    # Second order: (sum of C) * largest C * 12345 = 24e-4 * 9e-4 * 12345 = 0.027 at worst, with one source 0.011;
    # the noise of the sources adds 0.1 * 15e-4. Two of 1000 sources in 125000 pixels coincide rarely.
    assert np.max(np.abs(out.image.array - want)) < 0.02
    assert out.mask.counts()["SAT"] == 25
    assert out.mask.counts()["CROSSTALK"] > 1000
