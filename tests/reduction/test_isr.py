"""ISR of one frame, worked out by hand on a camera of two unequal amplifiers."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell import effects
from fullwell.base.errors import ConfigError, MissingProduct, UnitError, UsageError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import Workers
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Dark, Defects, Flat, Gain
from fullwell.reduction import isr

NY, NX = 6, 8


@pytest.fixture
def detector() -> Detector:
    """A: columns 0-4 read from the left; B: columns 5-7 read from the right; 10 columns of overscan each."""
    flip = Orientation(flip_x=True)
    return Detector(
        "d",
        0,
        (
            Amplifier(
                "A", (NY, 15), Box(0, 0, 5, NY), Box(0, 0, 15, NY), Box(0, 0, 5, NY), serial_overscan=Box(5, 0, 10, NY)
            ),
            Amplifier(
                "B",
                (NY, 13),
                Box(0, 0, 3, NY),
                Box(15, 0, 13, NY),
                Box(5, 0, 3, NY),
                serial_overscan=Box(3, 0, 10, NY),
                raw_orientation=flip,
                orientation=flip,
            ),
        ),
    )


@pytest.fixture
def frame(detector: Detector) -> Frame:
    """Counts: overscan 100 (A) and 200 (B); data 100 + 50 and 200 + 80; one saturated pixel in B."""
    raw = np.empty((NY, 28), np.uint16)
    raw[:, :15], raw[:, 15:] = 100, 200
    raw[:, :5] += 50
    raw[:, 25:] += 80
    raw[2, 26] = 60000
    return Frame.from_arrays(
        raw,
        unit="adu",
        raw=True,
        detector=detector,
        observation=Observation(exposure_time=10.0, dark_time=12.0),
        source="x.fits",
    )


@pytest.fixture
def gain() -> Gain:
    none = np.full(2, np.nan)
    return Gain(
        amps=("A", "B"),
        gain=np.array([2.0, 0.5]),
        gain_error=none,
        read_noise=np.array([3.0, 4.0]),
        read_noise_error=none,
        saturation=np.array([50000.0, 50000.0]),
        estimator="option",
    )


def plane(value: float) -> np.ndarray:
    return np.full((NY, NX), value, np.float32)


def test_every_step_by_hand(frame: Frame, gain: Gain) -> None:
    products = {
        "gain": gain,
        "bias": Bias(image=plane(1.0), variance=plane(0.25), unit="electron"),
        "dark": Dark(image=plane(0.5), variance=plane(0.01), unit="electron/s"),
        "flat": Flat(image=plane(0.8), variance=plane(1e-4)),
        "defects": Defects(boxes=(Box(0, 1, 1, 2),)),
    }
    settings = {"overscan_serial": {"method": "median_per_row", "skip_leading": 0, "skip_trailing": 0}}
    out = isr(frame, products, settings=settings, off=("interpolation",), keep_components=True)
    assert out.unit == "electron" and out.shape == (NY, NX) and not out.raw
    image_a, image_b = 50 * 2 - 1 - 12 * 0.5, 80 * 0.5 - 1 - 12 * 0.5
    assert out.image.array[0, 0] == pytest.approx(image_a / 0.8, rel=1e-6)
    assert out.image.array[0, 7] == pytest.approx(image_b / 0.8, rel=1e-6)
    # V before the flat: signal + dark charge + R**2 + bias and dark masters (+ what the overscan fit adds: 0 here)
    before = image_a + 6 + 3**2 + 0.25 + 12**2 * 0.01
    quantisation = out.components["overscan"].array[0, 0] * 0.8**2
    expected = (before + quantisation) / 0.8**2 + (image_a / 0.8) ** 2 * 1e-4 / 0.8**2
    assert out.variance is not None and out.mask is not None
    assert out.variance.array[0, 0] == pytest.approx(expected, rel=1e-5)
    assert out.mask["SAT"].sum() == 1 and out.mask["SAT"][2, 6]
    assert out.mask["BAD"][1:3, 0].all() and out.mask["BAD"].sum() == 2
    assert out.gain_map is not None and out.gain_map.flat_id == products["flat"].id
    total = sum(c.array for c in out.components.values())
    assert np.allclose(total, out.variance.array, rtol=1e-5)


def test_the_callers_frame_and_products_are_not_changed(frame: Frame, gain: Gain) -> None:
    before = frame.image.array.copy(), gain.gain.copy()
    isr(frame, {"gain": gain, "bias": Bias(image=plane(1.0), unit="electron")})
    assert np.array_equal(frame.image.array, before[0]) and np.array_equal(gain.gain, before[1])
    assert frame.history == ()


def test_twice_is_the_same_and_threads_change_nothing(frame: Frame, gain: Gain) -> None:
    one = isr(frame, {"gain": gain})
    with Workers(3) as workers:
        two = isr(frame, {"gain": gain}, workers=workers)
    assert np.array_equal(one.image.array, two.image.array)
    assert np.array_equal(one.variance.array, two.variance.array)


def test_without_a_gain_it_stays_in_adu_and_says_so(frame: Frame) -> None:
    out = isr(frame, {"flat": Flat(image=plane(0.5))}, off=("interpolation",))
    assert out.unit == "adu" and out.gain_map is None
    record = out.last("gain")
    assert record is not None and record.state == "left out" and "no gain" in record.note
    assert out.image.array[0, 0] == 100


def test_strict_recipe_names_the_missing_product(frame: Frame, gain: Gain) -> None:
    with pytest.raises(MissingProduct, match=r"needs a crosstalk[\s\S]*x\.fits[\s\S]*recipe 'generic'"):
        isr(frame, {"gain": gain}, recipe="lsst")


def test_products_in_another_unit_are_refused(frame: Frame, gain: Gain) -> None:
    with pytest.raises(UnitError, match=r"the bias \w+ is in adu, the image is in electron when step .bias. runs"):
        isr(frame, {"gain": gain, "bias": Bias(image=plane(1.0), unit="adu")})
    with pytest.raises(UnitError, match=r"the dark \w+ is in adu.*, the image is in electron"):
        isr(frame, {"gain": gain, "dark": Dark(image=plane(1.0), unit="adu/s")})


def test_gain_of_other_amplifiers_is_refused(frame: Frame, gain: Gain) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="for amplifiers A, C, the detector has A, B"):
        isr(frame, {"gain": replace(gain, amps=("A", "C"))})


def test_unknown_settings_are_refused(frame: Frame) -> None:
    with pytest.raises(UsageError, match="no step 'overscn' to set"):
        isr(frame, settings={"overscn": {}})
    with pytest.raises(ConfigError, match="unknown setting 'skip'"):
        isr(frame, settings={"overscan_serial": {"skip": 3}})


def test_switched_off_steps_are_recorded(frame: Frame, gain: Gain) -> None:
    out = isr(frame, {"gain": gain, "bias": Bias(image=plane(1.0), unit="electron")}, off=("bias",))
    record = out.last("bias")
    assert record is not None and record.state == "off"
    assert out.image.array[0, 0] == 100


def test_an_assembled_frame_skips_the_raw_steps() -> None:
    image = np.full((NY, NX), 100.0, np.float32)
    out = isr(Frame.from_arrays(image, unit="adu"), {"bias": Bias(image=plane(10.0), unit="adu")})
    assert (out.image.array == 90).all()
    record = out.last("overscan_serial")
    assert record is not None and record.state == "left out" and "already assembled" in record.note


def test_a_corrected_frame_is_not_corrected_twice(frame: Frame, gain: Gain) -> None:
    """Bias 10 once, and the variance as it was: a second pass adds what the first one had not, the flat."""
    products = {"gain": gain, "bias": Bias(image=plane(10.0), unit="electron")}
    once = isr(frame, products)
    assert once.variance is not None
    again = isr(once, products)
    assert np.array_equal(again.image.array, once.image.array)
    assert np.array_equal(again.variance.array, once.variance.array)
    for step in ("bias", "variance"):
        record = again.last(step)
        assert record is not None and record.state == "left out" and "done already" in record.note
    flat = isr(once, {**products, "flat": Flat(image=plane(0.5))})
    assert np.array_equal(flat.image.array, once.image.array / np.float32(0.5))
    assert np.allclose(flat.variance.array, 4 * once.variance.array)
    assert flat.gain_map is not None
    assert isr(flat, products).gain_map == flat.gain_map and flat.gain_map.flat_id != ""


def test_a_step_that_was_taken_back_is_done_again(frame: Frame, gain: Gain) -> None:
    bias = Bias(image=plane(10.0), unit="electron")
    once = isr(frame, {"gain": gain, "bias": bias})
    back = effects.bias.add(once, bias)
    assert np.array_equal(isr(back, {"gain": gain, "bias": bias}).image.array, once.image.array)


def test_a_bias_made_with_another_gain_is_refused(frame: Frame, gain: Gain) -> None:
    from dataclasses import replace

    from fullwell.measure import build_bias

    made = build_bias([isr(frame, {"gain": gain}, recipe="bias")] * 3)
    assert isr(frame, {"gain": gain, "bias": made}).unit == "electron"
    other = replace(gain, gain=gain.gain * [1.0, 1.01], id="")
    with pytest.raises(UnitError, match=r"bias was made with a gain of 0\.5 electron/adu, the frame is given 0\.505"):
        isr(frame, {"gain": other, "bias": made})
    assert isr(frame, {"gain": other, "bias": made}, off=("bias",)).unit == "electron"
