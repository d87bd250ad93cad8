"""Frames on disk: IMAGE, MASK, VARIANCE; ours, the LSST library's, CCDData's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty

import fullwell.io as fio
from fullwell.base.errors import FileError, HeaderError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, GainMap, Mask, Observation, Plane


def detector() -> Detector:
    amp = Amplifier(
        "A", (12, 10), Box(0, 0, 8, 12), Box(0, 0, 10, 12), Box(0, 0, 8, 12), read_noise=5.0, saturation=6e4
    )
    return Detector("d", 3, (replace(amp, gain=1.5),))


def frame(**more: Any) -> Frame:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(12, 8)).astype(np.float32)
    image[2, 3] = np.nan
    mask = Mask(rng.integers(0, 2**15, (12, 8)).astype(np.uint32))
    records = (
        Record("overscan", config={"method": "median"}, numbers={"level": float("nan")}, note="level 1000 ± 2"),
        Record("dark", "left out", note="no dark given"),
        Record("flat", inputs={"flat": "abc123"}),
    )
    values: dict[str, Any] = {
        "detector": detector(),
        "observation": Observation(instrument="demo", exposure_time=30.0, window=(1, 2, 3, 4), binning=(2, 2)),
        "metadata": {"OBJECT": "Käfer", "BIASSEC": "[9:10,1:12]", "HISTORY": "older line", "LONG KEY WORD": "x" * 100},
        "comments": {"OBJECT": "what was looked at"},
        "history": records,
        "components": {"poisson": Plane(np.full((12, 8), 2, np.float32), unit="electron2")},
        "gain_map": GainMap(1.0, "abc123", {"A": 1.5}),
    }
    return Frame(
        Plane(image, unit="electron"),
        Plane(np.full((12, 8), 9, np.float32), unit="electron2"),
        mask,
        **{**values, **more},
    )


@pytest.mark.parametrize("compress", [False, True, "gzip"])
def test_a_frame_comes_back(tmp_path: Path, compress: bool | str) -> None:
    before, path = frame(), tmp_path / "f.fits"
    fio.write_frame(before, path, compress=compress)
    after = fio.read(path)
    assert np.array_equal(after.image.array, before.image.array, equal_nan=True)
    assert after.mask is not None and before.mask is not None and after.variance is not None
    assert np.array_equal(after.mask.array, before.mask.array)
    assert after.mask.schema == before.mask.schema
    assert np.array_equal(after.variance.array, before.variance.array)
    assert (after.unit, after.variance.unit, after.components["poisson"].unit) == ("electron", "electron2", "electron2")
    assert after.components["poisson"].array[0, 0] == 2
    assert after.detector == before.detector or repr(after.detector) == repr(before.detector)
    assert repr(after.observation) == repr(before.observation)
    assert after.gain_map == before.gain_map
    assert after.history[1:] == before.history[1:]
    assert np.isnan(after.history[0].numbers["level"])
    assert after.history[0].note == "level 1000 ± 2"
    assert after.raw is False
    assert after.metadata["OBJECT"] == "K\\xe4fer"
    assert after.metadata["LONG KEY WORD"] == "x" * 100
    assert after.metadata["HISTORY"] == "older line"
    assert after.comments["OBJECT"] == "what was looked at"
    assert "BIASSEC" not in after.metadata
    assert (after.metadata["GAIN"], after.metadata["RDNOISE"], after.metadata["SATURATE"]) == (1.0, 5.0, 9e4)


def test_written_again_it_is_the_same(tmp_path: Path) -> None:
    """Nothing is moved, doubled or lost by a second trip."""
    one, two = tmp_path / "1.fits", tmp_path / "2.fits"
    fio.write_frame(frame(), one)
    fio.write_frame(fio.read(one), two)
    with fits.open(one) as a, fits.open(two) as b:
        assert [h.name for h in a] == [h.name for h in b]
        for x, y in zip(a, b, strict=True):
            ours, theirs = dict(x.header), dict(y.header)
            for header in (ours, theirs):
                header.pop("COMMENT", None)
                header.pop("HISTORY", None)
            assert ours == theirs
            assert list(x.header.get("HISTORY", [])) == list(y.header.get("HISTORY", []))


def test_what_astropy_sees(tmp_path: Path) -> None:
    path = tmp_path / "f.fits"
    fio.write_frame(frame(), path)
    with fits.open(path, checksum=True) as hdus:
        assert [h.name for h in hdus[1:]] == ["IMAGE", "MASK", "VARIANCE", "VAR_POISSON", "HISTORY", "FULLWELL"]
        assert [h.data.dtype.str for h in hdus[1:4]] == [">f4", ">i4", ">f4"]
        assert hdus["MASK"].header["MP_SAT"] == 1
        assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 6
        assert hdus[0].header["LSST CALIB UUID FLAT"] == "abc123"
        assert "fullwell: dark (left out): no dark given" in list(hdus[0].header["HISTORY"])
        for hdu in hdus:
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
        hdus.verify("exception")


def test_a_part_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "f.fits"
    fio.write_frame(frame()[Box(2, 3, 4, 5)], path)
    after = fio.read(path)
    assert after.box == Box(2, 3, 4, 5)
    assert fits.getheader(path, "IMAGE")["CRVAL1A"] == 2.0


def lsst_file(path: Path, names: str = "EXTNAME", compressed: bool = False) -> np.ndarray:
    """An exposure as the LSST library writes it: planes, archive tables, its own bit numbers, LTV."""
    image = np.arange(20, dtype=np.float32).reshape(4, 5)
    mask = np.zeros((4, 5), np.int32)
    mask[1, 2] = 1 << 3
    mask[0, 0] = 1 << 12
    primary = fits.PrimaryHDU()
    primary.header["AR_HDU"] = 5
    primary.header["PSF_ID"] = 4
    primary.header["DETNAME"] = "R22_S11"
    primary.header["HIERARCH LSST BUTLER RUN"] = "u/x"
    hdus = fits.HDUList([primary])
    for name, plane in (("IMAGE", image), ("MASK", mask), ("VARIANCE", image + 1)):
        kind = "RICE_1" if plane.dtype.kind == "i" else "GZIP_1"
        hdu: Any = (
            fits.CompImageHDU(plane, compression_type=kind, quantize_level=0) if compressed else fits.ImageHDU(plane)
        )
        hdu.header["EXTTYPE"] = name
        if names == "EXTNAME":
            hdu.name = name
        hdu.header.update(LTV1=-100.0, LTV2=-7.0, CRVAL1A=100.0, CRVAL2A=7.0, CRPIX1A=1.0, CRPIX2A=1.0)
        hdu.header.update(CTYPE1A="LINEAR", CTYPE2A="LINEAR")
        if name == "MASK":
            hdu.header.update(MP_BAD=3, MP_SAT=12)
            hdu.header["HIERARCH MP_NOT_DEBLENDED"] = 0
        if name == "IMAGE":
            hdu.header["BUNIT"] = "electron"
        hdus.append(hdu)
    for name in ("ARCHIVE_INDEX", "ARCHIVE_DATA"):
        hdus.append(fits.BinTableHDU.from_columns([fits.Column("id", "J", array=[1, 2])], name=name))
    hdus.writeto(path)
    return image


@pytest.mark.parametrize("names", ["EXTNAME", "EXTTYPE"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_of_the_lsst_library(tmp_path: Path, names: str, compressed: bool) -> None:
    path = tmp_path / "calexp.fits"
    image = lsst_file(path, names, compressed)
    got = fio.read(path)
    assert got.mask is not None and got.variance is not None
    assert got.box == Box(100, 7, 5, 4)
    assert np.array_equal(got.image.array, image)
    assert np.array_equal(got.variance.array, image + 1)
    assert got.mask["BAD"][1, 2] and got.mask["BAD"].sum() == 1
    assert got.mask["SAT"][0, 0]
    assert got.mask.schema == {"BAD": 3, "SAT": 12, "NOT_DEBLENDED": 0}
    assert (got.unit, got.metadata["LSST BUTLER RUN"]) == ("electron", "u/x")
    fio.write_frame(got, tmp_path / "again.fits")
    again = fio.read(tmp_path / "again.fits")
    assert again.mask is not None and again.mask.schema == got.mask.schema
    assert again.box == got.box
    assert not {"AR_HDU", "PSF_ID"} & set(fits.getheader(tmp_path / "again.fits"))


def test_planes_of_different_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.ones((3, 3)), name="IMAGE"),
        fits.ImageHDU(np.ones((3, 4)), name="VARIANCE"),
    ]
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(HeaderError, match=r"variance has shape \(3, 4\), the image \(3, 3\)"):
        fio.read(path)


def test_ccddata_files(tmp_path: Path) -> None:
    """Standard deviation 3 gives variance 9; the mask becomes BAD."""
    path = tmp_path / "ccd.fits"
    mask = np.zeros((3, 4), bool)
    mask[1, 1] = True
    ccd = CCDData(np.full((3, 4), 5.0), unit="adu", uncertainty=StdDevUncertainty(np.full((3, 4), 3.0)), mask=mask)
    ccd.write(path)
    got = fio.read(path)
    assert got.variance is not None and got.mask is not None
    assert got.unit == "adu"
    assert np.all(got.variance.array == 9)
    assert np.array_equal(got.mask["BAD"], mask)


def test_to_ccddata_and_back() -> None:
    before = frame()
    ccd = fio.to_ccddata(before)
    assert before.mask is not None and before.variance is not None
    assert str(ccd.unit) == "electron"
    assert np.array_equal(ccd.mask, before.mask.any_of(["BAD", "SAT", "NO_DATA", "UNMASKEDNAN"]))
    assert np.array_equal(ccd.uncertainty.array, before.variance.array)
    after = fio.from_ccddata(ccd)
    assert after.mask is not None
    assert np.array_equal(after.mask.array, before.mask.array)
    assert after.history[2] == before.history[2]
    ccd.data[:] = 0
    assert before.image.array[0, 0] != 0
    inverse = CCDData(np.ones((2, 2)), unit="adu", uncertainty=InverseVariance(np.full((2, 2), 0.25)))
    variance = fio.from_ccddata(inverse).variance
    assert variance is not None and np.all(variance.array == 4)


def test_raw_integers_and_unknown_compression_are_refused(tmp_path: Path) -> None:
    raw = Frame(Plane(np.ones((2, 2), np.uint16), unit="adu"), raw=True)
    with pytest.raises(UsageError, match="raw integers"):
        fio.write_frame(raw, tmp_path / "x.fits")
    with pytest.raises(UsageError, match="compression"):
        fio.write_frame(frame(), tmp_path / "x.fits", compress="hcompress")
    assert list(tmp_path.iterdir()) == []


def test_keywords_that_fits_cannot_hold_are_named(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="FITS cannot hold") as info:
        fio.write_frame(frame(metadata={"BAD\nKEY": 1}), tmp_path / "x.fits")
    assert "BAD" in str(info.value.where)


def test_not_overwritten_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fio.write_frame(frame(), path)
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists"):
        fio.write_frame(frame(), path, overwrite=False)
    assert path.read_bytes() == before


def test_reading_raw_files_needs_no_astropy(tmp_path: Path) -> None:
    """A cold start is a tenth of a second shorter without it."""
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(np.ones((4, 4), np.uint16)).writeto(path)
    code = f"import sys, fullwell.io as io; io.read_headers({str(path)!r}); assert 'astropy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
