"""A night of one camera: all calibrations, flat pairs for a photon transfer curve, and fields of stars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.frames import Observation
from fullwell.simulation.exposing import Simulated, simulate
from fullwell.simulation.header import DAY, evening, instrument_of
from fullwell.simulation.scenes import BiasScene, DarkScene, FlatScene, Scene, ScienceScene, StarField, pair_scenes
from fullwell.simulation.sensor import SensorModel
from fullwell.simulation.streams import child_seed

__all__ = ["NightPlan", "night", "scenes_of"]


class NightPlan(StepConfig):
    """What is taken in a night.

    Parameters
    ----------
    biases, darks : numbers of frames; dark_time [s] of each dark.
    bands : filters; flats : per band, of about `flat_level` [electron].
    pairs : levels of flat pairs for the photon transfer curve, from `pair_min` to `pair_max` [electron].
    exposures : of the field, per band, each of `time` [s]; sky [electron/s] per band in order of `bands`,
        the last one for all further bands.
    stars : recipe of the field; dither [pixel] between exposures; fwhm [pixel].
    day_obs : yyyymmdd; first : number of the first exposure within the day.
    """

    biases: int = Field(default=12, ge=0)
    darks: int = Field(default=10, ge=0)
    dark_time: float = Field(default=120.0, gt=0, description="of each dark [s]")
    bands: tuple[str, ...] = ("g", "r")
    flats: int = Field(default=7, ge=0)
    flat_level: float = Field(default=30000.0, gt=0, description="of a flat, about [electron]")
    pairs: int = Field(default=8, ge=0)
    pair_min: float = Field(default=500.0, gt=0, description="level of the faintest pair [electron]")
    pair_max: float = Field(default=60000.0, gt=0, description="level of the brightest pair [electron]")
    exposures: int = Field(default=3, ge=0)
    time: float = Field(default=30.0, gt=0, description="of a science exposure [s]")
    sky: tuple[float, ...] = Field(
        default=(15.0, 30.0),
        min_length=1,
        description="per band in order of the bands, the last for all further ones [electron/s]",
    )
    stars: StarField = StarField(n=40, flux_min=300.0, flux_max=6000.0)
    dither: float = Field(default=0.0, ge=0, description="largest shift between exposures [pixel]")
    fwhm: float = Field(default=3.5, gt=0, description="of a star [pixel]")
    day_obs: int = DAY
    first: int = Field(default=1, ge=0, description="number of the first exposure within the day")


def scenes_of(plan: NightPlan, seed: int) -> Iterator[tuple[str, Scene]]:
    """(kind of the file name, scene) of all exposures of `plan`, in the order in which they are taken."""
    for _ in range(plan.biases):
        yield "bias", BiasScene()
    for _ in range(plan.darks):
        yield "dark", DarkScene(time=plan.dark_time)
    if plan.pairs:
        band = plan.bands[0] if plan.bands else ""
        for pair in pair_scenes(plan.pairs, plan.pair_min, plan.pair_max, band=band):
            yield "pair", pair
    for band in plan.bands:
        lamp = np.random.default_rng(child_seed(seed, f"lamp {band}")).uniform(0.97, 1.03, plan.flats)
        for factor in lamp.tolist():
            yield f"flat_{band}", FlatScene(level=plan.flat_level * factor, band=band, time=6.0)
    for i, band in enumerate(plan.bands):
        for k in range(plan.exposures):
            sky = plan.sky[min(i, len(plan.sky) - 1)]
            move = np.random.default_rng(child_seed(seed, f"dither {band}", k)).uniform(-plan.dither, plan.dither, 2)
            yield (
                f"science_{band}",
                ScienceScene(
                    sky=sky,
                    stars=plan.stars.model_copy(update={"seed": child_seed(seed, "field") % 2**31}),
                    band=band,
                    time=plan.time,
                    fwhm=plan.fwhm,
                    offset=(float(move[0]), float(move[1])) if k else (0.0, 0.0),
                ),
            )


def night(
    sensor: SensorModel, *, seed: int, plan: NightPlan | None = None, workers: int = 2
) -> Iterator[tuple[str, Simulated]]:
    """All exposures of a night, one at a time: (file name without suffix, simulated).

    Parameters
    ----------
    seed : of the night; exposure i has the seed ``child_seed(seed, "exposure", i)``, so that any of them can be
        made again alone.
    """
    plan = plan or NightPlan()
    clock = evening(sensor, plan.day_obs)
    base = Observation(instrument=instrument_of(sensor), day_obs=plan.day_obs)
    for i, (label, scene) in enumerate(scenes_of(plan, seed)):
        obs = replace(base, seq_num=plan.first + i, begin=clock.isoformat(timespec="milliseconds"))
        clock += timedelta(seconds=scene.collecting + 5.0)
        done = simulate(scene, sensor, seed=child_seed(seed, "exposure", i), observation=obs, workers=workers)
        yield f"{label}_{plan.first + i:04d}", done
