"""Truth: what is true about one simulated exposure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.simulation.scenes import Scene
from fullwell.simulation.sensor import SensorModel

if TYPE_CHECKING:
    from fullwell.simulation.exposing import Light

__all__ = ["Truth", "write_truth"]

F4 = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What is true about an exposure. Maps are (ny, nx) in assembled coordinates, computed when asked for.

    Parameters
    ----------
    sensor : gains, noise, maps of the detector; scene : what it looked at; seed : of the exposure.
    effects : that acted; light : mean electrons at response 1; rays : charge of cosmic rays, None if none.
    """

    sensor: SensorModel
    scene_spec: Scene
    seed: int
    effects: frozenset[str]
    light: Light
    rays: F4 | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the assembled image."""
        return self.sensor.detector.box.shape

    @cached_property
    def scene(self) -> F4:
        """[electron] What a perfect reduction returns: the light, at response 1."""
        out = np.broadcast_to(np.float32(self.light.smooth), self.shape).astype(np.float32)
        return out if self.light.stars is None else out + self.light.stars

    @property
    def rate(self) -> F4:
        """[electron/s] The light per second; zero where there was no time."""
        return self.scene / np.float32(self.scene_spec.time) if self.scene_spec.time else np.zeros_like(self.scene)

    @property
    def flat(self) -> F4:
        """Response, mean 1; without defects."""
        return self.sensor.flat(self.scene_spec.band) if "flat" in self.effects else np.ones(self.shape, np.float32)

    @cached_property
    def throughput(self) -> F4:
        """Response with the dead pixels at 0."""
        return np.where(self.sensor.blind, np.float32(0), self.flat) if "defects" in self.effects else self.flat

    @property
    def dark(self) -> F4:
        """[electron] Mean dark charge."""
        on = "dark" in self.effects
        return self.sensor.dark * np.float32(self.scene_spec.collecting if on else 0.0)

    @property
    def bias(self) -> F4:
        """[electron] Pattern left in each pixel."""
        return self.sensor.bias if "bias" in self.effects else np.zeros(self.shape, np.float32)

    @cached_property
    def mean_charge(self) -> F4:
        """[electron] Mean charge of each pixel before bleeding: light, dark and cosmic rays; pixels of equal area."""
        out = self.scene * self.throughput + self.dark
        return out if self.rays is None else out + self.rays

    @property
    def cosmic_rays(self) -> NDArray[np.bool_]:
        """Pixels that a cosmic ray hit."""
        return np.zeros(self.shape, bool) if self.rays is None else self.rays > 0

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """Pixels whose mean charge is above the full well."""
        return self.mean_charge > self.sensor.full_well

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Pixels with a defect that no calibration corrects."""
        return self.sensor.bad if "defects" in self.effects else np.zeros(self.shape, bool)

    @cached_property
    def noise_free(self) -> F4:
        """[adu] The expected raw image: no shot noise, no read noise, neither rounded nor clipped."""
        from fullwell.simulation.exposing import expected_raw

        return expected_raw(self)

    def catalogue(self) -> Any:
        """The stars as an astropy table: x, y [pixel], flux [electron/s], charge [electron at flat = 1]."""
        from astropy.table import QTable

        rows = [(s.x, s.y, s.flux, s.flux * self.scene_spec.time) for s in self.light.catalogue]
        names = ("x", "y", "flux", "charge")
        table = QTable(rows=rows, names=names) if rows else QTable(names=names)
        for name, unit in zip(names, ("pixel", "pixel", "electron/s", "electron"), strict=True):
            table[name].unit = unit
        return table

    def images(self) -> dict[str, NDArray[Any]]:
        """The maps by name, in the order in which they are written."""
        names = ("scene", "flat", "dark", "bias", "mean_charge")
        out: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in names}
        out["defects"] = self.sensor.codes
        out["cosmic_rays"] = self.cosmic_rays.astype(np.uint8)
        out["noise_free"] = self.noise_free
        return out

    def numbers(self) -> dict[str, Any]:
        """What is known by amplifier and in all, JSON types only."""
        sensor = self.sensor
        return {
            "scene": {"kind": self.scene_spec.kind, **self.scene_spec.model_dump(mode="json")},
            "sensor": sensor.config.model_dump(mode="json"),
            "seed": self.seed,
            "sensor_seed": sensor.seed,
            "effects": sorted(self.effects),
            "amplifiers": list(sensor.detector.names),
            "gain": sensor.gain.tolist(),
            "read_noise": sensor.read_noise.tolist(),
            "level": sensor.level.tolist(),
            "linearity": sensor.linearity.tolist(),
            "crosstalk": sensor.crosstalk.tolist(),
            "area": sensor.area.tolist(),
        }


UNITS: dict[str, str] = {"scene": "electron", "dark": "electron", "bias": "electron", "mean_charge": "electron"}


def write_truth(truth: Truth, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write maps, star catalogue and numbers of `truth` as one FITS file (HDUs SCENE, FLAT, … STARS, NUMBERS).

    Raises
    ------
    FileError
        the file cannot be written.
    """
    from fullwell.io.truth import write_maps

    write_maps(
        path,
        truth.images(),
        table=truth.catalogue() if truth.light.catalogue else None,
        numbers=truth.numbers(),
        units={**UNITS, "noise_free": "adu"},
        overwrite=overwrite,
    )
