"""Spellings of real headers into our words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fullwell import instruments
from fullwell.frames import Observation
from fullwell.instruments.kinds import band_of, hint_of, kind_of

from .headers import one


def seen(header: dict[str, Any], path: str = "a.fits", **comments: str) -> Observation:
    return instruments.get("generic").observation(one(header, path=path, **comments))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Bias Frame", "bias"),
        ("zero", "bias"),
        ("BIAS", "bias"),
        ("Offset", "bias"),
        (2, "bias"),
        ("Dark Frame", "dark"),
        ("DARK", "dark"),
        ("Dark Flat", "dark"),
        ("flat-dark", "dark"),
        (3, "dark"),
        ("FLAT,SKY", "flat"),
        ("SKY,FLAT", "flat"),
        ("Dome Flat", "flat"),
        ("FLAT,LAMP", "flat"),
        ("Flat Field", "flat"),
        ("twilight flat", "flat"),
        ("dflat", "flat"),
        ("DOMEFLAT", "flat"),
        (4, "flat"),
        ("object", "science"),
        ("Light Frame", "science"),
        ("LIGHT", "science"),
        ("SKYEXP", "science"),
        ("STD,FLUX", "science"),
        ("Science", "science"),
        (1, "science"),
        ("WAVE,LAMP", "arc"),
        ("comp", "arc"),
        ("ARC", "arc"),
        ("FOCUS", "focus"),
        ("tea", "unknown"),
        ("", "unknown"),
    ],
)
def test_types(text: Any, kind: str) -> None:
    assert kind_of(text)[0] == kind


@pytest.mark.parametrize(
    "keyword", ["IMAGETYP", "OBSTYPE", "IMGTYPE", "FRAME", "PICTTYPE", "VIMTYPE", "OBSMODE", "ESO DPR TYPE"]
)
def test_keywords_of_the_type(keyword: str) -> None:
    obs = seen({keyword: "flat", "EXPTIME": 3.0})
    assert obs.kind == "flat"
    assert obs.sources["kind"] == f"{keyword}=flat"


def test_a_dark_of_no_exposure_is_a_bias() -> None:
    obs = seen({"IMAGETYP": "DARK", "EXPTIME": 0.0})
    assert obs.kind == "bias" and "0 s" in obs.sources["kind"]
    assert seen({"IMAGETYP": "DARK", "EXPTIME": 10.0}).kind == "dark"
    assert seen({"IMAGETYP": "DARK"}).kind == "dark"


def test_a_light_that_is_called_flat_is_left_open() -> None:
    obs = seen({"IMAGETYP": "Light Frame", "EXPTIME": 23.0}, "night/flat_23s_00.fits")
    assert obs.kind == "unknown"
    assert obs.sources["hint"] == "flat (file name)" and "Light Frame" in obs.sources["kind"]
    obs = seen({"IMAGETYP": "LIGHT", "OBJECT": "Dome flat R", "EXPTIME": 2.0}, "x0001.fits")
    assert obs.kind == "unknown" and obs.sources["hint"] == "flat (text 'Dome flat R')"
    assert seen({"IMAGETYP": "LIGHT", "OBJECT": "M 51"}, "m51.fits").kind == "science"
    assert seen({"IMAGETYP": "object", "OBJECT": "flat galaxy"}, "flat.fits").kind == "science"


def test_no_type_gives_unknown_and_the_hints() -> None:
    assert seen({"EXPTIME": 5.0}, "dark_001.fits").sources["hint"] == "dark (file name)"
    assert "hint" not in seen({"EXPTIME": 5.0}, "img_001.fits").sources
    assert seen({"EXPTIME": 0.0}, "img_001.fits").sources["hint"] == "bias (exposure of 0 s)"
    assert hint_of("/flats/img.fits") == ("", "")  # folders say nothing of the single file


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"EXPTIME": 12.5}, 12.5),
        ({"EXPOSURE": "1,5"}, 1.5),
        ({"EXP_TIME": "300 ms"}, 0.3),
        ({"ITIME": 2}, 2.0),
        ({"EXPTIM": "7."}, 7.0),
        ({"IMG_EXP": 1999}, 1.999),
        ({"EXPTIME": "n/a", "EXPOSURE": 4.0}, 4.0),
        ({}, math.nan),
    ],
)
def test_exposure_times(header: dict[str, Any], seconds: float) -> None:
    assert seen(header).exposure_time == pytest.approx(seconds, nan_ok=True)


def test_a_unit_in_the_comment_counts() -> None:
    assert seen({"EXPOSURE": 1500}, exposure="exposure time (ms)").exposure_time == 1.5
    assert seen({"EXPOSURE": 1500}, exposure="exposure time [s]").exposure_time == 1500


@pytest.mark.parametrize(
    ("header", "optics", "band"),
    [
        ({"FILTER": "g"}, "g", "g"),
        ({"FILTER": "SDSSi"}, "SDSSi", "i"),
        ({"FILTERS": 48}, "48", ""),
        ({"FILTNAM": "V#641"}, "V#641", "V"),
        ({"INSFILTE": "Bessel R"}, "Bessel R", "R"),
        ({"FILTER1": "open", "FILTER2": "r'"}, "r'", "r"),
        ({"FILTER1": "g", "FILTER2": "ND3"}, "g~ND3", "g"),
        ({"FILTER": "g", "GRISM": "grism#7"}, "g~grism#7", "g"),
        ({"ESO INS FILT1 NAME": "g#782", "ESO INS GRIS1 NAME": "Free"}, "g#782", "g"),
        ({"ESO INS FILT1 NAME": "Free", "ESO INS GRIS1 NAME": "Gr#3"}, "Gr#3", ""),
        ({"FILTER": "Clear"}, "Clear", ""),
        ({"FILTER": "Free"}, "", ""),
        ({}, "", ""),
    ],
)
def test_filters(header: dict[str, Any], optics: str, band: str) -> None:
    obs = seen(header)
    assert (obs.filter, obs.band) == (optics, band)


def test_bands_of_names() -> None:
    names = [
        "g_01",
        "r_57",
        "i_39",
        "z",
        "y_04",
        "u_24",
        "SDSSg_65mm",
        "sloan z'",
        "Johnson V",
        "Visible",
        "Ha",
        "Blue",
        "grism#7",
        "",
    ]
    assert [band_of(n) for n in names] == ["g", "r", "i", "z", "y", "u", "g", "z", "V", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("header", "begin"),
    [
        ({"DATE-OBS": "2022-01-26T19:02:38.210"}, "2022-01-26T19:03:15.210"),  # 37 s since 2017
        ({"DATE-OBS": "2022-01-26T19:02:38.210", "TIMESYS": "TAI"}, "2022-01-26T19:02:38.210"),
        ({"DATE-OBS": "2013-07-13", "UT": "00:57:33", "MJD-OBS": 56486.0}, "2013-07-13T00:58:08.000"),  # 35 s
        ({"DATE-OBS": "30/05/99", "TIME-OBS": "03:44:00"}, "1999-05-30T03:44:32.000"),  # 32 s
        ({"DATE-OBS": "2013-07-13", "UTC": 3600.5}, "2013-07-13T01:00:35.500"),  # seconds of the day, as ESO
        ({"IMG_TS": "2017-07-12T18:32:31.951Z"}, "2017-07-12T18:33:08.951"),
        ({"MJD-OBS": 59605.5}, "2022-01-26T12:00:37.000"),
        ({"JD": 2459606.0}, "2022-01-26T12:00:37.000"),
        ({"DATE-OBS": "soon"}, ""),
    ],
)
def test_begin_is_tai(header: dict[str, Any], begin: str) -> None:
    assert seen(header).begin == begin


def test_modified_julian_date() -> None:
    assert seen({"DATE-OBS": "2017-01-01T00:00:00", "TIMESYS": "TAI"}).mjd == 57754.0


@pytest.mark.parametrize(
    ("header", "binning"),
    [
        ({"CCDSUM": "2 2"}, (2, 2)),
        ({"CCDSUM": "4x2"}, (4, 2)),
        ({"XBINNING": 3, "YBINNING": 3}, (3, 3)),
        ({"ESO DET WIN1 BINX": 2, "ESO DET WIN1 BINY": 1}, (2, 1)),
        ({"BINNING": 2}, (2, 2)),
        ({}, (1, 1)),
    ],
)
def test_binning(header: dict[str, Any], binning: tuple[int, int]) -> None:
    assert seen(header).binning == binning


def test_windows_are_on_the_unbinned_detector() -> None:
    assert seen({"XORGSUBF": 10, "YORGSUBF": 0, "XBINNING": 2, "YBINNING": 2}).window == (20, 0, 240, 200)
    assert seen({"XORGSUBF": 0, "YORGSUBF": 0}).window is None
    assert seen(
        {"ESO DET WIN1 STRX": 1, "ESO DET WIN1 STRY": 301, "ESO DET WIN1 NX": 120, "ESO DET WIN1 NY": 100}
    ).window == (0, 300, 120, 100)


@pytest.mark.parametrize(
    ("header", "gain", "setting"),
    [
        ({"GAIN": 1.9}, 1.9, ""),
        ({"EGAIN": 2.06, "GAIN": 120}, 2.06, ""),
        ({"GAIN": 120}, math.nan, "120"),
        ({"GAIN": 10}, math.nan, "10"),
        ({"GAIN": 0.01}, math.nan, "0.01"),
        ({"GAIN": 0}, math.nan, "0"),
        ({"GAIN": 4, "SWCREATE": "SharpCap v4"}, math.nan, "4"),
        ({"GAIN": 1.5, "INSTRUME": "ZWO ASI1600MM"}, math.nan, "1.5"),
        ({"ESO DET OUT1 CONAD": 1.1, "ESO DET OUT1 GAIN": 0.91}, 1.1, ""),
        ({"ESO DET OUT1 GAIN": 0.5}, 2.0, ""),
        ({}, math.nan, ""),
    ],
)
def test_gain_is_taken_only_where_plausible(header: dict[str, Any], gain: float, setting: str) -> None:
    obs = seen(header)
    assert obs.header_gain == pytest.approx(gain, nan_ok=True)
    assert obs.gain_setting == setting
    if setting:
        assert "not taken for electron/adu" in obs.sources["header_gain"]


def test_a_comment_in_electrons_makes_gain_a_gain() -> None:
    assert seen({"GAIN": 1.5, "SWCREATE": "SharpCap"}, gain="[e-/ADU]").header_gain == 1.5


def test_kelvin_is_recognised() -> None:
    obs = seen({"CCD-TEMP": 180.2, "SET-TEMP": -20.0})
    assert obs.temperature == pytest.approx(-92.95) and obs.set_temperature == -20.0
    assert "kelvin" in obs.sources["temperature"]


def test_standard_header_of_the_demo_camera() -> None:
    header = {
        "INSTRUME": "demo",
        "DETNAME": "demo",
        "DETECTOR": 0,
        "OBSID": "demo_20250102_000007",
        "DAYOBS": 20250102,
        "SEQNUM": 7,
        "IMAGETYP": "flat",
        "EXPTIME": 3.0,
        "DARKTIME": 3.5,
        "FILTER": "r",
        "OBJECT": "",
        "DATE-OBS": "2025-01-02T20:00:00.000",
        "TIMESYS": "TAI",
        "CCD-TEMP": -100.0,
        "SET-TEMP": -100.0,
    }
    file = one(header, (544, 592))
    instrument = instruments.identify(file)
    obs = instrument.observation(file)
    assert instrument.name == "demo" and instrument.detector(file).name == obs.detector == "demo"
    assert (obs.instrument, obs.kind, obs.filter, obs.band) == ("demo", "flat", "r", "r")
    assert (obs.day_obs, obs.seq_num, obs.obs_id) == (20250102, 7, "demo_20250102_000007")
    assert (obs.exposure_time, obs.dark_time, obs.begin) == (3.0, 3.5, "2025-01-02T20:00:00.000")
    assert math.isnan(obs.header_gain)


def test_simulated_header_of_a_rubin_camera() -> None:
    header = {
        "INSTRUME": "LSSTCam",
        "DETNAME": "R22_S11",
        "DETECTOR": 94,
        "OBSID": "MC_O_20250102_000007",
        "DAYOBS": 20250102,
        "SEQNUM": 7,
        "IMAGETYP": "object",
        "EXPTIME": 30.0,
        "DARKTIME": 30.5,
        "FILTER": "r_57",
        "TIMESYS": "TAI",
        "DATE-OBS": "2025-01-02T20:00:00.000",
    }
    obs = instruments.get("lsstcam").observation(one(header))
    assert (obs.detector, obs.detector_id, obs.kind, obs.band) == ("R22_S11", 94, "science", "r")
    assert (obs.exposure_id, obs.begin) == (2025010200007, "2025-01-02T20:00:00.000")


def test_decam_goes_through_the_translator_library() -> None:
    header = {
        "INSTRUME": "DECam",
        "TELESCOP": "CTIO 4.0-m telescope",
        "OBSTYPE": "zero",
        "EXPTIME": 0.0,
        "DARKTIME": 0.5,
        "DATE-OBS": "2013-09-01T06:06:00.754",
        "MJD-OBS": 56536.25417,
        "TIMESYS": "UTC",
        "EXPNUM": 229388,
        "CCDNUM": 1,
        "DETPOS": "S29",
        "FILTER": "z DECam SDSS c0004 9260.0 1520.0",
        "OBJECT": "zero",
        "OBSID": "ct4m20130901t060600",
        "PROPID": "x",
        "DTNSANAM": "c4d.fits",
    }
    obs = instruments.get("generic").observation(one(header))
    assert obs.kind == "bias" and obs.exposure_id == 229388 and obs.detector_id == 1
    assert obs.instrument == "DECam" and obs.band == "z"
    assert obs.sources["kind"].startswith("translator")
    assert obs.begin.startswith("2013-09-01T06:06:35.7")
