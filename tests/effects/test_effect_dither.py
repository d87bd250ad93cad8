"""Dither: distribution, repeatability in any block or strip, variance, the reference's sequence, rounding."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor import Buffers, Exposure, Layout, Program, Stage
from fullwell.conductor.block import Block
from fullwell.conductor.store import ArraySource
from fullwell.effects import dither
from fullwell.effects.dither import DitherConfig
from fullwell.frames import Frame


def toy(data: int, over: int, rows: int) -> Detector:
    """One amplifier of `data` columns and `over` serial overscan columns."""
    box, whole = Box(0, 0, data, rows), Box(0, 0, data + over, rows)
    amp = Amplifier("A", (rows, data + over), box, whole, box, serial_overscan=Box(data, 0, over, rows))
    return Detector("toy", 0, (amp,))


def frame(image: np.ndarray) -> Frame:
    return Frame.from_arrays(image, unit="adu", detector=toy(190, 10, 300), raw=True)


@pytest.mark.parametrize(("mode", "low"), [("symmetric", -0.5), ("positive", 0.0), ("negative", -1.0)])
def test_uniform_over_one_count(mode: str, low: float) -> None:
    """60000 values: mean +- sqrt(1/12/60000) = 0.00118, 4 sigma 0.0047; 20 bins of 3000: chi-square 19 +- 6.2."""
    u = dither.remove(frame(np.zeros((300, 200), np.int32)), mode=mode, seed=7).image.array.ravel().astype(float)
    assert u.min() >= low
    assert u.max() < low + 1
    assert u.mean() == pytest.approx(low + 0.5, abs=0.0047)
    assert u.var() == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 180 / u.size))
    counts = np.histogram(u, 20, (low, low + 1))[0]
    assert np.sum((counts - 3000) ** 2 / 3000) < 19 + 4 * 6.2


def test_neighbours_are_independent() -> None:
    """Correlation with the next column, the next row, and the diagonal: sigma 1/sqrt(59000) = 0.0041, 4 sigma."""
    u = dither.remove(frame(np.zeros((300, 200), np.int32)), seed=1).image.array.astype(float)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        a, b = u[: 300 - dy, : 200 - dx].ravel(), u[dy:, dx:].ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 * 0.0041


def test_another_seed_gives_other_numbers() -> None:
    zero = frame(np.zeros((300, 200), np.int32))
    one, two = (dither.remove(zero, seed=s).image.array.ravel() for s in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(60000)
    np.testing.assert_array_equal(one, dither.remove(zero, seed=1).image.array.ravel())


@pytest.mark.parametrize("compat", ["", "lsst"])
def test_strips_and_blocks_see_the_same_numbers(compat: str) -> None:
    detector = toy(190, 10, 300)
    image = np.zeros((300, 200), np.int32)
    source, exposure = ArraySource.of_image(image, detector), Exposure(detector, seed=99)
    program = Program([Stage(dither.remove_block, DitherConfig(compat=compat))], Layout(detector))
    program.prepare(source, exposure, {})

    def read(r0: int, r1: int, part: str) -> np.ndarray:
        block = Block(exposure, Layout(detector, part), r0, r1, Buffers())
        source.load(block)
        program.apply(block)
        return block.image

    whole = read(0, 300, "segment")
    np.testing.assert_array_equal(read(17, 49, "segment"), whole[17:49])
    np.testing.assert_array_equal(read(100, 140, "serial_overscan"), whole[100:140, 190:])


def test_the_reference_sequence() -> None:
    out = dither.remove(frame(np.full((300, 200), 1000, np.int32)), compat="lsst")
    expected = (1000 + np.random.RandomState(12345).uniform(-0.5, 0.5, (300, 200))).astype(np.float32)
    np.testing.assert_array_equal(out.image.array, expected)


@pytest.mark.parametrize(
    ("mode", "quantisation", "noise", "twelfths"),
    [
        ("symmetric", True, True, 2),
        ("symmetric", False, True, 1),
        ("none", True, True, 1),
        ("symmetric", False, False, 0),
    ],
)
def test_variance_counted(mode: str, quantisation: bool, noise: bool, twelfths: int) -> None:
    cfg = DitherConfig(mode=mode, count_quantisation=quantisation, count_dither=noise)
    assert cfg.variance == pytest.approx(twelfths / 12)
    record = dither.remove(frame(np.zeros((300, 200), np.int32)), config=cfg).last("dither")
    assert record is not None
    assert record.numbers["variance"] == pytest.approx(twelfths / 12)


def test_rounding_and_dither_have_that_variance() -> None:
    """Normal noise of 3 adu rounded and dithered: 9 + 1/6 adu²; sigma 9.17 sqrt(2/60000) = 0.053, 4 sigma."""
    rng = np.random.default_rng(2)
    true = rng.normal(1000, 3, (300, 200)).astype(np.float32)
    out = dither.remove(dither.add(frame(true)), seed=4)
    assert out.image.array.var(dtype=float) == pytest.approx(9 + 1 / 6, abs=4 * 0.053)
    error = out.image.array.astype(float) - true
    assert error.var() == pytest.approx(1 / 6, abs=4 / 6 * np.sqrt(1.4 / 60000))
    assert error.mean() == pytest.approx(0, abs=4 * np.sqrt(1 / 6 / 60000))


@pytest.mark.parametrize(
    ("mode", "expected"), [("symmetric", [1, 3, -1]), ("positive", [1, 2, -2]), ("negative", [2, 3, -1])]
)
def test_the_converter(mode: str, expected: list[int]) -> None:
    image = np.zeros((300, 200), np.float32)
    image[0, :3] = [1.25, 2.75, -1.25]
    assert dither.add(frame(image), mode=mode).image.array[0, :3].tolist() == expected
