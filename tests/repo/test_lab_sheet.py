"""The lab sheets of a class, typed as they stand: the library's own Butler on a repository of six bands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comcam
import numpy as np
import pytest

pytestmark = pytest.mark.slow

CELLS = """
import astropy.convolution
from lsst.daf.butler import Butler
b = Butler("dp1", collections=["LSSTComCam/DP1"])
flat = b.get("flat", detector=0, instrument="LSSTComCam", exposure=2024110800246)
before = flat.image.array.copy()
smooth = astropy.convolution.convolve(flat.image.array, astropy.convolution.Gaussian2DKernel(2))
flat.image.array = smooth
"""
"""What the class types; where it looks at a flat on a display, nothing is computed."""

PRINTED = """
import json
inner = (slice(100, -100), slice(100, -100))
print(json.dumps({
    "same": bool((flat.image.array == smooth.astype("float32")).all()),
    "shape": list(flat.image.array.shape), "type": str(flat.image.array.dtype),
    "spread": [float(before[inner].std()), float(flat.image.array[inner].std())],
    "filter": flat.metadata["LSST BUTLER DATAID PHYSICAL_FILTER"],
    "again": bool((b.get("flat", detector=0, instrument="LSSTComCam", exposure=2024110800246).image.array
                   == before).all()),
}))
"""


def typed(code: str, folder: Path) -> Any:
    """What a fresh interpreter prints, in the folder that the repository lies in."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the class works: ``dp1`` lies in it. Its gigabytes go at the end."""
    folder = tmp_path_factory.mktemp("class")
    comcam.make_dp1(folder / "dp1")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def butler(home: Path) -> Any:
    """The library's own door, as the sheet opens it."""
    from lsst.daf.butler import Butler

    return Butler(str(home / "dp1"), collections=["LSSTComCam/DP1"])


def test_the_cells_run_as_they_stand(home: Path) -> None:
    seen = typed(CELLS + PRINTED, home)
    wide, narrow = seen.pop("spread")
    assert seen == {"same": True, "shape": [4000, 4072], "type": "float32", "filter": "u_05", "again": True}
    assert narrow < 0.9 * wide


def test_the_flat_of_a_science_exposure_is_that_of_its_band(butler: Any) -> None:
    found, pixels = {}, {}
    for band in comcam.BANDS:
        at = {"instrument": "LSSTComCam", "detector": 0, "exposure": comcam.number(band)}
        (record,) = butler.query_dimension_records("exposure", instrument="LSSTComCam", exposure=at["exposure"])
        assert (record.observation_type, record.physical_filter) == ("science", comcam.FILTERS[band])
        assert (record.day_obs, record.seq_num) == (20241108, at["exposure"] % 100_000)
        assert record.obs_id == f"CC_O_20241108_{record.seq_num:06d}"
        cards = butler.get("flat.metadata", **at)
        assert cards["LSST BUTLER DATAID PHYSICAL_FILTER"] == comcam.FILTERS[band]
        found[band] = cards["LSST BUTLER ID"]
        pixels[band] = butler.get("flat.image", parameters={"bbox": (1000, 900, 200, 300)}, **at).array
    assert len(set(found.values())) == 6
    truth = {band: comcam.sensor("R22_S00").flat(band)[900:1200, 1000:1200] for band in comcam.BANDS}
    for band, image in pixels.items():
        match = {other: np.corrcoef(image.ravel(), flat.ravel())[0, 1] for other, flat in truth.items()}
        assert max(match, key=match.__getitem__) == band, (band, match)


def test_datasets_of_an_exposure(butler: Any) -> None:
    at: dict[str, Any] = {"instrument": "LSSTComCam", "detector": 0, "exposure": 2024110800246}
    raw = butler.get("raw", **at)
    assert raw.raw and raw.image.array.shape == (4096, 4608) and raw.image.array.dtype == np.int32
    assert (raw.observation.instrument, raw.observation.detector, raw.observation.filter) == (
        "lsstcomcam",
        "R22_S00",
        "u_05",
    )
    done = butler.get("post_isr_image", **at)
    assert done.image.array.shape == (4000, 4072) and done.unit == "electron" and not done.raw
    flat = butler.find_dataset("flat", timespan=_record(butler, at).timespan, **at, physical_filter="u_05")
    assert done.metadata["LSST CALIB UUID FLAT"] == str(flat.id)
    applied = butler.get_dataset(flat.id)
    assert applied == flat and applied.run.startswith("LSSTComCam/calibgen/")
    later = butler.getDeferred("post_isr_image", **at)
    box = later.get(parameters={"bbox": (2000, 1500, 64, 32)})
    np.testing.assert_array_equal(box.image.array, done.image.array[1500:1532, 2000:2064])
    assert later.get(component="metadata")["OBSID"] == "CC_O_20241108_000246"
    gain = butler.get("gain", **at).to_table()
    relative = float(np.sqrt(np.mean((gain["gain_error"] / gain["gain"]) ** 2) / len(gain)))
    sky = 20.0 * 30.0
    assert abs(np.nanmedian(done.image.array) - sky) < 4 * relative * sky + 1 / 3, "a median of counts is 1/3 low"


def _record(butler: Any, at: dict[str, Any]) -> Any:
    return butler.query_dimension_records("exposure", instrument="LSSTComCam", exposure=at["exposure"])[0]


def test_queries(butler: Any) -> None:
    every = butler.query_datasets("raw", where="instrument = 'LSSTComCam' AND exposure.observation_type = 'science'")
    assert sorted((r.dataId["exposure"], r.dataId["detector"]) for r in every) == sorted(
        [(comcam.number(band), 0) for band in comcam.BANDS] + [(comcam.number("r"), 4)]
    )
    other = butler.query_datasets("raw", instrument="LSSTComCam", detector=4, physical_filter="r_03")
    assert {r.dataId["exposure"] % 100_000 for r in other} == {10, 11, comcam.number("r") % 100_000}
    detectors = butler.query_dimension_records("detector", instrument="LSSTComCam")
    assert [(d.id, d.full_name) for d in detectors][0::4] == [(0, "R22_S00"), (4, "R22_S11"), (8, "R22_S22")]
    bands = butler.query_dimension_records("physical_filter", instrument="LSSTComCam")
    assert {f.name: f.band for f in bands} == {**{v: k for k, v in comcam.FILTERS.items()}, "unknown": "unknown"}


def test_a_detector_without_a_flat_of_the_band_gets_none(butler: Any) -> None:
    from lsst.daf.butler import DatasetNotFoundError

    at = {"instrument": "LSSTComCam", "detector": 4}
    assert butler.get("flat.metadata", **at, exposure=comcam.number("r"))["LSST BUTLER DATAID DETECTOR"] == 4
    with pytest.raises(DatasetNotFoundError, match="g_01"):
        butler.get("flat", **at, exposure=comcam.number("g"))
