"""Dither: uniform noise that undoes the steps of the converter.

Model        the converter rounds to whole counts. Adding noise uniform over one count makes the mean of any
             statistic of the pixels (medians, clipped means, fits) follow the true level instead of sticking to
             whole counts.
Assumes      the noise of the pixels is at least about half a count; the raw pixels are integers.
Input        adu, raw, integers, before everything else.
Output       image + u, u uniform in -0.5 … 0.5 (the converter rounds), 0 … 1 (it cuts off), -1 … 0 (it rounds up).
Repeatable   u depends on seed, amplifier, row and column alone: blocks, strips and threads see the same numbers.
Variance     quantisation 1/12 adu**2 and dither 1/12 adu**2 go to the row variance. The dither's part is always
             real: it is added here. The quantisation's part is already in a read noise that was measured on rounded
             pixels; `count_quantisation` off leaves it out then. A read noise measured on *dithered* pixels (the
             overscan step after this one) holds both: then switch `count_dither` off as well.
             A nominal read noise of the camera holds neither.
Forward      the converter itself: round, cut off or round up, as the mode says.
References   reference ISR, step 6; Widrow and Kollar 2008, Quantization Noise, chapter 19.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Layout, Rows, StepConfig, step
from fullwell.conductor.placement import raw
from fullwell.kernels import dither, transfer

__all__ = ["DitherConfig", "add", "remove"]

I8 = NDArray[np.int64]
LOW = {"symmetric": -0.5, "positive": 0.0, "negative": -1.0}
REFERENCE_SEED = 12345


class DitherConfig(StepConfig):
    """Range and seed of the noise, and which of its variances are counted."""

    mode: Literal["symmetric", "positive", "negative", "none"] = Field(
        "symmetric", description="Range of the noise: -0.5…0.5, 0…1, -1…0 [adu], or no noise."
    )
    seed: int | None = Field(None, ge=0, description="Seed; default: made from the id of the exposure.")
    count_quantisation: bool = Field(
        True, description="Add 1/12 adu² of the converter; off where the read noise was measured on rounded pixels."
    )
    count_dither: bool = Field(
        True, description="Add 1/12 adu² of the dither; off where the read noise was measured on dithered pixels."
    )
    compat: Literal["", "lsst"] = Field(
        "", description="'lsst': NumPy's RandomState over the whole raw image, seed 12345 unless given."
    )

    @property
    def variance(self) -> float:
        """What is added to the row variance [adu**2]."""
        return (self.count_quantisation + (self.count_dither and self.mode != "none")) / 12


@dataclass
class Noise:
    """Seed and first columns by layout part; `image` the flat raw-order noise of the reference, None for ours."""

    seed: int
    shift: I8
    image: NDArray[np.float64] | None = None
    place: Any = None
    offsets: dict[str, I8] = field(default_factory=dict)


@step("dither", unit="adu", area="raw", config=DitherConfig)
def remove_block(block: Block, given: Noise, cfg: DitherConfig) -> None:
    """image += uniform noise of one count; the variances of rounding and noise are added."""
    layout = block.layout
    if cfg.mode != "none":
        if given.image is not None:
            block.image[:] = block.image + _of_reference(block, given)
        else:
            row, low = block.r0 - given.shift, np.float32(LOW[cfg.mode])
            dither.add_uniform(block.image, layout.start, layout.width, layout.first, row, np.uint64(given.seed), low)
    if cfg.variance:
        block.add_row_variance(cfg.variance)


@remove_block.forward
def add_block(block: Block, given: Any, cfg: DitherConfig) -> None:
    """image = whole counts: rounded, cut off (positive) or rounded up (negative); "none" leaves it as it is."""
    if cfg.mode == "negative":
        np.ceil(block.image, out=block.image)
    elif cfg.mode != "none":
        dither.quantise(block.image, np.float32(-LOW[cfg.mode]))


@remove_block.preparing
def prepare(rows: Rows, given: None, cfg: DitherConfig) -> Noise:
    """Seed of the settings, else of the exposure; with compat the whole noise image."""
    exposure, shift = rows.exposure, Layout(rows.exposure.detector).shift
    if not cfg.compat or cfg.mode == "none":
        return Noise(exposure.seed if cfg.seed is None else cfg.seed, shift)
    place = raw(exposure.detector)
    seed = REFERENCE_SEED if cfg.seed is None else cfg.seed
    low = LOW[cfg.mode]
    image = np.random.RandomState(seed % 2**32).uniform(low, low + 1, place.shape)
    return Noise(seed, shift, image.reshape(-1), place)


@remove_block.finishing
def finish(exposure: Any, given: Noise, cfg: DitherConfig) -> dict[str, Any]:
    """Seed used and variance added [adu**2]."""
    return {"seed": int(given.seed), "variance": cfg.variance, "unit": "adu"}


def _of_reference(block: Block, given: Noise) -> NDArray[np.float64]:
    """The reference's noise in the layout of a block, float64 so that the sum is rounded once."""
    assert given.image is not None
    layout, place = block.layout, given.place
    out: NDArray[Any] = np.empty(block.image.shape, np.float64)
    offset = given.offsets.setdefault(layout.part, place.offset + layout.first * place.col_step)
    transfer.load_rows(
        given.image, transfer.NATIVE, offset, place.row_step, place.col_step,
        layout.start, layout.width, block.r0 - layout.shift, place.height, out,
    )  # fmt: skip
    return out


remove, add = remove_block.verbs()
