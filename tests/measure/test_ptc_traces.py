"""What is not a fault is not called one: pixels without light, light that is not uniform, a single pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.transfer import Truth, draw

import fullwell as fw
from fullwell.measure.ptc.diagnosis import findings
from fullwell.measure.ptc.solve import SolveConfig, solve_amplifier

STRAIGHT = Truth(a00=-1e-30)
BRIGHT = np.linspace(3000.0, 100_000.0, 20)
QUICK = SolveConfig(full="none")


def causes(points) -> set[str]:
    found = solve_amplifier(points, QUICK)
    return {item.cause for item in findings(found.points, found.fits)}


def flats(dark: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of 200 x 200 pixels at eight levels, gain 1, read noise 5 adu; the first `dark` pixels see no light."""
    rng = np.random.default_rng(seed)
    light = np.ones((200, 200))
    light.ravel()[:dark] = 0
    levels = np.geomspace(400.0, 40_000.0, 8)
    return [
        tuple((rng.poisson(level * light) + rng.normal(0, 5.0, light.shape)).astype(np.float32) for _ in range(2))
        for level in levels
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pixels_without_light_are_neither_cosmic_rays_nor_a_clip(seed):
    said = fw.ptc(flats(12, seed), noise=5.0).diagnosis[0]
    assert any(text.startswith("Dark pixels: in ") for text in said)
    assert not any(text.startswith(("Cosmic rays", "Clipping", "Factor")) for text in said)
    clean = fw.ptc(flats(0, seed), noise=5.0).diagnosis[0]
    assert not any(text.startswith(("Dark pixels", "Cosmic rays", "Clipping", "Factor")) for text in clean)


def test_a_small_constant_that_no_known_fault_makes_is_not_a_clip():
    points = draw(BRIGHT, truth=STRAIGHT)
    for name in ("ratio", "raw_variance"):
        assert causes(replace(points, **{name: getattr(points, name) * 1.012})) == set()
        assert causes(replace(points, **{name: getattr(points, name) * 1.08})) == {"Clipping"}
    assert causes(replace(points, raw_variance=points.raw_variance / 0.97334)) == {"Clipping"}


def test_a_few_pairs_do_not_show_what_is_the_same_at_all_levels():
    for count in (3, 5):
        points = draw(BRIGHT[:count], truth=STRAIGHT)
        raised = replace(points, raw_variance=points.raw_variance / 0.97334)
        assert ("Clipping" in causes(raised)) == (count > 3)


def test_points_that_lie_on_no_curve_are_not_brighter_fatter():
    points = draw(np.array([2000.0, 9000.0, 30_000.0]), truth=STRAIGHT)
    spoiled = replace(points, variance=points.variance * (0.02, 0.05, 1.0), reasons=("",) * 3)
    assert "No curve" in causes(spoiled) and "Brighter-fatter" not in causes(spoiled)


def test_times_of_exposure_do_not_tell_a_response_from_a_lamp():
    said = {key: solve_amplifier(points, QUICK).diagnosis for key, points in bent().items()}
    assert "a photodiode can" in " ".join(said["time"])
    assert "a photodiode can" not in " ".join(said["charge"]) and "Non-linearity" in " ".join(said["charge"])


def bent() -> dict:
    points = draw(BRIGHT, truth=STRAIGHT, beta=-2e-7)
    assert np.isfinite(points.exposure_time).all()
    return {"time": points, "charge": replace(points, charge=points.exposure_time)}
