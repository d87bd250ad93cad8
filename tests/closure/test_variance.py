"""The variance plane is right: mean squared residual about the true scene over the mean variance is 1 +- 0.01.

One frame shows all levels in bands of rows, and a response of 1 and of 0.5 in the halves of each amplifier. Every
exposure has noise of its own and masters drawn afresh, as if each came from another night. The ratio of means is
taken, not the mean of ratios: with a variance made from the pixel's own counts the latter differs from 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fullwell.reduction import isr
from fullwell.simulation import FlatScene, SensorModel, grid_detector, masters, sensor_of, simulate

LEVELS = (0.0, 5.0, 20.0, 1000.0, 50000.0)
RESPONSES = (1.0, 0.5)
ROWS, COLUMNS, EXPOSURES = 40, 100, 250
TOLERANCE = 0.01


def build() -> tuple[SensorModel, np.ndarray, dict[tuple[float, float], list[tuple[slice, slice]]]]:
    """The sensor, the light, and the boxes of each (level, response) in the assembled image."""
    detector = grid_detector(
        2, 1, (ROWS * len(LEVELS), COLUMNS * 2), prescan=4, serial=64, parallel=40, gain=1.5, read_noise=5.0
    )
    sensor = sensor_of(
        "ideal",
        7,
        detector=detector,
        spread=0.1,
        level_drift=2.0,
        row_noise=1.0,
        ramp_exponential=10.0,
        ramp_linear=5.0,
        bias_pattern=3.0,
        parallel_pattern=4.0,
        dark_rate=0.5,
        dark_spread=0.3,
        hot_fraction=0.002,
        hot_rate=5.0,
        full_well=120000.0,
        nonlinearity=0.02,
        crosstalk=1e-3,
        bits=18,
    )
    light = np.repeat(np.repeat(LEVELS, ROWS)[:, None], COLUMNS * 4, axis=1)
    response = np.tile(np.repeat(RESPONSES, COLUMNS), 2)
    ripple = 1 + 0.01 * np.random.default_rng(1).standard_normal(light.shape)
    boxes = {
        (level, value): [
            (slice(i * ROWS, (i + 1) * ROWS), slice((2 * a + j) * COLUMNS, (2 * a + j + 1) * COLUMNS)) for a in (0, 1)
        ]
        for i, level in enumerate(LEVELS)
        for j, value in enumerate(RESPONSES)
    }
    return sensor.with_flat("g", response * ripple), light, boxes


SETTINGS: dict[str, dict[str, Any]] = {"overscan_parallel": {}}
"""The sensor has a pattern along the columns. Its read noise holds the rounding, which is not counted again."""


@pytest.fixture(scope="module")
def ratios() -> dict[tuple[float, float], tuple[float, float]]:
    """(ratio, its statistical error from the scatter between exposures) of each (level, response)."""
    sensor, light, boxes = build()
    sums = np.zeros((len(boxes), EXPOSURES, 2))
    for k in range(EXPOSURES):
        raw = simulate(FlatScene(time=30.0, band="g"), sensor, seed=1000 + k, light=light, workers=1).frame
        done = isr(raw, masters(sensor, seed=5000 + k, band="g"), recipe="generic", settings=SETTINGS)
        assert done.unit == "electron"
        assert done.variance is not None
        residual = (done.image.array - light) ** 2
        for n, parts in enumerate(boxes.values()):
            sums[n, k] = [sum(plane[part].sum(dtype=float) for part in parts) for plane in (residual, done.variance)]
    ratio = sums[:, :, 0].sum(axis=1) / sums[:, :, 1].sum(axis=1)
    scatter = (sums[:, :, 0] / sums[:, :, 1]).std(axis=1) / np.sqrt(EXPOSURES)
    return {key: (float(r), float(e)) for key, r, e in zip(boxes, ratio, scatter, strict=True)}


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("level", LEVELS)
def test_squared_residual_over_variance(
    ratios: dict[tuple[float, float], tuple[float, float]], level: float, response: float
) -> None:
    ratio, error = ratios[(level, response)]
    assert error < 0.0025
    assert ratio == pytest.approx(1.0, abs=TOLERANCE)
