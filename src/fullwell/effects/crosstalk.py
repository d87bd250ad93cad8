"""Crosstalk: the signal of one amplifier seen, faintly, in the others that are read at the same moment.

Model        measured_t = true_t + sum over s != t of (C[s, t] true_s + Q[s, t] true_s**2): matrices are
             [source, target]. The pixels of one read-out row and column of all segments are read together, so
             sources need no turning: blocks are in read-out order.
Assumes      the overscan has been subtracted, so that a signal of 0 makes no crosstalk. Sources are the measured,
             uncorrected pixels, all taken before any is changed (one pass): what is left is of second order,
             (sum of C)**2 times the signal, 1e-6 of it for coefficients of 1e-4.
Input        adu or electron; raw (the whole segment: crosstalk reaches the overscan too) or assembled. Coefficients in
             adu act on electrons with the factor g_t/g_s, the quadratic ones with g_t/g_s**2, and the other way round.
Output       image; CROSSTALK where the correction is strong. The variance is left alone: C**2 of that of the source is
             below a millionth of it.
Bad amplifiers  those without a gain, where others have one, and those named in the settings are neither source nor
             target. A source pixel that is not a number counts as 0.
References   reference ISR 4.2; product layout 5.4. The unit conversion works on copies of the gains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.errors import GeometryError, UnitError
from fullwell.conductor import Block, Exposure, Layout, Rows, StepConfig, amp_order, step
from fullwell.frames import bit
from fullwell.kernels import crosstalk as kernels
from fullwell.products import Crosstalk

__all__ = ["CrosstalkConfig", "add", "remove"]


TOGETHER = 4
"""Rows sampled side by side, and the step between sampled columns."""


class CrosstalkConfig(StepConfig):
    """What is flagged CROSSTALK, and which amplifiers are left out."""

    flag: Literal["correction", "source", "none"] = Field(
        "correction",
        description="flag where the correction departs from its median in the amplifier by the threshold, or where "
        "a source pixel reaches the threshold, or nothing",
    )
    threshold: float = Field(1.0, ge=0, description="in the unit of the image")
    sample_rows: int = Field(32, ge=1, description="rows that the median correction is measured on")
    skip: tuple[str, ...] = Field((), description="amplifiers that are neither source nor target")
    quadratic: bool = Field(True, description="use the quadratic terms where the product has them")


@dataclass(frozen=True)
class Matrix:
    """Coefficients in the order of the detector, in the unit of the product, and the median correction.

    linear : (n_amp, n_amp) [source, target]; quadratic : the same, None if there is none;
    gains : (n_amp,) of the product; median : (n_amp,) of the correction, in the unit of the image.
    """

    linear: NDArray[np.float64]
    quadratic: NDArray[np.float64] | None
    unit: str
    gains: NDArray[np.float64]
    name: str
    median: NDArray[np.float32] | None = None


@step("crosstalk", needs="crosstalk", after=("overscan_serial", "saturation"), config=CrosstalkConfig)
def remove_block(block: Block, matrix: Matrix, cfg: CrosstalkConfig) -> None:
    """image_t -= sum of what the sources add to it; CROSSTALK where that is strong."""
    coefficients = _coefficients(block, matrix, cfg)
    layout = block.layout
    columns = layout.start, layout.first, layout.width
    value = bit("CROSSTALK")
    if cfg.flag == "source":
        both = np.abs(coefficients[: len(layout.detector)])
        kernels.flag_victims(block.image, block.start_mask(), *columns, both, np.float32(cfg.threshold), value)
    median = matrix.median if matrix.median is not None else np.zeros(layout.start.size, np.float32)
    threshold = np.float32(cfg.threshold if cfg.flag == "correction" else np.inf)
    block.has_mask = kernels.add_crosstalk(
        block.image, block.mask, *columns, coefficients, np.float32(-1), median, threshold, value, block.has_mask
    )


@remove_block.forward
def add_block(block: Block, matrix: Matrix, cfg: CrosstalkConfig) -> None:
    """image_t += sum of C[s, t] image_s + Q[s, t] image_s**2, sources as they were."""
    layout = block.layout
    kernels.add_crosstalk(
        block.image,
        block.mask,
        layout.start,
        layout.first,
        layout.width,
        _coefficients(block, matrix, cfg),
        np.float32(1),
        np.zeros(layout.start.size, np.float32),
        np.float32(np.inf),
        0,
        block.has_mask,
    )


@remove_block.digesting
def digest(product: Crosstalk, layout: Layout, exposure: Exposure) -> Matrix:
    """Matrices in the order of the detector's amplifiers.

    Raises
    ------
    GeometryError
        an amplifier is missing from the product, or rows of different number are read at one moment.
    """
    detector = layout.detector
    name = f"crosstalk {product.source or product.id}"
    order = amp_order(product.amps, detector, name)
    if layout.shift.any():
        raise GeometryError(
            "crosstalk needs amplifiers whose data begin in the same row read",
            where=f"detector {detector.name}, first data rows {[a.data.y0 for a in detector]}",
            remedy="switch the step 'crosstalk' off for this camera",
        )
    linear, quadratic = product.used()
    pick = np.ix_(order, order)
    assert product.gains is not None
    square = None if quadratic is None else quadratic[pick]
    return Matrix(linear[pick], square, product.unit, product.gains[order], name)


@remove_block.preparing
def prepare(rows: Rows, matrix: Matrix, cfg: CrosstalkConfig) -> Matrix:
    """Median correction of each amplifier, from rows spread evenly over the data and every fourth column."""
    if cfg.flag != "correction":
        return matrix
    first, last = rows.layout.data_rows
    count = -(-min(cfg.sample_rows, last - first) // TOGETHER)
    samples: list[list[NDArray[np.float32]]] = []
    for r in first + (np.arange(count) * (last - first)) // count:
        block = rows.read(int(r), min(int(r) + TOGETHER, last), rows.layout.part)
        before = block.image.copy()
        add_block(block, matrix, cfg)
        change = np.nan_to_num(block.image - before, posinf=0, neginf=0)
        spans = zip(block.layout.start, block.layout.width, strict=True)
        samples.append([change[:, s : s + w : TOGETHER].reshape(-1) for s, w in spans])
    median = [np.median(np.concatenate(one)) if one[0].size else 0 for one in zip(*samples, strict=True)]
    return replace(matrix, median=np.array(median, np.float32))


def _coefficients(block: Block, matrix: Matrix, cfg: CrosstalkConfig) -> NDArray[np.float32]:
    """Coefficients for the unit of the block: (n_amp, n_amp), or (2 n_amp, n_amp) with the quadratic ones below."""
    gain = block.exposure.gain
    known = np.isfinite(gain) & (gain > 0)
    names = block.layout.detector.names
    bad = np.array([name in cfg.skip for name in names]) | (~known & known.any())
    linear, quadratic = matrix.linear, matrix.quadratic if cfg.quadratic else None
    if block.unit != matrix.unit:
        g = gain if known.any() else matrix.gains
        g = np.where(bad, 1.0, g)
        if not np.all(np.isfinite(g) & (g > 0)):
            raise UnitError(
                f"the {matrix.name} is per {matrix.unit}, the image is in {block.unit}, and the gains are not known",
                where=block.exposure.observation.obs_id or None,
                remedy="give a gain product, or a crosstalk product measured in the unit of the image",
            )
        per = g if block.unit == "electron" else 1 / g
        linear = linear * per[None, :] / per[:, None]
        quadratic = None if quadratic is None else quadratic * per[None, :] / per[:, None] ** 2
    parts = [linear] if quadratic is None else [linear, quadratic]
    return np.concatenate([np.where(bad[:, None] | bad[None, :], 0.0, p) for p in parts]).astype(np.float32)


remove, add = remove_block.verbs()
