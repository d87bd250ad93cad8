"""The library's own ``Butler.get`` on a repository that names classes of the LSST library."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dp1 import CHAIN, CORNER, RAW_EXPOSURE, SHAPE, dp1_once, level, planes

from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Observation, Plane

Butler = pytest.importorskip("lsst.daf.butler").Butler
WHERE = {"instrument": "LSSTComCam", "detector": 0}
RAW = {**WHERE, "exposure": RAW_EXPOSURE}
VISIT = {**WHERE, "visit": RAW_EXPOSURE}


@pytest.fixture(scope="module")
def dp1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dp1_once(tmp_path_factory.getbasetemp())


@pytest.fixture
def shim() -> Iterator[None]:
    from fullwell.repo.shim import disable_rubin_shim, enable_rubin_shim

    assert enable_rubin_shim()
    yield
    disable_rubin_shim()


@pytest.fixture
def butler(dp1: Path, shim: None) -> Any:
    return Butler(str(dp1), collections=[CHAIN])


def test_flat_by_exposure(butler: Any) -> None:
    flat = butler.get("flat", **RAW)
    assert isinstance(flat, Frame) and flat.image.array[0, 0] == np.float32(level("y_04", 0))
    other = butler.get("flat", instrument="LSSTComCam", detector=4, day_obs=20241108, seq_num=242)
    assert other.image.array[0, 0] == np.float32(level("g_01", 4)) and other.observation.filter == "g_01"


def test_bias_dark_raw_and_its_metadata(butler: Any) -> None:
    assert butler.get("bias", **RAW).image.array[0, 0] == np.float32(0.5)
    assert butler.get("dark", **RAW).image.array[0, 0] == np.float32(0.02)
    raw = butler.get("raw", **RAW)
    assert len(raw.detector.amplifiers) == 16 and raw.amp("C11").image.array[0, 0] == 20001
    assert butler.get("raw.metadata", **RAW)["OBSID"] == "CC_O_20241108_000246"
    assert butler.get("raw", parameters={"amp": "C11"}, **RAW).shape == (2000, 509)


def test_sub_image_of_a_component(butler: Any) -> None:
    part = butler.get("flat.image", parameters={"bbox": Box(3, 4, 10, 5)}, **RAW)
    assert isinstance(part, Plane) and part.box == Box(3, 4, 10, 5)
    np.testing.assert_array_equal(part.array, planes(level("y_04", 0))[0][4:9, 3:13])
    local = butler.get("visit_image", parameters={"bbox": (3, 4, 10, 5), "origin": "LOCAL"}, **VISIT)
    assert local.box == Box(CORNER[0] + 3, CORNER[1] + 4, 10, 5)


def test_components_have_the_types_that_the_library_checks(butler: Any) -> None:
    from astropy.wcs import WCS

    kinds = {"image": Plane, "mask": Mask, "variance": Plane, "metadata": dict, "wcs": WCS, "visitInfo": Observation,
             "filter": str, "bbox": Box, "xy0": tuple, "dimensions": tuple}  # fmt: skip
    for name, kind in kinds.items():
        assert isinstance(butler.get(f"visit_image.{name}", **VISIT), kind), name
    assert butler.get("visit_image_new", **VISIT).mask["SUSPECT"][5, 7]
    seen = butler.get("visit_image.visitInfo", **VISIT)
    assert (seen.instrument, seen.detector, seen.exposure_id) == ("lsstcomcam", "R22_S00", RAW_EXPOSURE)


def test_products_and_tables(butler: Any) -> None:
    assert butler.get("defects", **RAW).boxes == (Box(20, 0, 1, 10),)
    assert butler.get("crosstalk", **RAW).amps[0] == "C10"
    assert len(butler.get("visit_table", instrument="LSSTComCam")) == 6


def test_by_id_and_deferred(butler: Any) -> None:
    ref = butler.find_dataset("visit_image", VISIT)
    assert butler.get(butler.get_dataset(ref.id)).shape == SHAPE
    assert butler.getDeferred("visit_image", **VISIT).get(component="mask")["SAT"][6, 8]


def test_what_cannot_be_given_says_so(butler: Any) -> None:
    with pytest.raises(ValueError, match="camera is stored as archive tables"):
        butler.get("camera", instrument="LSSTComCam", exposure=RAW_EXPOSURE)
    with pytest.raises(ValueError, match="'psf' is kept in archive tables"):
        butler.get("visit_image.psf", **VISIT)
    with pytest.raises(ValueError, match="'detector' needs the LSST library"):
        butler.get("raw", parameters={"detector": 0}, **RAW)
    with pytest.raises(ValueError, match="origin 'MIDDLE' is unknown"):
        butler.get("flat", parameters={"bbox": (0, 0, 1, 1), "origin": "MIDDLE"}, **RAW)


def test_nothing_is_written_in_the_name_of_the_library(dp1: Path, shim: None, tmp_path: Path) -> None:
    from lsst.daf.butler import DatasetType

    from fullwell.base.errors import UsageError

    Butler.makeRepo(str(tmp_path / "new"))
    target = Butler.from_config(str(tmp_path / "new"), writeable=True, run="a")
    target.registry.registerDatasetType(DatasetType("image", (), "ExposureF", universe=target.dimensions))
    frame = Frame.from_arrays(np.ones((2, 2), np.float32), unit="adu")
    with pytest.raises(RuntimeError, match="Failed to serialize") as error:
        target.put(frame, "image")
    assert isinstance(error.value.__cause__, UsageError) and "nothing is written" in str(error.value.__cause__)
    assert not list((tmp_path / "new").rglob("*.fits"))


def test_our_repository_opens_with_the_stand_ins_in_place(dp1: Path, shim: None) -> None:
    from fullwell.repo import open_repo

    with open_repo(dp1) as repo:
        assert repo.get("flat", [CHAIN], **RAW).shape == SHAPE


def test_only_modules_are_answered_for(shim: None) -> None:
    assert importlib.util.find_spec("lsst.afw.image") is not None
    assert importlib.util.find_spec("lsst.afw.image.ExposureF") is None
    assert importlib.util.find_spec("lsst.afw.table") is None
    with pytest.raises(ImportError, match="readMetadata"):
        from lsst.afw.image import readMetadata  # noqa: F401
    with pytest.raises(AttributeError, match=r"no stand-in for lsst\.afw\.image\.Color"):
        _ = importlib.import_module("lsst.afw.image").Color


def test_taken_away_again(dp1: Path) -> None:
    from fullwell.repo.shim import disable_rubin_shim, enable_rubin_shim

    before = list(sys.meta_path)
    assert enable_rubin_shim() and enable_rubin_shim()
    assert len(sys.meta_path) == len(before) + 1
    assert Butler(str(dp1), collections=[CHAIN]).get("flat", **RAW).shape == SHAPE
    disable_rubin_shim()
    disable_rubin_shim()
    assert sys.meta_path == before
    assert importlib.util.find_spec("lsst.afw") is None
    with pytest.raises(ImportError):
        Butler(str(dp1), collections=[CHAIN]).get("flat", **RAW)


def test_nothing_is_done_where_the_library_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lsst

    from fullwell.repo.shim import enable_rubin_shim

    (tmp_path / "afw").mkdir()
    (tmp_path / "afw/__init__.py").write_text("")
    monkeypatch.setattr(lsst, "__path__", [*lsst.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    before = list(sys.meta_path)
    assert enable_rubin_shim() is False
    assert sys.meta_path == before


def test_the_lab_sheet_in_a_fresh_interpreter(dp1: Path) -> None:
    code = f"""
import sys
before = list(sys.meta_path)
import fullwell.repo
from lsst.daf.butler import Butler
assert fullwell.repo.enable_rubin_shim and sys.meta_path == before
assert fullwell.repo.enable_rubin_shim()
b = Butler({str(dp1)!r}, collections=["{CHAIN}"])
flat = b.get("flat", detector=0, instrument="LSSTComCam", exposure={RAW_EXPOSURE})
flat.image.array = flat.image.array * 2
print(flat.image.array[0, 0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(2 * level("y_04", 0), rel=1e-6)
