"""Calibrations of a repository for frames that need not be in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from repos import Make, enter, raw_file

from fullwell import io
from fullwell.base.errors import MissingProduct
from fullwell.cli.main import main
from fullwell.products import Bias, Flat
from fullwell.repo.fitting import Calibrations
from fullwell.repo.ingest import ingest


def test_a_file_finds_what_is_valid_for_it(make: Make, night: Path, tmp_path: Path) -> None:
    repo = make()
    bias = raw_file(night, "bias")
    ingest(repo, [bias, raw_file(night, "flat_g")])
    science = raw_file(night, "sky")
    with pytest.raises(MissingProduct, match="no calibration"):
        Calibrations(repo).of(io.read_outline(science).observation)
    enter(repo, bias, Bias, 2.0)
    enter(repo, science, Flat, 0.5)
    found = Calibrations(repo).of(io.read_outline(science).observation)
    assert set(found) == {"bias", "flat"} and isinstance(found["flat"], Flat)
    assert np.all(found["flat"].image == 0.5)


def test_isr_takes_them(make: Make, night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = make()
    science = raw_file(night, "sky")
    ingest(repo, [raw_file(night, "flat_g")])
    enter(repo, science, Flat, 0.5)
    call = ["isr", str(science), "-o", str(tmp_path / "a"), "--gain", "1.5", "-q"]
    assert main(call) == 0
    assert main([*call, "-o", str(tmp_path / "b"), "--repo", str(repo.path)]) == 0
    one, two = (io.read(tmp_path / f / science.name) for f in "ab")
    good = one.good() & two.good()
    assert np.allclose(two.image.array[good], 2 * one.image.array[good], rtol=1e-6)
