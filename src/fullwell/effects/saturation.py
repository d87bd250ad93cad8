"""Saturation: pixels at or above the level where the amplifier or the pixel is full.

Model        SAT where the count above the serial overscan reaches the saturation level of the amplifier;
             SUSPECT where it reaches the level up to which the amplifier is trusted.
             SAT also where the count of the converter itself, overscan included, is the largest that it can give:
             such a pixel is full whatever its overscan says. And SAT everywhere in an amplifier whose overscan is
             full too (at that count; or at the saturation level and without any noise, which no zero level is):
             there is no zero to count from, and all of it would come out as nothing.
Assumes      the serial overscan has been subtracted; levels are in adu above it. The counts of the converter are
             known where that step runs in the same recipe, or where there is no overscan.
Input        adu, raw.
Output       mask planes SAT and SUSPECT over the whole segment; the image is not changed. The planes travel with
             the pixels through assembly. An amplifier without a level is flagged by the counts alone, and the
             record says so.
References   reference ISR, step 8 and section 4.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Rows, StepConfig, amp_order, step
from fullwell.effects.dither import LOW
from fullwell.effects.overscan_serial import SerialLevels
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.products import Gain

__all__ = ["SaturationConfig", "flag"]

ROUNDING = 2.0**-22
"""Of a count less a level and the level again, in single precision, relative to the count; four roundings."""
SILENT = 0.5
"""An overscan that scatters less has no read noise [adu]."""


class SaturationConfig(StepConfig):
    """Levels that override those of the product, in adu above the overscan."""

    saturation: float | None = Field(None, gt=0, description="of all amplifiers [adu above the overscan]")
    suspect: float | None = Field(None, gt=0, description="of all amplifiers [adu above the overscan]")
    turnoff: bool = Field(
        False,
        description="Flag as suspect from the turnoff of the photon transfer on, where no other level is known.",
    )
    full_scale: float | None = Field(
        None,
        gt=0,
        description="Largest count of the converter, overscan included [adu]; "
        "by default the largest that raw pixels of 8 or 16 bits can hold.",
    )


@dataclass(frozen=True)
class Levels:
    """Levels (n_amp,) [adu], NaN where an amplifier has none; None where none has one.

    full_scale : largest count of the converter [adu], NaN where it is not known.
    margin : what was added to the counts since, at least [adu]. overscan : what was subtracted from them.
    full : (n_amp,) amplifiers whose overscan is full.
    """

    saturation: NDArray[np.float32] | None
    suspect: NDArray[np.float32] | None
    full_scale: float
    margin: float
    overscan: SerialLevels | None
    full: NDArray[np.bool_]


@step(
    "saturation",
    needs="gain",
    optional=True,
    unit="adu",
    after=("overscan_serial",),
    area="raw",
    config=SaturationConfig,
)
def flag_block(block: Block, levels: Levels, cfg: SaturationConfig) -> None:
    """mask |= SAT, SUSPECT where the image reaches the levels, SAT where the converter is at its end."""
    where, reached = (block.layout.start, block.layout.width), dict.fromkeys(("SAT", "SUSPECT"), False)
    for name, level in (("SAT", levels.saturation), ("SUSPECT", levels.suspect)):
        if level is not None and arith.any_above(block.image, *where, level):
            reached[name] = True
            arith.flag_above(block.start_mask(), block.image, *where, level, bit(name))
    columns = [slice(s, s + w) for s, w in zip(*(v.tolist() for v in where), strict=True)]
    for a in np.flatnonzero(levels.full).tolist():
        block.start_mask()[:, columns[a]] |= np.uint32(bit("SAT"))
    if not np.isfinite(levels.full_scale):
        return
    top = np.full((block.n, len(columns)), levels.full_scale + levels.margin, np.float32)
    if levels.overscan is not None:
        top -= np.nan_to_num(levels.overscan.level[block.r0 : block.r1])
    lowest = top.min(axis=0)
    if levels.saturation is not None and not reached["SAT"] and np.all(levels.saturation <= lowest):
        return
    if arith.any_above(block.image, *where, lowest):
        mask = block.start_mask()
        for a, own in enumerate(columns):
            mask[:, own] |= np.where(block.image[:, own] >= top[:, a, None], np.uint32(bit("SAT")), np.uint32(0))


@flag_block.preparing
def prepare(rows: Rows, product: Gain | None, cfg: SaturationConfig) -> Levels:
    """Levels of the settings, else of the product, else of the camera."""
    detector = rows.exposure.detector

    def level(name: str, chosen: float | None) -> NDArray[np.float32] | None:
        values = detector.values(name)
        if chosen is not None:
            values = np.full(len(detector), chosen)
        elif product is not None:
            order = amp_order(product.amps, detector, f"gain {product.source or product.id}")
            own = getattr(product, name)[order]
            values = np.where(np.isfinite(own), own, values)
            if name == "suspect" and cfg.turnoff:
                end = np.asarray(product.turnoff)[order]
                values = np.where(np.isfinite(values), values, end)
        return values.astype(np.float32) if np.isfinite(values).any() else None

    saturation, suspect = level("saturation", cfg.saturation), level("suspect", cfg.suspect)
    before = {stage.step.name: stage for stage in rows.program.stages[: rows.stop]}
    overscan = before["overscan_serial"].given if "overscan_serial" in before else None
    full_scale = getattr(rows.source, "largest", np.nan) if cfg.full_scale is None else cfg.full_scale
    mode = getattr(before["dither"].config, "mode", "") if "dither" in before else ""
    margin = LOW.get(mode, 0.0) - ROUNDING * full_scale
    full = np.zeros(len(detector), np.bool_)
    if overscan is not None:
        full = overscan.centre >= full_scale + margin
        if saturation is not None:
            full |= (overscan.spread < SILENT) & (overscan.centre >= saturation)
        full &= ~overscan.absent
    return Levels(saturation, suspect, full_scale, margin, overscan, full)


@flag_block.finishing
def finish(exposure: Exposure, levels: Levels, cfg: SaturationConfig) -> dict[str, Any]:
    """Levels used [adu], by amplifier; None where an amplifier has none. Largest count; amplifiers full all over."""

    def of(values: NDArray[np.float32] | None) -> dict[str, float | None]:
        names = exposure.detector.names
        array = np.full(len(names), np.nan) if values is None else values
        return {name: float(v) if np.isfinite(v) else None for name, v in zip(names, array, strict=True)}

    out: dict[str, Any] = {"saturation": of(levels.saturation), "suspect": of(levels.suspect)}
    if np.isfinite(levels.full_scale):
        out["full_scale"] = float(levels.full_scale)
    if levels.full.any():
        out["overscan_full"] = [name for name, full in zip(exposure.detector.names, levels.full, strict=True) if full]
    return out


flag = flag_block.verb()
