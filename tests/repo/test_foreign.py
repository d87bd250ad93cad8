"""Datasets of a repository that the LSST library made, read without it."""

from __future__ import annotations

import importlib.util
import math
import shutil
import sqlite3
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dp1 import (
    BITS,
    CHAIN,
    CORNER,
    DETECTORS,
    EXPOSURES,
    RAW_EXPOSURE,
    SEGMENTS,
    SHAPE,
    dp1_once,
    level,
    make_dp1,
    planes,
)

from fullwell.base.errors import FileError, GeometryError, UsageError
from fullwell.cameras import Box
from fullwell.repo.foreign import _local, read_dataset, read_file

Butler = pytest.importorskip("lsst.daf.butler").Butler
COMCAM = {"instrument": "LSSTComCam", "detector": 0}
RAW = {"exposure": RAW_EXPOSURE, "detector": 0}
VISIT = {"visit": RAW_EXPOSURE, "detector": 0}


@pytest.fixture(scope="module")
def dp1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dp1_once(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def butler(dp1: Path) -> Any:
    return opened(dp1)


def opened(path: Path) -> Any:
    return Butler.from_config(str(path), collections=[CHAIN], instrument="LSSTComCam")


def fetch(butler: Any, name: str, bbox: Any = None, **data_id: Any) -> Any:
    """What `Butler.get` would look up, read by our readers."""
    return read_dataset(butler, butler.getDeferred(name, **data_id).ref, bbox=bbox)


def test_the_repository_names_classes_that_are_not_installed(dp1: Path, butler: Any) -> None:
    with sqlite3.connect(dp1 / "gen3.sqlite3") as database:
        rows = database.execute("select formatter, storage_class from file_datastore_records").fetchall()
    assert ("lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter", "ExposureF") in rows
    assert ("lsst.obs.lsst.rawFormatter.LsstComCamRawFormatter", "Exposure") in rows
    assert not any("fullwell" in name for row in rows for name in row)
    assert importlib.util.find_spec("lsst.obs") is None
    with pytest.raises(ImportError, match=r"lsst\.obs"):
        butler.get("flat", **RAW)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("exposure", EXPOSURES)
def test_flat_of_a_science_exposure_is_that_of_its_filter(butler: Any, exposure: int, detector: int) -> None:
    flat = fetch(butler, "flat", exposure=exposure, detector=detector)
    assert flat.image.array[0, 0] == np.float32(level(EXPOSURES[exposure], detector))
    assert (flat.observation.filter, flat.observation.detector_id) == (EXPOSURES[exposure], detector)
    flat.image.array = np.ones(SHAPE)
    assert flat.image.array.mean() == 1.0


@pytest.mark.parametrize("detector", DETECTORS)
def test_planes_of_a_visit_image_in_both_layouts(butler: Any, detector: int) -> None:
    frame = fetch(butler, "visit_image", visit=2024110800243, detector=detector)
    image, mask, variance = planes(100.0 + detector)
    np.testing.assert_array_equal(frame.image.array, image)
    np.testing.assert_array_equal(frame.variance.array, variance)
    np.testing.assert_array_equal(frame.mask.array, mask.view(np.uint32))
    assert frame.mask.schema == BITS
    assert np.argwhere(frame.mask["SUSPECT"]).tolist() == [[5, 7]]
    assert np.argwhere(frame.mask["SAT"]).tolist() == [[6, 8]]
    assert (frame.box, frame.unit, frame.raw) == (Box(*CORNER, SHAPE[1], SHAPE[0]), "nJy", False)
    assert not any(key.endswith("_ID") or key == "AR_HDU" for key in frame.metadata)


def test_observation_comes_from_the_records_of_the_repository(butler: Any) -> None:
    seen = fetch(butler, "visit_image", visit=2024110800243, detector=4).observation
    assert (seen.instrument, seen.detector, seen.detector_id) == ("lsstcomcam", "R22_S11", 4)
    assert (seen.exposure_id, seen.day_obs, seen.seq_num) == (2024110800243, 20241108, 243)
    assert (seen.filter, seen.band, seen.kind, seen.object) == ("r_03", "r", "science", "ECDFS")
    assert (seen.exposure_time, seen.obs_id) == (30.0, "CC_O_20241108_000243")
    assert seen.begin.startswith("2024-11-09T06:43:00")
    assert seen.mjd == pytest.approx(60623 + (6 * 60 + 43) / 1440, abs=1e-9)


def test_planes_of_the_newer_layout_are_named_by_their_cards(butler: Any) -> None:
    frame = fetch(butler, "visit_image_new", **VISIT)
    assert frame.mask.schema == BITS
    assert np.argwhere(frame.mask["SUSPECT"]).tolist() == [[5, 7]]
    assert frame.box == Box(*CORNER, SHAPE[1], SHAPE[0])


def test_sub_images_keep_the_coordinates_of_the_frame(butler: Any) -> None:
    box = Box(CORNER[0] + 3, CORNER[1] + 4, 10, 5)
    part = fetch(butler, "visit_image", box, **VISIT)
    assert part.box == box
    np.testing.assert_array_equal(part.image.array, planes(100.0)[0][4:9, 3:13])
    assert np.argwhere(part.mask["SUSPECT"]).tolist() == [[1, 4]]
    with pytest.raises(GeometryError, match="outside"):
        fetch(butler, "visit_image", (0, 0, 10, 5), **VISIT)


def test_components(butler: Any) -> None:
    box = Box(CORNER[0] + 3, CORNER[1] + 4, 10, 5)
    np.testing.assert_array_equal(
        fetch(butler, "visit_image.variance", box, **VISIT).array, planes(100.0)[2][4:9, 3:13]
    )
    assert fetch(butler, "visit_image.metadata", **VISIT)["LSST CALIB RUN FLAT"].startswith("LSSTComCam/calib")
    assert fetch(butler, "visit_image.bbox", **VISIT) == Box(*CORNER, SHAPE[1], SHAPE[0])
    assert fetch(butler, "visit_image.xy0", **VISIT) == CORNER
    assert fetch(butler, "visit_image.dimensions", **VISIT) == (SHAPE[1], SHAPE[0])
    assert fetch(butler, "visit_image.filter", **VISIT) == "y_04"
    assert fetch(butler, "visit_image.visitInfo", **VISIT).exposure_time == 30.0
    whole, part = fetch(butler, "visit_image.wcs", **VISIT), fetch(butler, "visit_image.wcs", box, **VISIT)
    assert whole.pixel_to_world_values(63, 47) == pytest.approx((53.1, -28.1))
    assert part.pixel_to_world_values(60, 43) == pytest.approx((53.1, -28.1))
    with pytest.raises(UsageError, match="'psf' is kept in archive tables") as error:
        fetch(butler, "visit_image.psf", **VISIT)
    assert "visit_2024110800246_0.fits" in str(error.value)


def test_raw_frame_has_every_segment_in_its_place(butler: Any) -> None:
    frame = fetch(butler, "raw", exposure=RAW_EXPOSURE, detector=4)
    assert frame.raw and frame.image.dtype == np.int32
    assert (frame.detector.name, frame.observation.exposure_id) == ("R22_S11", RAW_EXPOSURE)
    for n, segment in enumerate(SEGMENTS):
        assert set(np.unique(frame.amp(f"C{segment[-2:]}").image.array)) == {20000 + n}


def test_calibration_tables_become_products(butler: Any) -> None:
    defects = fetch(butler, "defects", **RAW)
    assert defects.boxes == (Box(20, 0, 1, 10),)
    assert (defects.observation.instrument, defects.observation.detector) == ("lsstcomcam", "R22_S00")
    crosstalk = fetch(butler, "crosstalk", **RAW)
    assert crosstalk.amps[:2] == ("C10", "C11") and crosstalk.amps[-1] == "C00"
    assert crosstalk.coefficients[3, 5] == pytest.approx(1e-6 * (16 * 3 + 5))


def test_tables_and_trees(butler: Any) -> None:
    table = fetch(butler, "visit_table")
    assert list(table["visitId"]) == list(EXPOSURES) and str(table["expTime"].unit) == "s"
    assert fetch(butler, "isr_metadata", **RAW) == {"quantum": {"scalars": {"cpu": 1.5}}}
    with pytest.raises(UsageError, match="isr_metadata is no frame"):
        fetch(butler, "isr_metadata", (0, 0, 1, 1), **RAW)


def test_camera_is_refused_with_what_to_do(butler: Any) -> None:
    with pytest.raises(FileError, match="camera is stored as archive tables") as error:
        fetch(butler, "camera", exposure=RAW_EXPOSURE)
    assert "camera.fits" in str(error.value) and "fullwell.instruments.get" in str(error.value)


def test_pickles_are_never_opened(butler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="stored as 'SkyMap', which is not known") as error:
        fetch(butler, "skyMap")
    assert "skymap.pickle" in str(error.value)
    assert not (tmp_path / "harm").exists()


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"!!python/object/apply:os.mkdir [{tmp_path / 'harm'}]\n")
    with pytest.raises(FileError, match=r"(?s)cannot be decoded.*evil\.yaml"):
        read_file(str(path), "PropertyList", "log", COMCAM)
    assert not (tmp_path / "harm").exists()
    path.write_text("a: [1, 2]\n")
    assert read_file(str(path), "StructuredDataDict", "log", COMCAM) == {"a": [1, 2]}


@pytest.mark.parametrize(("storage", "kind"), [("ImageF", "Plane"), ("DecoratedImageU", "Plane"), ("MaskX", "Mask")])
def test_single_planes(tmp_path: Path, storage: str, kind: str) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(planes(1.0)[1])
    hdu.header.update({"LTV1": -5.0, "LTV2": -6.0, "MP_SAT": 1})
    hdu.writeto(tmp_path / "one.fits")
    plane = read_file(str(tmp_path / "one.fits"), storage, "thing", COMCAM, bbox=(13, 12, 2, 2))
    assert type(plane).__name__ == kind and plane.box == Box(13, 12, 2, 2)
    assert plane.array[0, 0] == 1 << BITS["SAT"]
    local = read_file(str(tmp_path / "one.fits"), storage, "thing", COMCAM, bbox=(8, 6, 2, 2), origin="LOCAL")
    np.testing.assert_array_equal(local.array, plane.array)


def test_missing_file_and_moved_repository(dp1: Path, tmp_path: Path) -> None:
    moved = opened(Path(shutil.copytree(dp1, tmp_path / "elsewhere")))
    (tmp_path / "elsewhere/files/flat_y_04_0.fits").unlink()
    with pytest.raises(FileError, match="file of this flat is gone") as error:
        fetch(moved, "flat", **RAW)
    assert error.value.code == "FW183" and "elsewhere/files/flat_y_04_0.fits" in str(error.value)
    assert fetch(moved, "flat", exposure=RAW_EXPOSURE, detector=4).box == Box(0, 0, SHAPE[1], SHAPE[0])


def test_member_of_a_zip_file(tmp_path: Path) -> None:
    from lsst.resources import ResourcePath

    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        pack.writestr("folder/tree.json", '{"a": 1}')
    with _local(ResourcePath(f"file://{tmp_path}/pack.zip#zip-path=folder/tree.json"), "log") as path:
        assert read_file(path, "TaskMetadata", "log", COMCAM) == {"a": 1}
    absent = ResourcePath(f"file://{tmp_path}/pack.zip#zip-path=other.json")
    with pytest.raises(FileError, match="file of this log is gone"), _local(absent, "log"):
        pass
    with pytest.raises(KeyError, match="a bug"), _local(ResourcePath(f"file://{tmp_path}/pack.zip"), "log"):
        raise KeyError("a bug")


def test_dataset_in_pieces_is_refused(butler: Any) -> None:
    ref = butler.find_dataset("visit_image", VISIT)
    pieces = SimpleNamespace(primaryURI=None, componentURIs={"image": "file:///a.fits", "mask": "file:///b.fits"})
    with pytest.raises(FileError, match="in pieces: image, mask"):
        read_dataset(SimpleNamespace(getURIs=lambda _: pieces), ref)  # type: ignore[arg-type]


def test_our_repository_reads_them(dp1: Path) -> None:
    from fullwell.repo import open_repo

    with open_repo(dp1) as repo:
        flat = repo.get("flat", [CHAIN], instrument="LSSTComCam", **RAW)
        assert flat.image.array[0, 0] == np.float32(level("y_04", 0))
        part = repo.get("visit_image.image", [CHAIN], box=Box(40, 20, 3, 2), instrument="LSSTComCam", **VISIT)
        assert part.box == Box(40, 20, 3, 2)


def test_real_raw_files(shared: Path, tmp_path: Path) -> None:
    """A packed TS8 file under a plain name, whose figures stand in the README of the data, and a header of ComCam."""
    folder = shared / "data/lsst-raw"
    names = ("ts8_E2V-CCD250-179_flat_700nm_seg00only.fits.gz", "header_only/ComCam_3019053000001-R22-S00-det000.fits")
    butler = opened(make_dp1(tmp_path / "real", *(folder / name for name in names)))
    frame = fetch(butler, "raw", **RAW)
    overscan = frame.amp("C00", "serial_overscan").image.array
    assert np.median(overscan) == pytest.approx(27026.0, abs=1.0)
    assert np.median(frame.amp("C00").image.array) - np.median(overscan) == pytest.approx(20785.9, rel=0.02)
    assert frame.observation.instrument == "lsst-ts8" and math.isclose(frame.observation.exposure_time, 21.913)
    comcam = fetch(butler, "raw", exposure=RAW_EXPOSURE, detector=4)
    assert (comcam.shape, comcam.detector.name, comcam.observation.kind) == ((4096, 4608), "R22_S00", "bias")
