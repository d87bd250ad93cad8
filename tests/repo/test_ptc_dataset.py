"""Photon transfer in repositories: put and got by the library, entered from a file, and repositories without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ptcs import assert_same, ptc
from repos import CAMERA, Make, exposure, raw_file

from fullwell import io
from fullwell.base.errors import UsageError
from fullwell.products import Gain, Ptc
from fullwell.repo.calibs import certify
from fullwell.repo.fitting import Calibrations
from fullwell.repo.ingest import ingest
from fullwell.repo.intake import enter_products
from fullwell.repo.repository import Repository


def of_night(night: Path) -> Ptc:
    """A photon transfer of the camera of the night."""
    return ptc(observation=io.read_outline(raw_file(night, "flat_g")).observation)


def test_the_library_puts_and_gets_it(filled: Repository, night: Path) -> None:
    from lsst.daf.butler import Butler

    butler = Butler(str(filled.path), run="u/me/tables", writeable=True)
    one = of_night(night)
    ref = butler.put(one, "ptc", instrument=CAMERA, detector=0)
    back = butler.get(ref)
    assert isinstance(back, Ptc)
    assert_same(back, one, ("metadata", "observation"))
    assert back.observation.obs_id == one.observation.obs_id
    assert back.metadata["LSST BUTLER ID"] == str(ref.id)
    assert filled.file_of(ref).suffix == ".fits"


def test_it_is_found_for_an_exposure_and_stands_for_the_gain(filled: Repository, night: Path, tmp_path: Path) -> None:
    one = of_night(night)
    gain = replace(one.to_gain(), estimator="pair", observation=one.observation)
    io.write_product(one, tmp_path / "ptc.fits")
    io.write_product(gain, tmp_path / "gain.ecsv")
    refs = enter_products(filled, [tmp_path / "ptc.fits", tmp_path / "gain.ecsv"], "a")
    seen = io.read_outline(raw_file(night, "sky_g")).observation
    certify(filled, [refs[1]])
    assert isinstance(Calibrations(filled).of(seen)["gain"], Gain)
    certify(filled, [refs[0]])
    found = Calibrations(filled).of(seen)
    assert set(found) == {"ptc"}
    assert found["ptc"].id == one.id
    there = filled.product("ptc", instrument=CAMERA, detector=0, exposure=exposure(filled))
    assert there.id == one.id
    assert [r.id for r in enter_products(filled, [tmp_path / "ptc.fits"], "b")] == [refs[0].id]


def test_a_repository_that_was_made_before_there_was_one(make: Make, night: Path, tmp_path: Path) -> None:
    repo = make()
    repo.butler.registry.removeDatasetType("ptc")
    ingest(repo, [raw_file(night, "sky_g")])
    one = of_night(night)
    io.write_product(one, tmp_path / "ptc.fits")
    with pytest.raises(UsageError, match=r"made before there was a ptc[\s\S]*make a new one"):
        enter_products(repo, [tmp_path / "ptc.fits"], "a")
    io.write_product(replace(one.to_gain(), observation=one.observation), tmp_path / "gain.ecsv")
    certify(repo, enter_products(repo, [tmp_path / "gain.ecsv"], "a"))
    assert set(Calibrations(repo).of(io.read_outline(raw_file(night, "sky_g")).observation)) == {"gain"}
