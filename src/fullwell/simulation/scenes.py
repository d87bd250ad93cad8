"""Scenes: what falls on a sensor during one exposure, and series of them.

A scene holds no pixels and no sensor; it is a small frozen object that can be written in a TOML file.
Levels are in electrons that a pixel of response 1 (flat = 1) collects; positions are 0-based pixels of the
assembled image, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fullwell.base.config import StepConfig, load
from fullwell.base.errors import UsageError
from fullwell.simulation.streams import Streams

__all__ = [
    "SCENES",
    "BiasScene",
    "DarkScene",
    "FlatScene",
    "Scene",
    "ScienceScene",
    "Star",
    "StarField",
    "dark_ladder",
    "field_series",
    "pair_scenes",
    "scene_of",
]


class Scene(StepConfig):
    """Base of the scenes.

    Parameters
    ----------
    time : shutter open [s].
    dark_time : time over which dark charge collects [s]; None means `time`.
    band : filter, "" if none.
    object : free text for the header.
    """

    kind: ClassVar[str] = ""

    time: float = Field(default=0.0, ge=0)
    dark_time: float | None = Field(default=None, ge=0)
    band: str = ""
    object: str = ""

    @property
    def collecting(self) -> float:
        """Dark time [s]."""
        return self.time if self.dark_time is None else self.dark_time


class BiasScene(Scene):
    """Shutter closed, no time."""

    kind: ClassVar[str] = "bias"


class DarkScene(Scene):
    """Shutter closed for `time` seconds."""

    kind: ClassVar[str] = "dark"


class FlatScene(Scene):
    """Uniform light.

    Parameters
    ----------
    level : [electron] collected where the flat is 1.
    gradient : relative slope (x, y) across the whole sensor, 0 at its centre.
    """

    kind: ClassVar[str] = "flat"

    level: float = Field(default=20000.0, ge=0)
    gradient: tuple[float, float] = (0.0, 0.0)
    time: float = Field(default=1.0, ge=0)


class Star(StepConfig):
    """One star at (x, y) [pixel] with `flux` [electron/s at flat = 1]."""

    x: float = Field(description="assembled coordinates [pixel]")
    y: float = Field(description="assembled coordinates [pixel]")
    flux: float = Field(ge=0, description="[electron/s at flat = 1]")


class StarField(StepConfig):
    """A recipe for stars: positions uniform, fluxes uniform in magnitude.

    Parameters
    ----------
    n : number of stars.
    flux_min, flux_max : [electron/s].
    separation : smallest distance of two stars [pixel]; fewer than `n` are placed where there is no room.
    border : distance from the edge of the sensor [pixel].
    seed : of the field, so that several exposures show the same stars.
    """

    n: int = Field(default=40, ge=0)
    flux_min: float = Field(default=300.0, gt=0)
    flux_max: float = Field(default=30000.0, gt=0)
    separation: float = Field(default=24.0, ge=0)
    border: float = Field(default=16.0, ge=0)
    seed: int = Field(default=1, ge=0)

    def stars(self, shape: tuple[int, int]) -> tuple[Star, ...]:
        """The stars on a sensor of `shape` (ny, nx), brightest first."""
        rng = Streams(self.seed)("stars")
        ny, nx = shape
        edge = min(self.border, (min(shape) - 1) / 2)
        places: list[tuple[float, float]] = []
        for x, y in rng.uniform(size=(50 * self.n, 2)):
            px, py = edge + x * (nx - 1 - 2 * edge), edge + y * (ny - 1 - 2 * edge)
            if len(places) < self.n and all((px - a) ** 2 + (py - b) ** 2 >= self.separation**2 for a, b in places):
                places.append((px, py))
        ratio = self.flux_max / self.flux_min
        flux = np.sort(self.flux_min * ratio ** rng.uniform(size=self.n))[::-1]
        return tuple(Star(x=p[0], y=p[1], flux=f) for p, f in zip(places, flux.tolist(), strict=False))


class ScienceScene(Scene):
    """Sky and stars.

    Parameters
    ----------
    sky : [electron/s] per pixel of response 1; gradient : its relative slope (x, y) across the sensor.
    stars : a recipe (`StarField`) or the stars themselves.
    profile : shape of a star; fwhm [pixel]; beta : of the Moffat profile.
    offset : (x, y) shift of all stars [pixel], the dither of a series.
    """

    kind: ClassVar[str] = "science"

    sky: float = Field(default=20.0, ge=0)
    gradient: tuple[float, float] = (0.0, 0.0)
    stars: StarField | tuple[Star, ...] = StarField()
    profile: Literal["moffat", "gaussian"] = "moffat"
    fwhm: float = Field(default=3.5, gt=0, description="of a star [pixel]")
    beta: float = Field(default=3.5, gt=1)
    offset: tuple[float, float] = (0.0, 0.0)
    time: float = Field(default=30.0, ge=0)
    object: str = "field"

    def placed(self, shape: tuple[int, int]) -> tuple[Star, ...]:
        """Stars with the offset applied, on a sensor of `shape`."""
        stars = self.stars.stars(shape) if isinstance(self.stars, StarField) else self.stars
        dx, dy = self.offset
        return tuple(Star(x=s.x + dx, y=s.y + dy, flux=s.flux) for s in stars)


SCENES: dict[str, type[Scene]] = {c.kind: c for c in (BiasScene, DarkScene, FlatScene, ScienceScene)}
"""Scene types by kind."""


def scene_of(values: Mapping[str, Any], where: str = "scene") -> Scene:
    """A scene from a mapping with the key "kind" (a parsed scene file).

    Raises
    ------
    UsageError
        no kind, or an unknown one.
    ConfigError
        an unknown key or a value out of range.
    """
    rest = dict(values)
    kind = rest.pop("kind", None)
    if kind not in SCENES:
        raise UsageError(f"a scene cannot be of kind {kind!r}", where=where, remedy=f"kinds: {', '.join(SCENES)}")
    return load(SCENES[kind], rest, where=where)


def pair_scenes(
    n: int = 39,
    e_min: float = 50.0,
    e_max: float = 120000.0,
    *,
    spacing: Literal["log", "linear"] = "log",
    mismatch_rms: float = 0.0,
    band: str = "",
    rate: float = 5000.0,
    seed: int = 0,
) -> Iterator[FlatScene]:
    """Pairs of flats of rising level, two scenes for each of `n` levels.

    Parameters
    ----------
    e_min, e_max : lowest and highest level [electron].
    mismatch_rms : relative scatter of the lamp between single flats.
    rate : [electron/s], which sets the exposure times.
    """
    if n < 1 or not 0 < e_min <= e_max:
        raise UsageError(f"{n} levels from {e_min} to {e_max} electron cannot be meant", remedy="0 < e_min <= e_max")
    levels = np.geomspace(e_min, e_max, n) if spacing == "log" else np.linspace(e_min, e_max, n)
    scatter = Streams(seed)("mismatch").standard_normal((n, 2)) * mismatch_rms
    for level, pair in zip(levels.tolist(), scatter.tolist(), strict=True):
        for delta in pair:
            yield FlatScene(level=max(level * (1 + delta), 0.0), band=band, time=level / rate, object="flat pair")


def dark_ladder(times: tuple[float, ...] = (1.0, 10.0, 30.0, 100.0, 300.0), repeat: int = 1) -> Iterator[DarkScene]:
    """Darks of rising time [s], `repeat` of each."""
    for time in times:
        for _ in range(repeat):
            yield DarkScene(time=time)


def field_series(scene: ScienceScene, n: int, *, dither: float = 0.0, seed: int = 0) -> Iterator[ScienceScene]:
    """`n` exposures of one field, each moved by up to `dither` pixels in x and y; the first is not moved."""
    moves = Streams(seed)("dither").uniform(-dither, dither, size=(n, 2))
    for i in range(n):
        dx, dy = (0.0, 0.0) if i == 0 else moves[i].tolist()
        yield scene.model_copy(update={"offset": (scene.offset[0] + dx, scene.offset[1] + dy)})
