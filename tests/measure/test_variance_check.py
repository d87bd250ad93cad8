"""chi2 of exposures: 1 where the variance is true, off where it is not; a pixel's own noise selects nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fullwell.base.errors import DataError, FullwellError, GeometryError, UnitError, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame, Observation, Plane
from fullwell.measure import check_variance, noise_budget
from fullwell.measure.noise_budget import deficit
from fullwell.products import Gain, Product, Ptc
from fullwell.reduction import isr
from fullwell.simulation import (
    FlatScene,
    ScienceScene,
    SensorModel,
    exact_products,
    grid_detector,
    masters,
    sensor_of,
    simulate,
)

SHAPE = (160, 200)


def exposures(n: int, *, factor: float = 1.0, scale: Any = None) -> tuple[list[Frame], np.ndarray]:
    """Sky of 50 with blobs up to 20 000, read noise 5, response 0.8: V = I / 0.8 + 25 / 0.64, of its own counts."""
    y, x = np.indices(SHAPE)
    truth = 50 + 20000 * np.exp(-((x % 40 - 20) ** 2 + (y % 40 - 20) ** 2) / 50.0)
    rng, out = np.random.default_rng(11), []
    for k in range(n):
        level = 1.0 if scale is None else scale[k]
        signal = rng.poisson(0.8 * truth * level) + rng.normal(0, 5, SHAPE)
        variance = (signal + 25) / 0.64 * factor
        more = {"observation": Observation(detector="A", obs_id=f"e{k}")}
        out.append(Frame.from_arrays(signal / 0.8, variance, unit="electron", **more))
    return out, truth


def all_of(check: Any) -> list[Any]:
    return [check.whole, *check.amps, *check.levels]


def test_a_true_variance_gives_one_at_every_flux() -> None:
    frames, truth = exposures(6)
    for check in (check_variance(frames), check_variance(frames, truth)):
        assert len(check.levels) == 8
        assert max(abs(c.pull) for c in all_of(check)) < 4
    # sky alone: 160 000 squares of normal values
    assert check_variance(frames, truth).levels[0].error < 0.006


def test_a_variance_too_large_by_a_twentieth_is_found() -> None:
    check = check_variance(exposures(6, factor=1.05)[0])
    assert check.levels[0].chi2 == pytest.approx(1 / 1.05, abs=4 * check.levels[0].error)
    assert check.levels[0].pull < -6 and check.whole.pull < -4


def test_errors_are_those_of_the_scatter() -> None:
    """Pulls of the tiles of the map have width 1: 256 of them, 4 sigma of the width 0.18."""
    check = check_variance(exposures(6)[0])
    pulls = ((check.map - 1) / check.map_error).ravel()
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * 256))


def test_ranges_of_flux_do_not_select_noise() -> None:
    """Level 2, read noise 1.5: V has the read-out error of the count, a cut by the pixel's own mean is off by 10 %."""
    rng, frames = np.random.default_rng(12), []
    for _ in range(2):
        signal = rng.poisson(2.0, SHAPE) + rng.normal(0, 1.5, SHAPE)
        frames.append(Frame.from_arrays(signal, signal + 2.25, unit="electron"))
    check = check_variance(frames, levels=(-20, 2, 20))
    assert len(check.levels) == 2 and max(c.error for c in check.levels) < 0.02
    assert max(abs(c.pull) for c in check.levels) < 4


def test_frames_of_a_drifting_lamp_are_matched() -> None:
    frames, _ = exposures(6, scale=np.linspace(0.9, 1.1, 6))
    assert check_variance(frames).levels[-1].pull > 6
    check = check_variance(frames, match=True)
    assert check.scale == pytest.approx(np.linspace(0.9, 1.1, 6), abs=0.002)
    # V scaled by 1/s^2 falls as 1/s: its mean over the frames is larger by the mean square of the drift, below 1 %
    assert max(abs(c.chi2 - 1) for c in check.levels) < 0.02 + 4 * max(c.error for c in check.levels)


def test_shared_masters_cancel_and_their_variance_is_taken_out() -> None:
    """Masters of two frames each: their variance is half of a frame's read noise and more."""
    sensor = sensor_of("demo", 1, dark_rate=0.5, cosmic_rays=0.0)
    products = masters(sensor, seed=4, n_bias=2, n_dark=2)
    frames = [isr(simulate(ScienceScene(sky=0.2), sensor, seed=k).frame, products) for k in range(4)]
    check = check_variance(frames, products=products)
    assert abs(check.levels[0].pull) < 4 and not check.notes
    kept = [replace(f, history=()) for f in frames]
    assert check_variance(kept).levels[0].pull < -4


def fatter() -> tuple[SensorModel, dict[str, Product]]:
    """A sensor with a00 of -2.7e-6 and nothing else, and its exact products."""
    detector = grid_detector(2, 1, (200, 200), prescan=4, serial=32, parallel=4, gain=1.5, read_noise=5.0)
    sensor = sensor_of("ideal", 3, detector=detector, a00=-2.7e-6, bits=18, level=1000.0)
    products = {k: p for k, p in exact_products(sensor).items() if k in ("gain", "bias", "flat")}
    return sensor, products


def transfer(sensor: SensorModel, products: dict[str, Product], frame: Frame) -> Ptc:
    """The true photon transfer of the sensor."""
    gain = products["gain"]
    assert isinstance(gain, Gain)
    about = {"gain": gain.gain, "gain_error": gain.gain_error, "read_noise": gain.read_noise}
    return Ptc(amps=gain.amps, a00=sensor.area[:, 0, 0], a=sensor.area, observation=frame.observation, **about)


@pytest.mark.slow
def test_brighter_fatter_is_the_deficit_that_the_budget_names() -> None:
    """Flats of 80 000 electrons on a sensor with a00 of -2.7e-6: chi2 is 1 plus the named term over V."""
    sensor, products = fatter()
    frames = [
        isr(simulate(FlatScene(level=80000.0, time=10.0), sensor, seed=k, workers=1).frame, products) for k in range(6)
    ]
    ptc = transfer(sensor, products, frames[0])
    budget = noise_budget(frames[0], {"ptc": ptc, "flat": products["flat"]})
    named = budget.frame.outside["brighter_fatter"] / budget.frame.variance
    assert named == pytest.approx(deficit(np.array([80000.0]), ptc, 0)[0] / 80000.0, rel=0.01)
    assert named == pytest.approx(-0.19, abs=0.01)
    truth = np.full(frames[0].shape, 80000.0)
    check = check_variance(frames, truth)
    assert check.whole.chi2 == pytest.approx(1 + named, abs=0.01)


@pytest.mark.slow
def test_brighter_fatter_of_stars_is_near_to_what_the_budget_names() -> None:
    """Gaussian stars of sigma 2 pixels with peaks of 80 000 electrons: to 1 % of V and four errors."""
    sensor, products = fatter()
    y, x = (index % 20 - 10 for index in np.indices((200, 400)))
    light = 100 + 80000 * np.exp(-(x**2 + y**2) / 8.0)
    scene = FlatScene(level=1.0, time=10.0)
    frames = [isr(simulate(scene, sensor, seed=k, light=light, workers=1).frame, products) for k in range(24)]
    budget = noise_budget(frames[0], {"ptc": transfer(sensor, products, frames[0]), "flat": products["flat"]})
    assert budget.frame.outside["brighter_fatter"] < 0
    mean, squares, variance = (
        np.mean([f.image.array for f in frames], axis=0, dtype=float),
        np.var([f.image.array for f in frames], axis=0, ddof=1, dtype=float),
        np.mean([f.variance.array for f in frames if f.variance is not None], axis=0, dtype=float),
    )
    named = deficit(mean, transfer(sensor, products, frames[0]), 0)
    for low, high in ((0, 1000), (1000, 10000), (10000, 30000), (30000, 60000), (60000, 90000)):
        at = (light >= low) & (light < high)
        found, total = squares[at].sum() / variance[at].sum(), variance[at].sum()
        error = found * np.sqrt(2 * np.sum(variance[at] ** 2) / 23) / total
        assert abs(found - 1 - named[at].sum() / total) < 0.01 + 4 * error


def test_bad_input_is_refused() -> None:
    frames, truth = exposures(2)
    other = replace(frames[1], observation=Observation(detector="B"))
    half = frames[1][Box(0, 0, 100, 100)]
    adu = replace(frames[1], image=Plane(frames[1].image.array, unit="adu"))
    bare = replace(frames[1], variance=None)
    wrong: list[tuple[list[Frame], dict[str, Any], type[FullwellError], str]] = [
        (frames[:1], {}, UsageError, "two or more exposures of one scene, 1 given"),
        ([], {}, UsageError, "0 given"),
        ([frames[0], other], {}, GeometryError, "not of one detector: A .* B"),
        ([frames[0], half], {}, GeometryError, "not of one detector"),
        ([frames[0], adu], {}, UnitError, "one frame is in electron, one in adu"),
        ([frames[0], bare], {}, DataError, "has no variance"),
        (frames, {"truth": truth[:9]}, GeometryError, "true scene has shape"),
        (frames, {"truth": truth, "match": True}, UsageError, "not scaled"),
        (frames, {"levels": (3, 2)}, UsageError, "do not rise"),
    ]
    for given, more, error, text in wrong:
        with pytest.raises(error, match=text):
            check_variance(given, **more)
