"""The check of the demo on injected stars: it passes ours, and finds an injection that knows nothing of the flat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fullwell.frames import Frame
from fullwell.journeys import injecting
from fullwell.products import Flat
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, StarField, Truth, masters, sensor_of, simulate


@pytest.fixture(scope="module")
def made() -> tuple[Frame, Truth, Flat]:
    sensor = sensor_of("demo", 4)
    products = masters(sensor, seed=2, band="r")
    scene = ScienceScene(band="r", stars=StarField(n=40, flux_max=6000.0))
    done = simulate(scene, sensor, seed=5)
    return isr(done.frame, products), done.truth, products["flat"]


def test_injected_stars_of_the_demo_are_not_found(made: tuple[Frame, Truth, Flat]) -> None:
    check = injecting.injection_check(*made)
    assert check.name == "injection AUC" and check.truth == 0.5
    assert check.ok and 0 < check.error < 0.05


def test_one_gain_for_the_whole_frame_is_found(
    made: tuple[Frame, Truth, Flat], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flat of the demo is near 1, and yet its neglect is seen."""
    right = injecting.inject

    def naive(frame: Frame, catalog: Any, *, gain: Any, **more: Any) -> Any:
        return right(frame, catalog, gain=replace(gain, k=np.ones_like(gain.k)), **more)

    monkeypatch.setattr(injecting, "inject", naive)
    check = injecting.injection_check(*made)
    assert not check.ok and check.measured > 0.7


def test_places_keep_their_distance() -> None:
    taken = np.array([[50.0, 50.0]])
    places = injecting.free_places((100, 100), taken, 4, 15.0, np.random.default_rng(1))
    assert places.shape == (4, 2) and places.min() >= 15 and places.max() <= 85
    every = np.concatenate([taken, places])
    distances = np.hypot(*(every[:, None] - every[None]).transpose(2, 0, 1)) + 1e3 * np.eye(5)
    assert distances.min() >= 15
    assert injecting.free_places((20, 20), taken[:0], 3, 9.0, np.random.default_rng(1)).shape[0] == 1
