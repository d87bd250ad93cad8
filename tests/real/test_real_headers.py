"""Headers of the real folders: type, filter, exposure, binning, geometry, without any option."""

from __future__ import annotations

from pathlib import Path

import pytest

from fullwell import instruments, io
from fullwell.cameras import Box, Detector
from fullwell.frames import Observation


def load(path: Path) -> tuple[Observation, Detector]:
    headers = io.read_headers(path)
    instrument = instruments.identify(headers)
    return instrument.observation(headers), instrument.detector(headers)


def test_efosc2(shared: Path) -> None:
    seen = {p.name[18:25]: load(p) for p in sorted((shared / "data" / "efosc2-imaging").glob("*.fits.gz"))}
    table = [(obs.kind, obs.filter, round(obs.exposure_time, 1), obs.binning) for obs, _ in seen.values()]
    assert table[:5] == [("bias", "Gr#1", 0.0, (2, 2))] * 5
    assert table[5:8] == [("flat", "g#782", t, (2, 2)) for t in (3.3, 3.8, 4.4)]
    assert table[8:11] == [("science", "g#782", 180.0, (2, 2))] * 3
    assert table[11:] == [("flat", "Gr#3", 24.5, (2, 2))] * 3
    for obs, detector in seen.values():
        assert obs.header_gain == 1.1  # CONAD; OUT1 GAIN 0.91 is in adu per electron
        assert obs.header_read_noise == 7.8
        (amp,) = detector
        assert detector.box.shape == (1024, 1024)
        assert amp.raw_box("data") == Box(0, 0, 1024, 1024)
        assert amp.raw_box("prescan") == Box(1024, 0, 6, 1030)
        assert amp.serial_overscan.area == amp.parallel_overscan.area == 0


def test_arcsat(shared: Path) -> None:
    folder = shared / "data" / "arcsat-2025"
    expected = {
        "Bias_BIN1_20250530_020505": ("bias", "", 0.0),
        "Dark_BIN1_20250530_020632": ("dark", "", 30.0),
        "LPSEB35_g_20250530_034359": ("science", "g", 30.0),
        "domeflat_g_001": ("flat", "g", 30.3),
    }
    for name, (kind, optics, exposure) in expected.items():
        obs, detector = load(folder / f"{name}.fits.gz")
        assert (obs.kind, obs.filter, obs.exposure_time, obs.binning) == (kind, optics, exposure, (1, 1))
        assert obs.set_temperature == -25.0 and abs(obs.temperature + 25) < 0.1
        assert obs.header_gain != obs.header_gain
        assert detector.box.shape == (1024, 1024) and len(detector) == 1


@pytest.mark.parametrize(
    ("pattern", "kind", "temperature"),
    [
        ("bias_m05C_*", "bias", -5),
        ("bias_m10C_*", "bias", -10),
        ("dark_m05C_*", "dark", -5),
        ("dark_m10C_*", "dark", -10),
        ("flat_m05C_*", "unknown", -5),
    ],
)
def test_stl1001e(shared: Path, pattern: str, kind: str, temperature: float) -> None:
    paths = sorted((shared / "data" / "stl1001e-lab").glob(pattern))
    assert paths
    for path in paths:
        obs, _ = load(path)
        assert (obs.kind, obs.filter, obs.set_temperature) == (kind, "Visible", temperature)
        assert obs.header_gain == 2.06 and obs.sources["header_gain"] == "EGAIN"
        if kind == "unknown":  # "Light Frame" of a lamp
            assert obs.sources["hint"] == "flat (file name)" and obs.exposure_time == 23.0
        if kind == "dark":
            assert obs.exposure_time == float(path.name[10:13])


def test_esis(shared: Path) -> None:
    for path in sorted((shared / "data" / "esis1-ccd230").glob("*.fit.gz")):
        obs, detector = load(path)
        assert obs.kind == "unknown" and "hint" not in obs.sources
        assert obs.exposure_time in (1.999, 9.999, 11.999) and obs.seq_num == int(path.name[6:11])
        assert detector.box.shape == (1040, 2152)


def test_saao(shared: Path) -> None:
    obs, detector = load(shared / "data" / "saao-ste3" / "a8280271.fits.gz")
    assert (obs.kind, obs.filter, obs.exposure_time, obs.object) == ("science", "48", 150.04, "rf0420")
    assert obs.begin == "2013-07-13T00:58:08.000"
    (amp,) = detector
    assert amp.data == Box(16, 0, 512, 520) and amp.serial_overscan == Box(3, 0, 10, 520)
    assert (amp.gain, amp.read_noise) == (1.9, 5.0)
