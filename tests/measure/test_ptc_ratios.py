"""Gains made continuous at the edges of amplifiers (case 15), and tables of eotest."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from fullwell.base.errors import DataError, GeometryError
from fullwell.measure.ptc.eotable import eotest_estimates, eotest_table
from fullwell.measure.ptc.ratios import RatioConfig, adjust_gains
from fullwell.products import Ptc

AMP_OF = np.add.outer(np.arange(80) // 40 * 8, np.arange(320) // 40)


def light(level: float) -> np.ndarray:
    """Electrons of a flat that falls to the edge, with a slope."""
    y, x = np.indices(AMP_OF.shape)
    return level * np.exp(0.05 * (x / 320 - 0.5) - 0.1 * ((y - 39.5) ** 2 + (x - 159.5) ** 2) / 160**2)


@pytest.fixture
def truth() -> np.ndarray:
    gains = np.random.default_rng(3).normal(1.7, 0.05, 16)
    gains[8] = 1.2
    return gains


def test_ratios_are_restored_and_the_median_stays(truth):
    measured = truth * np.random.default_rng(4).normal(1, 0.003, 16)
    flats = [light(level) / truth[AMP_OF] for level in (4000.0, 9000.0, 15000.0)]
    config = RatioConfig(knots=0, order=2)
    found = adjust_gains(measured, flats, AMP_OF, config)
    scale = np.median(found.gain / truth)
    np.testing.assert_allclose(found.gain / truth / scale, 1, atol=1e-7)
    assert abs(np.median(found.gain) / np.median(measured) - 1) < 0.007
    assert np.ptp(np.log(flats[0] * found.gain[AMP_OF] / light(4000.0))) < 1e-6
    assert found.left == () and found.flats == 3


def test_a_gain_that_is_far_off_is_found_or_left(truth):
    given = truth.copy()
    given[8] = 1.7
    flats = [light(8000.0) / truth[AMP_OF]]
    kept = adjust_gains(given, flats, AMP_OF)
    assert kept.left == (8,) and kept.gain[8] == 1.7
    found = adjust_gains(given, flats, AMP_OF, RatioConfig(limit=0.6))
    others = np.delete(found.gain / truth, 8)
    assert found.gain[8] / np.median(others) == pytest.approx(1.2, abs=5e-4)


def test_error_of_the_corrections_is_that_of_the_scatter(truth):
    rng, pulls = np.random.default_rng(8), []
    for _ in range(12):
        flat = light(8000.0) / truth[AMP_OF] * rng.normal(1, 0.01, AMP_OF.shape)
        found = adjust_gains(truth, [flat], AMP_OF)
        log = np.log(found.correction)
        pulls.append((log - log.mean()) / found.error)
    width, n = np.std(pulls), np.size(pulls)
    assert abs(width - 1) < 4 / np.sqrt(2 * n) + 1 / 32


def test_pixels_with_defects_are_rejected(truth):
    flat = light(8000.0) / truth[AMP_OF]
    clean = adjust_gains(truth, [flat], AMP_OF)
    flat[10:14, 50:60] = 60000.0
    flat[0, 0] = np.nan
    np.testing.assert_allclose(adjust_gains(truth, [flat], AMP_OF).correction, clean.correction, atol=2e-5)


def test_what_cannot_be_compared_is_an_error(truth):
    flat = light(8000.0)
    with pytest.raises(GeometryError, match="shape"):
        adjust_gains(truth, [flat[:10]], AMP_OF)
    with pytest.raises(DataError, match="none of 1 flats has a median between 1000 and 20000 adu"):
        adjust_gains(truth, [flat * 10], AMP_OF)
    with pytest.raises(DataError, match="1 amplifiers have light and a gain"):
        adjust_gains(truth, [np.where(AMP_OF == 3, flat, np.nan)], AMP_OF)


def test_a_table_of_eotest_is_an_estimator():
    table = Table({"AMP": [2, 1], "GAIN": [0.71, 0.72], "PTC_GAIN": [0.75, -1.0], "PTC_GAIN_ERROR": [0.002, 0.003]})
    found = eotest_estimates(table, ["C10", "C11"])
    assert found["C11"][0].name == "eotest_ptc_gain" and found["C11"][0].gain == 0.75
    assert found["C11"][0].error == 0.002 and not found["C11"][0].biased
    assert found["C10"][0].reason == "PTC_GAIN of the table is -1" and np.isnan(found["C10"][0].gain)
    assert found["C10"][1].name == "eotest_fe55_gain" and found["C10"][1].gain == 0.72
    named = Table({"AMP": ["C11", "C10"], "PTC_GAIN": [1.0, 2.0]})
    assert eotest_estimates(named, ["C10"])["C10"][0].gain == 2.0


def test_a_table_that_does_not_fit_says_why():
    with pytest.raises(DataError, match="no column AMP"):
        eotest_estimates({"GAIN": [1.0]}, ["A"])
    with pytest.raises(DataError, match="2 rows for 1 amplifiers"):
        eotest_estimates({"AMP": [1, 2], "GAIN": [1.0, 1.0]}, ["A"])
    with pytest.raises(DataError, match="no column of a gain"):
        eotest_estimates({"AMP": [1], "X": [1.0]}, ["A"])
    with pytest.raises(DataError, match="'left', neither a number nor an amplifier"):
        eotest_estimates({"AMP": ["left"], "GAIN": [1.0]}, ["A"])


def test_a_product_is_written_with_the_names_of_eotest():
    one = {"gain": [0.75], "gain_error": [0.01], "read_noise": [5.0], "a00": [-2.7e-6], "turnoff": [1e5]}
    ptc = Ptc(amps=("C10",), **{name: np.array(value) for name, value in one.items()})
    table = eotest_table(ptc, more={"CTI_HIGH_SERIAL": [1e-6]})
    row = table[0]
    assert (row["AMP"], row["PTC_GAIN"], row["PTC_A00"], row["CTI_HIGH_SERIAL"]) == (1, 0.75, 2.7e-6, 1e-6)
    assert row["FULL_WELL"] == 75_000 and str(table["PTC_GAIN_ERROR"].unit) == "electron / adu"
    assert eotest_estimates(table, ["C10"])["C10"][0].gain == 0.75
    with pytest.raises(DataError, match="2 values for 1 amplifiers"):
        eotest_table(ptc, more={"X": [1.0, 2.0]})
