"""Frames that come to the recipes from elsewhere: corrected before, of other mask bits, cut, of any memory layout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, UnitError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor import Workers
from fullwell.effects import flat as flat_effect
from fullwell.effects import gain as gain_effect
from fullwell.frames import Frame, Mask, Observation, Plane, bit
from fullwell.products import Bias, Dark, Flat, Gain
from fullwell.recipes import Recipe
from fullwell.reduction import isr

NY, NX = 40, 30
STEPS = ("dither", "overscan_serial", "gain", "assemble", "bias", "dark", "nan", "variance", "flat")


def detector(name: str = "d") -> Detector:
    """One amplifier with 12 columns of overscan."""
    data = Box(0, 0, NX, NY)
    whole = Box(0, 0, NX + 12, NY)
    amp = Amplifier("A", whole.shape, data, whole, data, serial_overscan=Box(NX, 0, 12, NY))
    return Detector(name, 0, (amp,))


def gain(value: float = 2.0) -> Gain:
    one = np.ones(1)
    return Gain(amps=("A",), gain=value * one, gain_error=0 * one, read_noise=5 * one, read_noise_error=0 * one,
                estimator="option")  # fmt: skip


@pytest.fixture
def raw() -> Frame:
    image = np.random.default_rng(2).normal(1000, 4, (NY, NX + 12)).round()
    image[:, :NX] += 400
    seen = Observation(exposure_time=10.0, dark_time=10.0)
    return Frame.from_arrays(image.astype(np.uint16), unit="adu", raw=True, detector=detector(), observation=seen)


@pytest.fixture
def products() -> dict:
    ones = np.ones((NY, NX), np.float32)
    return {
        "gain": gain(),
        "bias": Bias(image=ones, variance=7 * ones, unit="electron"),
        "dark": Dark(image=ones, variance=0.1 * ones, unit="electron/s"),
        "flat": Flat(image=2 * ones, variance=1e-4 * ones),
    }


def test_a_detector_step_before_the_variance_loses_no_part_of_it(raw, products):
    """Overscan error, rounding, bias and dark shot noise of the first row steps are there when the variance is made."""
    at = STEPS.index("variance")
    split = (*STEPS[:at], "saturation_grow", *STEPS[at:])
    one = isr(raw, products, recipe=Recipe("one", STEPS, strict=False), keep_components=True)
    two = isr(raw, products, recipe=Recipe("two", split, strict=False), keep_components=True)
    assert np.array_equal(one.variance.array, two.variance.array)
    assert one.components.keys() == two.components.keys() and "overscan" in two.components
    for name, part in one.components.items():
        assert np.array_equal(part.array, two.components[name].array), name


def test_parts_of_the_variance_follow_a_later_flat(raw, products):
    """ISR without the flat, then the flat alone: the kept parts still sum up to the variance, by recipe and by verb."""
    flat = products.pop("flat")
    first = isr(raw, products, keep_components=True)
    for second in (isr(first, {"flat": flat}), flat_effect.remove(first, flat)):
        total = sum(part.array for part in second.components.values())
        assert np.allclose(total, second.variance.array, rtol=1e-5)
        assert second.variance.array.mean() < first.variance.array.mean() / 3


def test_a_frame_with_a_variance_of_its_own_keeps_it():
    """A corrected frame of another program: its variance is not made a second time."""
    image = np.full((NY, NX), 100, np.float32)
    frame = Frame.from_arrays(image, 125 * np.ones_like(image), unit="electron")
    out = isr(frame)
    assert np.array_equal(out.variance.array, frame.variance.array)
    assert out.last("variance").state == "left out"


def test_flags_of_a_raw_frame_are_kept(raw):
    """Bits set before the recipe travel with their pixels."""
    raw = replace(raw, mask=Mask(np.zeros(raw.shape, np.uint32)))
    raw.mask.array[3, 4] = bit("CR")
    out = isr(raw, {"gain": gain()})
    assert (out.mask.array[3, 4], np.count_nonzero(out.mask["CR"])) == (bit("CR"), 1)
    assert np.array_equal(out.image.array, isr(replace(raw, mask=None), {"gain": gain()}).image.array)


@pytest.mark.parametrize("verb", [True, False])
def test_mask_bits_of_another_program_keep_their_meaning(verb):
    """A file with UNMASKEDNAN at bit 12 and FOO at our number of it: flags go to the plane of their name."""
    image = np.ones((4, 5), np.float32)
    image[1, 2] = np.nan
    mask = Mask(np.full((4, 5), 1 << 10, np.uint32), schema={"BAD": 0, "SAT": 1, "FOO": 10, "UNMASKEDNAN": 12})
    frame = Frame(Plane(image, unit="electron"), mask=mask)
    from importlib import import_module

    out = import_module("fullwell.effects.nan").flag(frame) if verb else isr(frame, off=["interpolation"])
    assert out.mask.counts() == {"UNMASKEDNAN": 1, "FOO": 20}
    assert out.mask["UNMASKEDNAN"][1, 2]
    assert mask.schema["FOO"] == 10 and (mask.array == 1 << 10).all()


def test_a_part_of_a_frame_is_refused(raw, products):
    """The geometry is that of the whole: rows of the part would be read from outside of it."""
    out = isr(raw, products)
    for wrong in (out[Box(5, 5, 10, 10)], replace(raw, image=Plane(np.ones((9, 9), np.uint16), unit="adu"))):
        with pytest.raises(GeometryError, match="the image covers"):
            isr(wrong, {"gain": gain()})
    with pytest.raises(GeometryError, match="the image covers"):
        flat_effect.remove(out[Box(5, 5, 10, 10)], products["flat"])


def test_a_frame_of_no_unit_is_refused():
    with pytest.raises(UnitError, match="take adu or electron"):
        isr(Frame(Plane(np.ones((4, 4), np.float32))))


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", "<f8"])
def test_any_byte_order_in_memory(raw, dtype):
    want = isr(raw, {"gain": gain()}).image.array
    other = replace(raw, image=Plane(raw.image.array.astype(dtype), unit="adu"))
    assert np.array_equal(isr(other, {"gain": gain()}).image.array, want)


def test_verb_on_an_image_stored_by_columns():
    """A transposed array is as good as any: the result used to be that of no correction at all."""
    image = np.arange(12, dtype=np.float32).reshape(4, 3).T
    out = gain_effect.remove(Frame.from_arrays(image, unit="adu"), replace(gain(), amps=("A",)))
    assert np.array_equal(out.image.array, 2 * image)


def test_pixels_of_no_amplifier_are_no_data(raw):
    """A window or a sensor with a gap between its halves: nothing was read there."""
    gap = Box(5, 0, NX, NY)
    amp = replace(raw.detector.amplifiers[0], trimmed=gap)
    out = isr(replace(raw, detector=Detector("gap", 0, (amp,))), {"gain": gain()})
    assert out.shape == (NY, NX + 5)
    assert np.isnan(out.image.array[:, :5]).all() and np.isnan(out.variance.array[:, :5]).all()
    assert (out.mask.array[:, :5] == bit("NO_DATA")).all() and not out.mask["NO_DATA"][:, 5:].any()


def test_workers_have_all_stopped_when_an_error_is_raised():
    """A sink may be closed then: nothing may still be writing to it."""
    import time

    running: list[int] = []

    def work(job: int) -> None:
        if job == 0:
            raise ValueError("first")
        running.append(job)
        time.sleep(0.05)
        running.remove(job)

    with Workers(3) as workers:
        with pytest.raises(ValueError, match="first"):
            workers.run(work, range(9))
        assert not running
