"""Gain: from counts to electrons.

Model        electron = gain x adu, one gain per amplifier [electron/adu].
Assumes      the overscan has been subtracted; the gain does not depend on the signal (linearity is a step of its own).
Input        adu, raw or assembled.
Output       electron; variances scale with the square of the gain. An amplifier whose gain is no positive number
             becomes NaN and BAD: its electrons are not known. A gain that does not say by which method it was
             found is refused, unless `without_method` is set: methods differ by several per cent.
References   reference ISR, steps 4 and 10; Janesick 2001, chapter 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.errors import DataError
from fullwell.conductor import Block, Exposure, Layout, StepConfig, amp_order, step
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.products import Gain

__all__ = ["GainConfig", "add", "remove"]

F4 = NDArray[np.float32]


class GainConfig(StepConfig):
    """The gains are a product; whether one is taken that does not say how it was measured."""

    without_method: bool = Field(
        False, description="Take a gain that does not say how it was measured: its bias is not known."
    )


@step("gain", needs="gain", unit="adu", leaves="electron", after=("overscan_serial", "saturation"), config=GainConfig)
def remove_block(block: Block, gain: F4, cfg: GainConfig) -> None:
    """image *= gain, variance *= gain**2, by amplifier; adu -> electron. No gain: NaN and BAD."""
    _scale(block, gain)
    layout = block.layout
    for a in np.flatnonzero(~np.isfinite(gain)) if np.isnan(gain.sum()) else ():
        block.start_mask()[:, layout.start[a] : layout.start[a] + layout.width[a]] |= np.uint32(bit("BAD"))
    block.unit = "electron"


@remove_block.forward
def add_block(block: Block, gain: F4, cfg: GainConfig) -> None:
    """image /= gain, variance /= gain**2: electron -> adu."""
    _scale(block, (1.0 / gain).astype(np.float32))
    block.unit = "adu"


@remove_block.digesting
def digest(product: Gain, layout: Layout, exposure: Exposure) -> F4:
    """Gains in the order of the detector, float32 (n_amp,), NaN where there is no positive number.

    Raises
    ------
    GeometryError
        the product lacks an amplifier of the detector.
    DataError
        no amplifier has a gain.
    """
    name = f"gain {product.source or product.id}"
    gain = product.gain[amp_order(product.amps, layout.detector, name)].astype(np.float32)
    gain[~(np.isfinite(gain) & (gain > 0))] = np.nan
    if np.isnan(gain).all():
        raise DataError(
            f"the {name} has no positive gain for any amplifier",
            where=exposure.observation.obs_id or None,
            remedy="measure the gain from pairs of flats, give it as an option, or stay in adu",
        )
    return gain


@remove_block.finishing
def finish(exposure: Exposure, gain: F4, cfg: GainConfig) -> dict[str, Any]:
    """Gains used, by amplifier (None where unknown), and the names of the amplifiers without one."""
    names = exposure.detector.names
    known = np.isfinite(gain)
    return {
        "gain": {name: float(g) if ok else None for name, g, ok in zip(names, gain, known, strict=True)},
        "bad_amplifiers": [name for name, ok in zip(names, known, strict=True) if not ok],
    }


def _scale(block: Block, factor: F4) -> None:
    layout = block.layout
    where = layout.start, layout.width
    arith.scale_by_amp(block.image, *where, factor)
    if block.has_variance:
        arith.scale_by_amp(block.variance, *where, factor * factor)
    for part in block.components.values():
        arith.scale_by_amp(part, *where, factor * factor)
    if block.row_noise:
        block.row_variance *= factor * factor


remove, add = remove_block.verbs()
