"""Serial overscan: values by hand, statistics of the level and its error, amplifiers that cannot be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor import Buffers, Exposure, Layout, Program, Stage
from fullwell.conductor.block import Block
from fullwell.conductor.store import ArraySource
from fullwell.effects import overscan_serial
from fullwell.effects.overscan_serial import RowOffsets, SerialOverscanConfig
from fullwell.frames import Frame

PER_ROW = ("median_per_row", "mean_per_row")
SCALARS = ("median", "mean", "clipped_mean")


def toy(data: int = 10, over: int = 3, rows: int = 13, parallel: int = 3) -> Detector:
    """One amplifier: `data` columns, `over` serial overscan columns, `parallel` overscan rows on top."""
    shape = (rows, data + over)
    return Detector(
        "toy",
        0,
        (
            Amplifier(
                "A",
                shape,
                Box(0, 0, data, rows - parallel),
                Box(0, 0, data + over, rows),
                Box(0, 0, data, rows - parallel),
                serial_overscan=Box(data, 0, over, rows),
                parallel_overscan=Box(0, rows - parallel, data, parallel) if parallel else Box(0, 0, 0, 0),
            ),
        ),
    )


def frame(image: np.ndarray, detector: Detector) -> Frame:
    return Frame.from_arrays(image, unit="adu", detector=detector, raw=True)


def first_case() -> np.ndarray:
    """Acceptance case 16: data 10, everything else 2."""
    image = np.full((13, 13), 2.0, np.float32)
    image[:10, :10] = 10
    return image


@pytest.mark.parametrize("method", PER_ROW + SCALARS)
def test_data_ten_overscan_two(method: str) -> None:
    out = overscan_serial.remove(frame(first_case(), toy()), method=method, skip_leading=0, skip_trailing=0)
    assert np.all(out.image.array[:10, :10] == 8)
    assert np.all(out.image.array[:, 10:] == 0)


def test_a_half_in_the_overscan_is_kept() -> None:
    image = first_case()
    image[:, 10:] += 0.5
    out = overscan_serial.remove(frame(image, toy()), skip_leading=0, skip_trailing=0)
    assert np.all(out.image.array[:10, :10] == 7.5)
    assert np.all(out.image.array[:, 10:] == 0)


def test_one_hot_pixel_does_not_move_its_row() -> None:
    """12345 in a row of twos: the row's level stays 2, the pixel becomes 12343."""
    image = first_case()
    image[4, 11] = 12345
    out = overscan_serial.remove(
        frame(image, toy()), skip_leading=0, skip_trailing=0, clip=2.7, max_deviation=1e6, method="mean_per_row"
    )
    assert out.image.array[4, 11] == 12343
    assert np.all(out.image.array[4, :10] == 8)


@pytest.mark.parametrize("method", ["polynomial", "legendre", "chebyshev"])
def test_fifth_degree_follows_a_ramp(method: str) -> None:
    """Overscan 2 + row + (-0.5, 0, 0.5): data = 8 - row, and the columns keep -0.5, 0, 0.5."""
    image = first_case()
    image[:, 10:] = 2 + np.arange(13)[:, None] + np.array([-0.5, 0, 0.5])
    out = overscan_serial.remove(frame(image, toy()), method=method, order=5, skip_leading=0, skip_trailing=0)
    np.testing.assert_allclose(out.image.array[:10, :10], 8 - np.arange(10)[:, None] * np.ones(10), atol=2e-5)
    np.testing.assert_allclose(out.image.array[:, 10:], np.tile([-0.5, 0, 0.5], (13, 1)), atol=2e-5)


@pytest.mark.parametrize("method", PER_ROW)
def test_sine_wave_is_removed_exactly(method: str) -> None:
    """Case 16: 500 rows, 70 + 30 columns, int(20 + 15 sin(5 * 3.14159 x)) added to every row."""
    x = np.linspace(0, 2 * 3.14159, 500)
    image = np.zeros((500, 100), np.int32)
    image[:, :70] = 50
    image += (20 + 15 * np.sin(5 * 3.14159 * x)).astype(int)[:, None]
    out = overscan_serial.remove(frame(image, toy(70, 30, 500, 0)), method=method)
    assert np.all(out.image.array[:, :70] == 50)
    assert np.all(out.image.array[:, 70:] == 0)


def test_medians_of_integers_are_spread_over_one_count() -> None:
    """5, 5, 5, 6 spread over 4.5…5.5 and 5.5…6.5: half of the four lies at 4.5 + 2/3."""
    image = np.zeros((13, 14), np.int32)
    image[:, 10:] = [5, 5, 5, 6]
    out = overscan_serial.remove(frame(image, toy(10, 4)), skip_leading=0, skip_trailing=0, clip=0)
    np.testing.assert_allclose(out.image.array[:, :10], -(4.5 + 2 / 3), rtol=1e-6)


def test_skipped_columns_do_not_count() -> None:
    image = first_case()
    image[:, 10] = 900
    image[:, 12] = -900
    out = overscan_serial.remove(frame(image, toy()), skip_leading=1, skip_trailing=1)
    assert np.all(out.image.array[:10, :10] == 8)


def test_a_row_without_a_usable_pixel_takes_its_neighbours() -> None:
    """Row 20 bleeds: its level is the median of rows 15-19 and 21-25, by hand 20."""
    image = np.zeros((50, 13), np.float32)
    image[:] = np.arange(50)[:, None]
    image[20, 10:] = 60000
    out = overscan_serial.remove(frame(image, toy(rows=50, parallel=0)), skip_leading=0, skip_trailing=0)
    assert np.all(out.image.array[20, :10] == 0)
    assert out.last("overscan_serial").numbers["filled_rows"] == {"A": 1}


def test_constant_overscan_has_no_noise() -> None:
    out = overscan_serial.remove(frame(first_case() + 0.25, toy()), skip_leading=0, skip_trailing=0)
    numbers = out.last("overscan_serial").numbers
    assert numbers["noise"] == {"A": 0.0}
    assert numbers["level"] == {"A": 2.25}
    assert np.isfinite(out.image.array).all()


def test_an_amplifier_without_overscan_is_left_alone() -> None:
    plain = Detector("p", 0, (Amplifier("A", (4, 5), Box(0, 0, 5, 4), Box(0, 0, 5, 4), Box(0, 0, 5, 4)),))
    image = np.arange(20, dtype=np.float32).reshape(4, 5)
    out = overscan_serial.remove(frame(image, plain))
    np.testing.assert_array_equal(out.image.array, image)
    assert out.last("overscan_serial").numbers["left_out"] == {"A": "no overscan"}


@pytest.mark.parametrize("method", ["median_per_row", "median", "akima_spline"])
def test_a_lost_overscan_makes_the_amplifier_bad(method: str) -> None:
    image = first_case()
    image[:, 10:] = np.nan
    out = overscan_serial.remove(frame(image, toy()), method=method, order=5, skip_leading=0, skip_trailing=0)
    assert out.last("overscan_serial").numbers["left_out"] == {"A": "no usable overscan pixel"}
    assert out.mask["BAD"].all()
    np.testing.assert_array_equal(out.image.array[:10, :10], 10)


def test_masked_pixels_are_not_used() -> None:
    given = frame(first_case(), toy())
    mask = np.zeros((13, 13), np.uint32)
    mask[:, 10] = 1
    given.image.array[:, 10] = 700
    out = overscan_serial.remove(
        Frame.from_arrays(given.image.array, mask=mask, unit="adu", detector=toy(), raw=True),
        skip_leading=0,
        skip_trailing=0,
        method="mean_per_row",
        clip=0,
    )
    assert np.all(out.image.array[:10, :10] == 8)


def noisy(rows: int = 600, over: int = 64, noise: float = 6.0, slope: float = 0.01, seed: int = 3) -> np.ndarray:
    """Level 2000 + slope x row, normal noise, not rounded."""
    rng = np.random.default_rng(seed)
    image = 2000 + slope * np.arange(rows)[:, None] + rng.normal(0, noise, (rows, 10 + over))
    return image.astype(np.float32)


@pytest.mark.parametrize(("method", "clip"), [("median_per_row", 3.0), ("mean_per_row", 3.0), ("mean_per_row", 0.0)])
def test_noise_level_and_slope(method: str, clip: float) -> None:
    """600 x 58 pixels: sigma of the noise 6/sqrt(2 x 34800) = 0.023 (1.03 x with the clip), 4 sigma 0.095.

    The median level has (pi/2)**0.5 x 6/sqrt(58 x 600) x 1.25 = 0.05 (4 sigma 0.2, twice a median), about the middle
    row; the slope 1.25 x 6/sqrt(58)/sqrt(600**3/12) = 2.3e-4, 4 sigma 1e-3.
    """
    detector = toy(10, 64, 600, 0)
    out = overscan_serial.remove(frame(noisy(), detector), method=method, clip=clip)
    numbers = out.last("overscan_serial").numbers
    assert numbers["noise"]["A"] == pytest.approx(6.0, abs=0.095)
    assert numbers["level"]["A"] == pytest.approx(2000 + 0.01 * 299.5, abs=0.2)
    assert numbers["slope"]["A"] == pytest.approx(0.01, abs=1e-3)


def run_program(image: np.ndarray, detector: Detector, cfg: SerialOverscanConfig, rows: int) -> list[Block]:
    """All blocks of `rows` rows, copied."""
    exposure = Exposure(detector)
    source = ArraySource.of_image(image, detector)
    program = Program([Stage(overscan_serial.remove_block, cfg)], Layout(detector), rows)
    program.prepare(source, exposure, {})
    blocks = []
    for r in range(0, image.shape[0], rows):
        block = Block(exposure, program.layout, r, min(r + rows, image.shape[0]), Buffers())
        source.load(block)
        program.apply(block)
        blocks.append(block)
    return blocks


@pytest.mark.parametrize(
    ("method", "order"), [("median_per_row", 1), ("mean_per_row", 1), ("median", 1), ("mean", 1),
                          ("clipped_mean", 1), ("polynomial", 2), ("natural_spline", 12)],
)  # fmt: skip
def test_row_variance_is_the_scatter_of_the_level(method: str, order: int) -> None:
    """Mean of (level - truth)**2 / row variance over rows and 40 frames is 1.

    Levels of rows: 40 x 600 independent values, sigma of the mean sqrt(2/24000) = 0.009; 5 % are allowed for the
    width taken from 128 rows (1 %) and the efficiency of clip and median at 58 values (2 %). One number per frame
    (scalars): 40 values, sigma sqrt(2/40) = 0.22; polynomial of degree 2: 3 numbers per frame, sqrt(2/120) = 0.13;
    about 12 numbers, sqrt(2/480) = 0.065, and its error between the knots is only approximate (10 %).
    """
    detector, truth = toy(10, 64, 600, 0), 2000.0
    pulls = []
    for seed in range(40):
        image = noisy(slope=0.0, seed=seed)
        for block in run_program(image, detector, SerialOverscanConfig(method=method, order=order), 600):
            level = image[:, 0] - block.image[:, 0]
            pulls.append(np.mean((level - truth) ** 2 / block.row_variance[:, 0]))
    allowed = {"polynomial": 4 * 0.13, "natural_spline": 4 * 0.065 + 0.1}
    wide = allowed.get(method, 0.05 if method in PER_ROW else 4 * math.sqrt(2 / 40))
    assert np.mean(pulls) == pytest.approx(1.0, abs=wide)


def test_blocks_of_any_size_give_the_same_image() -> None:
    """Bleeding rows at block edges among them: their levels come from rows of other blocks."""
    image = noisy(rows=256)
    image[31:34, 10:] = 50000
    image[64, 10:] = np.nan
    detector = toy(10, 64, 256, 0)
    whole = np.concatenate([b.image for b in run_program(image, detector, SerialOverscanConfig(), 256)])
    for rows in (32, 7):
        parts = np.concatenate([b.image for b in run_program(image, detector, SerialOverscanConfig(), rows)])
        np.testing.assert_array_equal(parts, whole)


def test_leakage_is_measured() -> None:
    """Data 1000 above the level, first overscan column 1 %, second 0.1 % of it."""
    image = np.zeros((13, 16), np.float32)
    image[:, :10] = 1000
    image[:, 10], image[:, 11] = 10, 1
    out = overscan_serial.remove(frame(image + 500, toy(10, 6)), skip_leading=2, skip_trailing=0, report_leakage=True)
    assert out.last("overscan_serial").numbers["leakage"]["A"] == pytest.approx([0.01, 0.001], rel=1e-6)


def test_add_puts_level_and_slope_in() -> None:
    offsets = RowOffsets(np.array([100.0]), np.array([0.5]), np.arange(13.0)[:, None])
    out = overscan_serial.add(frame(np.zeros((13, 13), np.float32), toy()), offsets)
    np.testing.assert_allclose(out.image.array, np.tile(100 + 1.5 * np.arange(13)[:, None], (1, 13)))


def test_remove_undoes_add() -> None:
    """Levels of 100 + 1.5 row leave an exact multiple of 0.5: nothing is rounded."""
    given = frame(first_case() - 2, toy())
    offsets = RowOffsets(np.array([100.0]), np.array([1.5]))
    out = overscan_serial.remove(overscan_serial.add(given, offsets), skip_leading=0, skip_trailing=0)
    np.testing.assert_array_equal(out.image.array, given.image.array)
