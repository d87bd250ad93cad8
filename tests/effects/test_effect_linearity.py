"""Linearity: every model by hand, in adu and electron, the inverse, and the slope in the variance."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError, UnitError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor.verbs import plain_detector
from fullwell.effects import linearity
from fullwell.frames import Frame
from fullwell.products import Linearity


def frame_of(values, unit: str = "adu", gain: float = np.nan, noise: float = np.nan, variance=None) -> Frame:
    """One row, one amplifier "A"."""
    image = np.atleast_2d(np.asarray(values, np.float32))
    detector = plain_detector(image.shape).with_values(gain={"A": gain}, read_noise={"A": noise})
    planes = None if variance is None else np.full(image.shape, variance, np.float32)
    return Frame.from_arrays(image, planes, unit=unit, detector=detector)


def corrected(model: str, coefficients, values, unit: str = "adu", gain: float = np.nan, **more) -> list[float]:
    product = Linearity.same(("A",), model, coefficients, **more)
    return linearity.remove(frame_of(values, unit, gain), product).image.array[0].tolist()


def test_polynomial_by_hand() -> None:
    # 1000 + 1e-5 * 1e6 + 2e-9 * 1e9 = 1000 + 10 + 2
    assert corrected("Polynomial", [1e-5, 2e-9], [1000.0, 0.0]) == pytest.approx([1012.0, 0.0])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_polynomials_of_any_order(order: int) -> None:
    c = [1e-5, -2e-10, 3e-15, -1e-20, 5e-26][:order]
    u = np.array([-50.0, 100.0, 3e4, 9e4])
    want = u + sum(ci * u ** (i + 2) for i, ci in enumerate(c))
    assert corrected("Polynomial", c, u) == pytest.approx(want, rel=3e-7)


def test_squared_uses_its_first_coefficient_alone() -> None:
    assert corrected("Squared", [1e-5, 99.0], [1000.0]) == pytest.approx([1010.0])


@pytest.mark.parametrize("model", ["None", "Proportional"])
def test_models_that_correct_nothing(model: str) -> None:
    assert corrected(model, [5.0], [1000.0]) == [1000.0]


def test_a_spline_of_two_nodes_is_a_line_that_ends() -> None:
    # A rises from 0 at 0 to 10 at 1000: 500 -> 495; beyond the nodes it stays 10, below 0 it stays 0.
    c = [0, 1000, 0, 10]
    assert corrected("Spline", c, [500.0, 2000.0, -30.0]) == pytest.approx([495.0, 1990.0, -30.0])


def test_a_spline_passes_through_its_nodes() -> None:
    x, y = [0.0, 100.0, 500.0, 2000.0, 9000.0], [0.0, -3.0, 7.0, 1.0, 12.0]
    assert corrected("Spline", x + y, x) == pytest.approx(np.subtract(x, y), abs=1e-3)


def test_a_spline_that_does_not_begin_at_zero_gets_that_node() -> None:
    # y_0 = 2 is taken from all y, and (0, 0) put first.
    c = [100.0, 200.0, 2.0, 12.0]
    assert corrected("Spline", c, [0.0, 100.0, 200.0]) == pytest.approx([0.0, 100.0, 190.0], abs=1e-4)


def test_a_double_spline_applies_the_second_to_the_result_of_the_first() -> None:
    # First: 1000 -> 1000 - 10 = 990. Second: A(990) = 0.01 * 990 = 9.9.
    c = [2, 2, 0, 1000, 0, 10, 0, 2000, 0, 20]
    assert corrected("DoubleSpline", c, [1000.0]) == pytest.approx([980.1])


def test_look_up_tables_of_four_amplifiers() -> None:
    """Acceptance case 20 of the reference."""
    amps = tuple(
        Amplifier(name, (2, 2), Box(0, 0, 2, 2), box, box)
        for name, box in (
            ("A", Box(0, 0, 2, 2)),
            ("B", Box(2, 0, 2, 2)),
            ("C", Box(0, 2, 2, 2)),
            ("D", Box(2, 2, 2, 2)),
        )
    )
    block = np.array([[-1.0, 0.0], [1.0, 2.0]], np.float32)
    frame = Frame.from_arrays(np.tile(block, (2, 2)), unit="adu", detector=Detector("t", 0, amps))
    table = np.array([(7, 6, 5, 4), (1, 1, 1, 1), (5, 4, 3, 2), (0, 0, 0, 0)], float)
    rows, offsets = (3, 2, 1, 0), (0, 0, 1, 1)
    coefficients = tuple(np.array([r, o], float) for r, o in zip(rows, offsets, strict=True))
    product = Linearity(amps=tuple("ABCD"), models=("LookupTable",) * 4, coefficients=coefficients, table=table)
    out = linearity.remove(frame, product)
    got = [out.image.array[a.trimmed.slices].reshape(-1).tolist() for a in amps]
    assert got == [[-1, 0, 1, 2], [4, 5, 5, 5], [0, 1, 2, 3], [6, 6, 6, 6]]
    # -1 with offset 0 lies before the table, in two amplifiers.
    assert out.history[-1].numbers["outside_table"] == 2


def test_each_amplifier_has_its_own_model_and_the_order_of_the_product_does_not_matter() -> None:
    box = [Box(i, 0, 1, 1) for i in range(3)]
    amps = tuple(Amplifier(n, (1, 1), Box(0, 0, 1, 1), b, b) for n, b in zip("ABC", box, strict=True))
    frame = Frame.from_arrays(np.full((1, 3), 1000, np.float32), unit="adu", detector=Detector("t", 0, amps))
    sets = (np.array([0, 1000, 0, 10.0]), np.array([1e-5]), np.array([0.0]))
    product = Linearity(amps=("C", "A", "B"), models=("Spline", "Polynomial", "None"), coefficients=sets)
    assert linearity.remove(frame, product).image.array[0].tolist() == pytest.approx([1010.0, 1000.0, 990.0])


@pytest.mark.parametrize(
    ("model", "c", "want"),
    [("Squared", [1e-5], 1010.0), ("Polynomial", [1e-5, 2e-9], 1012.0), ("Spline", [0, 2000, 0, 20], 990.0)],
)
def test_coefficients_are_in_adu_whatever_the_image(model: str, c: list[float], want: float) -> None:
    assert corrected(model, c, [2000.0], "electron", gain=2.0) == pytest.approx([2 * want])


def test_electrons_without_a_gain_are_refused() -> None:
    with pytest.raises(UnitError, match="no gain is known"):
        corrected("Squared", [1e-5], [2000.0], "electron")


def test_the_input_gain_of_the_product_serves_where_no_other_is_known() -> None:
    assert corrected("Squared", [1e-5], [2000.0], "electron", input_gain=[2.0]) == pytest.approx([2020.0])


def test_an_amplifier_with_a_broken_coefficient_becomes_nan_and_bad() -> None:
    out = linearity.remove(frame_of([1.0, 2.0]), Linearity.same(("A",), "Polynomial", [np.nan]))
    assert np.isnan(out.image.array).all() and out.mask["BAD"].all()
    assert out.history[-1].numbers["broken"] == ["A"]


def test_the_slope_enters_the_variance_of_what_was_there_and_of_the_read_noise() -> None:
    # L = v + 1e-5 v**2, slope 1 + 2e-5 v = 1.2 at 10000, square 1.44. V: 1.44 * 5 + 0.44 * 6**2.
    product = Linearity.same(("A",), "Squared", [1e-5])
    frame = frame_of([10000.0], noise=6.0, variance=5.0)
    out = linearity.remove(frame, product)
    assert out.variance.array[0, 0] == pytest.approx(1.44 * 5 + 0.44 * 36, rel=1e-5)
    untouched = linearity.remove(frame, product, propagate_variance=False)
    assert untouched.variance.array[0, 0] == 5.0


def test_the_slope_in_electron_is_that_of_the_counts() -> None:
    product = Linearity.same(("A",), "Polynomial", [1e-5, 1e-10])
    # u = 10000: slope 1 + 0.2 + 0.03 = 1.23.
    out = linearity.remove(frame_of([20000.0], "electron", gain=2.0, noise=3.0, variance=4.0), product)
    assert out.variance.array[0, 0] == pytest.approx(1.23**2 * 13 - 9, rel=1e-5)


@pytest.mark.parametrize("model", ["Spline", "DoubleSpline", "LookupTable"])
def test_the_slope_of_splines_and_tables(model: str) -> None:
    # All three take off 1 % of the count: slope 0.99.
    sets = {"Spline": [0, 1e5, 0, 1e3], "DoubleSpline": [2, 0, 0, 1e5, 0, 1e3], "LookupTable": [0, 0]}
    product = Linearity.same(("A",), model, sets[model], table=-0.01 * np.arange(60000.0)[None, :])
    out = linearity.remove(frame_of([1000.0], noise=10.0, variance=1.0), product)
    assert out.image.array[0, 0] == pytest.approx(990.0)
    assert out.variance.array[0, 0] == pytest.approx(0.99**2 * 101 - 100, abs=2e-3)


def test_a_slope_that_changes_nothing_is_left_out_and_said_so() -> None:
    tiny = linearity.remove(frame_of([100.0], gain=1.0, noise=5.0), Linearity.same(("A",), "Squared", [1e-7]))
    assert tiny.variance is None and not tiny.history[-1].numbers["slope_in_variance"]
    forced = linearity.remove(
        frame_of([100.0], gain=1.0, noise=5.0), Linearity.same(("A",), "Squared", [1e-7]), negligible=0.0
    )
    # The square of 1.00002 is rounded to 6e-8 in float32, 1.5e-3 of its distance from 1.
    assert forced.variance.array[0, 0] == pytest.approx(4e-5 * 25, rel=2e-3)


def test_adding_is_the_inverse_by_hand() -> None:
    # L(1000) = 1010, so that 1010 true counts read 1000.
    out = linearity.add(frame_of([1010.0]), Linearity.same(("A",), "Squared", [1e-5]))
    assert out.image.array[0, 0] == pytest.approx(1000.0, rel=1e-6)


def test_a_correction_that_turns_back_has_no_inverse() -> None:
    # L = v - 1e-5 v**2 has its top at v = 50000: 25000.
    with pytest.raises(DataError, match="no inverse at 1 pixels"):
        linearity.add(frame_of([1000.0, 30000.0]), Linearity.same(("A",), "Squared", [-1e-5]))


def test_nan_stays_nan_and_nothing_else_changes() -> None:
    for model, c in (("Squared", [1e-5]), ("Spline", [0, 1000, 0, 10])):
        values = corrected(model, c, [np.nan, 0.0])
        assert np.isnan(values[0]) and values[1] == 0.0
