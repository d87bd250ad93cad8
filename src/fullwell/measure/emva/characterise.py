"""A camera test from its images to the data sheet, two images in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.config import load as load_config
from fullwell.base.errors import DataError, FullwellError, GeometryError
from fullwell.base.progress import progress
from fullwell.io.cameratest import CameraTest, TestLevel
from fullwell.measure.emva.corrected import corrected_gain
from fullwell.measure.emva.levels import PairMoments, linearity, pair_moments, saturation_level, with_ranges
from fullwell.measure.emva.sheet import data_sheet, gains
from fullwell.measure.emva.spatial import Stack, spatial_noise, stack_moments
from fullwell.products.emva1288 import Emva1288, LevelSeries

__all__ = ["EmvaConfig", "Loader", "characterise"]

Loader = Callable[[Path], NDArray[Any]]


class EmvaConfig(StepConfig):
    """Ranges of the fits; the defaults are those of release 4.0."""

    top: float = Field(0.7, gt=0, le=1, description="fits of R and K end at this share of saturation")
    linear_low: float = Field(0.05, ge=0, lt=1, description="linearity error, lower end, share of saturation")
    linear_high: float = Field(0.95, gt=0, le=1, description="linearity error, upper end, share of saturation")
    drift: float = Field(0.01, gt=0, description="difference of two images of a level that is told, relative")


def characterise(test: CameraTest, load: Loader, config: EmvaConfig | None = None, *, jobs: int = 1) -> Emva1288:
    """Everything that the images of `test` give, by EMVA 1288 release 4.0, and freed of brighter-fatter beside it.

    Parameters
    ----------
    load : file -> pixels (ny, nx) [DN]. `test.dark` is matched to `test.bright` by exposure time.
    jobs : threads over the levels; each holds two images. The result does not depend on it.

    Raises
    ------
    DataError
        no dark or no bright levels, or too few below saturation; images that are copies of each other.
    GeometryError
        images of different size.
    """
    config = config or load_config(EmvaConfig, {})
    notes = list(test.notes)
    levels, more = _series(test, load, config, jobs)
    notes += more
    g = gains(levels)
    freed = corrected_gain(levels)
    g = replace(g, corrected=freed.k, corrected_error=freed.error)
    dark, bright = _spatial(test, load, notes)
    if not g.photons:
        notes.append("photons per pixel are not known: quantum efficiency, responsivity per photon, and thresholds and "
                     "capacity in photons cannot be given")  # fmt: skip
    if freed.why:
        notes.append(f"no values freed of brighter-fatter: {freed.why}")
    return Emva1288(
        quantities=tuple(data_sheet(levels, g, dark[1], bright)), levels=levels, dark=dark[1], bright=bright,
        correction=freed.how, curve=freed.curve, facts=_facts(test, levels), notes=tuple(notes),
    )  # fmt: skip


def _facts(test: CameraTest, levels: LevelSeries) -> dict[str, str]:
    out = {**test.texts, "source": test.source, "levels": str(levels.mean.size), "pixels": str(levels.pixels)}
    if test.bits:
        out["bits"] = str(test.bits)
    if test.release:
        out["measured for release"] = test.release
    return out


def _pair(level: TestLevel, load: Loader, test: CameraTest) -> PairMoments:
    """Moments of a level; errors name its files."""
    first, second = level.files[:2]
    try:
        a, b = load(first), load(second)
        if test.width and (a.shape[0] > test.height or a.shape[1] > test.width):
            raise GeometryError(f"the image has {a.shape[1]} x {a.shape[0]} pixels, the descriptor says {test.width} x "
                                f"{test.height}", remedy="correct the line n of the descriptor")  # fmt: skip
        return pair_moments(a, b)
    except FullwellError as error:
        if error.where:
            raise
        raise type(error)(
            error.problem, where=f"{first}, {second.name}", remedy=error.remedy, code=error.code
        ) from None


def _series(test: CameraTest, load: Loader, config: EmvaConfig, jobs: int) -> tuple[LevelSeries, list[str]]:
    if not test.dark:
        raise DataError("there are no pairs of dark images", where=test.source,
                        remedy="take two images without light at each exposure time, or at one of them")  # fmt: skip
    if not test.bright:
        raise DataError("there are no pairs of bright images", where=test.source,
                        remedy="take two images of each of some 50 levels from dark to saturation")  # fmt: skip
    notes: list[str] = []
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        found = pool.map(lambda level: _pair(level, load, test), (*test.dark, *test.bright))
        moments = list(progress(found, "levels", len(test.dark) + len(test.bright)))
    darks, brights = moments[: len(test.dark)], moments[len(test.dark) :]
    _alike([*test.dark, *test.bright], moments)
    partner = _partners(test, notes)
    for level, m in zip(test.bright, brights, strict=True):
        if abs(m.delta) > config.drift * max(m.mean, 1e-9) and m.variance > 0:
            notes.append(f"the two images of the bright level of {level.time:.6g} s differ by "
                         f"{100 * m.delta / m.mean:+.2g} %: did the light drift?")  # fmt: skip
    if darks[0].lowest <= 0 and darks[0].mean < 3 * math.sqrt(darks[0].variance):
        notes.append("dark images reach down to 0 DN: the offset is too low, and dark noise comes out too small")
    variance, error = np.array([m.variance for m in brights]), np.array([m.variance_error for m in brights])
    levels = LevelSeries(
        time=np.array([level.time for level in test.bright]),
        photons=np.array([level.photons for level in test.bright]),
        mean=np.array([m.mean for m in brights]), variance=variance, variance_error=error,
        dark_mean=np.array([darks[i].mean for i in partner]),
        dark_variance=np.array([darks[i].variance for i in partner]),
        dark_variance_error=np.array([darks[i].variance_error for i in partner]),
        pixels=brights[0].pixels, saturation=saturation_level(variance, error),
        sensitivity=np.zeros(len(brights), bool), linearity=np.zeros(len(brights), bool),
    )  # fmt: skip
    if levels.saturation < 0:
        notes.append(
            "the series ends before saturation: its brightest level stands for it, capacities are lower limits"
        )
    if not levels.signal.max() > 0 or not levels.shot.max() > 0:
        raise DataError(
            "neither level nor variance of bright images is above that of dark ones",
            where=test.source,
            remedy="are bright and dark images exchanged, or was there no light?",
        )
    return linearity(with_ranges(levels, config.top, (config.linear_low, config.linear_high))), notes


def _alike(levels: Sequence[TestLevel], moments: Sequence[PairMoments]) -> None:
    """GeometryError where a level has another number of pixels than the first."""
    for level, m in zip(levels, moments, strict=True):
        if m.pixels != moments[0].pixels:
            raise GeometryError(
                f"its images have {m.pixels} pixels, those of the first level {moments[0].pixels}",
                where=str(level.files[0]), remedy="leave out the levels of another size or window",
            )  # fmt: skip


def _partners(test: CameraTest, notes: list[str]) -> list[int]:
    """For each bright level the index of the dark level nearest in exposure time."""
    times = np.array([level.time for level in test.dark])
    found = [int(np.argmin(np.abs(times - level.time))) for level in test.bright]
    far = [b.time for b, i in zip(test.bright, found, strict=True) if abs(times[i] - b.time) > 0.01 * max(b.time, 1e-9)]
    if far:
        notes.append(
            f"{len(far)} bright levels have no dark images of their exposure time; those of the nearest are taken"
        )
    return found


def _spatial(test: CameraTest, load: Loader, notes: list[str]) -> tuple[tuple[Stack | None, Any], Any]:
    """((dark stack, its noise), noise of the bright stack), None where there is none."""

    def stack(level: TestLevel | None, what: str) -> Stack | None:
        if level is None:
            notes.append(f"there is no stack of {what} images at one level: "
                         f"{'DSNU and PRNU' if what == 'dark' else 'PRNU'} cannot be given")  # fmt: skip
            return None
        if len(level.files) < 16:
            notes.append(f"the {what} stack has {len(level.files)} images; the standard asks for 16 at least")
        return stack_moments(_loaded(level.files, load, what))

    dark, bright = stack(test.dark_stack, "dark"), stack(test.bright_stack, "bright")
    of_dark = spatial_noise(dark) if dark else None
    return (dark, of_dark), spatial_noise(bright, dark) if bright and dark else None


def _loaded(files: Sequence[Path], load: Loader, what: str) -> Iterator[NDArray[Any]]:
    for file in progress(files, f"{what} stack"):
        yield load(file)
