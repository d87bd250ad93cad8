"""Ids and rules of Rubin headers, against published examples."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fullwell import instruments
from fullwell.base.errors import HeaderError
from fullwell.instruments import FileHeaders, HduHeader, rubin

SEGMENTS = [f"Segment1{i}" for i in range(8)] + [f"Segment0{i}" for i in range(7, -1, -1)]


def raw(
    header: dict[str, Any],
    *,
    shape: tuple[int, int] = (2048, 576),
    segment: dict[str, Any] | None = None,
    names: list[str] | None = None,
) -> FileHeaders:
    """A raw file of an LSST camera."""
    hdus = [HduHeader(0, "", header)]
    hdus += [HduHeader(i, n, dict(segment or {}), shape, "int32") for i, n in enumerate(names or SEGMENTS, 1)]
    return FileHeaders("raw.fits", tuple(hdus))


def test_exposure_ids() -> None:
    assert rubin.exposure_id(20260315, 51, "O") == 2026031500051
    assert rubin.exposure_id(20240321, 720, "S") == 7024032100720
    assert rubin.exposure_id(20190530, 1, "C") == 3019053000001


def test_controllers_count_as_o_after_their_dates() -> None:
    assert rubin.exposure_id(20231004, 1, "C") == 3023100400001
    assert rubin.exposure_id(20231005, 1, "C") == 2023100500001
    assert [rubin.controller_index(c, 20250417) for c in "OCHPQS"] == [0, 0, 2, 3, 4, 5]
    assert [rubin.controller_index(c, 20250418) for c in "OCHPQS"] == [0, 0, 2, 0, 0, 0]


def test_detector_exposure_ids() -> None:
    assert rubin.detector_exposure_id(20260315, 51, 1) == 0xB8E803301
    # 730756993118 = det + 256 * (seq + 32768 * (days + 16384 * controller)): taken apart by hand
    packed, detector = divmod(730756993118, 256)
    rest, seq = divmod(packed, 32768)
    controller, days = divmod(rest, 16384)
    assert (detector, seq, controller) == (94, 720, 5)
    assert days == 5193  # 2024-03-21
    assert rubin.detector_exposure_id(20240321, 720, 94, "S") == 730756993118
    assert rubin.teststand_exposure_id(201807241028453, 67) == 201807241028453067


def test_visit_ids() -> None:
    assert rubin.visit_id("2026-03-15T22:50:34.110") == 3535446341100000
    assert rubin.visit_id("2026-03-15T22:50:34.110#3") == 3535446341100003
    assert rubin.visit_id("2026-03-15T22:50:34.110+12") == 3535446341100012
    assert rubin.visit_id("1234567") == 1234567
    other = rubin.visit_id("commissioning block A")
    assert other == rubin.visit_id("commissioning block A") and 0 < other < 2**63


@pytest.mark.parametrize(
    ("header", "instrument", "optics"),
    [
        ({"FILTER": "r_57"}, "lsstcam", "r_57"),
        ({"FILTER": "SDSSi", "FILTER2": "empty"}, "lsstcam", "SDSSi"),
        ({"FILTER": "SDSSi", "FILTER2": "ND_1"}, "lsstcam", "SDSSi~ND_1"),
        ({"FILTER": "empty_3", "GRATING": "holo4_003"}, "latiss", "empty~holo4_003"),
        ({"FILTER": "SDSSr_65mm", "GRATING": "empty_1"}, "latiss", "SDSSr_65mm~empty"),
        ({"FILTPOS": 2}, "lsst-ts8", "g"),
        ({"FILTPOS": 6}, "lsst-ts8", "y"),
        ({"FILTPOS": 3, "FILTER": "550CutOn"}, "lsst-ts8", "550CutOn"),
        ({}, "lsstcam", ""),
    ],
)
def test_filters_are_joined(header: dict[str, Any], instrument: str, optics: str) -> None:
    assert rubin.join_filters(header, instrument) == optics


def test_observation_types() -> None:
    assert rubin.observation_type({"IMGTYPE": "OBJECT"}) == ("science", "IMGTYPE")
    assert rubin.observation_type({"IMGTYPE": "SKYEXP"})[0] == "science"
    assert rubin.observation_type({"IMGTYPE": "FLAT"})[0] == "flat"
    assert rubin.observation_type({"IMGTYPE": "BIAS", "OBSTYPE": "DARK"}, "latiss") == ("dark", "OBSTYPE")
    assert rubin.observation_type({"IMGTYPE": "BIAS", "OBSTYPE": "DARK"}) == ("bias", "IMGTYPE")
    assert rubin.observation_type({}) == ("unknown", "")


def test_exposure_and_dark_time() -> None:
    base = {
        "INSTRUME": "LSSTCam",
        "RAFTBAY": "R22",
        "CCDSLOT": "S11",
        "EXPTIME": 15.0,
        "DARKTIME": 15.9,
        "CCD_MANU": "E2V",
    }
    cam = instruments.get("lsstcam")
    assert cam.observation(raw(base)).exposure_time == 15.0
    assert cam.observation(raw({**base, "SHUTTIME": 15.2})).exposure_time == 15.2
    assert cam.observation(raw({**base, "SHUTTIME": 0.0})).exposure_time == 15.0
    assert cam.observation(raw(base)).dark_time == 15.9
    latiss = instruments.get("latiss")
    assert latiss.observation(raw({"EXPTIME": 10.0, "DARKTIME": 9.0, "SHUTTIME": 11.0})).dark_time == 10.0
    assert latiss.observation(raw({"EXPTIME": 10.0, "DARKTIME": 10.4})).dark_time == 10.4


def test_gain_is_never_read_from_the_header() -> None:
    header = {
        "INSTRUME": "LSSTCam",
        "RAFTBAY": "R22",
        "CCDSLOT": "S11",
        "CCD_MANU": "E2V",
        "CCDGAIN": 1.0,
        "CCDNOISE": 10.0,
        "GAIN": 0.7,
    }
    cam = instruments.get("lsstcam")
    assert math.isnan(cam.observation(raw(header)).header_gain)
    assert set(cam.detector(raw(header)).values("gain")) == {1.5}


def test_times_are_tai() -> None:
    cam = instruments.get("lsstcam")
    base = {"INSTRUME": "LSSTCam", "RAFTBAY": "R22", "CCDSLOT": "S11"}
    tai = cam.observation(raw({**base, "DATE-BEG": "2026-03-15T22:50:34.110", "DATE-OBS": "2020-01-01T00:00:00"}))
    assert tai.begin == "2026-03-15T22:50:34.110"
    utc = cam.observation(raw({**base, "DATE-OBS": "2021-12-13T04:58:56.398"}))
    assert utc.begin == "2021-12-13T04:59:33.398"  # 37 s


@pytest.mark.parametrize(
    ("header", "segment", "maker"),
    [
        ({"CCD_MANU": "ITL"}, {}, "ITL"),
        ({"LSST_NUM": "E2V-CCD250-382"}, {}, "E2V"),
        ({"DETSIZE": "[1:4072,1:4000]"}, {}, "ITL"),
        ({}, {"DATASEC": "[11:522,1:2002]"}, "E2V"),
        ({}, {}, ""),
    ],
)
def test_maker_from_what_the_header_has(header: dict[str, Any], segment: dict[str, Any], maker: str) -> None:
    assert rubin.vendor(raw(header, segment=segment))[0] == maker


def test_maker_of_the_header_overrules_the_description() -> None:
    header = {"INSTRUME": "LSSTCam", "RAFTBAY": "R22", "CCDSLOT": "S11", "CCD_MANU": "ITL"}
    detector = instruments.get("lsstcam").detector(raw(header))
    assert detector.physical_type == "ITL"
    assert detector.box.shape == (4000, 4072)


def test_geometry_of_both_makers() -> None:
    """Boxes in an untrimmed tile, by hand: ITL C1x data x 64..572, y 48..2047; e2v C1x x 54..565, y 46..2047."""
    cam = instruments.get("lsstcam").camera
    assert cam is not None
    itl, e2v = cam["R01_S00"], cam["R22_S11"]
    assert itl.box.shape == (4000, 4072) and e2v.box.shape == (4004, 4096)
    assert itl.raw_box.shape == e2v.raw_box.shape == (4096, 4608)
    box = itl["C10"].raw_box("data")
    assert (box.x0, box.x1 - 1, box.y0, box.y1 - 1) == (64, 572, 2048 + 48, 2048 + 2047)
    box = e2v["C10"].raw_box("data")
    assert (box.x0, box.x1 - 1, box.y0, box.y1 - 1) == (54, 565, 2048 + 46, 2048 + 2047)
    assert [itl[n].readout_corner for n in ("C10", "C00")] == ["UR", "LR"]
    assert [e2v[n].readout_corner for n in ("C10", "C00")] == ["UR", "LL"]
    assert itl.names == tuple(n.replace("Segment", "C") for n in SEGMENTS)


def test_wavefront_half_chip() -> None:
    cam = instruments.get("lsstcam").camera
    assert cam is not None
    half = cam["R00_SW0"]
    assert half.id == 191 and half.box.shape == (2000, 4072)
    assert [half[f"C1{i}"].trimmed.x0 // 509 for i in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert {amp.readout_corner for amp in half} == {"UR"}


def test_wider_overscan_keeps_the_data_box() -> None:
    header = {"INSTRUME": "LSSTCam", "RAFTBAY": "R22", "CCDSLOT": "S11", "CCD_MANU": "E2V"}
    amp = instruments.get("lsstcam").detector(raw(header, shape=(2100, 640)))["C10"]
    assert amp.data.x0 == 10 and amp.data.shape == (2002, 512)
    assert amp.serial_overscan.x0 == 522 and amp.serial_overscan.x1 == 640
    assert amp.parallel_overscan.y0 == 2002 and amp.parallel_overscan.y1 == 2100


def test_detector_ids_count_rafts_of_nine() -> None:
    cam = instruments.get("lsstcam").camera
    assert cam is not None and len(cam) == 205
    known = {"R01_S00": 0, "R10_S02": 29, "R22_S11": 94, "R22_S22": 98, "R43_S22": 188, "R00_SG0": 189, "R44_SW1": 204}
    assert {name: cam[name].id for name in known} == known
    assert [det.id for det in cam] == list(range(205))


def test_missing_segment_and_wrong_datasec_are_errors() -> None:
    header = {"INSTRUME": "LSSTCam", "RAFTBAY": "R22", "CCDSLOT": "S11", "CCD_MANU": "E2V"}
    cam = instruments.get("lsstcam")
    with pytest.raises(HeaderError, match="Segment00 is missing"):
        cam.detector(raw(header, names=SEGMENTS[:-1]))
    with pytest.raises(HeaderError, match=r"DATASEC \[4:512,1:2000\] is not that of an E2V"):
        cam.detector(raw(header, segment={"DATASEC": "[4:512,1:2000]"}))
    with pytest.raises(HeaderError, match="no detector of lsstcam is named"):
        cam.detector(raw({"INSTRUME": "LSSTCam"}))
