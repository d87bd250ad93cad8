"""The files of a simulated sensor can be read by the camera file that is written beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import fullwell as fw
from fullwell import io
from fullwell.cli.main import main
from fullwell.simulation import flat_pairs, sensor_of
from fullwell.simulation.camera_file import camera_text


def test_a_camera_file_has_the_geometry_of_the_sensor(tmp_path: Path) -> None:
    sensor = sensor_of("ptc-16")
    (tmp_path / "camera.toml").write_text(camera_text(sensor.detector))
    camera = io.read_camera(tmp_path / "camera.toml").camera
    assert camera is not None
    read = camera.detectors[0]
    assert read.names == sensor.detector.names and len(read.names) == 16
    for amp in sensor.detector:
        other = read[amp.name]
        for name in ("raw", "data", "trimmed", "serial_overscan", "orientation"):
            assert getattr(other, name) == getattr(amp, name), (amp.name, name)


def test_pairs_of_sixteen_amplifiers_give_sixteen_gains(tmp_path: Path) -> None:
    out = tmp_path / "flats"
    call = ["simulate", "flat-pairs", "-o", out, "--sensor", "ptc-16", "--count", 3, "--seed", 4, "--no-truth", "-q"]
    assert main([str(c) for c in call]) == 0
    files = sorted(out.glob("*.fits"))
    call = ["ptc", *files, "--camera", out / "camera.toml", "-o", tmp_path / "ptc", "--no-report", "--lags", 0, "-q"]
    assert main([str(c) for c in call]) == 0
    found = fw.read_product(tmp_path / "ptc" / "ptc.fits")
    truth = flat_pairs(sensor_of("ptc-16"), seed=4, raw=True, n=3, spacing="log").truth
    assert found.amps == truth.amps
    np.testing.assert_allclose(found.gain, truth.gain, rtol=0.05)
    known = np.array([np.median(p.noise) for p in found.points]) * truth.gain
    np.testing.assert_allclose(known, truth.read_noise, rtol=0.03)
