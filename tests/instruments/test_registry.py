from __future__ import annotations

import pytest

from fullwell import instruments
from fullwell.base.errors import UsageError

from .headers import one


def test_shipped_instruments_are_listed_and_sound() -> None:
    assert set(instruments.names()) >= {"demo", "generic", "latiss", "lsst-ts8", "lsstcam", "lsstcomcam"}
    for name in instruments.names():
        assert [f for f in instruments.check(instruments.get(name)) if f.level == "error"] == []


def test_a_misspelt_name_proposes_the_right_one() -> None:
    with pytest.raises(UsageError) as err:
        instruments.get("lstcam")
    assert "did you mean 'lsstcam'" in str(err.value)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({"INSTRUME": "lsstCam"}, "lsstcam"),
        ({"INSTRUME": "LSSTCam"}, "lsstcam"),
        ({"INSTRUME": "LSSTCamSim"}, "lsstcam"),
        ({"INSTRUME": "COMCAM"}, "lsstcomcam"),
        ({"INSTRUME": "LSST_CAMERA", "TELCODE": "CC"}, "lsstcomcam"),
        ({"INSTRUME": "LSST_CAMERA", "TELCODE": "MC"}, "generic"),
        ({"INSTRUME": "LATISS"}, "latiss"),
        ({"INSTRUME": "LSST_ATISS"}, "latiss"),
        ({"TSTAND": "TS8"}, "lsst-ts8"),
        ({"INSTRUME": "demo"}, "demo"),
        ({"INSTRUME": "STE3 CCD"}, "generic"),
        ({}, "generic"),
    ],
)
def test_files_find_their_instrument(header: dict, name: str) -> None:
    assert instruments.identify(one(header)).name == name


def test_demo_camera() -> None:
    camera = instruments.get("demo").camera
    assert camera is not None and len(camera) == 1
    detector = camera.detectors[0]
    assert [amp.readout_corner for amp in detector] == ["LL", "LR", "UL", "UR"]
    assert detector.box.shape == (512, 512) and detector.raw_box.shape == (544, 592)
    for amp in detector:
        assert amp.data.shape == (256, 256)
        assert (amp.prescan.width, amp.serial_overscan.width, amp.parallel_overscan.height) == (8, 32, 16)
        assert amp.hdu is None and 1.2 <= amp.gain <= 1.6 and 4 <= amp.read_noise <= 6 and amp.saturation == 60000


def test_check_finds_overlap_on_the_focal_plane_and_double_ids() -> None:
    table = {
        "name": "two",
        "types": {
            "t": {
                "segment": [10, 20],
                "data": [10, 18],
                "gain": 1.0,
                "pixel_size": 0.1,
                "amplifiers": [{"name": "A", "tile": [0, 0]}],
            }
        },
        "detectors": [{"name": "a", "id": 1}, {"name": "b", "id": 1, "centre": [1.7, 0.0]}],
    }
    texts = [f.text for f in instruments.check(instruments.from_mapping(table)) if f.level == "error"]
    assert any("2 detectors have the id 1" in t for t in texts)
    assert any("overlap on the focal plane" in t for t in texts)
    table["detectors"][1]["centre"] = [1.81, 0.0]  # type: ignore[index]
    texts = [f.text for f in instruments.check(instruments.from_mapping(table)) if f.level == "error"]
    assert not any("overlap" in t for t in texts)


def test_check_knows_that_rotated_neighbours_do_not_overlap() -> None:
    """Two squares of 1 mm, one turned by 45 degrees, 1.25 mm apart: bounding boxes overlap, squares do not."""
    kind = {"segment": [10, 10], "data": [10, 10], "pixel_size": 0.1, "amplifiers": [{"name": "A", "tile": [0, 0]}]}
    rows = [
        {"name": "a", "id": 0, "centre": [0.0, 0.0]},
        {"name": "b", "id": 1, "centre": [0.9, 0.9], "rotation": 45.0},
    ]
    table = {"name": "two", "types": {"t": kind}, "detectors": rows}
    assert not [f for f in instruments.check(instruments.from_mapping(table)) if f.level == "error"]
    rows[1]["centre"] = [0.8, 0.8]
    assert [f for f in instruments.check(instruments.from_mapping(table)) if f.level == "error"]
