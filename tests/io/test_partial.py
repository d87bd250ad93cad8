"""Components and sub-images of frames: the same as cutting the whole, read from the rows, tiles and HDUs they need."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance
from astropy.wcs import WCS
from PIL import Image

import fullwell.io as fio
from fullwell.base.errors import FileError, GeometryError, HeaderError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import Frame, GainMap, Mask, Observation, Plane
from fullwell.io.fitsfile import FitsFile, open_fits
from fullwell.io.texttable import text_columns
from fullwell.io.window import Window
from fullwell.products import Flat

SKY: dict[str, Any] = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 12.0, "CRPIX2": 9.0,
    "CD1_1": -5e-5, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 5e-5, "RADESYS": "ICRS",
}  # fmt: skip
WHOLE = Box(100, 40, 25, 18)
BOXES = [Box(103, 42, 7, 5), Box(100, 40, 1, 1), Box(124, 57, 1, 1), Box(100, 50, 25, 2), WHOLE, Box(103, 42, 0, 3)]


def corrected() -> Frame:
    """A frame that begins at (100, 40), with NaN, all planes, history and coordinates on the sky."""
    rng = np.random.default_rng(5)
    image, variance, part = (rng.normal(100, 5, WHOLE.shape).astype(np.float32) for _ in range(3))
    image[4, 5] = np.nan
    mask = Mask(rng.integers(0, 2**14, WHOLE.shape).astype(np.uint32), WHOLE)
    mask["STREAK"] = image > 104
    amp = Amplifier("A", (60, 130), Box(0, 0, 130, 60), Box(0, 0, 130, 60), Box(0, 0, 130, 60), gain=1.5)
    return Frame(
        Plane(image, WHOLE, "electron"),
        Plane(variance, WHOLE, "electron2"),
        mask,
        detector=Detector("d", 3, (amp,)),
        observation=Observation(instrument="demo", exposure_time=30.0),
        metadata={"OBJECT": "field", "FWX0": 100, "FWY0": 40, **SKY},
        history=(Record("dark", note="level 3 ± 1", numbers={"level": float("nan")}), Record("flat")),
        components={"poisson": Plane(part, WHOLE, "electron2")},
        gain_map=GainMap(),
    )


def stored(folder: Path, kind: str) -> Path:
    """`corrected` as a file, in the form that `kind` names."""
    path = folder / f"{kind}.fits"
    if kind in ("plain", "rice", "gzip"):
        fio.write_frame(corrected(), path, compress=False if kind == "plain" else kind)
    elif kind == "packed":
        fio.write_frame(corrected(), folder / "x.fits")
        path = folder / "x.fits.gz"
        path.write_bytes(gzip.compress((folder / "x.fits").read_bytes()))
    elif kind == "lsst":
        lsst_file(path)
    elif kind == "flat":
        given = corrected()
        assert given.variance is not None and given.mask is not None
        planes = given.image.array, given.variance.array, given.mask.array
        fio.write_product(Flat(image=planes[0], variance=planes[1], mask=planes[2], box=WHOLE), path)
    return path


def lsst_file(path: Path) -> None:
    """Planes known by EXTTYPE alone, compressed in tiles of 8 x 8 with own bit numbers; the place in LTV."""
    given = corrected()
    assert given.variance is not None and given.mask is not None
    hdus: list[Any] = [fits.PrimaryHDU()]
    hdus[0].header["AR_HDU"] = 5
    for name, array in (
        ("IMAGE", given.image.array),
        ("MASK", given.mask.array.astype(np.int32)),
        ("VARIANCE", given.variance.array),
    ):
        kind = "RICE_1" if name == "MASK" else "GZIP_2"
        hdu = fits.CompImageHDU(array, compression_type=kind, tile_shape=(8, 8), quantize_level=0)
        hdu.header["EXTTYPE"] = name
        hdu.header.update(LTV1=-100.0, LTV2=-40.0, **SKY)
        hdu.header.update({"MP_BAD": 2, "MP_SAT": 7} if name == "MASK" else {"BUNIT": "adu"})
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)


def same(one: Any, two: Any) -> None:
    """Planes equal in pixels, type, place, unit and names of bits; their memory is free to be written to."""
    assert type(one) is type(two)
    if one is None:
        return
    assert (one.box, one.unit, one.dtype) == (two.box, two.unit, two.dtype)
    assert np.array_equal(one.array, two.array, equal_nan=one.dtype.kind == "f")
    if isinstance(one, Mask):
        assert one.schema == two.schema
    array = one.array
    assert array.dtype.isnative and array.flags.c_contiguous and array.flags.writeable
    assert array.base is None or array.base.nbytes == array.nbytes
    array[...] = 0


def same_frames(one: Frame, two: Frame) -> None:
    """Frames equal in all they carry."""
    assert list(one.components) == list(two.components)
    for key, plane in one.components.items():
        same(plane, two.components[key])
    for name in ("image", "variance", "mask"):
        same(getattr(one, name), getattr(two, name))
    plain = Plane(np.zeros((1, 1)))
    bare = [replace(f, image=plain, variance=None, mask=None, components={}) for f in (one, two)]
    assert repr(bare[0]) == repr(bare[1])


KINDS = ["plain", "rice", "gzip", "packed", "lsst", "flat"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_a_part_is_what_cutting_the_whole_gives(tmp_path: Path, kind: str, box: Box) -> None:
    path = stored(tmp_path, kind)
    assert fio.read(path).box == WHOLE
    for name in ("image", "variance", "mask"):
        got, expected = fio.read_part(path, name, box), getattr(fio.read(path)[box], name)
        assert expected is not None and got.box == box
        same(got, expected)
    same_frames(fio.read_part(path, box=box), fio.read(path)[box])
    assert fio.read_part(path, "metadata", box) == fio.read(path)[box].metadata


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_box_it_is_all_of_it(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, kind)
    same_frames(fio.read_part(path), fio.read(path))
    for name in ("image", "variance", "mask"):
        same(fio.read_part(path, name), getattr(fio.read(path), name))
    assert fio.read_part(path, "metadata") == fio.read(path).metadata


def test_reads_do_not_share_memory_or_change_the_file(tmp_path: Path) -> None:
    for kind in ("plain", "rice"):
        path = stored(tmp_path, kind)
        before = path.read_bytes()
        one, two = (fio.read_part(path, "image", BOXES[0]) for _ in range(2))
        one.array[...] = -7
        assert not np.any(two.array == -7)
        assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["plain", "lsst", "flat", "raw"])
def test_world_coordinates_belong_to_the_pixels_of_the_box(tmp_path: Path, kind: str) -> None:
    """Pixel (2, 1) of the part is pixel (2 + dx, 1 + dy) of the whole, at the place the header says."""
    path, whole = tmp_path / "raw.fits", WHOLE
    if kind == "raw":
        hdu = fits.PrimaryHDU(np.ones(WHOLE.shape, np.uint16))
        hdu.header.update(SKY)
        hdu.writeto(path)
        whole = Box.from_shape(WHOLE.shape)
    else:
        path = stored(tmp_path, kind)
    box = BOXES[0].shifted(whole.x0 - WHOLE.x0, whole.y0 - WHOLE.y0)
    world, part = fio.read_part(path, "wcs"), fio.read_part(path, "wcs", box)
    if kind == "flat":
        assert world is None and part is None
        return
    assert isinstance(part, WCS)
    assert world.pixel_shape == (25, 18) and part.pixel_shape == (7, 5)
    header = fits.Header(list(SKY.items()))
    expected = pytest.approx(place(WCS(header), 5.0, 3.0), abs=1e-12)
    assert place(world, 5.0, 3.0) == expected
    assert place(part, 2.0, 1.0) == expected
    if kind != "raw":
        fio.write_frame(fio.read_part(path, box=box), tmp_path / "again.fits")
        again = fio.read_part(tmp_path / "again.fits", "wcs")
        assert place(again, 2.0, 1.0) == expected
        assert fio.read_part(tmp_path / "again.fits", "image").box == box


def place(world: WCS, x: float, y: float) -> list[float]:
    """Right ascension and declination of a pixel [degree]."""
    return [float(v) for v in world.pixel_to_world_values(x, y)]


def _floats(path: Path, box: Box) -> Plane:
    plane = fio.read_part(path, "image", box)
    return Plane(plane.array.astype(np.float32), plane.box, plane.unit)


def test_coordinates_that_contradict_themselves_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    hdu = fits.PrimaryHDU(np.ones((4, 4), np.float32))
    hdu.header.update({**SKY, "CTYPE2": "GLAT-TAN"})
    hdu.writeto(path)
    with pytest.raises(HeaderError, match="world coordinates cannot be read") as info:
        fio.read_part(path, "wcs")
    assert str(path) in str(info.value.where) and info.value.remedy


@pytest.mark.parametrize("kind", ["plain", "rice", "lsst"])
@pytest.mark.parametrize("component", [None, "image", "mask", "variance", "metadata", "wcs"])
def test_a_box_outside_is_refused(tmp_path: Path, kind: str, component: str | None) -> None:
    path = stored(tmp_path, kind)
    with pytest.raises(GeometryError) as info:
        fio.read_part(path, component, Box(99, 40, 5, 5))
    assert "[x 99..103, y 40..44]" in info.value.problem and "[x 100..124, y 40..57]" in info.value.problem
    assert info.value.where == str(path) and info.value.remedy


def test_an_unknown_component_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="psf") as info:
        fio.read_part(stored(tmp_path, "plain"), "psf")
    assert info.value.remedy == "it has image, variance, mask, metadata, wcs"


def test_what_a_frame_has_not_got_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fio.write_frame(Frame(Plane(np.ones((4, 5), np.float32), unit="adu")), path)
    fits.PrimaryHDU(np.ones((4, 5), np.uint16)).writeto(tmp_path / "raw.fits")
    for name in ("variance", "mask", "wcs"):
        assert fio.read_part(path, name) is None
        assert fio.read_part(tmp_path / "raw.fits", name) is None


def test_ccddata_in_parts(tmp_path: Path) -> None:
    """Inverse variance 4 gives variance 0.25; the mask becomes BAD."""
    path, box = tmp_path / "ccd.fits", Box(2, 1, 3, 2)
    image = np.arange(35, dtype=float).reshape(5, 7)
    ccd = CCDData(image, unit="adu", uncertainty=InverseVariance(np.full((5, 7), 4.0)), mask=image > 10)
    ccd.write(path)
    assert np.array_equal(fio.read_part(path, "image", box).array, [[9, 10, 11], [16, 17, 18]])
    assert np.all(fio.read_part(path, "variance", box).array == 0.25)
    assert np.array_equal(fio.read_part(path, "mask", box)["BAD"], [[False, False, True], [True, True, True]])
    same_frames(fio.read_part(path, box=box), fio.read(path)[box])


def test_a_part_of_ccddata_keeps_its_place(tmp_path: Path) -> None:
    """Of another program: at the origin; of ours: where the frame was. Written again, the sky follows the pixels."""
    box = Box(3, 2, 7, 5)
    CCDData(np.ones(WHOLE.shape), unit="adu", mask=np.zeros(WHOLE.shape, bool), header=SKY).write(tmp_path / "a.fits")
    fio.to_ccddata(corrected()).write(tmp_path / "b.fits")
    for name, dx, dy in (("a.fits", 0, 0), ("b.fits", 100, 40)):
        path, there = tmp_path / name, box.shifted(dx, dy)
        expected = pytest.approx(place(WCS(fits.Header(list(SKY.items()))), 5.0, 3.0), abs=1e-12)
        assert fio.read(path).box == WHOLE.shifted(dx - 100, dy - 40)
        assert place(fio.read_part(path, "wcs", there), 2.0, 1.0) == expected
        fio.write_frame(fio.read_part(path, box=there), tmp_path / "again.fits")
        assert place(fio.read_part(tmp_path / "again.fits", "wcs"), 2.0, 1.0) == expected


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(EXTNAME, number of pixels) of all that is read."""
    out: list[tuple[str, int]] = []
    whole = FitsFile.pixels

    def counted(self: FitsFile, hdu: Any, part: Any = None) -> Any:
        array = whole(self, hdu, part)
        out.append((hdu.name, array.size))
        return array

    monkeypatch.setattr(FitsFile, "pixels", counted)
    return out


def test_only_the_component_and_the_box_are_read(tmp_path: Path, taken: list[tuple[str, int]]) -> None:
    path = stored(tmp_path, "plain")
    fio.read_part(path, "mask", Box(103, 42, 7, 5))
    fio.read_part(path, "metadata")
    fio.read_part(path, "wcs", Box(103, 42, 7, 5))
    assert taken == [("MASK", 35)]


def test_tiles_outside_the_box_are_not_decompressed(tmp_path: Path) -> None:
    """A file whose last tiles are damaged still gives its first rows."""
    path = stored(tmp_path, "rice")
    with open_fits(path) as file:
        image = file.find("IMAGE")
        rows = int(fits.getheader(path, "IMAGE", disable_image_compression=True)["NAXIS2"])
        end = image.offset + image.size
    assert rows == 18
    expected = fio.read(path).image.array[:4].copy()
    data = bytearray(path.read_bytes())
    data[end - 60 : end] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(FileError, match="cannot be decoded"):
        fio.read(path)
    got = fio.read_part(path, "image", Box(100, 40, 25, 4))
    assert np.array_equal(got.array, expected, equal_nan=True)


@pytest.mark.parametrize("compress", [False, True])
def test_a_small_box_of_a_large_file_takes_little_memory(tmp_path: Path, compress: bool) -> None:
    """16 MB a plane; ten rows of it are 80 kB."""
    path = tmp_path / "x.fits"
    image = np.zeros((2000, 2000), np.float32)
    fio.write_frame(Frame.from_arrays(image, image, image.astype(np.uint32), unit="adu"), path, compress=compress)
    fio.read_part(path, "image", Box(0, 0, 1, 1))
    tracemalloc.start()
    try:
        assert fio.read_part(path, "image", Box(0, 500, 2000, 10)).shape == (10, 2000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


EIGHT = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]
SEGMENT = (6, 9)


def two(at: Orientation, placed: Orientation, hdus: tuple[Any, Any]) -> Detector:
    """Two amplifiers side by side, each of 6 rows and 9 columns as they are read."""
    ny, nx = placed.shape(SEGMENT)
    data = Box(2, 0, 5, 6)
    height, width = placed.shape(data.shape)
    amps = [
        Amplifier(name, SEGMENT, data, Box(i * nx, 0, nx, ny), Box(i * width, 0, width, height),
                  raw_orientation=placed, orientation=placed, hdu=hdus[i], hdu_orientation=at)
        for i, name in enumerate("AB")
    ]  # fmt: skip
    return Detector("d", 0, tuple(amps))


@pytest.mark.parametrize("at", EIGHT, ids=str)
@pytest.mark.parametrize("placed", EIGHT, ids=str)
def test_parts_of_raw_files_in_any_orientation(tmp_path: Path, at: Orientation, placed: Orientation) -> None:
    path, detector = tmp_path / "x.fits", two(at, placed, ("SEG1", "SEG2"))
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 60000, detector.raw_box.shape).astype(np.uint16)
    fio.write_raw(Frame(Plane(raw, unit="adu"), detector=detector, raw=True), path)
    ny, nx = raw.shape
    for box in (Box(1, 2, 3, 2), Box(nx // 2 - 2, 1, 5, 4), Box(nx - 1, ny - 1, 1, 1), Box(0, 0, nx, ny)):
        for got in (fio.read_part(path, "image", box, detector=detector),
                    fio.read_part(path, box=box, detector=detector).image):  # fmt: skip
            assert np.array_equal(got.array, raw[box.slices])
            same(got, fio.read(path, detector=detector)[box].copy().image)


@pytest.mark.parametrize("hdus", [(None, None), ("SEG1", "SEG2")], ids=str)
@pytest.mark.parametrize("form", ["plain", "compressed", "BLANK"])
def test_parts_of_raw_files_of_one_hdu_and_of_many(tmp_path: Path, hdus: tuple[Any, Any], form: str) -> None:
    """Type and pixels are those of the whole frame, floats where BLANK pixels lie outside the box."""
    path, detector = tmp_path / "x.fits", two(Orientation(True), Orientation(False, True), hdus)
    raw = np.random.default_rng(4).integers(0, 30000, detector.raw_box.shape).astype(np.int16)
    raw[-1, -1] = -1
    given = Frame(Plane(raw, unit="adu"), detector=detector, metadata={"OBJECT": "sky"}, raw=True)
    fio.write_raw(given, path)
    if form != "plain":
        with fits.open(path) as file:
            parts = [fits.PrimaryHDU(), *(_packed(h, form) for h in file if h.data is not None)]
            fits.HDUList(parts).writeto(tmp_path / "y.fits")
        path = tmp_path / "y.fits"
    whole = fio.read(path, detector=detector)
    assert whole.image.dtype == (np.float32 if form == "BLANK" else np.int16)
    for box in (Box(2, 1, 10, 3), Box(2, 1, 3, 2)):
        got = fio.read_part(path, box=box, detector=detector)
        assert np.array_equal(got.image.array, raw[box.slices]) and got.box == box
        same_frames(got, whole[box].copy())
    assert fio.read_part(path, "metadata", box, detector=detector) == whole.metadata
    with pytest.raises(GeometryError, match=r"\[x 15\.\.19, y 0\.\.0\].*\[x 0\.\.17, y 0\.\.5\]"):
        fio.read_part(path, "image", Box(15, 0, 5, 1), detector=detector)


def _packed(hdu: Any, form: str) -> Any:
    if form == "compressed":
        return fits.CompImageHDU(hdu.data, name=hdu.name, compression_type="RICE_1", tile_shape=(4, 4))
    out = fits.ImageHDU(hdu.data, name=hdu.name)
    out.header["BLANK"] = -1
    return out


def test_amplifiers_outside_the_box_are_not_read(tmp_path: Path, taken: list[tuple[str, int]]) -> None:
    path, detector = tmp_path / "x.fits", two(Orientation(), Orientation(), ("SEG1", "SEG2"))
    raw = np.ones(detector.raw_box.shape, np.uint16)
    fio.write_raw(Frame(Plane(raw, unit="adu"), detector=detector, raw=True), path)
    fio.read_part(path, "image", Box(10, 1, 4, 3), detector=detector)
    fio.read_part(path, "metadata", detector=detector)
    assert taken == [("SEG2", 12)]


def test_pictures_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    grey = np.arange(48, dtype=np.uint16).reshape(6, 8)
    Image.fromarray(grey).save(path)
    box = Box(2, 1, 3, 2)
    same(fio.read_part(path, "image", box), fio.read(path)[box].copy().image)
    assert fio.read_part(path, box=box).box == box
    assert fio.read_part(path, "wcs") is None
    with pytest.raises(GeometryError, match="outside"):
        fio.read_part(path, "image", Box(7, 0, 2, 2))


def test_parts_of_a_real_sensor(shared: Path) -> None:
    """A gzipped LSSTCam raw of sixteen amplifiers: a box over four of them."""
    path = shared / "data" / "lsst-raw" / "ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz"
    whole = fio.read(path)
    ny, nx = whole.shape
    box = Box(nx // 2 - 300, ny // 2 - 40, 700, 80)
    same(fio.read_part(path, "image", box), whole[box].copy().image)


def test_text_of_a_table_with_other_columns(tmp_path: Path) -> None:
    """Texts stand behind bits, numbers and arrays; blanks at the end go, an empty table gives none."""
    columns = [
        fits.Column("flags", "11X", array=np.ones((2, 11), bool)),
        fits.Column("n", "3J", array=np.ones((2, 3))),
        fits.Column("list", "PE()", array=np.array([[1.0], [2.0, 3.0]], dtype=object)),
        fits.Column("name", "6A", array=["ab", "abcdef"]),
        fits.Column("x", "D", array=[1.0, 2.0]),
        fits.Column("last", "A", array=["p", ""]),
    ]
    empty = fits.BinTableHDU.from_columns([fits.Column("name", "6A")], nrows=0)
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns), empty]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"ab\0\0\0\0", b"ab    "))
    with open_fits(path) as file:
        assert text_columns(file, file.hdus[1], ("last", "name")) == [["p", ""], ["ab", "abcdef"]]
        assert text_columns(file, file.hdus[2], ("name",)) == [[]]
        with pytest.raises(FileError, match="no column key, value"):
            text_columns(file, file.hdus[1], ("key", "value"))
        with pytest.raises(FileError, match="list holds no text of fixed width") as info:
            text_columns(file, file.hdus[1], ("name", "list"))
    assert info.value.where == f"{path}, HDU 1"


def test_a_table_that_cannot_be_true_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("record", "20A", array=["{}"])], name="HISTORY")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 2)), name="IMAGE"),
                  fits.ImageHDU(np.ones((2, 2)), name="VARIANCE"), table]).writeto(path)  # fmt: skip
    whole = path.read_bytes()
    for old, new, problem in (
        (b"TFORM1  = '20A", b"TFORM1  = '19A", "its columns have 19 bytes, NAXIS1 is 20"),
        (b"TFORM1  = '20A", b"TFORM1  = '20?", "TFORM1 is '20?'"),
    ):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(FileError) as info:
            fio.read(path)
        assert problem in info.value.problem
        assert "HDU 3 (HISTORY)" in str(info.value.where)


def test_a_window_is_an_empty_primary_hdu_and_the_bytes() -> None:
    data = bytes(range(256)) * 40
    with Window(data, 100, 5900) as window:
        whole = window.read()
        assert whole[2880:] == data[100:5900]
        assert fits.Header.fromstring(whole[:2880].decode())["NAXIS"] == 0
        assert window.read(1) == b""
        assert window.seek(-10, 2) == window.tell() == 8670
        assert window.read(100) == data[5890:5900]
        assert (window.seek(2870), window.seek(5, 1)) == (2870, 2875)
        assert window.read(3) + window.read(2) == whole[2875:2880]
