"""Products on disk: images as FITS, tables as ECSV or FITS, and the files of others."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import fullwell.io as fio
from fullwell.base.errors import FileError, FullwellWarning
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Observation
from fullwell.products import Bias, Dark, Defects, Flat, Gain

SEEN = Observation(instrument="demo", detector="S00", detector_id=7, filter="g", begin="2025-01-02T03:04:05")
MADE = {
    "observation": SEEN,
    "inputs": ("a", "b"),
    "history": (Record("combine", note="2 frames"),),
    "notes": ("one left out",),
}


def flat(**more: object) -> Flat:
    rng = np.random.default_rng(2)
    return Flat(
        image=rng.normal(1, 0.01, (5, 6)).astype(np.float32),
        variance=np.full((5, 6), 1e-6, np.float32),
        mask=rng.integers(0, 4, (5, 6)).astype(np.uint32),
        count=np.full((5, 6), 9, np.uint16),
        box=Box(2, 3, 6, 5),
        statistics={"level": 1.5},
        **{**MADE, **more},
    )


@pytest.mark.parametrize("compress", [False, True])
def test_an_image_product_comes_back(tmp_path: Path, compress: bool) -> None:
    before, path = flat(), tmp_path / "flat.fits"
    fio.write_product(before, path, compress=compress)
    after = fio.read_product(path, "flat")
    assert isinstance(after, Flat)
    for name in ("image", "variance", "mask", "count"):
        a, b = getattr(after, name), getattr(before, name)
        assert a.dtype == b.dtype and np.array_equal(a, b), name
    assert (after.id, after.box, after.unit, after.inputs, after.notes) == (
        before.id,
        before.box,
        "",
        ("a", "b"),
        before.notes,
    )
    assert after.history == before.history
    assert after.statistics == {"level": 1.5}
    assert repr(after.observation) == repr(SEEN)
    assert after.source == str(path)


def test_the_header_speaks_the_words_of_the_field(tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    fio.write_product(flat(), path)
    header = fits.getheader(path)
    assert (header["OBSTYPE"], header["DETECTOR"], header["DET_NAME"], header["FILTER"]) == ("flat", 7, "S00", "g")
    assert (header["FLAT_SCHEMA"], header["FLAT_VERSION"]) == ("fullwell/flat", "1.0.0")
    assert (header["CPP_INPUT_0"], header["CPP_INPUT_1"]) == ("a", "b")
    assert header["LSST ISR UNITS"] == ""
    with fits.open(path, checksum=True) as hdus:
        assert [h.name for h in hdus[1:]] == ["IMAGE", "MASK", "VARIANCE", "COUNT", "HISTORY", "FULLWELL"]
        assert all(h.verify_datasum() == 1 for h in hdus)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fio.write_product(Bias(image=np.ones((2, 2), np.float32), unit="adu"), path)
    with pytest.raises(FileError, match="this is a bias, not a flat"):
        fio.read_product(path, "flat")


def gain() -> Gain:
    return Gain(
        amps=("C00", "C01"),
        gain=np.array([1.1, 1 / 3]),
        gain_error=np.array([0.01, np.nan]),
        read_noise=np.array([5.0, 6.0]),
        read_noise_error=np.array([0.1, 0.2]),
        estimator="pair",
        range=(100.0, 30000.0),
        **MADE,
    )


@pytest.mark.parametrize("name", ["gain.ecsv", "gain.fits"])
def test_gains_come_back_to_the_last_digit(tmp_path: Path, name: str) -> None:
    before, path = gain(), tmp_path / name
    fio.write_product(before, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = fio.read_product(path)
    assert isinstance(after, Gain)
    for field in ("gain", "gain_error", "read_noise", "read_noise_error", "saturation", "turnoff"):
        assert np.array_equal(getattr(after, field), getattr(before, field), equal_nan=True), field
    assert (after.amps, after.id, after.estimator, after.range) == (before.amps, before.id, "pair", (100.0, 30000.0))
    assert (after.inputs, after.notes, after.history) == (before.inputs, before.notes, before.history)


def test_an_edited_gain_counts_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gain.ecsv"
    fio.write_product(gain(), path)
    path.write_text(path.read_text().replace("C00 1.1 ", "C00 1.25 "))
    with pytest.warns(FullwellWarning, match="edited"):
        after = fio.read_product(path)
    assert isinstance(after, Gain)
    assert after.gain[0] == 1.25
    assert after.id != gain().id
    assert "edited" in after.notes[-1]


def test_a_hand_written_gain_table(tmp_path: Path) -> None:
    path = tmp_path / "gain.ecsv"
    Table({"amplifier": ["A"], "gain": [2.0]}, meta={"schema": "fullwell/gain"}).write(path)
    got = fio.read_product(path, "gain")
    assert isinstance(got, Gain)
    assert got.gain[0] == 2.0 and np.isnan(got.read_noise[0])


@pytest.mark.parametrize("name", ["d.ecsv", "d.fits"])
def test_defects_come_back(tmp_path: Path, name: str) -> None:
    before = Defects(boxes=(Box(1, 2, 3, 4), Box(10, 0, 1, 9)), codes=("hot", "column"), **MADE)
    fio.write_product(before, tmp_path / name)
    after = fio.read_product(tmp_path / name)
    assert isinstance(after, Defects)
    assert (after.boxes, after.codes, after.id) == (before.boxes, before.codes, before.id)
    fio.write_product(Defects(), tmp_path / f"none-{name}")
    none = fio.read_product(tmp_path / f"none-{name}")
    assert isinstance(none, Defects) and none.boxes == ()


def test_overlapping_defects_are_made_disjoint(tmp_path: Path) -> None:
    """Two 2 x 2 boxes that share a pixel cover 7 pixels."""
    path = tmp_path / "d.txt"
    path.write_text("# x0 y0 width height\n0 0 2 2\n1,1,2,2\n")
    got = fio.read_product(path)
    assert isinstance(got, Defects)
    assert sum(box.area for box in got.boxes) == 7
    assert got.mask((3, 3)).astype(int).tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    path.write_text("0 0 2\n")
    with pytest.raises(FileError, match="no defect") as info:
        fio.read_product(path, "defects")
    assert "line 1" in str(info.value.where)


def test_regions_by_hand(tmp_path: Path) -> None:
    """Centre 5 (from 1), width 3: pixels 3, 4, 5 from 0. Centre 2.5, width 2: pixels 1, 2. Turned: sides swapped."""
    rows = [
        ("BOX", 5.0, 2.5, (3.0, 2.0), 0.0),
        ("POINT", 11.0, 1.0, (0.0, 0.0), 0.0),
        ("ROTBOX", 21.0, 8.0, (1.0, 3.0), 90.0),
        ("CIRCLE", 1.0, 1.0, (4.0, 4.0), 0.0),
        ("ROTBOX", 1.0, 1.0, (4.0, 4.0), 45.0),
    ]
    shapes, xs, ys, sizes, angles = (list(column) for column in zip(*rows, strict=True))
    columns = [
        fits.Column("SHAPE", "16A", array=shapes),
        fits.Column("X", "E", array=xs),
        fits.Column("Y", "E", array=ys),
        fits.Column("R", "2E", array=sizes),
        fits.Column("ROTANG", "E", array=angles),
        fits.Column("COMPONENT", "J", array=[1] * 5),
    ]
    path = tmp_path / "d.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="REGION")]).writeto(path)
    with pytest.warns(FullwellWarning, match="left out") as seen:
        got = fio.read_product(path)
    assert isinstance(got, Defects)
    assert got.boxes == (Box(3, 1, 3, 2), Box(10, 0, 1, 1), Box(19, 7, 3, 1))
    assert len(seen) == 2


def test_a_newer_version_is_read_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "gain.ecsv"
    fio.write_product(gain(), path)
    path.write_text(path.read_text().replace("version: 1.0.0", "version: 2.1.0"))
    with pytest.warns(FullwellWarning, match=r"version 2\.1\.0, newer than 1\.0\.0"):
        assert isinstance(fio.read_product(path), Gain)


def test_combined_dark_of_the_lsst_library(tmp_path: Path) -> None:
    """Its dark time is 1 s, so electron is electron per second; its bit numbers are moved to ours."""
    mask = np.array([[0, 16]], np.int32)
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(np.array([[1, 2]], np.float32), name=n) for n in ("IMAGE", "VARIANCE"))]
    hdus.insert(2, fits.ImageHDU(mask, name="MASK"))
    hdus[0].header.update({"OBSTYPE": "dark", "HIERARCH LSST ISR UNITS": "electron"})
    hdus[2].header.update(MP_BAD=4, MP_SAT=0)
    path = tmp_path / "dark.fits"
    fits.HDUList(hdus).writeto(path)
    got = fio.read_product(path)
    assert isinstance(got, Dark)
    assert got.unit == "electron/s"
    assert got.mask is not None and got.mask.tolist() == [[0, 1]]


def test_a_raw_frame_is_no_product(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.ones((3, 3), np.uint16)).writeto(path)
    with pytest.raises(FileError, match="neither an image nor a table of a product"):
        fio.read_product(path)
