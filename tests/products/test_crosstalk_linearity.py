"""Crosstalk and linearity products: their checks, and the table layout of the LSST library."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError, FileError, GeometryError, UnitError
from fullwell.cameras import Box
from fullwell.products import Crosstalk, Linearity

AMPS = ("A", "B")


def test_crosstalk_is_written_row_by_row_source_first() -> None:
    product = Crosstalk(amps=AMPS, coefficients=[[0, 1e-3], [2e-3, 0]], unit="electron", gains=[2.0, 4.0])
    table = product.to_table()
    assert table["CT_COEFFS"][0].tolist() == [0, 1e-3, 2e-3, 0]
    assert table["CT_AMP_GAIN_RATIOS"][0].tolist() == [1, 2, 0.5, 1]
    assert table["CT_FIT_GAINS"][0].tolist() == [2.0, 4.0]
    meta = {k: table.meta[k] for k in ("NAMP", "CROSSTALK_SHAPE", "CROSSTALK_RATIOS_UNITS", "OBSTYPE")}
    assert meta == {
        "NAMP": 2,
        "CROSSTALK_SHAPE": "(2, 2)",
        "CROSSTALK_RATIOS_UNITS": "electron",
        "OBSTYPE": "CROSSTALK",
    }


@pytest.mark.parametrize("quadratic", [None, [[0, 1e-10], [2e-10, 0]]])
def test_crosstalk_comes_back_from_its_table(quadratic) -> None:
    product = Crosstalk(
        amps=AMPS,
        coefficients=[[0, 1e-3], [2e-3, 0]],
        errors=[[0, 1e-5], [2e-5, 0]],
        valid=[[True, False], [True, True]],
        counts=[[0, 10], [20, 0]],
        quadratic=quadratic,
    )
    back = Crosstalk.from_table(product.to_table())
    for label in ("coefficients", "errors", "valid", "counts", "gains"):
        np.testing.assert_array_equal(getattr(back, label), getattr(product, label))
    assert (back.quadratic is None) == (quadratic is None) and back.amps == AMPS and back.unit == "adu"
    assert back.id == product.id
    np.testing.assert_array_equal(back.used()[0], [[0, 0], [2e-3, 0]])


def test_crosstalk_of_a_file_without_names_needs_them() -> None:
    table = Crosstalk(amps=AMPS, coefficients=np.zeros((2, 2))).to_table()
    del table.meta["AMPLIFIERS"]
    with pytest.raises(FileError, match="2 amplifiers, 0 names"):
        Crosstalk.from_table(table)
    assert Crosstalk.from_table(table, amps=("X", "Y")).amps == ("X", "Y")


def test_crosstalk_refuses_wrong_shapes_units_and_tables() -> None:
    with pytest.raises(GeometryError, match=r"shape \(3, 3\), not \(2, 2\)"):
        Crosstalk(amps=AMPS, coefficients=np.zeros((3, 3)))
    with pytest.raises(UnitError, match="'ADU'"):
        Crosstalk(amps=AMPS, coefficients=np.zeros((2, 2)), unit="ADU")
    with pytest.raises(FileError, match="LINEARIZER"):
        Crosstalk.from_table(Linearity.same(AMPS, "Squared", [1e-7]).to_table())


def linear() -> Linearity:
    return Linearity(
        amps=("A", "B", "C"),
        models=("Spline", "Polynomial", "LookupTable"),
        coefficients=(np.array([0, 100, 1000, 0, -5, 0.0]), np.array([1e-7, 0.0]), np.array([1.0, 0.0])),
        table=np.arange(8.0).reshape(2, 4),
        input_gain=[1.0, 2.0, 3.0],
        boxes=(Box(0, 0, 5, 6), Box(5, 0, 5, 6), Box(0, 6, 5, 6)),
        override=True,
    )


def test_linearity_comes_back_from_its_table() -> None:
    back = Linearity.from_table(linear().to_table())
    assert back.models == linear().models and back.boxes == linear().boxes and back.override
    for a, b in zip(back.coefficients, linear().coefficients, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(back.table, linear().table)
    np.testing.assert_array_equal(back.input_gain, [1.0, 2.0, 3.0])
    assert back.id == linear().id


@pytest.mark.parametrize("pad", [0.0, np.nan])
def test_padding_of_other_writers_is_taken_off(pad: float) -> None:
    table = linear().to_table()
    padded = np.full((3, 12), pad)
    for row, c in zip(padded, linear().coefficients, strict=True):
        row[: c.size] = c
    table.remove_columns(["COEFFS", "N_COEFFS"])
    table["COEFFS"] = padded
    back = Linearity.from_table(table)
    assert back.coefficients[0].tolist() == [0, 100, 1000, 0, -5, 0]
    assert back.coefficients[1].tolist() == [1e-7]
    assert back.coefficients[2].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("model", "c", "problem"),
    [
        ("Cubic", [1.0], "'Cubic' is not one of"),
        ("Spline", [0, 1, 2], "not two or more pairs"),
        ("Spline", [0, 5, 3, 0, 0, 0], "do not increase"),
        ("DoubleSpline", [2, 2, 0, 1, 0, 0], "shorter than its counts"),
        ("LookupTable", [4, 0], "no row of a look-up table of 0 rows"),
    ],
)
def test_linearity_refuses_what_it_cannot_apply(model: str, c: list[float], problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        Linearity.same(AMPS, model, c, source="lin.fits")
    assert caught.value.where == "lin.fits amplifier A"


def test_linearity_refuses_other_units_and_tables() -> None:
    table = linear().to_table()
    table.meta["LINEARITY_UNITS"] = "electron"
    with pytest.raises(FileError, match="only adu"):
        Linearity.from_table(table)
    with pytest.raises(FileError, match="no linearity"):
        Linearity.from_table(Crosstalk(amps=AMPS, coefficients=np.zeros((2, 2))).to_table())
    with pytest.raises(GeometryError, match="2 amplifiers, 1 models"):
        Linearity(amps=AMPS, models=("None",), coefficients=(np.zeros(1), np.zeros(1)))
