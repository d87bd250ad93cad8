"""Photon transfer as a product: ids, facts, the gain that ISR takes, tables and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ptcs import assert_same, points, ptc

from fullwell.base.errors import FileError, GeometryError
from fullwell.products import Gain, Ptc


def test_tables_hold_everything() -> None:
    one = ptc()
    tables = one.to_tables()
    assert list(tables) == ["AMPLIFIERS", "POINTS", "ESTIMATES", "DIAGNOSIS", "PAIRS"]
    assert [len(t) for t in tables.values()] == [3, 15, 6, 3, 5]
    assert str(tables["POINTS"]["covariance"].unit) == "adu2"
    assert str(tables["AMPLIFIERS"]["noise_matrix"].unit) == "electron2"
    meta = {"estimator": one.estimator, "fit_type": one.fit_type}
    skip = ("observation", "inputs", "notes", "history")
    assert_same(Ptc.from_tables(tables, meta), one, skip)


def test_amplifiers_may_have_other_lags_and_fewer_points() -> None:
    amps = ("A", "B")
    mixed = ptc(amps, points=(points("A", 5, 2), points("B", 3, 1)))
    back = Ptc.from_tables(mixed.to_tables(), {"estimator": "exp", "fit_type": ""})
    assert [(len(p), p.lags) for p in back.points] == [(5, 2), (3, 1)]
    np.testing.assert_array_equal(back.points[1].covariance, mixed.points[1].covariance)
    np.testing.assert_array_equal(back.model[1, :3], mixed.model[1, :3])
    assert np.isnan(back.model[1, 3:]).all()


def test_without_points_there_is_one_table() -> None:
    bare = Ptc(amps=("A",), gain=np.array([1.5]), gain_error=np.array([0.1]), estimator="cov_sum")
    assert list(bare.to_tables()) == ["AMPLIFIERS"]
    assert Ptc.from_table(bare.to_table()).gain.tolist() == [1.5]
    assert Ptc.from_table(bare.to_table()).estimator == "cov_sum"


def test_a_missing_column_is_named() -> None:
    tables = ptc().to_tables()
    tables["POINTS"].remove_column("variance")
    with pytest.raises(FileError, match="table POINTS has no column 'variance'"):
        Ptc.from_tables(tables, {})
    with pytest.raises(FileError, match="no table AMPLIFIERS"):
        Ptc.from_tables({}, {}, source="x.fits")


@pytest.mark.parametrize(
    "change",
    [{"gain": np.array([1.0, 2.0, 3.0])}, {"read_noise": np.array([1.0, 2.0, 3.0])}, {"estimator": "exp"},
     {"points": (points("C00", seed=2), points("C01"), points("C02"))}, {"b": np.zeros((3, 2, 2))}],
)  # fmt: skip
def test_other_content_has_another_id(change: dict) -> None:
    one = ptc()
    assert one.id == ptc().id
    assert replace(one, **change).id != one.id
    assert replace(one, notes=("other",)).id == one.id


def test_points_belong_to_the_amplifiers() -> None:
    with pytest.raises(GeometryError, match="points of amplifiers C01, C00, C02 for C00, C01, C02"):
        ptc(points=tuple(points(a) for a in ("C01", "C00", "C02")))


def test_facts_say_what_it_is() -> None:
    facts = ptc().facts()
    assert facts["estimator"] == "fullcov"
    assert facts["pairs of flats"] == "5"
    assert facts["without a gain"] == "C02 (dead: no light)"
    assert "electron/adu (median)" in facts["gain"]
    assert "not stated" in ptc()._repr_html_().replace("fullcov", "not stated")
    assert ptc(estimator="").facts()["estimator"] == "not stated"


def test_the_gain_of_it_names_where_it_comes_from() -> None:
    one = ptc()
    gain = one.to_gain()
    assert isinstance(gain, Gain)
    assert (gain.ptc, gain.estimator, gain.inputs) == (one.id, "fullcov", (one.id,))
    assert gain.has_method
    np.testing.assert_array_equal(gain.turnoff, one.turnoff)
    np.testing.assert_array_equal(gain.read_noise, one.read_noise)
    low, high = gain.range
    assert (low, high) == (np.nanmin(one.range_low), np.nanmax(one.range_high))
    assert not ptc(estimator="").to_gain().has_method


def test_the_table_of_a_gain_keeps_the_photon_transfer() -> None:
    gain = ptc().to_gain()
    assert Gain.from_table(gain.to_table()).ptc == gain.ptc
