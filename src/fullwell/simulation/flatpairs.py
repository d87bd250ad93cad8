"""A series of flat pairs for photon transfer, one pair at a time, and what is true of it.

Frames       either raw, through the whole simulator, so that a reduction can run on them; or as a reduction would
             leave them: assembled, in adu, without overscan, crosstalk or level, the converter's rounding left out.
             Such amplifiers are tori, so that all their pixels have the same statistics to the edge.
References   photon-transfer note A.3, 10.2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig, load
from fullwell.base.errors import UsageError
from fullwell.base.provenance import Record
from fullwell.frames import Frame, Mask, Observation, Plane
from fullwell.kernels import readout
from fullwell.simulation import stars as drawing
from fullwell.simulation.charge import accumulate, expected_covariance
from fullwell.simulation.exposing import each, simulate
from fullwell.simulation.header import describe, instrument_of
from fullwell.simulation.scenes import BiasScene, FlatScene, Scene
from fullwell.simulation.sensor import SensorModel
from fullwell.simulation.streams import Streams, child_seed

__all__ = ["FlatPairs", "SeriesConfig", "SeriesTruth", "flat_pairs", "write_series_truth"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


class SeriesConfig(StepConfig):
    """What pairs are taken, and what goes wrong with them.

    Parameters
    ----------
    n : pairs; e_min, e_max : faintest and brightest level [electron].
    spacing : "log", "linear", or "sheet": a fifth of the pairs in logarithmic steps up to 2000, the rest in linear
        ones from 3000 (of 39: 8 and 31).
    levels : the levels themselves [electron], in place of the above.
    mismatch_rms : relative scatter of the lamp between single flats; drift : its relative change from the first
        flat to the last, which the header does not know.
    pedestal : [adu] error of the level that was subtracted; only where frames are not raw.
    dead : names of amplifiers that see no light.
    rate : [electron/s], which sets the exposure times; band : filter.
    """

    n: int = Field(default=39, ge=1)
    e_min: float = Field(default=150.0, gt=0, description="level of the faintest pair [electron]")
    e_max: float = Field(default=100000.0, gt=0, description="level of the brightest pair [electron]")
    spacing: Literal["log", "linear", "sheet"] = "sheet"
    levels: tuple[float, ...] = ()
    mismatch_rms: float = Field(default=0.0, ge=0, description="relative scatter of the lamp")
    drift: float = Field(default=0.0, gt=-1, description="relative change of the lamp over the series")
    pedestal: float = 0.0
    dead: tuple[str, ...] = ()
    rate: float = Field(default=5000.0, gt=0, description="[electron/s]")
    band: str = ""

    def steps(self) -> F8:
        """(n,) levels [electron], rising unless they were given.

        Raises
        ------
        UsageError
            e_min is above e_max, or, with "sheet", not below 2000 with e_max above 3000.
        """
        if self.levels:
            return np.asarray(self.levels, np.float64)
        if self.e_min > self.e_max:
            what = f"levels from {self.e_min} to {self.e_max} electron"
            raise UsageError(f"{what} cannot be meant", remedy="e_min <= e_max")
        if self.spacing == "log":
            return np.geomspace(self.e_min, self.e_max, self.n)
        if self.spacing == "linear":
            return np.linspace(self.e_min, self.e_max, self.n)
        if not (self.e_min < 2000 and self.e_max > 3000):
            raise UsageError(
                f"spacing 'sheet' passes from 2000 to 3000 electron, the levels are {self.e_min} to {self.e_max}",
                remedy="take spacing 'log' or 'linear'",
            )
        few = round(self.n * 8 / 39)
        return np.concatenate([np.geomspace(self.e_min, 2000, few), np.linspace(3000, self.e_max, self.n - few)])


@dataclass(frozen=True)
class SeriesTruth:
    """What is true of a series.

    Parameters
    ----------
    amps : names; gain [electron/adu], read_noise [electron] : (n_amp,); a : (n_amp, L + 1, L + 1) [1/electron].
    light : (n, 2) mean electrons of both flats at response 1; exposure_time : (n,) [s].
    full_well : [electron], infinite for none; turnoff : (n_amp,) the same [adu].
    """

    amps: tuple[str, ...]
    gain: F8
    read_noise: F8
    a: F8
    light: F8
    exposure_time: F8
    full_well: float
    turnoff: F8

    @property
    def a00(self) -> F8:
        """(n_amp,) [1/electron], 0 without the brighter-fatter effect."""
        return self.a[:, 0, 0] if self.a.size else np.zeros(len(self.amps))

    def covariance(self, amp: int, lags: int = 8) -> F8:
        """(n, lags + 1, lags + 1) [adu2] expected of one image with uniform response, read noise included."""
        matrix = self.a[amp] if self.a.size else np.zeros((1, 1))
        out = np.stack([expected_covariance(matrix, x, lags) for x in self.light.mean(axis=1)])
        out[:, 0, 0] += self.read_noise[amp] ** 2
        return np.asarray(out / self.gain[amp] ** 2)


@dataclass(frozen=True)
class FlatPairs:
    """A series that makes its pairs when they are asked for: ``for flat1, flat2 in series``, ``series[3]``.

    Parameters
    ----------
    sensor, config : what is exposed, and how; seed : of the series; pair i is the same whatever else is made.
    raw : frames as `simulate` makes them, else assembled and in adu; workers : threads, without effect on numbers.
    """

    sensor: SensorModel
    config: SeriesConfig
    seed: int
    raw: bool = False
    workers: int = 2

    def __len__(self) -> int:
        return len(self.truth.light)

    def __getitem__(self, i: int) -> tuple[Frame, Frame]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"the series has {len(self)} pairs")
        i %= len(self)
        return self._exposed(i, 0), self._exposed(i, 1)

    def __iter__(self) -> Iterator[tuple[Frame, Frame]]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def truth(self) -> SeriesTruth:
        """What is true of it; nothing is simulated for this."""
        levels, sensor, cfg = self.config.steps(), self.sensor, self.config
        light = np.repeat(levels[:, None], 2, axis=1)
        scatter = Streams(self.seed)("mismatch").standard_normal(light.shape) * cfg.mismatch_rms
        lamp = 1 + cfg.drift * np.arange(light.size).reshape(light.shape) / max(light.size - 1, 1)
        return SeriesTruth(
            sensor.detector.names, sensor.gain, sensor.read_noise, sensor.area,
            np.maximum(light * (1 + scatter) * lamp, 0), levels / cfg.rate, sensor.full_well,
            sensor.full_well / sensor.gain,
        )  # fmt: skip

    def check(self) -> None:
        """Whether the amplifiers that are to be dead exist; UsageError otherwise."""
        unknown = set(self.config.dead) - set(self.sensor.detector.names)
        if unknown:
            raise UsageError(
                f"the sensor has no amplifier {', '.join(sorted(unknown))}",
                remedy=f"it has {', '.join(self.sensor.detector.names)}",
            )

    @cached_property
    def lit(self) -> SensorModel:
        """The sensor with its dead amplifiers dark."""
        if not self.config.dead:
            return self.sensor
        flat = self.sensor.flat(self.config.band).copy()
        for amp in self.sensor.detector:
            if amp.name in self.config.dead:
                flat[amp.trimmed.slices] = 0
        return self.sensor.with_flat(self.config.band, flat)

    def bias_pair(self, i: int = 0) -> tuple[Frame, Frame]:
        """Two biases, of the same sort as the flats; `i` tells one pair from the next."""
        first, second = (
            self._frame(BiasScene(), child_seed(self.seed, "bias", 2 * i + k), 2 * len(self) + 2 * i + k + 1)
            for k in (0, 1)
        )
        return first, second

    def scene(self, i: int, k: int) -> FlatScene:
        """Flat `k` (0, 1) of pair `i`."""
        light, time = self.truth.light[i, k], self.truth.exposure_time[i]
        return FlatScene(level=float(light), time=float(time), band=self.config.band, object="flat pair")

    def _exposed(self, i: int, k: int) -> Frame:
        return self._frame(self.scene(i, k), child_seed(self.seed, "flat", 2 * i + k), 2 * i + k + 1)

    def _frame(self, scene: Scene, seed: int, number: int) -> Frame:
        seen = Observation(instrument=instrument_of(self.sensor), seq_num=number)
        if self.raw:
            return simulate(scene, self.lit, seed=seed, observation=seen, workers=self.workers).frame
        frame = _assembled(self.lit, scene, seed, self.config.pedestal, self.workers)
        describe(frame, scene, self.sensor, seed, seen)
        return frame


def _assembled(sensor: SensorModel, scene: Scene, seed: int, pedestal: float, workers: int) -> Frame:
    """What a reduction without flat and gain leaves of an exposure [adu]."""
    streams, shape = Streams(seed), sensor.detector.box.shape
    response = sensor.flat(scene.band)
    level = scene.level if isinstance(scene, FlatScene) else 0.0
    rays = None
    if sensor.config.cosmic_rays and scene.collecting:
        expected = sensor.config.cosmic_rays * scene.collecting * shape[0] * shape[1] / 1e6
        rays = drawing.cosmic_rays(shape, expected, streams("cosmic_rays"))

    def expose(a: int) -> F4:
        amp = sensor.detector.amplifiers[a]
        light = sensor.readout(a, response) * np.float32(level)
        light = np.where(sensor.readout(a, sensor.blind), np.float32(0), light)
        dark = sensor.readout(a, sensor.dark) * np.float32(scene.collecting)
        matrix = sensor.area[a] if sensor.area.size else np.zeros((1, 1))
        out = accumulate(light, dark, matrix, amp.data.shape, streams("light", a), steps=sensor.config.steps)
        if rays is not None:
            out += sensor.readout(a, rays)
        if out.max(initial=0) > sensor.full_well:
            readout.bleed(out, sensor.full_well)
        if np.any(sensor.linearity[a]):
            powers = sensor.gain[a] ** np.arange(1, sensor.linearity.shape[1] + 1)
            readout.bend(out, sensor.linearity[a] / powers)
        noise = streams("read_noise", a).standard_normal(out.shape, dtype=np.float32)
        out += noise * np.float32(sensor.read_noise[a])
        return out / np.float32(sensor.gain[a]) + np.float32(pedestal)

    image = np.zeros(shape, np.float32)
    for amp, values in zip(sensor.detector, each(expose, len(sensor.detector), workers), strict=True):
        image[amp.trimmed.slices] = amp.orientation.apply(values)
    mask = None
    if sensor.bad.any():
        mask = Mask(np.zeros(shape, np.uint32))
        mask.array[sensor.bad] |= np.uint32(mask.value("BAD"))
    return Frame(
        Plane(image, unit="adu"), None, mask, detector=sensor.detector,
        history=(Record("simulate", config={"seed": seed, "sensor_seed": sensor.seed, "pedestal": pedestal}),),
    )  # fmt: skip


def flat_pairs(
    sensor: SensorModel | None = None,
    config: SeriesConfig | None = None,
    *,
    seed: int,
    raw: bool = False,
    workers: int = 2,
    **settings: Any,
) -> FlatPairs:
    """A series of flat pairs for photon transfer, made pair by pair when it is run through.

    Parameters
    ----------
    sensor : what is exposed; the preset "ptc-16" drawn with seed 0 by default.
    config : levels and faults; `settings` are its fields by name, in its place or on top of it.
    seed : of everything that differs from frame to frame.
    raw : raw frames with overscan, for a reduction; else assembled frames in adu.

    Raises
    ------
    ConfigError
        an unknown setting or one out of range.
    UsageError
        levels that cannot be meant, or an unknown amplifier.
    """
    from fullwell.simulation.presets import sensor_of

    given = config.model_dump(exclude_unset=True) if config else {}
    chosen = load(SeriesConfig, {**given, **settings}, where="flat pairs")
    chosen.steps()
    series = FlatPairs(sensor or sensor_of("ptc-16"), chosen, seed, raw, workers)
    series.check()
    return series


def write_series_truth(series: FlatPairs, path: str | os.PathLike[str]) -> None:
    """Write what is true of a series as one FITS file: the response, the levels (LEVELS), and the rest (NUMBERS).

    Raises
    ------
    FileError
        the file cannot be written.
    """
    from astropy.table import QTable

    from fullwell.io.truth import write_maps

    truth, sensor = series.truth, series.sensor
    table = QTable({"light1": truth.light[:, 0], "light2": truth.light[:, 1], "exposure_time": truth.exposure_time})
    for name, unit in (("light1", "electron"), ("light2", "electron"), ("exposure_time", "s")):
        table[name].unit = unit
    numbers = {
        "series": series.config.model_dump(mode="json"),
        "sensor": sensor.config.model_dump(mode="json"),
        "seed": series.seed,
        "sensor_seed": sensor.seed,
        "amplifiers": list(truth.amps),
        "gain": truth.gain.tolist(),
        "read_noise": truth.read_noise.tolist(),
        "a": truth.a.tolist(),
        "turnoff": truth.turnoff.tolist() if np.isfinite(truth.full_well) else None,
        "linearity": sensor.linearity.tolist(),
    }
    images: dict[str, NDArray[Any]] = {"flat": series.lit.flat(series.config.band), "defects": sensor.codes}
    write_maps(path, images, table=table, table_name="LEVELS", numbers=numbers)
