"""Real files: headers and pixels as astropy reads them, assembled frames as in the truth."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import fullwell.io as fio
from fullwell.io.fitsfile import open_fits
from fullwell.products import Crosstalk, Defects

FILES = (
    "arcsat-2025/domeflat_g_001.fits.gz",
    "efosc2-imaging/EFOSC.2022-01-28T000816.282.fits.gz",
    "esis1-ccd230/ESIS1_04803.fit.gz",
    "saao-ste3/a8280271.fits.gz",
    "stl1001e-lab/bias_m05C_00.fits.gz",
    "lsst-raw/MC_C_20240918_000013_R00_SG0_guider.fits.gz",
    "lsst-raw/ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz",
    "lsst-raw/header_only/LSSTCam_30211212000310-R22-S22-det098.fits",
    "lsst-raw/header_only/TS3_201811151255111-R433-S00-det433.fits",
    "lsst-tables/linearity/CGI_EMCCD_nonlin_table_TVAC.fits.gz",
)


def value_of(value: Any) -> Any:
    if isinstance(value, fits.card.Undefined):
        return None
    return value.rstrip() if isinstance(value, str) else value


@pytest.mark.parametrize("name", FILES)
def test_headers_and_pixels_are_those_that_astropy_reads(shared: Path, name: str) -> None:
    path = shared / "data" / name
    with warnings.catch_warnings(), open_fits(path) as ours, fits.open(path) as theirs:
        warnings.simplefilter("ignore")
        assert len(ours.hdus) == len(theirs)
        for hdu, reference in zip(ours.hdus, theirs, strict=True):
            if hdu.kind != "compressed":
                for key in {k for k in reference.header if k not in ("", "COMMENT", "HISTORY")}:
                    assert hdu.header[key.upper()] == value_of(reference.header[key]), (hdu.label, key)
        for hdu in ours.images()[:2]:
            pixels, expected = ours.pixels(hdu), theirs[hdu.index].data
            assert pixels.dtype == expected.dtype.newbyteorder("=")
            assert np.array_equal(pixels, expected, equal_nan=pixels.dtype.kind == "f")


def test_e2v_segments_assemble_to_the_truth(shared: Path) -> None:
    frame = fio.read(shared / "data/lsst-raw/e2v_spot.fits.gz")
    assert frame.detector is not None
    image = np.zeros(frame.detector.box.shape, frame.image.dtype)
    for amp in frame.detector:
        segment = amp.raw_orientation.undo(frame.image.array[amp.raw.slices])
        image[amp.trimmed.slices] = amp.orientation.apply(segment[amp.data.slices])
    assert np.array_equal(image, fits.getdata(shared / "data/lsst-raw/e2v_expected_assembled.fits.gz"))


def test_test_stand_overscan_as_published(shared: Path) -> None:
    """README: Segment00, overscan columns 530-569, rows 100-1899: median 27026; signal 20785.9 above it."""
    frame = fio.read(shared / "data/lsst-raw/ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz")
    assert frame.detector is not None and frame.image.dtype == np.int32
    amp = frame.detector["C00"]
    segment = amp.raw_orientation.undo(frame.image.array[amp.raw.slices])
    level = np.median(segment[100:1900, 530:570])
    assert level == 27026
    assert np.median(segment[500:1500, 100:450]) - level == pytest.approx(20785.9, abs=0.6)


def test_emva_images(shared: Path) -> None:
    frame = fio.read(shared / "data/emva1288-ccd12/images/b_000_snap_001.png")
    assert (frame.shape, frame.image.dtype) == ((480, 640), np.uint16)
    assert frame.raw and 0 < frame.image.array.mean() < 4096


@pytest.mark.parametrize(
    ("name", "first", "count"), [("LATISS", (3562, 0, 509, 2000), 1), ("LSSTCam_R01_S00", None, None)]
)
def test_defect_tables(shared: Path, name: str, first: Any, count: int | None) -> None:
    got = fio.read_product(shared / f"data/lsst-tables/defects/{name}.ecsv", "defects")
    assert isinstance(got, Defects) and got.boxes
    if first:
        box = got.boxes[0]
        assert (box.x0, box.y0, box.width, box.height) == first
        assert len(got.boxes) == count


def test_crosstalk_table(shared: Path) -> None:
    amps = tuple(f"C1{i}" for i in range(8)) + tuple(f"C0{i}" for i in range(7, -1, -1))
    got = fio.read_product(shared / "data/lsst-tables/crosstalk/LSSTCam_R22_S11.ecsv", "crosstalk", amps=amps)
    assert isinstance(got, Crosstalk)
    assert got.coefficients.shape == (16, 16)
    assert 1e-6 < np.abs(got.coefficients).max() < 1e-2


def test_a_raw_frame_of_a_real_camera_makes_the_trip(shared: Path, tmp_path: Path) -> None:
    before = fio.read(shared / "data/efosc2-imaging/EFOSC.2022-01-28T000816.282.fits.gz")
    fio.write_raw(before, tmp_path / "x.fits")
    after = fio.read(tmp_path / "x.fits")
    assert np.array_equal(after.image.array, before.image.array)
    assert after.metadata["ESO DET OUT1 GAIN"] == before.metadata["ESO DET OUT1 GAIN"] == 0.91
    assert repr(after.observation.exposure_time) == repr(before.observation.exposure_time)
    assert after.observation.filter == before.observation.filter
