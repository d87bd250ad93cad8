"""The variance plane is right up to 80 % of full well, by every recipe that makes one, on what the recipe corrects.

Mean squared residual about the true scene over mean variance, masters drawn afresh for each exposure, within 1 %. The
ratio of means is taken. The recipes of combined frames leave what they are to measure: the truth of a bias is its
pattern, that of a dark its charge, that of a flat the light times the response. The recipes "bootstrap" and "ptc"
make no variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fullwell.recipes import RECIPES
from fullwell.reduction import isr
from fullwell.simulation import (
    BiasScene,
    DarkScene,
    FlatScene,
    SensorModel,
    exact_products,
    grid_detector,
    masters,
    sensor_of,
    simulate,
)

FULL_WELL = 120000.0
LEVELS = (20.0, 1000.0, 20000.0, 0.8 * FULL_WELL)
ROWS, COLUMNS = 40, 200
EXPOSURES = 120
TOLERANCE = 0.01
NO_VARIANCE = {"bootstrap", "ptc"}
LIT = {"lsst", "generic", "flat"}
COLUMNS_VARY = {"overscan_parallel": {}}


def build() -> tuple[SensorModel, np.ndarray]:
    """The sensor with all that the recipes correct, and the light in bands of rows."""
    shape = (ROWS * len(LEVELS), COLUMNS)
    detector = grid_detector(2, 1, shape, prescan=4, serial=64, parallel=40, gain=1.5, read_noise=5.0)
    sensor = sensor_of(
        "ideal", 7, detector=detector, spread=0.1, level_drift=2.0, row_noise=1.0, ramp_exponential=10.0,
        ramp_linear=5.0,
        bias_pattern=3.0, parallel_pattern=4.0, dark_rate=0.5, dark_spread=0.3, hot_fraction=0.002,
        hot_rate=5.0,
        full_well=FULL_WELL, nonlinearity=0.02, crosstalk=1e-3, bits=18,
    )  # fmt: skip
    light = np.repeat(np.repeat(LEVELS, ROWS)[:, None], COLUMNS * 2, axis=1)
    response = 0.75 + 0.1 * np.random.default_rng(1).standard_normal(light.shape).clip(-2, 2)
    return sensor.with_flat("u", response), light


def sums_of(recipe: str) -> tuple[np.ndarray, np.ndarray]:
    """(exposures, bands) sums of squared residuals and of variances; one band where there is no light."""
    sensor, light = build()
    scene: Any = {"bias": BiasScene(), "dark": DarkScene(time=300.0)}.get(recipe, FlatScene(time=30.0, band="u"))
    truth = {
        "bias": sensor.bias,
        "dark": sensor.dark * 300.0,
        "flat": light * sensor.flat("u"),
    }.get(recipe, light)
    squares, variances = [], []
    for k in range(EXPOSURES):
        more: dict[str, Any] = {"light": light} if recipe in LIT else {}
        raw = simulate(scene, sensor, seed=1000 + k, workers=1, **more).frame
        products = masters(sensor, seed=5000 + k, band="u")
        if recipe == "dark":
            # all darks share their bias, so that its error is added once, by what combines them
            products["bias"] = exact_products(sensor, "u")["bias"]
        done = isr(raw, products, recipe=recipe, settings=COLUMNS_VARY)
        assert done.unit == "electron" and done.variance is not None
        bands = len(LEVELS) if recipe in LIT else 1
        cut = (bands, -1)
        squares.append(((done.image.array - truth) ** 2).reshape(cut).sum(axis=1, dtype=float))
        variances.append(done.variance.array.reshape(cut).sum(axis=1, dtype=float))
    return np.array(squares), np.array(variances)


def test_every_recipe_that_makes_a_variance_is_here() -> None:
    names = {n for n in RECIPES if "variance" in RECIPES[n].steps}
    assert names == {"lsst", "generic", "flat", "bias", "dark"}
    assert set(RECIPES) == names | NO_VARIANCE


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lsst", "generic", "flat", "bias", "dark"])
def test_squared_residual_over_variance(recipe: str) -> None:
    squares, variances = sums_of(recipe)
    ratio = squares.sum(axis=0) / variances.sum(axis=0)
    error = (squares / variances).std(axis=0) / np.sqrt(EXPOSURES)
    assert (error < 0.0025).all()
    np.testing.assert_allclose(ratio, 1, atol=TOLERANCE)
