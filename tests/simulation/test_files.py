"""A simulated frame written as a raw file comes back: pixels, geometry, ids; one HDU or one per amplifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fullwell import io
from fullwell.simulation import BiasScene, sensor_of, simulate


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
