"""Parallel overscan: values by hand, bleeds, flooded amplifiers, bad columns, the error of the level."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor import Buffers, Exposure, Layout, Program, Stage
from fullwell.conductor.block import Block
from fullwell.conductor.store import ArraySource
from fullwell.effects import overscan_parallel, overscan_serial
from fullwell.effects.overscan_parallel import ColumnOffsets, ParallelOverscanConfig
from fullwell.frames import Frame


def strip(data: int = 10, rows: int = 10, parallel: int = 3, saturation: float = float("nan")) -> Detector:
    """One amplifier without serial overscan: `rows` data rows, `parallel` overscan rows on top."""
    shape = (rows + parallel, data)
    box = Box(0, 0, data, rows)
    over = Box(0, rows, data, parallel)
    amp = Amplifier(
        "A", shape, box, Box(0, 0, data, rows + parallel), box, parallel_overscan=over, saturation=saturation, gain=2.0
    )
    return Detector("strip", 0, (amp,))


def frame(image: np.ndarray, detector: Detector, unit: str = "adu") -> Frame:
    return Frame.from_arrays(image.astype(np.float32), unit=unit, detector=detector, raw=True)


def numbers(out: Frame) -> dict:
    record = out.last("overscan_parallel")
    assert record is not None
    return dict(record.numbers)


ALL = {"skip_leading": 0, "skip_trailing": 0}


@pytest.mark.parametrize("method", ["median_per_row", "mean_per_row"])
def test_a_ramp_over_columns_is_removed(method: str) -> None:
    """Case 16: data 8 and overscan 0 after the serial step, plus the column number: level 4.5, nothing left."""
    image = np.zeros((13, 10))
    image[:10] = 8
    out = overscan_parallel.remove(frame(image + np.arange(10), strip()), method=method, **ALL)
    np.testing.assert_array_equal(out.image.array, image)
    assert numbers(out)["level"] == {"A": 4.5}
    assert numbers(out)["noise"] == {"A": 0.0}


def test_one_level_for_all_columns() -> None:
    image = np.zeros((13, 10)) + np.arange(10)
    out = overscan_parallel.remove(frame(image, strip()), method="median", clip=0, **ALL)
    np.testing.assert_array_equal(out.image.array[0], np.arange(10) - 4.5)


def serial_and_parallel(patch: float, **settings: float) -> Frame:
    """The toy of case 16: everything 2, data 10, column ramp on the data columns, a bleed of `patch`."""
    image = np.full((13, 13), 2.0, np.float32)
    image[:10, :10] = 10
    image[:, :10] += np.arange(10, dtype=np.float32)
    image[10:, 4:6] = patch
    shape = (13, 13)
    amp = Amplifier(
        "A", shape, Box(0, 0, 10, 10), Box(0, 0, 13, 13), Box(0, 0, 10, 10),
        serial_overscan=Box(10, 0, 3, 13), parallel_overscan=Box(0, 10, 10, 3),
    )  # fmt: skip
    given = frame(image, Detector("toy", 0, (amp,)))
    out = overscan_serial.remove(given, method="median", **ALL)
    return overscan_parallel.remove(out, method="median", clip=0, grow=0, smoothing=False, **ALL, **settings)


def test_a_bleed_above_the_level_is_left_out() -> None:
    """Columns 4 and 5 masked: the median of 0 1 2 3 6 7 8 9 is 4.5."""
    assert numbers(serial_and_parallel(110000, level=100000, max_deviation=1e5))["level"] == {"A": 4.5}


def test_a_bleed_below_the_level_pulls_the_constant() -> None:
    """Case 16, known wrong: 10000 in columns 4 and 5 counts: 3, 6, 7 … the median of all becomes 6.5."""
    out = serial_and_parallel(10000, level=100000, max_deviation=1e5, flooded_fraction=1e9)
    assert numbers(out)["level"] == {"A": 6.5}


def test_saturated_pixels_grow_as_a_diamond() -> None:
    """One pixel at 0.75 x 60000 grown by 2: 13 pixels, no corner of the 5 x 5 square."""
    image = np.zeros((40, 30))
    image[20, 15] = 45000
    out = overscan_parallel.remove(
        frame(image, strip(30, 10, 30, 60000.0)), grow=2, smoothing=False, grow_columns=0, **ALL
    )
    assert out.mask is not None
    assert out.mask["SAT"].sum() == 13
    assert not out.mask["SAT"][18, 13]
    assert out.mask["SAT"][18, 15] and out.mask["SAT"][20, 17]


@pytest.mark.parametrize("unit", ["adu", "electron"])
def test_levels_follow_the_unit(unit: str) -> None:
    """Gain 2: 70000 electron are 35000 adu, under 0.75 x 60000; in adu 70000 is over it."""
    image = np.zeros((40, 30))
    image[20, 15] = 70000
    out = overscan_parallel.remove(frame(image, strip(30, 10, 30, 60000.0), unit), smoothing=False, **ALL)
    assert out.mask is not None
    assert bool(out.mask["SAT"].any()) == (unit == "adu")


def test_a_bad_column_takes_its_neighbours() -> None:
    """Column 20 with 500 in the overscan: 18-22 are left out; the median of 13-17 and 23-27 is 20."""
    image = np.tile(np.arange(40.0), (40, 1))
    image[20:, 20] = 500
    out = overscan_parallel.remove(frame(image, strip(40, 20, 20)), max_deviation=1e4, **ALL)
    expected = np.zeros(40)
    expected[18:23] = np.arange(18, 23) - 20.0
    np.testing.assert_array_equal(out.image.array[0], expected)
    assert numbers(out)["filled_columns"] == {"A": 5}


@pytest.mark.parametrize("part", [10.0, 575.0, 0.9, 1.1])
def test_a_defect_keeps_its_level(part: float) -> None:
    """Case 12: a column at 10, 575, 0.9 and 1.1 of saturation in data and overscan; its neighbours stay at 0 within 7.

    Noise 3 adu; the median of 5 columns either side is within 7 by far; the defect's own level is kept to 1e-4.
    """
    level = part * 60000 if part < 2 else part
    rng = np.random.default_rng(5)
    image = rng.normal(0, 3, (200, 60))
    image[:, 30] += level
    out = overscan_parallel.remove(frame(image, strip(60, 150, 50, 60000.0)))
    column = out.image.array[:150, 30]
    assert np.median(column) == pytest.approx(np.median(image[:150, 30]), abs=max(1e-4 * level, 1.5))
    for x in (28, 29, 31, 32):
        assert abs(np.median(out.image.array[:150, x])) < 7


def test_flooded_amplifiers_are_left_alone() -> None:
    """Case 11: overscan as bright as the data, above saturation ("no usable") or below it ("flooded")."""
    for light, saturation, reason in ((20000.0, 20000.0, "no usable"), (20000.0, 100000.0, "flooded")):
        image = np.full((40, 30), light)
        out = overscan_parallel.remove(frame(image, strip(30, 30, 10, saturation)))
        assert np.median(out.image.array) > 0.8 * 20000
        assert numbers(out)["left_out"]["A"].startswith(reason)
        assert numbers(out)["level"] == {}


def test_no_parallel_overscan_is_recorded() -> None:
    box = Box(0, 0, 5, 4)
    plain = Detector("p", 0, (Amplifier("A", (4, 5), box, box, box),))
    image = np.arange(20.0).reshape(4, 5)
    out = overscan_parallel.remove(frame(image, plain))
    np.testing.assert_array_equal(out.image.array, image)
    assert numbers(out)["left_out"] == {"A": "no overscan"}


@pytest.mark.parametrize(("method", "allowed"), [("median_per_row", 0.06), ("mean_per_row", 0.05), ("polynomial", 0.5)])
def test_variance_is_the_scatter_of_the_level(method: str, allowed: float) -> None:
    """Mean of level**2 / variance over 500 columns and 20 frames is 1: sigma sqrt(2/10000) = 0.014, 4 sigma 0.057.

    The clipped mean of 44 values and the width (1 %) are inside that. Polynomial of degree 2: 60 numbers,
    sigma sqrt(2/60) = 0.18, 4 sigma 0.73; the bound 0.5 is narrower.
    """
    detector = strip(500, 4, 50)
    ratios = []
    for seed in range(20):
        image = np.random.default_rng(seed).normal(0, 5, (54, 500)).astype(np.float32)
        program = Program(
            [Stage(overscan_parallel.remove_block, ParallelOverscanConfig(method=method, order=2, smoothing=False))],
            Layout(detector),
        )
        source, exposure = ArraySource.of_image(image, detector), Exposure(detector)
        program.prepare(source, exposure, {})
        block = Block(exposure, program.layout, 0, 4, Buffers())
        source.load(block)
        program.apply(block)
        variance = block.row_variance[0, 0] + (block.variance[0] if block.has_variance else 0)
        ratios.append(np.mean((image[0] - block.image[0]) ** 2 / variance))
    assert np.mean(ratios) == pytest.approx(1.0, abs=allowed)


def test_add_puts_columns_in_the_data_only() -> None:
    shape = (4, 6)
    amp = Amplifier("A", shape, Box(1, 0, 3, 4), Box(0, 0, 6, 4), Box(0, 0, 3, 4), serial_overscan=Box(4, 0, 2, 4))
    out = overscan_parallel.add(
        frame(np.zeros(shape), Detector("a", 0, (amp,))), ColumnOffsets((np.array([1.0, 2.0, 3.0]),))
    )
    np.testing.assert_array_equal(out.image.array, np.tile([0, 1, 2, 3, 0, 0], (4, 1)))
