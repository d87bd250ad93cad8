"""Raw frames: segments pasted by their geometry, cubes, mosaics, focal-plane files, and raw files written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import fullwell.io as fio
from fullwell.base.errors import FileError, GeometryError, HeaderError, UsageError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import Frame, Plane
from fullwell.instruments import CameraOptions

SHAPE = (6, 9)


def segment(name: str, x: int, y: int, stored: Orientation, placed: Orientation, hdu: str | int | None) -> Amplifier:
    """6 rows of 2 prescan, 5 data and 2 overscan columns, 5 data rows; raw box at (x, y)."""
    data = Box(2, 0, 5, 5)
    ny, nx = placed.shape(SHAPE)
    height, width = placed.shape(data.shape)
    return Amplifier(
        name,
        SHAPE,
        data,
        Box(x, y, nx, ny),
        Box(width * (x > 0), height * (y > 0), width, height),
        Box(0, 0, 2, 6),
        Box(7, 0, 2, 6),
        Box(2, 5, 5, 1),
        raw_orientation=placed,
        orientation=placed,
        hdu=hdu,
        hdu_orientation=stored,
    )


def two(stored: Orientation, placed: Orientation, hdus: tuple[Any, Any] = ("SEG1", "SEG2")) -> Detector:
    nx = placed.shape(SHAPE)[1]
    return Detector("d", 0, (segment("A", 0, 0, stored, placed, hdus[0]), segment("B", nx, 0, stored, placed, hdus[1])))


EIGHT = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize("stored", EIGHT, ids=str)
@pytest.mark.parametrize("placed", EIGHT, ids=str)
def test_segments_are_pasted_in_any_orientation(tmp_path: Path, stored: Orientation, placed: Orientation) -> None:
    """Pixel [r, c] of a segment in read-out order holds 100 r + c; it is found where the geometry says."""
    readout = 100 * np.arange(6, dtype=np.int32)[:, None] + np.arange(9, dtype=np.int32)
    hdus = [fits.PrimaryHDU()]
    hdus += [
        fits.ImageHDU(np.ascontiguousarray(stored.apply(readout + n)), name=f"SEG{i}") for i, n in ((1, 0), (2, 5000))
    ]
    path = tmp_path / "x.fits"
    fits.HDUList(hdus).writeto(path)
    detector = two(stored, placed)
    frame = fio.read(path, detector=detector, instrument="generic")
    assert frame.raw and frame.image.dtype == np.int32
    for amp, add in (("A", 0), ("B", 5000)):
        box = detector[amp].raw
        assert np.array_equal(placed.undo(frame.image.array[box.slices]), readout + add)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("hdus", [(None, None), ("SEG1", "SEG2"), (2, 1)], ids=str)
def test_a_raw_frame_is_written_as_a_camera_would(tmp_path: Path, dtype: str, hdus: tuple[Any, Any]) -> None:
    detector = two(Orientation(True), Orientation(False, True), hdus)
    image = np.random.default_rng(3).integers(0, 60000, detector.raw_box.shape).astype(dtype)
    metadata = {"OBJECT": "sky", "EXPTIME": 2.5, "NAXIS1": 7, "COMMENT": "a\nb"}
    path = tmp_path / "x.fits"
    fio.write_raw(Frame(Plane(image, unit="adu"), detector=detector, metadata=metadata, raw=True), path)
    with fits.open(path, checksum=True) as file:
        file.verify("exception")
        assert len(file) == (1 if hdus[0] is None else 3)
        assert file[0].header["EXPTIME"] == 2.5
        if dtype == "uint16":
            assert file[-1]._orig_bzero == 32768
    back = fio.read(path, detector=detector, instrument="generic")
    assert back.image.dtype == np.dtype(dtype)
    assert np.array_equal(back.image.array, image)
    assert back.metadata["COMMENT"] == "a\nb"


def test_sections_of_written_segments_by_hand(tmp_path: Path) -> None:
    """Data columns 2 … 6 of 9, reversed in the HDU: 0-based 2 … 6 again, so FITS 3:7; overscan 7, 8 -> 0, 1."""
    detector = two(Orientation(True), Orientation())
    frame = Frame(Plane(np.zeros(detector.raw_box.shape, np.uint16), unit="adu"), detector=detector, raw=True)
    fio.write_raw(frame, tmp_path / "x.fits")
    header = fits.getheader(tmp_path / "x.fits", "SEG2")
    assert (header["DATASEC"], header["BIASSEC"], header["DETSEC"]) == ("[3:7,1:5]", "[1:2,1:6]", "[10:6,1:5]")


@pytest.mark.parametrize("stored", EIGHT, ids=str)
def test_world_coordinates_of_a_segment_follow_to_the_assembled_frame(tmp_path: Path, stored: Orientation) -> None:
    """Only the HDU of the second amplifier has coordinates: its first pixel read keeps its sky position."""
    placed = Orientation(True, True)
    detector = two(stored, placed)
    array = np.zeros(stored.shape(SHAPE), np.uint16)
    parts = [fits.PrimaryHDU(), fits.ImageHDU(array, name="SEG1"), fits.ImageHDU(array, name="SEG2")]
    parts[2].header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=10.0, CRVAL2=-30.0, CRPIX1=2.0, CRPIX2=3.0)
    parts[2].header.update(CD1_1=-1e-4, CD1_2=2e-5, CD2_1=3e-5, CD2_2=1e-4)
    fits.HDUList(parts).writeto(tmp_path / "x.fits")
    frame = fio.read(tmp_path / "x.fits", detector=detector, instrument="generic")
    out = fio.output_header(frame.metadata, detector, detector.box, "electron")
    amp = detector["B"]
    y, x = stored.point(np.array(0.0), np.array(2.0), SHAPE)
    end_y, end_x = placed.point(np.array(0.0), np.array(0.0), amp.data.shape)
    before = WCS(parts[2].header).all_pix2world([[float(x), float(y)]], 0)
    cards = fits.Header({k: v for k, v in out.items() if not k.endswith("A")})
    after = WCS(cards).all_pix2world([[float(end_x) + amp.trimmed.x0, float(end_y) + amp.trimmed.y0]], 0)
    assert np.allclose(before, after, rtol=0, atol=1e-11)
    assert "FWWCSAMP" not in out


def test_wrong_size_names_the_amplifier(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    parts = [fits.PrimaryHDU(), fits.ImageHDU(np.ones(SHAPE), name="SEG1"), fits.ImageHDU(np.ones((3, 9)), name="SEG2")]
    fits.HDUList(parts).writeto(path)
    with pytest.raises(GeometryError, match=r"amplifier B has shape \(3, 9\).*\(6, 9\)") as info:
        fio.read(path, detector=two(Orientation(), Orientation()), instrument="generic")
    assert "HDU 2 (SEG2)" in str(info.value.where)


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(SHAPE), name="SEG1")]).writeto(path)
    with pytest.raises(FileError, match="no HDU 'SEG2'") as info:
        fio.read(path, detector=two(Orientation(), Orientation()), instrument="generic")
    assert "1 SEG1" in str(info.value.remedy)


@pytest.mark.parametrize(("key", "value"), [("BAYERPAT", "RGGB"), ("COLORTYP", "BGGR")])
def test_bayer_mosaics_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "x.fits"
    hdu = fits.PrimaryHDU(np.ones((4, 4), np.uint16))
    hdu.header[key] = value
    hdu.writeto(path)
    with pytest.raises(HeaderError, match="Bayer mosaic") as info:
        fio.read(path)
    assert key in str(info.value.where)
    hdu.header[key] = "MONO"
    hdu.writeto(path, overwrite=True)
    assert fio.read(path).shape == (4, 4)


def test_cubes_are_refused_and_read_as_a_series(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    cube = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    fits.PrimaryHDU(cube).writeto(path)
    with pytest.raises(HeaderError, match="cube") as info:
        fio.read(path)
    assert "read_series" in str(info.value.remedy)
    frames = fio.read_series(path)
    assert [f.image.array.tolist() for f in frames] == cube.tolist()
    fits.PrimaryHDU(cube[:1]).writeto(path, overwrite=True)
    assert fio.read(path).shape == (3, 4)


def test_focal_plane_files_by_detector(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    hdus = [fits.PrimaryHDU()]
    for number in (1, 2):
        hdu = fits.ImageHDU(np.full((4, 5), number, np.uint16), name=f"S{number}")
        hdu.header["CCDNUM"] = number
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(HeaderError, match="2 detectors: 1, 2"):
        fio.read(path)
    assert fio.read(path, options=CameraOptions(detector="1")).image.array[0, 0] == 1
    assert fio.read(path, detector=2).image.array[0, 0] == 2
    assert fio.read(path, detector="S1").image.array[0, 0] == 1
    with pytest.raises(HeaderError, match="no detector 7"):
        fio.read(path, detector=7)


def test_only_raw_frames_are_written_raw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not raw"):
        fio.write_raw(Frame.from_arrays(np.ones((2, 2), np.float32), unit="adu"), tmp_path / "x.fits")
