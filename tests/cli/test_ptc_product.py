"""Photon transfer on the command line: shown, explained, taken by isr, certified and found in a repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from ptcs import points, ptc

from fullwell import io
from fullwell.products import Ptc


@pytest.fixture
def product(night: Path, tmp_path: Path) -> Path:
    """A photon transfer of the camera of `night`, gain 1.5, noise 5."""
    frame = io.read(night / "science" / "science_00400.fits")
    n = len(frame.detector)
    one = np.ones(n)
    found = Ptc(
        amps=frame.detector.names, gain=1.5 * one, gain_error=0.01 * one, read_noise=5 * one, estimator="fullcov",
        fit_type="FULLCOVARIANCE", observation=frame.observation,
        points=tuple(points(a) for a in frame.detector.names),
    )  # fmt: skip
    io.write_product(found, tmp_path / "ptc.fits")
    return tmp_path / "ptc.fits"


def test_show(run, product: Path, tmp_path: Path) -> None:
    shown = run("show", product, "--json").data["files"][0]
    assert shown["is"] == "calibration product, ptc"
    assert shown["table"]["rows"][0][:2] == ["A", 1.5]
    assert shown["facts"]["estimator"] == "fullcov"
    text = run("show", product)
    assert text.code == 0
    assert "estimator" in text.out and "fullcov" in text.out
    io.write_lsst(ptc(), tmp_path / "lsst.fits")
    assert run("show", tmp_path / "lsst.fits", "--json").data["files"][0]["is"] == "calibration product, ptc"


def test_explain(run) -> None:
    done = run("explain", "ptc", "--json")
    kinds = {e["kind"] for e in done.data["entries"]}
    assert kinds == {"product", "recipe"}
    assert "by every estimator" in done.out or "estimator" in done.out


@pytest.mark.parametrize("option", ["--ptc", "--gain"])
def test_isr_takes_it(run, night: Path, product: Path, tmp_path: Path, option: str) -> None:
    raw = night / "science" / "science_00400.fits"
    assert run("isr", raw, "-o", tmp_path / "a", option, product, "-q").code == 0
    assert run("isr", raw, "-o", tmp_path / "b", "--gain", 1.5, "--read-noise", 5, "-q").code == 0
    one, two = (io.read(tmp_path / f / raw.name) for f in "ab")
    np.testing.assert_array_equal(one.image.array, two.image.array)
    np.testing.assert_array_equal(one.variance.array, two.variance.array)
    assert fits.getheader(tmp_path / "a" / raw.name)["LSST CALIB UUID PTC"] == io.read_product(product).id


def test_both_are_refused(run, night: Path, product: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path / "a", "--gain", 1.5, "--ptc", product)
    assert done.code != 0
    assert "a gain and a photon transfer" in done.err
    done = run("isr", raw, "-o", tmp_path / "a", "--ptc", product, "--read-noise", 4)
    assert "--read-noise" in done.err


def test_a_gain_file_without_a_method(run, night: Path, tmp_path: Path) -> None:
    raw, table = night / "science" / "science_00400.fits", tmp_path / "gain.ecsv"
    rows = "\n".join(f"{a} 1.5 5" for a in io.read(raw).detector.names)
    head = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: amplifier, datatype: string}\n"
    head += "# - {name: gain, datatype: float64}\n# - {name: read_noise, datatype: float64}\n"
    body = f"amplifier gain read_noise\n{rows}\n"
    table.write_text(f"{head}# meta: {{OBSTYPE: gain}}\n{body}")
    done = run("isr", raw, "-o", tmp_path / "out", "--gain", table)
    assert done.code == 1
    assert "does not say how it was measured" in done.err
    assert run("isr", raw, "-o", tmp_path / "o", "--gain", table, "--set", "gain.without_method=true", "-q").code == 0
    dry = run("isr", raw, "-o", tmp_path / "out", "--gain", table, "--dry-run")
    assert "does not say how it was measured" in dry.err
    table.write_text(f"{head}# meta: {{OBSTYPE: gain, estimator: pair}}\n{body}")
    assert run("isr", raw, "-o", tmp_path / "out", "--gain", table, "-q").code == 0


def test_a_repository_keeps_it_and_isr_finds_it(run, night: Path, product: Path, tmp_path: Path) -> None:
    raw, repo = night / "science" / "science_00400.fits", tmp_path / "repo"
    assert run("repo", "create", repo).code == 0
    assert run("repo", "ingest", raw, "--repo", repo).code == 0
    done = run("repo", "certify", product, "--repo", repo, "--begin", "1990-01-01", "--json")
    assert done.code == 0, done.err
    assert run("isr", raw, "-o", tmp_path / "a", "--repo", repo, "-q").code == 0
    header = fits.getheader(tmp_path / "a" / raw.name)
    assert header["LSST CALIB UUID PTC"] == io.read_product(product).id
    assert io.read(tmp_path / "a" / raw.name).unit == "electron"
    shown = run("repo", "ls", "datasets", "--type", "ptc", "--repo", repo, "--json")
    assert len(shown.data["datasets"]) == 1
    given = run("isr", raw, "-o", tmp_path / "b", "--repo", repo, "--gain", 2.0, "--json")
    step = next(s for s in given.data["files"][0]["history"] if s["step"] == "gain")
    assert list(step["inputs"]) == ["gain"]
