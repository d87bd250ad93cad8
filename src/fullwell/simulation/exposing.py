"""Simulate one exposure: from a scene and a sensor to a raw frame and the truth about it.

Order        that of `simulation.order`: response, brighter-fatter, dark charge, shot noise, cosmic rays, defects,
             full well, bias pattern, segments with prescan and overscan, non-linearity, parallel pattern,
             crosstalk, read noise, gain, level and ramp, rounding and clipping.
Noise        shot noise is Poisson; light of the sky, light of the stars and dark charge are drawn from streams of
             their own, which gives the same law as one draw of the sum; with the brighter-fatter effect they collect
             together, in steps (`simulation.charge`), each amplifier for itself. Read noise is normal and added
             before the converter rounds, so the overscan shows sqrt(R**2 + g**2 / 12).
References   photon-transfer note 10.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.provenance import Record
from fullwell.cameras import Detector
from fullwell.frames import Frame, Observation, Plane
from fullwell.kernels import readout
from fullwell.simulation import stars as drawing
from fullwell.simulation.charge import accumulate
from fullwell.simulation.header import describe
from fullwell.simulation.order import chosen
from fullwell.simulation.scenes import FlatScene, Scene, ScienceScene, Star
from fullwell.simulation.sensor import SensorModel
from fullwell.simulation.streams import Streams
from fullwell.simulation.truth import Truth

__all__ = ["Light", "Simulated", "each", "electronics", "expected_raw", "light_of", "simulate"]

F4 = NDArray[np.float32]
EMPTY = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Simulated:
    """What `simulate` returns: a raw frame, and what is true about it."""

    frame: Frame
    truth: Truth


@dataclass(frozen=True)
class Light:
    """Mean electrons at response 1: `smooth` (a number, or (ny, nx)) and `stars` ((ny, nx) or None)."""

    smooth: float | F4
    stars: F4 | None = None
    catalogue: tuple[Star, ...] = ()


def light_of(scene: Scene, shape: tuple[int, int]) -> Light:
    """The light of `scene` on a sensor of `shape`, in electrons of a pixel of response 1."""
    if isinstance(scene, FlatScene):
        return Light(_sloped(scene.level, scene.gradient, shape))
    if isinstance(scene, ScienceScene):
        placed, rate = _stars(scene, shape)
        image = rate * np.float32(scene.time) if placed else None
        return Light(_sloped(scene.sky * scene.time, scene.gradient, shape), image, placed)
    return Light(0.0)


@lru_cache(maxsize=4)
def _stars(scene: ScienceScene, shape: tuple[int, int]) -> tuple[tuple[Star, ...], F4]:
    """The stars of a scene and their image per second, kept for the next exposure of the same field."""
    placed = scene.placed(shape)
    return placed, drawing.star_image(scene, placed, shape)


def _sloped(level: float, gradient: tuple[float, float], shape: tuple[int, int]) -> float | F4:
    if gradient == (0.0, 0.0):
        return level
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :]
    return np.maximum(np.float32(level) * (1 + np.float32(gradient[0]) * x + np.float32(gradient[1]) * y), 0)


def simulate(
    scene: Scene,
    detector: Detector | SensorModel,
    *,
    seed: int,
    effects: Iterable[str] | None = None,
    off: Iterable[str] = (),
    observation: Observation | None = None,
    light: NDArray[Any] | None = None,
    workers: int = 2,
) -> Simulated:
    """One exposure of `scene`.

    Parameters
    ----------
    scene : what falls on the sensor.
    detector : a sensor model, or a geometry of which a default sensor is made (detector seed 0).
    seed : of the exposure, an integer >= 0; recorded in the header.
    effects : names of `order.SWITCHES` that act, all by default; `off` : those that do not.
    observation : ids and times to use; kind, filter and times of the scene are put in.
    light : (ny, nx) mean electrons at response 1, in place of those of the scene.
    workers : threads; the result does not depend on them.

    Returns
    -------
    Simulated : the raw frame (uint16 up to 16 bits, else int32; float32 without quantisation), and its truth.

    Raises
    ------
    UsageError
        an unknown effect.
    """
    sensor = detector if isinstance(detector, SensorModel) else SensorModel.make(detector)
    on, streams = chosen(effects, off), Streams(seed)
    shape = sensor.detector.box.shape
    shine = light_of(scene, shape) if light is None else Light(np.asarray(light, np.float32))
    rays = None
    if "cosmic_rays" in on and sensor.config.cosmic_rays:
        expected = sensor.config.cosmic_rays * scene.collecting * shape[0] * shape[1] / 1e6
        rays = drawing.cosmic_rays(shape, expected, streams("cosmic_rays"))

    def collect(a: int) -> F4:
        return _segment(sensor, a, _charge(sensor, a, scene, shine, rays, on, streams), on)

    segments = each(collect, len(sensor.detector), workers)
    counts = electronics(sensor, segments, on, streams, workers)
    image = _paste(sensor, counts, on)
    frame = Frame(
        Plane(image, unit="adu"),
        detector=sensor.detector,
        raw=True,
        history=(Record("simulate", config={"seed": seed, "sensor_seed": sensor.seed, "effects": sorted(on)}),),
    )
    describe(frame, scene, sensor, seed, observation)
    return Simulated(frame, Truth(sensor, scene, seed, on, shine, rays))


def each(work: Callable[[int], Any], n: int, workers: int) -> list[Any]:
    """``work(0) … work(n - 1)`` on threads, in order."""
    if workers <= 1 or n == 1:
        return [work(a) for a in range(n)]
    with ThreadPoolExecutor(min(workers, n)) as pool:
        return list(pool.map(work, range(n)))


def _poisson(rng: np.random.Generator, mean: F4, noisy: bool) -> F4:
    return rng.poisson(mean).astype(np.float32) if noisy else np.asarray(mean, np.float32)


def _charge(
    sensor: SensorModel,
    a: int,
    scene: Scene,
    light: Light,
    rays: F4 | None,
    on: frozenset[str],
    streams: Streams,
) -> F4:
    """Electrons in the data pixels of amplifier `a`, read-out order, before transfer."""
    amp, noisy = sensor.detector.amplifiers[a], "shot_noise" in on
    response: Any = sensor.readout(a, sensor.flat(scene.band)) if "flat" in on else np.ones((1, 1), np.float32)
    if "brighter_fatter" in on and sensor.area.size:
        out = _collected(sensor, a, scene, light, response, on, streams)
        return _with_rays(sensor, a, out, rays, on)
    out = np.zeros(amp.data.shape, np.float32)
    smooth = sensor.readout(a, light.smooth) if isinstance(light.smooth, np.ndarray) else light.smooth
    if np.any(smooth):
        out += _poisson(streams("light", a), np.broadcast_to(smooth * response, out.shape), noisy)
    if light.stars is not None:
        mean = sensor.readout(a, light.stars) * response
        if noisy:
            hit = np.nonzero(mean > 0)
            out[hit] += _poisson(streams("stars", a), mean[hit], True)
        else:
            out += mean
    if "defects" in on:
        out[sensor.readout(a, sensor.blind)] = 0
    if "dark" in on and scene.collecting:
        mean = sensor.readout(a, sensor.dark) * np.float32(scene.collecting)
        out += _poisson(streams("dark", a), mean, noisy)
    return _with_rays(sensor, a, out, rays, on)


def _collected(
    sensor: SensorModel, a: int, scene: Scene, light: Light, response: Any, on: frozenset[str], streams: Streams
) -> F4:
    """Light and dark charge of amplifier `a` collected together while the areas of its pixels change."""
    shape = sensor.detector.amplifiers[a].data.shape
    smooth = sensor.readout(a, light.smooth) if isinstance(light.smooth, np.ndarray) else light.smooth
    mean = np.array(np.broadcast_to(smooth * response, shape), np.float32)
    if light.stars is not None:
        mean += sensor.readout(a, light.stars) * response
    if "defects" in on:
        mean[sensor.readout(a, sensor.blind)] = 0
    dark: Any = 0.0
    if "dark" in on and scene.collecting:
        dark = sensor.readout(a, sensor.dark) * np.float32(scene.collecting)
    return accumulate(
        mean, dark, sensor.area[a], shape, streams("light", a), steps=sensor.config.steps, edge="mirror",
        noisy="shot_noise" in on,
    )  # fmt: skip


def _with_rays(sensor: SensorModel, a: int, out: F4, rays: F4 | None, on: frozenset[str]) -> F4:
    """Cosmic rays on top, then what is above the full well bleeds."""
    if rays is not None:
        out += sensor.readout(a, rays)
    if "full_well" in on and out.max(initial=0) > sensor.full_well:
        readout.bleed(out, sensor.full_well)
    return out


def _segment(sensor: SensorModel, a: int, charge: F4, on: frozenset[str]) -> F4:
    """The whole segment [electron]: charge and bias pattern in the data, bent, with the column offsets."""
    amp = sensor.detector.amplifiers[a]
    out = np.zeros(amp.shape, np.float32)
    out[amp.data.slices] = charge + sensor.readout(a, sensor.bias) if "bias" in on else charge
    if "linearity" in on and np.any(sensor.linearity[a]):
        powers = sensor.gain[a] ** np.arange(1, sensor.linearity.shape[1] + 1)
        readout.bend(out, sensor.linearity[a] / powers)
    if "overscan_parallel" in on:
        out[:, amp.data.x0 : amp.data.x1] += sensor.columns[a]
    return out


def _mixed(sensor: SensorModel, segments: list[F4], a: int) -> F4:
    """Segment `a` with the crosstalk of all others, pixels read at the same moment; a new array."""
    shift = [amp.data.y0 for amp in sensor.detector]
    out = segments[a].copy()
    for s in np.nonzero(sensor.crosstalk[:, a])[0]:
        source, c = segments[s], np.float32(sensor.crosstalk[s, a])
        late = shift[a] - shift[s]
        r0, r1 = max(late, 0), min(out.shape[0], source.shape[0] + late)
        n = min(out.shape[1], source.shape[1])
        out[r0:r1, :n] += c * source[r0 - late : r1 - late, :n]
    return out


def electronics(
    sensor: SensorModel, segments: list[F4], on: frozenset[str], streams: Streams | None, workers: int = 1
) -> list[F4]:
    """Segments [electron] to counts [adu], read-out order: crosstalk, noise, gain, level, converter.

    Without `streams` nothing random is added: the expected counts, neither rounded nor clipped.
    """
    talk = "crosstalk" in on and bool(np.any(sensor.crosstalk))

    def convert(a: int) -> F4:
        out = _mixed(sensor, segments, a) if talk else segments[a]
        offset = np.full(out.shape[0], sensor.level[a], np.float32)
        if "overscan_serial" in on:
            offset += sensor.ramps[a]
            if streams is not None:
                offset += np.float32(sensor.config.level_drift * streams("level", a).standard_normal())
                rows = streams("rows", a).standard_normal(out.shape[0], dtype=np.float32)
                offset += np.float32(sensor.config.row_noise) * rows
        noise = EMPTY
        if "read_noise" in on and streams is not None and sensor.read_noise[a] > 0:
            noise = streams("read_noise", a).standard_normal(out.shape, dtype=np.float32)
        steps = "quantisation" in on and streams is not None
        readout.digitise(out, noise, sensor.read_noise[a], 1 / sensor.gain[a], offset, sensor.top, steps)
        return out

    return each(convert, len(sensor.detector), workers)


def _paste(sensor: SensorModel, counts: list[F4], on: frozenset[str]) -> NDArray[Any]:
    """The raw image; pixels that no amplifier reads are 0."""
    dtype: Any = np.float32
    if "quantisation" in on:
        dtype = np.uint16 if sensor.config.bits <= 16 else np.int32
    image = np.zeros(sensor.detector.raw_box.shape, dtype)
    for amp, values in zip(sensor.detector, counts, strict=True):
        image[amp.raw.slices] = amp.raw_orientation.apply(values)
    return image


def expected_raw(truth: Truth) -> F4:
    """[adu] The raw image that the mean charge gives, without noise, rounding or clipping."""
    sensor, on = truth.sensor, truth.effects - {"quantisation"}
    segments = []
    for a in range(len(sensor.detector)):
        charge = np.array(sensor.readout(a, truth.mean_charge), np.float32)
        if "full_well" in on:
            readout.bleed(charge, sensor.full_well)
        segments.append(_segment(sensor, a, charge, on))
    return _paste(sensor, electronics(sensor, segments, on, None), on)
