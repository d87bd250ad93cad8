"""Gain: from counts to electrons.

Model        electron = gain x adu, one gain per amplifier [electron/adu].
Assumes      the overscan has been subtracted; the gain does not depend on the signal (linearity is a step of its own).
Input        adu, raw or assembled.
Output       electron; variances scale with the square.
References   spec of the reference camera's ISR, step 10; Janesick 2001, chapter 2.
"""

from __future__ import annotations

import numpy as np

from fullwell.conductor import Block, Exposure, Layout, StepConfig, step
from fullwell.kernels import arith
from fullwell.products import Gain

__all__ = ["GainConfig", "add", "remove"]


class GainConfig(StepConfig):
    """The gain step has no settings of its own; the gains are a product."""


@step("gain", needs="gain", unit="adu", leaves="electron", after=("overscan_serial", "saturation"), config=GainConfig)
def remove_block(block: Block, gain: np.ndarray, cfg: GainConfig) -> None:
    """image *= gain, variance *= gain**2, by amplifier; adu -> electron."""
    _scale(block, gain)
    block.unit = "electron"


@remove_block.forward
def add_block(block: Block, gain: np.ndarray, cfg: GainConfig) -> None:
    """image /= gain, variance /= gain**2: electron -> adu."""
    _scale(block, (1.0 / gain).astype(np.float32))
    block.unit = "adu"


@remove_block.digesting
def digest(product: Gain, layout: Layout, exposure: Exposure) -> np.ndarray:
    """Gains as float32 (n_amp,)."""
    return product.gain.astype(np.float32)


def _scale(block: Block, factor: np.ndarray) -> None:
    layout = block.layout
    arith.scale_by_amp(block.image, layout.start, layout.width, factor)
    if block.has_variance:
        arith.scale_by_amp(block.variance, layout.start, layout.width, factor * factor)
    if block.row_noise:
        block.row_variance *= factor * factor


remove, add = remove_block.verbs()
