"""A simulated frame written as a raw file comes back: pixels, geometry, ids; one HDU or one per amplifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fullwell import io
from fullwell.simulation import BiasScene, FlatScene, NightPlan, grid_detector, night, sensor_of, simulate


@pytest.mark.parametrize("name", ["demo", "lsst-e2v"])
def test_a_raw_file_gives_the_frame_back(name: str, tmp_path: Path) -> None:
    frame = simulate(BiasScene(), sensor_of(name, bias_pattern=0.0, hot_fraction=0.0, dark_rate=0.0), seed=1).frame
    io.write_raw(frame, tmp_path / "raw.fits")
    back = io.read(tmp_path / "raw.fits")
    assert back.raw
    assert back.image.dtype == frame.image.dtype
    np.testing.assert_array_equal(back.image.array, frame.image.array)
    assert back.detector is not None and frame.detector is not None
    assert back.detector.names == frame.detector.names
    assert [amp.raw for amp in back.detector] == [amp.raw for amp in frame.detector]
    assert back.observation.obs_id == frame.observation.obs_id
    assert back.observation.exposure_id == frame.observation.exposure_id


def test_comcam_files_are_those_of_the_real_camera(tmp_path: Path) -> None:
    from fullwell import instruments
    from fullwell.frames import Observation

    camera = instruments.get("lsstcomcam").camera
    assert camera is not None
    sensor = sensor_of("lsst-comcam", 1, detector=camera["R22_S21"])
    seen = Observation(instrument="lsstcomcam", day_obs=20241108, seq_num=246)
    only = {"quantisation", "overscan_serial"}
    frame = simulate(FlatScene(level=100.0, band="z", time=3.0), sensor, seed=1, observation=seen, effects=only).frame
    io.write_raw(frame, tmp_path / "raw.fits")
    headers = io.read_headers(tmp_path / "raw.fits")
    assert instruments.identify(headers).name == "lsstcomcam"
    back = io.read_outline(tmp_path / "raw.fits").observation
    assert (back.instrument, back.detector, back.detector_id) == ("lsstcomcam", "R22_S21", 7)
    assert (back.exposure_id, back.day_obs, back.seq_num) == (2024110800246, 20241108, 246)
    assert back.obs_id == "CC_O_20241108_000246"
    assert (back.kind, back.filter, back.band) == ("flat", "z_03", "z")
    assert back.begin == "2024-11-09T04:06:00.000", "the night that follows the noon at which the day begins"
    for field in ("kind", "filter", "band", "exposure_id", "obs_id", "begin", "mjd", "detector", "exposure_time"):
        assert getattr(back, field) == getattr(frame.observation, field), field
    assert headers.primary["DAYOBS"] == "20241108"


def test_another_geometry_is_of_no_camera() -> None:
    sensor = sensor_of("lsst-comcam", 1, detector=grid_detector(1, 1, (8, 8)))
    assert not sensor.cards


def test_a_night_counts_from_its_first_number() -> None:
    plan = NightPlan(biases=2, darks=0, pairs=0, bands=(), day_obs=20241108, first=245)
    frames = dict(night(sensor_of("demo", 1), seed=1, plan=plan, workers=1))
    assert list(frames) == ["bias_0245", "bias_0246"]
    assert [one.frame.observation.seq_num for one in frames.values()] == [245, 246]
    assert {one.frame.observation.day_obs for one in frames.values()} == {20241108}
