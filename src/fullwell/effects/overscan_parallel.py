"""Parallel overscan: the level that differs from column to column.

Model        image(y, x) += level(x), one vector per amplifier over its data columns, measured in the rows that
             are read after the last real row.
Assumes      these rows see no light; the first of them hold what the parallel registers left behind and are
             skipped. The serial overscan has been subtracted, crosstalk corrected.
Input        adu or electron, raw.
Output       image - level in the data columns; the variance of the level is added. It is nearly the same in all
             columns of an amplifier: that part goes to the row variance, what filled columns have more of goes to
             the variance plane.
Bleeds       charge that blooms into these rows must not be subtracted from the sky. Pixels at or above
             `level_factor` times the saturation level (20000 adu where none is known) are left out, with their
             neighbours up to 7 pixels. Columns with no pixel left, and columns that stand out of a running median
             over five columns, are left out with 2 columns on each side and take the median of their neighbours.
             An amplifier flooded with light (overscan over half of the data, data over 10000 adu) is left alone.
References   reference ISR, sections 2.1-2.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Rows, StepConfig, step
from fullwell.effects.overscan_numbers import mean_factor
from fullwell.effects.overscan_serial import Method
from fullwell.frames import bit
from fullwell.kernels import arith, columns, overscan, overscan_fit
from fullwell.products import Gain

__all__ = ["ColumnOffsets", "ParallelOverscanConfig", "add", "remove"]

F4 = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
PER_LINE = ("median_per_row", "mean_per_row")


class ParallelOverscanConfig(StepConfig):
    """How the level of each column is found. Levels in adu are multiplied by the gain in an image in electron."""

    method: Method = Field(
        "median_per_row", description="One level per column ('row' is the line kept), one per frame, or a curve."
    )
    order: int = Field(1, ge=0, description="Degree of the polynomial, or number of bins of the spline (5 or more).")
    skip_leading: int = Field(3, ge=0, description="Rows next to the data that are not used [pixel]: deferred charge.")
    skip_trailing: int = Field(3, ge=0, description="Last rows that are not used [pixel].")
    clip: float = Field(3.0, ge=0, description="Cut about the median of a column [noise widths]; 0 for none.")
    max_deviation: float = Field(100.0, gt=0, description="Pixels farther than this from the level are not used [adu].")
    deviation: Literal["both", "above"] = Field(
        "above", description="Whether max_deviation cuts on both sides or only what is too bright (bleeds)."
    )
    mask_planes: tuple[str, ...] = Field(("BAD", "SAT"), description="Planes whose pixels are not used.")
    mask_saturated: bool = Field(True, description="Leave out pixels near saturation and their neighbours.")
    level: float | None = Field(None, gt=0, description="The level for that [adu]; default from the saturation level.")
    level_factor: float = Field(0.75, gt=0, description="Part of the saturation level that counts as saturated.")
    level_unknown: float = Field(20000.0, gt=0, description="Level where no saturation level is known [adu].")
    grow: int = Field(7, ge=0, description="Steps by which saturated pixels grow, along rows and columns [pixel].")
    grow_columns: int = Field(2, ge=0, description="Columns left out on each side of a bad one [pixel].")
    flooded_fraction: float = Field(0.5, gt=0, description="Overscan over data above which an amplifier is flooded.")
    flooded_level: float = Field(
        10000.0, ge=0, description="Median of the data below which it is not called flooded [unit of the image]."
    )
    smoothing: bool = Field(True, description="Look for columns that stand out of a running median.")
    smoothing_kernel: int = Field(5, ge=3, description="Columns of the running median [pixel], odd.")
    smoothing_threshold: float = Field(5.0, gt=0, description="Excess over it that makes a column bad [adu].")
    propagate_variance: bool = Field(True, description="Add the error of the level to the variance.")
    compat: Literal["", "lsst", "lsst-float"] = Field(
        "",
        description="'lsst': levels per column from values cut to integers, each column's own quartile width; "
        "'lsst-float': the same without the cut to integers.",
    )


@dataclass(frozen=True)
class ColumnOffsets:
    """Levels that `add` puts in: `columns`, one array (data columns,) per amplifier, in the unit of the image.

    Prescan and serial overscan stay free of it.
    """

    columns: tuple[NDArray[Any], ...]


@dataclass
class ParallelLevels:
    """What `prepare` measured.

    Attributes
    ----------
    vector : (C,) level of each column of a segment block. base : (n_amp,) variance that all columns share;
    excess : (C,) what single columns have more, None where none has.
    flags : (rows, C) mask bits of the overscan rows from row `first` on.
    numbers : for the history.
    """

    vector: F4
    base: F4
    excess: F4 | None
    first: int
    flags: NDArray[np.uint32] | None
    numbers: dict[str, Any] = field(default_factory=dict)


@step(
    "overscan_parallel",
    needs="gain",
    optional=True,
    after=("overscan_serial", "saturation", "gain", "crosstalk"),
    area="raw",
    config=ParallelOverscanConfig,
)
def remove_block(block: Block, given: ParallelLevels, cfg: ParallelOverscanConfig) -> None:
    """image -= level of the column, in the data columns; the variance of the level is added."""
    columns.add_columns(block.image, given.vector, np.float32(-1))
    if cfg.propagate_variance:
        block.add_row_variance(given.base)
        if given.excess is not None:
            columns.add_columns(block.start_variance(), given.excess, np.float32(1))
            part = block.component("overscan_parallel")
            if part is not None:
                columns.add_columns(part, given.excess, np.float32(1))
    if given.flags is not None:
        low, high = max(block.r0, given.first), min(block.r1, given.first + len(given.flags))
        if low < high:
            arith.or_plane(
                block.start_mask()[low - block.r0 : high - block.r0],
                given.flags[low - given.first : high - given.first],
            )


@remove_block.forward
def add_block(block: Block, offsets: ColumnOffsets, cfg: ParallelOverscanConfig) -> None:
    """image += level of the column, in the data columns of every row."""
    vector = np.zeros(block.layout.columns, np.float32)
    for start, values in zip(block.layout.span("data")[0], offsets.columns, strict=True):
        vector[start : start + len(values)] = values
    columns.add_columns(block.image, vector, np.float32(1))


@remove_block.preparing
def prepare(rows: Rows, product: Gain | None, cfg: ParallelOverscanConfig) -> ParallelLevels:
    """Levels of all columns from the overscan rows; reads data rows only where the overscan looks flooded."""
    layout, detector = rows.layout, rows.exposure.detector
    n = len(detector)
    first, last = layout.rows("parallel_overscan")
    numbers: dict[str, Any] = {"level": {}, "noise": {}, "filled_columns": {}, "left_out": {}}
    out = ParallelLevels(np.zeros(layout.columns, np.float32), np.zeros(n, np.float32), None, first, None, numbers)
    if last <= first:
        numbers["left_out"] = dict.fromkeys(detector.names, "no overscan")
        return out
    block = rows.read(first, last)
    numbers["unit"] = block.unit
    image, mask = block.image.copy(), block.mask.copy() if block.has_mask else None
    scale = np.nan_to_num(rows.exposure.gain, nan=1.0) if block.unit == "electron" else np.ones(n)
    levels = saturated_levels(rows, product, cfg) * scale
    excess, flags = np.zeros(layout.columns, np.float32), np.zeros(image.shape, np.uint32)
    start, width = layout.span("data")
    for a, amp in enumerate(detector):
        box = amp.parallel_overscan
        if not box.area:
            numbers["left_out"][amp.name] = "no overscan"
            continue
        own = slice(box.y0 + int(layout.shift[a]) - first, box.y1 + int(layout.shift[a]) - first)
        where = own, slice(int(start[a]), int(start[a] + width[a]))
        bits = np.zeros_like(image[where], np.uint32) if mask is None else mask[where]
        strip = Strip(image[where], bits.copy(), box.y0 < amp.data.y0, float(scale[a]))
        reason = strip.look(cfg, float(levels[a]), lambda a=a: data_median(rows, a, cfg))  # type: ignore[misc]
        flags[where] = strip.bits & ~bits
        if reason:
            numbers["left_out"][amp.name] = reason
            continue
        level, error, filled = strip.levels(cfg)
        out.vector[where[1]] = level
        typical = np.median(error)
        out.base[a] = min(typical, error.min() * 1.25)
        excess[where[1]] = np.where(error > 1.25 * typical, error - out.base[a], 0)
        numbers["level"][amp.name] = float(np.median(level))
        numbers["noise"][amp.name] = strip.noise(level)
        numbers["filled_columns"][amp.name] = filled
    out.excess = excess if excess.any() else None
    out.flags = flags if flags.any() else None
    return out


def saturated_levels(rows: Rows, product: Gain | None, cfg: ParallelOverscanConfig) -> NDArray[np.float64]:
    """Level above which an overscan pixel holds bloomed charge, (n_amp,) [adu]."""
    detector = rows.exposure.detector
    if cfg.level is not None:
        return np.full(len(detector), cfg.level)
    values = detector.values("saturation")
    if product is not None and product.saturation is not None:
        own = np.asarray(product.saturation, np.float64)
        values = np.where(np.isfinite(own), own, values)
    return np.where(np.isfinite(values), cfg.level_factor * values, cfg.level_unknown)


def data_median(rows: Rows, a: int, cfg: ParallelOverscanConfig) -> float:
    """Median of the data of amplifier `a` over rows spread evenly (every row with compat)."""
    layout = rows.layout
    low, high = layout.data_rows
    start, width = layout.span("data")
    step_rows = 1 if cfg.compat else max(1, (high - low) // 64)
    values = []
    for r in range(low, high, max(step_rows, 64) if step_rows == 1 else step_rows):
        block = rows.read(r, min(r + (64 if step_rows == 1 else 1), high))
        values.append(block.image[:, start[a] : start[a] + width[a]].copy().ravel())
    return float(np.nanmedian(np.concatenate(values)))


@dataclass
class Strip:
    """The parallel overscan of one amplifier: `image` and mask `bits` (rows, columns), read-out order.

    `before` says that it is read before the data; `scale` turns adu into the unit of the image.
    """

    image: F4
    bits: NDArray[np.uint32]
    before: bool
    scale: float
    used: slice = field(default_factory=lambda: slice(None))
    centre: float = 0.0

    def look(self, cfg: ParallelOverscanConfig, level: float, data: Any) -> str:
        """Mask what is not overscan. The reason why nothing can be measured, or ""."""
        unusable = np.uint32(sum(bit(p) for p in cfg.mask_planes))
        if cfg.mask_saturated:
            hit = self.image >= level
            if hit.any():
                from scipy.ndimage import binary_dilation

                hit = binary_dilation(hit, iterations=cfg.grow) if cfg.grow else hit
                self.bits |= np.where(hit, np.uint32(bit("SAT")), np.uint32(0))
        near, far = (cfg.skip_trailing, cfg.skip_leading) if self.before else (cfg.skip_leading, cfg.skip_trailing)
        self.used = slice(near, self.image.shape[0] - far)
        region = self.image[self.used]
        good = ((self.bits[self.used] & unusable) == 0) & np.isfinite(region)
        if not region.size:
            return "no overscan row is left after the skipped ones"
        if not good.any():
            return "no usable overscan pixel"
        middle = float(np.nanmedian(region))
        if middle > cfg.flooded_fraction * cfg.flooded_level:
            light = data()
            if light > cfg.flooded_level and middle / light > cfg.flooded_fraction:
                return f"flooded: the overscan has {middle:.0f}, the data {light:.0f}"
        self.centre = float(np.median(region[good]))
        away = region - np.float32(self.centre)
        far_off = (np.abs(away) if cfg.deviation == "both" else away) > self.scale * cfg.max_deviation
        self.bits[self.used] |= np.where(far_off, np.uint32(bit("BAD")), np.uint32(0))
        bad = far_off.all(axis=0) | self.outstanding(region, cfg)
        if bad.any():
            wide = np.convolve(bad, np.ones(2 * cfg.grow_columns + 1), "same") > 0
            self.bits[:, wide] |= np.uint32(bit("BAD"))
        return ""

    def outstanding(self, region: F4, cfg: ParallelOverscanConfig) -> BoolArray:
        """Columns whose median stands out of the running median over columns, without five at each end."""
        bad = np.zeros(region.shape[1], np.bool_)
        if cfg.smoothing and bad.size > 10:
            from scipy.ndimage import median_filter

            middle = np.median(region, axis=0)
            excess = middle - median_filter(middle, cfg.smoothing_kernel)
            bad[5:-5] = excess[5:-5] >= self.scale * cfg.smoothing_threshold
        return bad

    def lines(self, cfg: ParallelOverscanConfig) -> F4:
        """Columns as lines (columns, rows used), NaN where masked."""
        unusable = np.uint32(sum(bit(p) for p in cfg.mask_planes))
        masked = (self.bits[self.used] & unusable) != 0
        return np.ascontiguousarray(np.where(masked, np.float32(np.nan), self.image[self.used]).T, np.float32)

    def levels(self, cfg: ParallelOverscanConfig) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Level and variance of each column, and how many columns had to be filled."""
        region = self.lines(cfg)
        n, m = region.shape
        start, width = np.zeros(1, np.int64), np.full(1, m)
        centre, sigma, spread = (np.zeros(1, np.float32) for _ in range(3))
        overscan.strip_statistics(region, start, width, float("inf"), centre, sigma, spread)
        clip = np.full((1, 1), cfg.clip * sigma[0] if cfg.clip > 0 else -1, np.float32)
        whole = cfg.compat == "lsst" and cfg.method in PER_LINE
        if cfg.compat and cfg.method not in overscan_fit.SCALARS:
            far = overscan_fit.own_outliers(self.image[self.used].T, cfg.clip)
            region, clip[:] = np.where(far, np.float32(np.nan), region), -1
            region = np.trunc(region) if whole else region
        mean = cfg.method != "median_per_row"
        wide = np.full(1, np.inf, np.float32)
        level, used, square = (np.empty((n, 1), np.float32) for _ in range(3))
        overscan.row_levels(region, start, width, mean, whole, centre, wide, wide, clip, level, used, square)
        rough, count = level[:, 0].astype(np.float64), used[:, 0]
        gaps = int(np.count_nonzero(~np.isfinite(rough)))
        if cfg.method in PER_LINE:
            factor = np.pi / 2 if cfg.method == "median_per_row" else mean_factor(cfg.clip)
            many = np.where(count > 0, count, 1)
            return overscan_fit.fill_gaps(rough), factor * float(sigma[0]) ** 2 / many, gaps
        if cfg.method in overscan_fit.CURVES:
            return *overscan_fit.fit_line(rough, cfg.method, cfg.order), gaps
        one, error = overscan_fit.scalar_level(region, cfg.method, cfg.clip, False, float(spread[0]))
        return np.full(n, one), np.full(n, error), 0

    def noise(self, level: NDArray[np.float64]) -> float:
        """Width of the used pixels about the level, 1.4826 x median absolute deviation [unit of the image]."""
        good = (self.bits[self.used] == 0) & np.isfinite(self.image[self.used])
        left = (self.image[self.used] - level[None, :])[good]
        return float(1.4826 * np.median(np.abs(left))) if left.size else float("nan")


@remove_block.finishing
def finish(exposure: Any, given: ParallelLevels, cfg: ParallelOverscanConfig) -> dict[str, Any]:
    """Per amplifier: median level, noise [unit], columns filled from neighbours, reasons for what was left out."""
    return given.numbers


remove, add = remove_block.verbs()
