"""Geometry from headers alone; boxes worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fullwell import instruments
from fullwell.base.errors import HeaderError
from fullwell.cameras import Box, Detector
from fullwell.instruments import CameraOptions, FileHeaders, HduHeader

from .headers import many, one


def derive(headers: FileHeaders, **options: Any) -> Detector:
    return instruments.get("generic").detector(headers, CameraOptions(**options))


def test_no_keyword_at_all_means_the_whole_image_is_data() -> None:
    detector = derive(one({}))
    (amp,) = detector
    assert amp.data == amp.raw == amp.trimmed == Box(0, 0, 120, 100)
    assert amp.serial_overscan.area == amp.prescan.area == amp.parallel_overscan.area == 0
    assert math.isnan(amp.gain)


def test_saao_sections_with_blanks() -> None:
    header = {"TRIMSEC": "[  17: 116,   1: 100]", "BIASSEC": "[   4:  13,   1: 100]"}
    (amp,) = derive(one(header))
    assert amp.data == Box(16, 0, 100, 100)
    assert amp.serial_overscan == Box(3, 0, 10, 100)
    assert amp.trimmed == Box(0, 0, 100, 100)


def test_overscan_alone_leaves_the_rest_as_data() -> None:
    (amp,) = derive(one({"BIASSEC": "[101:120,1:100]"}))
    assert amp.data == Box(0, 0, 100, 100)
    assert amp.serial_overscan == Box(100, 0, 20, 100)


def test_overscan_above_the_data_is_parallel() -> None:
    (amp,) = derive(one({"BIASSEC": "[1:120,91:100]", "DATASEC": "[1:120,1:90]"}))
    assert amp.serial_overscan.area == 0
    assert amp.parallel_overscan == Box(0, 90, 120, 10)


def test_options_overrule_the_header() -> None:
    header = {"BIASSEC": "[101:120,1:100]", "GAIN": 1.5}
    (amp,) = derive(
        one(header), overscan="[111:120,1:100]", trim="[1:90,5:100]", gain=2.0, read_noise=7.0, saturation=5e4
    )
    assert amp.serial_overscan == Box(110, 0, 10, 100)
    assert amp.data == Box(0, 4, 90, 96)
    assert (amp.gain, amp.read_noise, amp.saturation) == (2.0, 7.0, 5e4)
    (amp,) = derive(one(header), overscan="none")
    assert amp.serial_overscan.area == 0 and amp.data.area == 120 * 100
    (amp,) = derive(one(header), overscan="none", trim="[1:100,1:100]")
    assert amp.serial_overscan.area == 0 and amp.data == Box(0, 0, 100, 100)


def test_sections_that_cannot_be_true_name_the_keyword() -> None:
    with pytest.raises(HeaderError, match="outside the image of 120 x 100") as err:
        derive(one({"BIASSEC": "[201:220,1:100]"}))
    assert "BIASSEC" in str(err.value) and "frame.fits" in str(err.value)
    with pytest.raises(HeaderError, match="overlap") as err:
        derive(one({"DATASEC": "[1:110,1:100]", "BIASSEC": "[101:120,1:100]"}))
    assert "BIASSEC" in str(err.value) and "DATASEC" in str(err.value) and "--overscan" in str(err.value)


def test_descending_detsec_mirrors_the_assembled_image() -> None:
    (amp,) = derive(one({"DATASEC": "[11:110,1:100]", "DETSEC": "[100:1,1:100]"}))
    assert amp.orientation.flip_x and not amp.orientation.flip_y
    assert not amp.raw_orientation.flip_x
    raw = np.arange(12000).reshape(100, 120)
    readout = amp.raw_orientation.undo(raw[amp.raw.slices])
    assert amp.orientation.apply(readout[amp.data.slices])[0, 0] == raw[0, 109]


def quad(parts: dict[str, tuple[str, str, str]]) -> FileHeaders:
    """A file of one HDU per amplifier: name -> DATASEC, BIASSEC, DETSEC; each 60 x 40 pixels."""
    keys = ("DATASEC", "BIASSEC", "DETSEC")
    return many({name: dict(zip(keys, texts, strict=True)) for name, texts in parts.items()}, (40, 60))


def test_one_hdu_per_amplifier_in_read_out_order() -> None:
    """Files stored in read-out order tell the mirror by DETSEC; overscan always to the right."""
    data, bias = "[1:50,1:40]", "[51:60,1:40]"
    file = quad(
        {
            "im1": (data, bias, "[1:50,1:40]"),
            "im2": (data, bias, "[100:51,1:40]"),
            "im3": (data, bias, "[1:50,80:41]"),
            "im4": (data, bias, "[100:51,80:41]"),
        }
    )
    detector = derive(file)
    assert detector.box.shape == (80, 100)
    assert [amp.readout_corner for amp in detector] == ["LL", "LR", "UL", "UR"]
    assert [amp.hdu for amp in detector] == ["im1", "im2", "im3", "im4"]
    assert all(amp.serial_overscan == Box(50, 0, 10, 40) for amp in detector)
    assert all(amp.hdu_orientation == type(amp.hdu_orientation)() for amp in detector)
    assert detector.raw_box.shape == (80, 120)
    assert detector["im4"].trimmed == Box(50, 40, 50, 40)
    assert detector["im4"].raw == Box(60, 40, 60, 40)


def test_one_hdu_per_amplifier_in_detector_order() -> None:
    """Files stored as the detector lies: overscan to the left means read-out from the right."""
    file = quad(
        {
            "im1": ("[1:50,1:40]", "[51:60,1:40]", "[1:50,1:40]"),
            "im2": ("[11:60,1:40]", "[1:10,1:40]", "[51:100,1:40]"),
        }
    )
    detector = derive(file)
    assert [amp.readout_corner for amp in detector] == ["LL", "LR"]
    assert detector["im2"].hdu_orientation.flip_x
    assert detector["im2"].serial_overscan == Box(50, 0, 10, 40)  # read-out order: after the data


def test_assembled_image_is_the_same_for_both_ways_of_storing() -> None:
    sky = np.arange(40 * 100).reshape(40, 100)
    stored = {"im1": np.pad(sky[:, :50], ((0, 0), (0, 10))), "im2": np.pad(sky[:, 50:], ((0, 0), (10, 0)))}
    mirrored = {"im1": stored["im1"], "im2": stored["im2"][:, ::-1]}
    for arrays, second in (
        (stored, ("[11:60,1:40]", "[1:10,1:40]", "[51:100,1:40]")),
        (mirrored, ("[1:50,1:40]", "[51:60,1:40]", "[100:51,1:40]")),
    ):
        detector = derive(quad({"im1": ("[1:50,1:40]", "[51:60,1:40]", "[1:50,1:40]"), "im2": second}))
        out = np.zeros(detector.box.shape, int)
        for amp in detector:
            readout = amp.hdu_orientation.undo(arrays[str(amp.hdu)])
            out[amp.trimmed.slices] = amp.orientation.apply(readout[amp.data.slices])
        np.testing.assert_array_equal(out, sky)


def test_decam_letters_in_one_hdu() -> None:
    """Two amplifiers in one image, overscans outside (as DECam): read-out towards the outer sides."""
    header = {
        "DATASECA": "[57:100,1:40]",
        "BIASSECA": "[7:56,1:40]",
        "CCDSECA": "[45:88,1:40]",
        "DATASECB": "[101:144,1:40]",
        "BIASSECB": "[145:194,1:40]",
        "CCDSECB": "[1:44,1:40]",
        "GAINA": 4.1,
        "GAINB": 4.3,
        "RDNOISEA": 6.0,
        "RDNOISEB": 6.5,
    }
    detector = derive(one(header, (40, 200)))
    assert detector.names == ("A", "B")
    assert detector["A"].trimmed == Box(44, 0, 44, 40) and detector["B"].trimmed == Box(0, 0, 44, 40)
    assert list(detector.values("gain")) == [4.1, 4.3] and list(detector.values("read_noise")) == [6.0, 6.5]
    assert detector["A"].raw == Box(6, 0, 94, 40)
    assert detector["A"].serial_overscan == Box(44, 0, 50, 40)


def test_numbered_quadrants_in_one_image_read_to_their_corners() -> None:
    header: dict[str, Any] = {}
    for i, (x, y) in enumerate(((1, 1), (51, 1), (1, 31), (51, 31)), 1):
        header[f"DATASEC{i}"] = f"[{x}:{x + 49},{y}:{y + 29}]"
    detector = derive(one(header, (60, 100)))
    assert [amp.readout_corner for amp in detector] == ["LL", "LR", "UL", "UR"]
    assert detector.box.shape == (60, 100)


def test_unequal_amplifiers() -> None:
    header = {"DATASEC1": "[1:70,1:60]", "DATASEC2": "[71:100,1:60]"}
    detector = derive(one(header, (60, 100)))
    assert [amp.data.width for amp in detector] == [70, 30]
    assert [amp.readout_corner for amp in detector] == ["LL", "LR"]


def test_overlapping_amplifiers_are_refused() -> None:
    with pytest.raises(HeaderError, match="overlap"):
        derive(one({"DATASEC1": "[1:60,1:60]", "DATASEC2": "[51:100,1:60]"}, (60, 100)))


@pytest.mark.parametrize("text", ["2 2", "2x2", "2,2"])
def test_binned_mosaic(text: str) -> None:
    """DETSEC counts unbinned pixels; the assembled image has binned ones."""
    data, bias = "[1:50,1:40]", "[51:60,1:40]"
    parts = {
        "a": {"DATASEC": data, "BIASSEC": bias, "DETSEC": "[1:100,1:80]", "CCDSUM": text},
        "b": {"DATASEC": data, "BIASSEC": bias, "DETSEC": "[200:101,1:80]", "CCDSUM": text},
    }
    detector = derive(many(parts, (40, 60)))
    assert detector.box.shape == (40, 100)
    assert detector["b"].trimmed == Box(50, 0, 50, 40)


def test_ltm_and_ltv_place_a_mirrored_amplifier() -> None:
    """IRAF: logical = LTM * physical + LTV. Columns 1..50 of the second HDU are physical 100..51: LTM -1, LTV 101."""
    base = {"DATASEC": "[1:50,1:40]", "CCDSEC": ""}
    parts = {
        "a": {**base, "LTM1_1": 1.0, "LTV1": 0.0, "LTM2_2": 1.0, "LTV2": 0.0, "DETSEC": "[1:50,1:40]"},
        "b": {**base, "LTM1_1": -1.0, "LTV1": 101.0, "LTM2_2": 1.0, "LTV2": 0.0, "DETSEC": "[100:51,1:40]"},
    }
    by_section = derive(many(parts, (40, 60)))
    headers = one({"DATASEC": "[1:50,1:40]", "LTM1_1": -1.0, "LTV1": 101.0, "LTM2_2": 1.0, "LTV2": 0.0}, (40, 60))
    (amp,) = derive(headers)
    assert amp.orientation == by_section["b"].orientation


def test_atm_tells_the_direction_of_read_out() -> None:
    """NOAO: ATM1_1 = -1 means that the amplifier reads the columns of the file from the last to the first."""
    sections = {"DATASEC": "[1:100,1:90]", "BIASSEC": "[101:120,1:90]"}
    (amp,) = derive(one({**sections, "ATM1_1": -1.0, "ATM2_2": -1.0}))
    assert amp.readout_corner == "UR"
    assert amp.raw_box("serial_overscan") == Box(100, 0, 20, 90)
    assert amp.serial_overscan == Box(0, 10, 20, 90)
    (amp,) = derive(one({**sections, "ATM1_1": 1.0, "ATM2_2": 1.0}))
    assert amp.readout_corner == "LL" and amp.serial_overscan == Box(100, 0, 20, 90)


def test_what_the_headers_say_of_the_geometry_is_told() -> None:
    def told(header: dict[str, Any]) -> str:
        return instruments.get("generic").observation(one(header)).sources["geometry"]

    assert "no section keywords: the whole image is taken for data" in told({})
    assert told({"DATASEC": "[1:100,1:90]", "BIASSEC": "[101:120,1:90]"}) == "DATASEC, BIASSEC"
    assert "no BIASSEC" in told({"DATASEC": "[1:100,1:90]"})
    assert told({"ESO DET OUT1 PRSCX": 6, "ESO DET OUT1 OVSCX": 0}) == "ESO DET OUT1 PRSCX"


def test_window_of_a_detector_starts_at_zero() -> None:
    (amp,) = derive(one({"CCDSEC": "[501:620,301:400]", "DATASEC": "[1:120,1:100]"}))
    assert amp.trimmed == Box(0, 0, 120, 100)


def test_eso_counts_and_the_side_of_the_output() -> None:
    eso = {
        "ESO DET OUTPUTS": 1,
        "ESO DET OUT1 PRSCX": 6,
        "ESO DET OUT1 OVSCX": 14,
        "ESO DET OUT1 PRSCY": 0,
        "ESO DET OUT1 OVSCY": 5,
        "ESO DET OUT1 X": 1,
        "ESO DET OUT1 Y": 1,
        "ESO DET CHIP1 NX": 100,
        "ESO DET CHIP1 NY": 95,
    }
    (amp,) = derive(one(eso))
    assert amp.data == Box(6, 0, 100, 95) and amp.serial_overscan == Box(106, 0, 14, 100)
    assert amp.parallel_overscan == Box(6, 95, 100, 5) and amp.readout_corner == "LL"
    (amp,) = derive(one({**eso, "ESO DET OUT1 X": 100}))
    assert amp.readout_corner == "LR" and amp.raw_box("prescan") == Box(114, 0, 6, 100)
    (amp,) = derive(one({**eso, "ESO DET OUT1 OVSCX": 0}))
    assert amp.parallel_overscan.area == 0 and amp.data.shape == (95, 114)


def test_several_detectors_ask_for_a_choice() -> None:
    parts = {
        f"c{i}": {"CCDNAME": f"CCD{i}", "DATASEC": "[1:50,1:40]", "DETSEC": f"[{60 * i + 1}:{60 * i + 50},1:40]"}
        for i in (1, 2)
    }
    file = many(parts, (40, 60))
    with pytest.raises(HeaderError, match="2 detectors: CCD1, CCD2") as err:
        derive(file)
    assert "--detector" in str(err.value)
    detector = derive(file, detector="CCD2")
    assert detector.name == "CCD2" and detector.box.shape == (40, 50)


def test_images_without_relation_ask_for_a_choice() -> None:
    file = many({"SCI": {}, "OTHER": {}}, (40, 60))
    with pytest.raises(HeaderError, match="2 images without DETSEC"):
        derive(file)
    (amp,) = derive(file, hdu="SCI")
    assert amp.hdu == "SCI"


def test_options_for_many_amplifiers_are_refused() -> None:
    with pytest.raises(HeaderError, match="hold for one amplifier, the headers tell of 2"):
        derive(one({"DATASEC1": "[1:70,1:60]", "DATASEC2": "[71:100,1:60]"}, (60, 100)), overscan="[1:5,1:60]")


def test_a_file_without_image_is_an_error() -> None:
    with pytest.raises(HeaderError, match="no image"):
        derive(FileHeaders("a.fits", (HduHeader(0, "", {}),)))
