"""Saturation: levels, their sources, growing, and the way of the planes through assembly."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.effects import assembly, saturation, saturation_grow
from fullwell.frames import Frame
from fullwell.products import Gain

NAMES = ("LL", "LR", "UL", "UR")


def test_the_level_itself_is_saturated(quad, raw_frame, segments_of) -> None:
    segments = [np.zeros((7, 8)) for _ in range(4)]
    segments[3][2, 3:6] = 999.0, 1000.0, 1001.0
    out = saturation.flag(raw_frame(quad(saturation=(1e4, 1e4, 1e4, 1000.0)), segments))
    assert np.argwhere(segments_of(out, out.mask["SAT"])[3]).tolist() == [[2, 4], [2, 5]]
    assert out.mask.counts() == {"SAT": 2}
    np.testing.assert_array_equal(segments_of(out)[3], segments[3])


def test_levels_of_settings_product_and_camera_in_this_order(quad, raw_frame) -> None:
    frame = raw_frame(quad(saturation=(100.0,) * 4), [50.0, 150.0, 250.0, 350.0])
    nan = np.full(4, np.nan)
    product = Gain(amps=NAMES[::-1], gain=np.ones(4), gain_error=nan, read_noise=nan, read_noise_error=nan,
                   saturation=np.array([400.0, 240.0, np.nan, 10.0]))  # fmt: skip
    of_camera = saturation.flag(frame).history[-1].numbers["saturation"]
    of_product = saturation.flag(frame, product).history[-1].numbers["saturation"]
    of_settings = saturation.flag(frame, product, saturation=300.0).history[-1].numbers["saturation"]
    assert list(of_camera.values()) == [100.0] * 4
    assert of_product == {"LL": 10.0, "LR": 100.0, "UL": 240.0, "UR": 400.0}
    assert list(of_settings.values()) == [300.0] * 4
    assert saturation.flag(frame, product).mask.counts() == {"SAT": 3 * 56}


def test_no_level_no_flag_and_the_record_says_so(quad, raw_frame) -> None:
    out = saturation.flag(raw_frame(quad(), [1e9] * 4))
    assert not out.mask.counts()
    assert set(out.history[-1].numbers["saturation"].values()) == {None}


def test_suspect_is_a_plane_of_its_own(quad, raw_frame) -> None:
    out = saturation.flag(raw_frame(quad(), [50.0, 150.0, 250.0, 0.0]), saturation=200.0, suspect=100.0)
    assert out.mask.counts() == {"SAT": 56, "SUSPECT": 112}


def test_nan_is_not_saturated(quad, raw_frame) -> None:
    assert not saturation.flag(raw_frame(quad(), [np.nan] * 4), saturation=1.0).mask.counts()


@pytest.mark.parametrize("amp", range(4))
def test_the_plane_travels_with_its_pixel_through_assembly(quad, amp: int) -> None:
    """The pixel that is brightest in the assembled image is the one that is flagged."""
    from fullwell.conductor import Exposure, Layout, Program, Stage, Workers
    from fullwell.conductor.store import ArraySource, MemorySink

    detector = quad()
    raw = np.zeros(detector.raw_box.shape, np.float32)
    raw[detector.amplifiers[amp].raw.slices] = detector.amplifiers[amp].raw_orientation.apply(
        np.where(np.arange(56).reshape(7, 8) == 2 * 8 + 3, 1000.0, 0.0)
    )
    steps = (
        (saturation.flag_block, saturation.SaturationConfig(saturation=500.0)),
        (
            assembly.remove_block,
            assembly.AssembleConfig(),
        ),
    )
    program = Program([Stage(step, cfg) for step, cfg in steps], Layout(detector), 4)
    source, sink, exposure = ArraySource.of_image(raw, detector), MemorySink(detector), Exposure(detector)
    program.prepare(source, exposure, {})
    program.run(source, sink, exposure, Workers(1))
    np.testing.assert_array_equal(sink.mask == 2, sink.image == 1000.0)
    assert np.count_nonzero(sink.mask) == 1


def test_growing_by_one_makes_a_diamond() -> None:
    """Acceptance case 27 of the reference: the corners stay."""
    mask = np.zeros((5, 5), np.uint32)
    mask[2, 2] = 2
    frame = Frame.from_arrays(np.zeros((5, 5), np.float32), mask=mask, unit="adu")
    once = saturation_grow.flag(frame).mask["SAT"].astype(int)
    assert once.tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert saturation_grow.flag(frame, radius=2).mask["SAT"].sum() == 13
    assert saturation_grow.flag(frame, radius=0).mask["SAT"].sum() == 1


def test_growing_stays_inside_and_leaves_other_planes() -> None:
    mask = np.ones((4, 4), np.uint32)
    mask[0, 0] |= 2
    mask[1:3, 1:3] |= 2
    grown = saturation_grow.flag(Frame.from_arrays(np.zeros((4, 4), np.float32), mask=mask, unit="adu"))
    assert grown.mask["BAD"].all()
    assert grown.mask["SAT"].sum() == 4 + 8 + 1


def corrected(detector, segments, dtype=np.uint16, dither="none", **settings) -> Frame:
    """Counts of a converter, of type `dtype`, through the steps up to the gain."""
    from fullwell.recipes import Recipe
    from fullwell.reduction import isr

    image = np.zeros(detector.raw_box.shape, dtype)
    for amp, values in zip(detector, segments, strict=True):
        image[amp.raw.slices] = amp.raw_orientation.apply(np.asarray(values, dtype))
    order = Recipe("here", ("dither", "overscan_serial", "saturation", "gain", "assemble"), strict=False)
    overscan = {"skip_leading": 0, "skip_trailing": 0}
    given = {"overscan_serial": overscan, "saturation": settings, "dither": {"mode": dither}}
    return isr(Frame.from_arrays(image, unit="adu", detector=detector, raw=True), recipe=order, settings=given)


def pedestal(level: int) -> np.ndarray:
    """A segment whose neighbours differ by two: its overscan has noise."""
    return level + 2 * (np.indices((7, 8)).sum(axis=0) % 2)


CONVERTERS = [(np.uint16, 65535), (np.int16, 32767), (np.uint8, 255)]


@pytest.mark.parametrize("known", [None, 1e6])
@pytest.mark.parametrize(("dtype", "largest"), CONVERTERS)
def test_the_largest_count_of_the_converter_is_saturated(quad, dtype, largest: int, known: float | None) -> None:
    """Without a level, or with one that the converter cannot reach; the count below is not flagged."""
    segments = [pedestal(100) for _ in range(4)]
    segments[1][2, 3:5] = largest - 1, largest
    out = corrected(quad(gain=(2.0,) * 4), segments, dtype, saturation=known)
    assert out.mask.counts() == {"SAT": 1}
    level = out.last("overscan_serial").numbers["level"]["LR"]
    assert 100 <= level <= 102
    assert out.image.array[out.mask["SAT"]].tolist() == [2.0 * (largest - level)]
    assert out.last("saturation").numbers["full_scale"] == largest


@pytest.mark.parametrize("mode", ["symmetric", "positive", "negative"])
def test_dither_does_not_hide_it(quad, mode: str) -> None:
    segments = [pedestal(100) for _ in range(4)]
    segments[0][1:6, 1:6] = 65535
    segments[2][1:6, 1:6] = 65533
    assert corrected(quad(gain=(2.0,) * 4), segments, dither=mode).mask.counts() == {"SAT": 25}


def test_an_amplifier_that_is_full_with_its_overscan_is_saturated_and_not_empty(quad) -> None:
    """All counts 65535 but one row: nothing is left above the overscan, and every pixel says why."""
    full = np.full((7, 8), 65535)
    full[4] = pedestal(1000)[4]
    out = corrected(quad(gain=(2.0,) * 4), [pedestal(1000), full, pedestal(1000), pedestal(1000)])
    own = out.detector.amplifiers[1].trimmed
    assert (out.image.array[own.slices] == 0).sum() == 5 * 5
    assert out.mask["SAT"][own.slices].all()
    assert out.mask.counts() == {"SAT": own.area}
    assert out.last("saturation").numbers["overscan_full"] == ["LR"]


def test_a_converter_of_unknown_range_is_full_where_its_overscan_is_above_saturation_and_has_no_noise(quad) -> None:
    """Counts of 18 bits in words of 32: LL 200000 all over, LR the same with noise, UL below saturation."""
    flat = np.full((7, 8), 200_000)
    segments = [flat, pedestal(200_000), np.full((7, 8), 100_000), pedestal(1000)]
    out = corrected(quad(gain=(2.0,) * 4), segments, np.int32, saturation=150_000.0)
    assert out.last("saturation").numbers["overscan_full"] == ["LL"]
    assert out.mask["SAT"][out.detector.amplifiers[0].trimmed.slices].all()
    assert out.mask.counts() == {"SAT": 30}
    assert not corrected(quad(gain=(2.0,) * 4), segments, np.int32).mask.counts()


def test_the_range_of_the_converter_can_be_stated(quad) -> None:
    segments = [pedestal(1000) for _ in range(4)]
    segments[3][0, 1:4] = 16382, 16383, 16384
    out = corrected(quad(gain=(2.0,) * 4), segments, full_scale=16383.0)
    assert out.mask.counts() == {"SAT": 2}
