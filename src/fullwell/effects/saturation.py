"""Saturation: pixels at or above the level where the amplifier or the pixel is full.

Model        SAT where the count above the serial overscan reaches the saturation level of the amplifier;
             SUSPECT where it reaches the level up to which the amplifier is trusted.
Assumes      the serial overscan has been subtracted; levels are in adu above it.
Input        adu, raw.
Output       mask planes SAT and SUSPECT over the whole segment; the image is not changed. The planes travel with
             the pixels through assembly. An amplifier without a level gets no flag, and the record says so.
References   reference ISR, step 8 and section 4.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Rows, StepConfig, amp_order, step
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.products import Gain

__all__ = ["SaturationConfig", "flag"]


class SaturationConfig(StepConfig):
    """Levels that override those of the product, in adu above the overscan."""

    saturation: float | None = Field(None, gt=0, description="of all amplifiers [adu above the overscan]")
    suspect: float | None = Field(None, gt=0, description="of all amplifiers [adu above the overscan]")


@dataclass(frozen=True)
class Levels:
    """Levels (n_amp,) [adu], NaN where an amplifier has none; None where none has one."""

    saturation: NDArray[np.float32] | None
    suspect: NDArray[np.float32] | None


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
    """mask |= SAT, SUSPECT where the image reaches the levels."""
    for name, level in (("SAT", levels.saturation), ("SUSPECT", levels.suspect)):
        if level is not None:
            where = block.layout.start, block.layout.width, level
            if arith.any_above(block.image, *where):
                arith.flag_above(block.start_mask(), block.image, *where, bit(name))


@flag_block.preparing
def prepare(rows: Rows, product: Gain | None, cfg: SaturationConfig) -> Levels:
    """Levels of the settings, else of the product, else of the camera."""
    detector = rows.exposure.detector

    def level(name: str, chosen: float | None) -> NDArray[np.float32] | None:
        values = detector.values(name)
        if chosen is not None:
            values = np.full(len(detector), chosen)
        elif product is not None:
            own = getattr(product, name)[amp_order(product.amps, detector, f"gain {product.source or product.id}")]
            values = np.where(np.isfinite(own), own, values)
        return values.astype(np.float32) if np.isfinite(values).any() else None

    return Levels(level("saturation", cfg.saturation), level("suspect", cfg.suspect))


@flag_block.finishing
def finish(exposure: Exposure, levels: Levels, cfg: SaturationConfig) -> dict[str, Any]:
    """Levels used [adu], by amplifier; None where an amplifier has none."""

    def of(values: NDArray[np.float32] | None) -> dict[str, float | None]:
        names = exposure.detector.names
        array = np.full(len(names), np.nan) if values is None else values
        return {name: float(v) if np.isfinite(v) else None for name, v in zip(names, array, strict=True)}

    return {"saturation": of(levels.saturation), "suspect": of(levels.suspect)}


flag = flag_block.verb()
