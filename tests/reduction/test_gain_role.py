"""The gain of a frame: from a photon transfer, with a method or refused; the recipe of flats for photon transfer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.errors import UsageError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Dark, Defects, Flat, Gain, Ptc
from fullwell.reduction import isr

NY, NX = 6, 8
NAN = np.full(2, np.nan)


def detector() -> Detector:
    overscan = Box(4, 0, 10, NY)
    amps = tuple(
        Amplifier(
            name, (NY, 14), Box(0, 0, 4, NY), Box(14 * i, 0, 14, NY), Box(4 * i, 0, 4, NY), serial_overscan=overscan
        )
        for i, name in enumerate("AB")
    )
    return Detector("d", 0, amps)


@pytest.fixture
def frame() -> Frame:
    """100 of overscan; A has 150, B 180 in the data; one pixel of B has 900."""
    raw = np.full((NY, 28), 100, np.uint16)
    raw[:, :4] += 50
    raw[:, 14:18] += 80
    raw[2, 15] = 1000
    seen = Observation(exposure_time=10.0, obs_id="x")
    return Frame.from_arrays(raw, unit="adu", raw=True, detector=detector(), observation=seen, source="x.fits")


def ptc(**more) -> Ptc:
    given = {"gain": np.array([2.0, 0.5]), "read_noise": np.array([6.0, 8.0]), "turnoff": np.array([5000.0, 700.0])}
    return Ptc(amps=("A", "B"), gain_error=NAN, **{"estimator": "fullcov", **given, **more})


def gain(**more) -> Gain:
    return Gain(amps=("A", "B"), gain=np.array([2.0, 0.5]), gain_error=NAN, read_noise=np.array([6.0, 8.0]),
                read_noise_error=NAN, **more)  # fmt: skip


@pytest.mark.parametrize("role", ["ptc", "gain"])
def test_a_photon_transfer_gives_gain_and_noise(frame: Frame, role: str) -> None:
    out = isr(frame, {role: ptc()}, off=("interpolation",))
    assert out.unit == "electron"
    assert out.image.array[0, 0] == pytest.approx(50 * 2.0)
    assert out.image.array[0, 7] == pytest.approx(80 * 0.5)
    same = isr(frame, {"gain": gain(estimator="fullcov")}, off=("interpolation",))
    np.testing.assert_array_equal(out.variance.array, same.variance.array)
    assert out.variance.array[0, 0] == pytest.approx(100 + 36, abs=1)
    assert out.last("gain").inputs == {"ptc": ptc().id}
    assert same.last("gain").inputs == {"gain": gain(estimator="fullcov").id}


def test_the_header_names_the_photon_transfer(frame: Frame, tmp_path) -> None:
    from astropy.io import fits

    from fullwell import io

    io.write_frame(isr(frame, {"ptc": ptc()}), tmp_path / "x.fits")
    header = fits.getheader(tmp_path / "x.fits")
    assert header["LSST CALIB UUID PTC"] == ptc().id
    assert "LSST CALIB UUID GAIN" not in header


def test_gain_and_photon_transfer_are_one_too_many(frame: Frame) -> None:
    with pytest.raises(UsageError, match=r"a gain and a photon transfer[\s\S]*give one of them"):
        isr(frame, {"gain": gain(estimator="pair"), "ptc": ptc()})


@pytest.mark.parametrize("estimator", ["", "file", "unknown"])
def test_a_gain_without_a_method_is_refused(frame: Frame, estimator: str) -> None:
    given = gain(estimator=estimator, source="gain.ecsv")
    with pytest.raises(
        UsageError, match=r"does not say how it was measured[\s\S]*gain\.ecsv, for x\.fits[\s\S]*without_method=true"
    ):
        isr(frame, {"gain": given})
    out = isr(frame, {"gain": given}, settings={"gain": {"without_method": True}})
    assert out.unit == "electron"
    record = out.last("gain")
    assert record.note == "a gain that does not say how it was measured"
    assert record.config == {"without_method": True}


def test_a_photon_transfer_without_a_method_is_refused_too(frame: Frame) -> None:
    with pytest.raises(UsageError, match="does not say how it was measured"):
        isr(frame, {"ptc": ptc(estimator="")})


@pytest.mark.parametrize("estimator", ["header", "option", "camera", "pair", "fullcov", "simulation"])
def test_who_states_a_gain_is_a_method(frame: Frame, estimator: str) -> None:
    assert isr(frame, {"gain": gain(estimator=estimator)}).unit == "electron"


def test_a_gain_that_is_not_applied_needs_no_method(frame: Frame) -> None:
    assert isr(frame, {"gain": gain()}, off=("gain",)).unit == "adu"
    assert isr(frame, {"gain": gain()}, recipe="ptc").unit == "adu"


def test_the_turnoff_is_a_suspect_level_where_asked(frame: Frame) -> None:
    plain = isr(frame, {"ptc": ptc()}, off=("interpolation",))
    assert "SUSPECT" not in plain.mask.counts()
    out = isr(frame, {"ptc": ptc()}, settings={"saturation": {"turnoff": True}}, off=("interpolation",))
    assert out.mask.counts()["SUSPECT"] == 1
    assert out.mask["SUSPECT"][2, 5]
    assert out.last("saturation").numbers["suspect"] == {"A": 5000.0, "B": 700.0}
    known = replace(ptc().to_gain(), suspect=np.array([40.0, np.nan]))
    both = isr(frame, {"gain": known}, settings={"saturation": {"turnoff": True}}, off=("interpolation",))
    assert both.last("saturation").numbers["suspect"] == {"A": 40.0, "B": 700.0}


def test_the_recipe_of_photon_transfer_stays_in_adu_and_fills_nothing(frame: Frame) -> None:
    plane = np.ones((NY, NX), np.float32)
    products = {
        "gain": gain(estimator="pair"), "flat": Flat(image=0.5 * plane), "bias": Bias(image=2 * plane, unit="adu"),
        "dark": Dark(image=0.1 * plane, unit="adu/s"), "defects": Defects(boxes=(Box(0, 1, 1, 2),)),
    }  # fmt: skip
    out = isr(frame, products, recipe="ptc", settings={"saturation": {"saturation": 500.0}})
    assert out.unit == "adu"
    assert out.image.array[0, 0] == pytest.approx(50 - 2 - 0.1 * 10)
    assert out.image.array[1, 0] == out.image.array[0, 0]
    assert out.mask["BAD"].sum() == 2
    assert out.mask["SAT"].sum() == 1 and out.mask["SAT"][2, 5]
    assert out.image.array[2, 5] == pytest.approx(900 - 3)
    assert not out.mask.counts().get("INTRP")
    assert out.variance is None
    done = [r.step for r in out.history if r.state == "done"]
    assert "flat" not in done and "gain" not in done
    assert out.last("dither").config["mode"] == "none"
