"""Photon transfer to files and back: ours of several tables, and the table of the LSST library."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from ptcs import assert_same, ptc

from fullwell import io
from fullwell.base.errors import FileError, FullwellWarning, UsageError
from fullwell.io.identity import embedded_id

STAMPS = re.compile(rb"HIERARCH CALIB_CREATION_(DATE|TIME)[^/]*|CHECKSUM=.{71}|DATASUM =.{71}")


def test_there_and_back(tmp_path: Path) -> None:
    one, path = ptc(), tmp_path / "ptc.fits"
    io.write_product(one, path)
    back = io.read_product(path, "ptc")
    assert_same(back, one)
    assert back.id == one.id
    assert back.source == str(path)
    with fits.open(path) as file:
        names = [h.name for h in file]
        assert names == ["PRIMARY", "AMPLIFIERS", "POINTS", "ESTIMATES", "DIAGNOSIS", "PAIRS", "HISTORY", "FULLWELL"]
        assert file[0].header["OBSTYPE"] == "ptc"
        assert file[0].header["FWID"] == one.id
        assert file["POINTS"].data["covariance"].shape == (15, 3, 3)
        assert file["POINTS"].columns["variance"].unit == "adu2"


def test_curves_of_other_models_go_along(tmp_path: Path) -> None:
    curves = {name: np.random.default_rng(k).uniform(1, 2, (3, 5)) for k, name in enumerate(("line", "exp"))}
    io.write_product(ptc(models=curves), tmp_path / "ptc.fits")
    back = io.read_product(tmp_path / "ptc.fits", "ptc").models
    assert set(back) == set(curves)
    for name, values in curves.items():
        np.testing.assert_array_equal(back[name], values)


def test_the_same_product_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.fits", "b.fits"):
        io.write_product(ptc(), tmp_path / name)
    one, two = (STAMPS.sub(b"", (tmp_path / name).read_bytes()) for name in ("a.fits", "b.fits"))
    assert one == two


def test_cards_of_its_origin_stay(tmp_path: Path) -> None:
    origin = {"LSST BUTLER ID": "0b8f9b4e-0000-5000-8000-000000000001", "FWRECIPE": "ptc"}
    io.write_product(ptc(metadata=origin), tmp_path / "ptc.fits")
    assert embedded_id(tmp_path / "ptc.fits") == origin["LSST BUTLER ID"]
    assert io.read_product(tmp_path / "ptc.fits").metadata == origin


def test_a_cell_that_was_edited_is_told(tmp_path: Path) -> None:
    one, path = ptc(), tmp_path / "ptc.fits"
    io.write_product(one, path)
    with fits.open(path, mode="update") as file:
        file["AMPLIFIERS"].data["gain"][0] = 2.0
    with pytest.warns(FullwellWarning, match="a table was edited after it was written"):
        back = io.read_product(path)
    assert back.gain[0] == 2.0
    assert back.id != one.id


def test_a_table_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ptc.fits"
    io.write_product(ptc(), path)
    with fits.open(path, mode="update") as file:
        del file["AMPLIFIERS"]
    with pytest.raises(FileError, match="the ptc has no table AMPLIFIERS"):
        io.read_product(path)


def test_it_is_not_another_product(tmp_path: Path) -> None:
    io.write_product(ptc(), tmp_path / "ptc.fits")
    with pytest.raises(FileError, match="this is a ptc, not a gain"):
        io.read_product(tmp_path / "ptc.fits", "gain")


def test_no_ecsv(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="several tables, which no ECSV file holds"):
        io.write_product(ptc(), tmp_path / "ptc.ecsv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [True, False])
def test_the_file_of_the_lsst_library(tmp_path: Path, bad: bool) -> None:
    one = ptc() if bad else ptc(status=("", "", ""))
    path = tmp_path / "lsst.fits"
    io.write_lsst(one, path)
    with fits.open(path) as file:
        assert len(file) == 2
        assert file[0].data is None
        assert (file[1].header["OBSTYPE"], file[1].header["PTC_VERSION"]) == ("PTC", 2.6)
    back = io.read_product(path)
    assert back.kind == "ptc"
    assert (back.estimator, back.observation.detector) == ("fullcov", "R22_S11")
    np.testing.assert_array_equal(back.gain, one.gain)
    np.testing.assert_array_equal(back.points[1].covariance, one.points[1].covariance)
    assert [bool(s) for s in back.status] == [False, False, bad]
