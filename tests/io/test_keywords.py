"""World coordinates and keywords follow the pixels through trim, flip, transposition and binning."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.io.keywords import Affine, moved_wcs, output_header, unit_name

WCS_KEYS: dict[str, Any] = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.2,
    "CRPIX1": 30.5,
    "CRPIX2": 12.25,
    "CD1_1": -5e-5,
    "CD1_2": 3e-6,
    "CD2_1": 2e-6,
    "CD2_2": 5.1e-5,
}


def sky(header: dict[str, Any], x: float, y: float) -> tuple[float, float]:
    """RA, dec [degree] of a pixel, FITS coordinates, by astropy."""
    from astropy.io import fits
    from astropy.wcs import WCS

    cards = fits.Header()
    for key, value in header.items():
        if value is not None and not key.endswith("A"):
            cards[key] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(float(v) for v in WCS(cards).all_pix2world([[x, y]], 1)[0])


PLAIN = Orientation()


def one_amp(orientation: Orientation, raw_orientation: Orientation = PLAIN) -> Detector:
    """20 rows of 5 prescan, 40 data, 10 overscan columns, 3 rows of parallel overscan."""
    shape, data = (20, 55), Box(5, 0, 40, 17)
    raw_shape, final = raw_orientation.shape(shape), orientation.shape(data.shape)
    amp = Amplifier(
        "A",
        shape,
        data,
        Box(0, 0, raw_shape[1], raw_shape[0]),
        Box(0, 0, final[1], final[0]),
        Box(0, 0, 5, 20),
        Box(45, 0, 10, 20),
        Box(5, 17, 40, 3),
        raw_orientation,
        orientation,
    )
    return Detector("d", 0, (amp,))


EIGHT = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize("orientation", EIGHT, ids=str)
@pytest.mark.parametrize("stored", [Orientation(), Orientation(True, False, True)], ids=str)
@pytest.mark.parametrize("style", ["CD", "PC", "CDELT", "CROTA", "SIP"])
def test_a_sky_position_stays_on_its_pixel(orientation: Orientation, stored: Orientation, style: str) -> None:
    """The value of each raw pixel is its index, so that the pixel is found again after assembly."""
    header = styled(style)
    detector = one_amp(orientation, stored)
    amp = detector["A"]
    raw = np.arange(amp.raw.area).reshape(amp.raw.shape)
    image = orientation.apply(stored.undo(raw)[amp.data.slices])
    out = output_header(header, detector, detector.box, "electron")
    for y, x in ((0, 0), (3, 11), (image.shape[0] - 1, image.shape[1] - 1)):
        raw_y, raw_x = np.argwhere(raw == image[y, x])[0]
        before, after = sky(header, raw_x + 1, raw_y + 1), sky(out, x + 1, y + 1)
        assert np.allclose(before, after, rtol=0, atol=1e-11), (y, x)


def styled(style: str) -> dict[str, Any]:
    header = dict(WCS_KEYS)
    cd = [header.pop(f"CD{i}_{j}") for i in (1, 2) for j in (1, 2)]
    if style in ("CD", "SIP"):
        header.update({f"CD{i}_{j}": v for (i, j), v in zip(itertools.product((1, 2), repeat=2), cd, strict=True)})
    if style == "PC":
        header.update(CDELT1=-5e-5, CDELT2=5e-5, PC1_1=0.9, PC1_2=-0.1, PC2_1=0.2, PC2_2=1.1)
    if style in ("CDELT", "CROTA"):
        header.update(CDELT1=-5e-5, CDELT2=6e-5)
    if style == "CROTA":
        header["CROTA2"] = 25.0
    if style == "SIP":
        header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=3)
        header.update(A_2_0=1e-4, A_1_1=-3e-5, A_0_2=2e-5, B_0_2=-2e-4, B_2_0=5e-5, B_2_1=3e-6)
    return header


def test_trim_by_hand() -> None:
    """Five prescan columns off: CRPIX1 falls by 5, LTV1 is -5; nothing else moves."""
    out = output_header(WCS_KEYS, one_amp(Orientation()), Box(0, 0, 40, 17), "electron")
    assert (out["CRPIX1"], out["CRPIX2"]) == (25.5, 12.25)
    assert (out["LTV1"], out["LTV2"], out["LTM1_1"], out["LTM2_2"]) == (-5.0, 0.0, 1.0, 1.0)
    assert out["CD1_1"] == WCS_KEYS["CD1_1"]


def test_flip_by_hand() -> None:
    """Data columns 6 … 45 (FITS), reversed: x' = 46 - x; 46 - 30.5 = 15.5; the sign of CDi_1 turns."""
    out = output_header(WCS_KEYS, one_amp(Orientation(True)), Box(0, 0, 40, 17), "electron")
    assert out["CRPIX1"] == 15.5
    assert (out["CD1_1"], out["CD2_1"], out["CD2_2"]) == (5e-5, -2e-6, 5.1e-5)
    assert (out["LTV1"], out["LTM1_1"]) == (46.0, -1.0)


def test_binning_by_hand() -> None:
    """Two columns joined: their centre 1.5 becomes 1, so CRPIX1 = (30.5 - 0.5)/2 + 0.5; CDi_1 doubles."""
    out = output_header(WCS_KEYS, None, Box(0, 0, 20, 17), "electron", binning=(2, 1))
    assert out["CRPIX1"] == 15.5
    assert out["CD1_1"] == -1e-4
    assert (out["LTV1"], out["LTM1_1"], out["LTM2_2"]) == (0.25, 0.5, 1.0)


def test_a_cut_out_of_a_written_frame_moves_once() -> None:
    """What was described once is only shifted to the new box, and twice the same box changes nothing."""
    detector = one_amp(Orientation(True))
    first = output_header(WCS_KEYS, detector, detector.box, "electron")
    assert output_header(first, detector, detector.box, "electron") == first
    part = output_header(first, detector, Box(4, 2, 10, 10), "electron")
    assert (part["CRPIX1"], part["CRPIX2"]) == (first["CRPIX1"] - 4, first["CRPIX2"] - 2)
    assert (part["FWX0"], part["CRVAL1A"], part["CRVAL2A"]) == (4, 4.0, 2.0)
    assert part["LTV1"] == first["LTV1"] - 4


def two_amps() -> Detector:
    """Two amplifiers, overscan between them: no single map takes the raw image to the assembled one."""
    left = Amplifier("L", (10, 30), Box(0, 0, 20, 10), Box(0, 0, 30, 10), Box(0, 0, 20, 10), EMPTY, Box(20, 0, 10, 10))
    mirror = Orientation(True)
    right = Amplifier(
        "R",
        (10, 30),
        Box(0, 0, 20, 10),
        Box(30, 0, 30, 10),
        Box(20, 0, 20, 10),
        EMPTY,
        Box(20, 0, 10, 10),
        raw_orientation=mirror,
        orientation=mirror,
    )
    return Detector("d", 1, (left, right))


EMPTY = Box(0, 0, 0, 0)


def test_of_several_amplifiers_the_one_at_the_reference_pixel_counts() -> None:
    """CRPIX1 = 45 lies in the right data (raw columns 41 … 60), which move by 20; LTV is of the detector."""
    out = output_header({**WCS_KEYS, "CRPIX1": 45.0}, two_amps(), Box(0, 0, 40, 10), "electron")
    assert out["CRPIX1"] == 25.0
    assert out["LTV1"] == 0.0
    out = output_header({**WCS_KEYS, "CRPIX1": 7.0}, two_amps(), Box(0, 0, 40, 10), "electron")
    assert out["CRPIX1"] == 7.0


def test_stale_keywords_go_and_true_ones_come() -> None:
    header = {
        **dict.fromkeys(("BIASSEC", "TRIMSEC", "DATASEC", "CCDSEC", "DETSEC", "BIASSEC1", "AMPSEC2"), "[1:2,3:4]"),
        **dict.fromkeys(("GAIN", "EGAIN", "GAIN1", "RDNOISE", "SATURATE", "ESO DET OUT1 GAIN"), 9.0),
        "BZERO": 32768,
        "BSCALE": 1,
        "BUNIT": "adu",
        "NAXIS1": 55,
        "OBJECT": "M 31",
        "GAINSET": "high",
        "AIRMASS": 1.2,
    }
    out = output_header(header, None, Box(0, 0, 3, 3), "electron", read_noise={"A": 3.0, "B": 5.0}, saturation=9e4)
    assert out["BUNIT"] == "electron"
    assert out["GAIN"] == 1.0
    assert out["RDNOISE"] == pytest.approx(np.sqrt(17.0))
    assert out["SATURATE"] == 9e4
    kept = {"OBJECT", "GAINSET", "AIRMASS", "BUNIT", "GAIN", "RDNOISE", "SATURATE"}
    assert kept <= set(out)
    assert not (set(header) - kept) & set(out)
    assert "GAIN" not in output_header(header, None, Box(0, 0, 3, 3), "adu")
    assert output_header({}, None, Box(0, 0, 3, 3), "adu", gain={"A": 1.0, "B": 2.0})["GAIN"] == 1.5


def test_alternative_descriptions_move_too() -> None:
    header = {"CTYPE1C": "LINEAR", "CTYPE2C": "LINEAR", "CRPIX1C": 10.0, "CRPIX2C": 4.0, "PC1_1C": 1.0, "PC2_2C": 1.0}
    out = moved_wcs(header, Affine.cut(Box(3, 1, 5, 5)))
    assert (out["CRPIX1C"], out["CRPIX2C"]) == (7.0, 3.0)


def test_names_of_units() -> None:
    assert [unit_name(t) for t in ("ADU", "DN", "electrons", "e-/s", "counts", "nJy", None)] == [
        *("adu", "adu", "electron", "electron/s", "adu", "nJy", "")
    ]
