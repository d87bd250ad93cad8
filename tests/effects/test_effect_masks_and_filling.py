"""Defects, NaN and interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError
from fullwell.cameras import Box
from fullwell.effects import defects, interpolation, nan
from fullwell.frames import Frame, Plane
from fullwell.products import Defects


def row(values, variance=1.0, bad=(), plane: str = "BAD") -> Frame:
    """One row of pixels; `bad` columns carry `plane`."""
    image = np.asarray([values], np.float32)
    frame = Frame.from_arrays(
        image, np.full(image.shape, variance, np.float32), np.zeros(image.shape, np.uint32), unit="electron"
    )
    flags = np.zeros(image.shape, bool)
    flags[0, list(bad)] = True
    frame.mask[plane] = flags
    return frame


@pytest.mark.parametrize("amp", range(4))
def test_defects_are_boxes_of_the_assembled_image(quad, amp: int) -> None:
    detector = quad()
    box = detector.amplifiers[amp].trimmed
    spot = Box(box.x0 + 1, box.y0 + 2, 2, 1)
    out = defects.flag(Frame.from_arrays(np.zeros((12, 10), np.float32), unit="adu", detector=detector),
                       Defects(boxes=(spot,)))  # fmt: skip
    want = np.zeros((12, 10), bool)
    want[spot.slices] = True
    np.testing.assert_array_equal(out.mask["BAD"], want)


def test_a_dead_amplifier_and_boxes_that_reach_outside(quad) -> None:
    detector = quad()
    product = Defects(boxes=(detector["UR"].trimmed, Box(-3, -3, 4, 4)))
    out = defects.flag(Frame.from_arrays(np.zeros((12, 10), np.float32), unit="adu", detector=detector), product)
    assert out.mask["BAD"].sum() == 30 + 1
    assert defects.flag(out, product, plane="SUSPECT").mask.counts() == {"BAD": 31, "SUSPECT": 31}


def test_nan_is_flagged_where_nothing_else_says_why() -> None:
    frame = row([np.nan, 1.0, np.inf, np.nan], bad=(3,))
    out = nan.flag(frame)
    assert out.mask["UNMASKEDNAN"][0].tolist() == [True, False, True, False]
    assert out.history[-1].numbers == {"pixels": 2}
    assert nan.flag(frame, explained_by=()).mask["UNMASKEDNAN"].sum() == 3


def test_a_variance_that_is_no_number_counts_once() -> None:
    frame = row([np.nan, 1.0, 1.0])
    frame.variance.array[0, :2] = np.nan
    assert nan.flag(frame).history[-1].numbers == {"pixels": 2}


def test_a_straight_line_between_the_neighbours() -> None:
    out = interpolation.fill(row([10.0, 99.0, 99.0, 99.0, 50.0], bad=(1, 2, 3)))
    assert out.image.array[0].tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert out.mask["INTRP"][0].tolist() == [False, True, True, True, False]
    assert out.mask["BAD"].sum() == 3
    # Weights (3/4, 1/4), (1/2, 1/2), (1/4, 3/4): squares 10/16, 1/2, 10/16.
    assert out.variance.array[0].tolist() == [1.0, 0.625, 0.5, 0.625, 1.0]


def test_the_cubic_for_one_pixel() -> None:
    out = interpolation.fill(row([6.0, 12.0, 0.0, 18.0, 36.0], variance=36.0, bad=(2,)), method="cubic")
    # (-6 + 4 * 12 + 4 * 18 - 36)/6 = 13; 36 * (1 + 16 + 16 + 1)/36 = 34.
    assert out.image.array[0, 2] == pytest.approx(13.0)
    assert out.variance.array[0, 2] == pytest.approx(34.0)


@pytest.mark.parametrize("gap", [(2,), (2, 3)])
def test_the_cubic_reproduces_a_cubic(gap: tuple[int, ...]) -> None:
    x = np.arange(7.0)
    truth = 5 + x - 2 * x**2 + 0.5 * x**3
    values = truth.copy()
    values[list(gap)] = 1e6
    np.testing.assert_allclose(
        interpolation.fill(row(values, bad=gap), method="cubic").image.array[0], truth, rtol=1e-5
    )


def test_the_edge_repeats_the_nearest_pixel_and_no_further_than_it_may() -> None:
    values = [9.0] * 4 + [5.0, 7.0] + [9.0] * 4
    out = interpolation.fill(row(values, bad=(0, 1, 2, 3, 6, 7, 8, 9)), edge=2)
    assert out.image.array[0].tolist() == [9.0, 9.0, 5.0, 5.0, 5.0, 7.0, 7.0, 7.0, 9.0, 9.0]
    assert out.mask["INTRP"][0].tolist() == [False, False, True, True, False, False, True, True, False, False]
    assert (out.variance.array == 1.0).all()


def test_wide_gaps_and_rows_without_a_good_pixel_stay_as_they_are() -> None:
    values = [1.0, 8.0, 8.0, 8.0, 2.0]
    out = interpolation.fill(row(values, bad=(1, 2, 3)), widest=2)
    assert out.image.array[0].tolist() == values and not out.mask["INTRP"].any()
    assert not interpolation.fill(row(values, bad=range(5))).mask["INTRP"].any()


def test_neighbours_are_finite_and_not_avoided() -> None:
    frame = row([1.0, np.nan, 9.0, 50.0, 5.0], bad=(2,))
    frame.mask["NO_DATA"] = np.array([[False, False, False, True, False]])
    out = interpolation.fill(frame)
    # The gap is columns 1 to 3; only column 2 is filled, half-way between 1 and 5.
    assert out.image.array[0, 2] == 3.0
    assert np.isnan(out.image.array[0, 1]) and out.image.array[0, 3] == 50.0


def test_along_columns() -> None:
    frame = Frame.from_arrays(np.array([[0.0, 2.0], [9.0, 2.0], [4.0, 2.0]], np.float32), np.ones((3, 2), np.float32),
                              np.array([[0, 0], [1, 0], [0, 0]]), unit="adu")  # fmt: skip
    out = interpolation.fill(frame, axis="y")
    assert out.image.array[1, 0] == 2.0 and out.variance.array[1, 0] == 0.5
    assert np.argwhere(out.mask["INTRP"]).tolist() == [[1, 0]]


def test_parts_of_the_variance_are_filled_with_it() -> None:
    frame = row([1.0, 9.0, 3.0], variance=4.0, bad=(1,))
    frame.components = {k: Plane(np.full((1, 3), v, np.float32)) for k, v in (("poisson", 3.0), ("read_noise", 1.0))}
    out = interpolation.fill(frame)
    assert out.variance.array[0, 1] == 2.0
    assert out.components["poisson"].array[0, 1] == 1.5 and out.components["read_noise"].array[0, 1] == 0.5


def test_without_a_mask_there_is_nothing_to_go_by() -> None:
    with pytest.raises(DataError, match="no mask"):
        interpolation.fill(Frame.from_arrays(np.zeros((1, 3), np.float32), unit="adu"))


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_the_variance_is_that_of_the_value(gap: int) -> None:
    """20000 rows of noise: the scatter of the filled value against the stated variance."""
    rows, rng = 20_000, np.random.default_rng(gap)
    image = rng.normal(100, 3, (rows, gap + 4)).astype(np.float32)
    mask = np.zeros(image.shape, np.uint32)
    mask[:, 2 : 2 + gap] = 1
    for method in ("linear", "cubic"):
        out = interpolation.fill(
            Frame.from_arrays(image, np.full(image.shape, 9, np.float32), mask, unit="electron"), method=method
        )
        ratio = out.image.array[:, 2].var() / out.variance.array[0, 2]
        # The relative error of a variance from n values is sqrt(2/n).
        assert abs(ratio - 1) < 4 * np.sqrt(2 / rows)
