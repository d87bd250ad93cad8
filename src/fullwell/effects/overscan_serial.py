"""Serial overscan: the level that the electronics add to every pixel of a row.

Model        image(y, x) += level(y), one level per amplifier and row [adu], measured in the columns that are
             read after the last real pixel of the row.
Assumes      these columns see no light: the first of them hold what the serial register left behind
             (deferred charge) and are skipped; the level does not change within a row.
Input        adu, raw, before the gain.
Output       image - level in every column of the row, prescan and overscan included. The variance of the level
             is the same along a row; it goes to the row variance and from there into the variance plane.
Levels       per row: each row its own median or mean, after pixels far from the amplifier's level and those
             `clip` noise widths from the row's median are left out. The width is one number per amplifier,
             measured on about 128 rows spread over the frame, so that a bleed cannot widen the cut of its own
             row. Rows with no pixel left take the median of their neighbours.
             scalar: one level for the frame. Fitted: a polynomial or spline through the means of the rows.
Error        mean of n pixels: s**2/n; median: (pi/2) s**2/n; fit: the scatter of the row means about it.
Integers     a median of integers is taken as that of values spread evenly over ± 0.5: without it the level
             moves in steps of 0.5 adu.
References   reference ISR, sections 2.1-2.3.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Buffers, Layout, Rows, StepConfig, step
from fullwell.effects.overscan_numbers import by_amplifier, mean_factor, used_columns
from fullwell.frames import bit
from fullwell.kernels import arith, overscan, overscan_fit

__all__ = ["RowOffsets", "SerialOverscanConfig", "add", "remove"]

F4 = NDArray[np.float32]
I8 = NDArray[np.int64]
SAMPLE_ROWS, CHUNK = 128, 16
ROWS_AT_ONCE = 256
Method = Literal[
    "median_per_row",
    "mean_per_row",
    "median",
    "mean",
    "clipped_mean",
    "polynomial",
    "legendre",
    "chebyshev",
    "natural_spline",
    "cubic_spline",
    "akima_spline",
]


class SerialOverscanConfig(StepConfig):
    """How the level of each row is found."""

    method: Method = Field(
        "median_per_row", description="One level per row, one per frame, or a smooth curve through the rows."
    )
    order: int = Field(1, ge=0, description="Degree of the polynomial, or number of bins of the spline (5 or more).")
    skip_leading: int = Field(
        3, ge=0, description="Columns next to the data that are not used [pixel]: deferred charge follows the data."
    )
    skip_trailing: int = Field(
        3, ge=0, description="Last columns that are not used [pixel]: the clocks change at the end of a row."
    )
    clip: float = Field(3.0, ge=0, description="Cut about the median of a row [noise widths]; 0 for none.")
    max_deviation: float = Field(
        1000.0, gt=0, description="Pixels farther than this from the amplifier's level are not used [adu]."
    )
    deviation: Literal["both", "above"] = Field(
        "both", description="Whether max_deviation cuts on both sides or only what is too bright (bleeds)."
    )
    mask_planes: tuple[str, ...] = Field(("BAD", "SAT"), description="Planes whose pixels are not used.")
    bad_if_lost: bool = Field(
        True, description="Flag BAD all of an amplifier whose overscan has no usable pixel: its zero is unknown."
    )
    report_leakage: bool = Field(
        False, description="Measure the part of the last data column that appears in each skipped leading column."
    )
    compat: Literal["", "lsst", "lsst-float"] = Field(
        "",
        description="'lsst': each row's own quartile width as the cut, plain scalar median, prescan untouched; "
        "'lsst-float': the same for values that are no integers (dithered).",
    )

    @property
    def per_row(self) -> bool:
        """Whether each row has its own level."""
        return self.method.endswith("_per_row")


@dataclass(frozen=True)
class RowOffsets:
    """Levels that `add` puts in, adu: ``level[a] + slope[a] * row + rows[row, a]``.

    Parameters
    ----------
    level : (n_amp,) [adu].
    slope : (n_amp,) [adu/row], None for none; row 0 is the first row read.
    rows : (n_rows, n_amp) [adu], a pattern or noise of its own for each row, None for none.
    """

    level: NDArray[Any]
    slope: NDArray[Any] | None = None
    rows: NDArray[Any] | None = None

    def at(self, block: Block) -> F4:
        """Levels (n, n_amp) of the rows of a block; rows that an amplifier does not have get those of its edge."""
        row = np.arange(block.r0, block.r1)[:, None] - block.layout.shift[None, :]
        out = np.broadcast_to(np.asarray(self.level, np.float64), row.shape).copy()
        if self.slope is not None:
            out += np.asarray(self.slope) * row
        if self.rows is not None:
            pattern = np.asarray(self.rows)
            out += pattern[np.clip(row, 0, len(pattern) - 1), np.arange(row.shape[1])[None, :]]
        return out.astype(np.float32)


@dataclass
class SerialLevels:
    """What `prepare` measured, and the levels as they become known.

    Attributes
    ----------
    rows : source of further rows. first, last : block rows with overscan of each amplifier, (n_amp,).
    present : (n_amp,) amplifiers with usable columns; lost : those of them without a usable pixel.
    centre, sigma, spread : (n_amp,) [adu], level, width within rows, width in all.
    integers : whether the pixels are whole numbers (no dither).
    level, used, square : (R, n_amp) by block row: level, pixels used, sum of their squared residuals; NaN
        where the row was not looked at.
    """

    rows: Rows
    cfg: SerialOverscanConfig
    first: I8
    last: I8
    present: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    centre: F4
    sigma: F4
    spread: F4
    integers: bool
    level: F4
    used: F4
    square: F4
    filled: NDArray[np.bool_]
    leak: NDArray[np.float64]
    _whole: tuple[F4, F4] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _columns: dict[str, tuple[I8, I8]] = field(default_factory=dict)

    @cached_property
    def absent(self) -> NDArray[np.bool_]:
        """(n_amp,) amplifiers that are left alone."""
        return ~self.present | self.lost

    def columns(self, layout: Layout) -> tuple[I8, I8]:
        """Columns that are measured, in the blocks of `layout`: (start, width), each (n_amp,)."""
        have = self._columns.get(layout.part)
        if have is None:
            have = self._columns[layout.part] = used_columns(
                layout, "serial_overscan", self.cfg.skip_leading, self.cfg.skip_trailing
            )
        return have

    @cached_property
    def cuts(self) -> tuple[F4, F4, F4]:
        """Limits below and above the centre, and the clip (1, n_amp), [adu]."""
        limit = np.full(self.centre.size, self.cfg.max_deviation, np.float32)
        below = limit if self.cfg.deviation == "both" else np.full_like(limit, np.inf)
        clip = (
            np.float32(self.cfg.clip) * self.sigma
            if self.cfg.clip > 0 and not self.cfg.compat
            else np.full_like(limit, -1)
        )
        return below, limit, np.ascontiguousarray(clip[None, :], np.float32)

    @cached_property
    def common_rows(self) -> tuple[int, int]:
        """Block rows that lie in the overscan of all amplifiers that have one."""
        have = self.last > self.first
        return (int(self.first[have].max()), int(self.last[have].min())) if have.any() else (0, 0)

    @cached_property
    def row_factor(self) -> F4:
        """Variance of a row's level times the pixels used, (n_amp,) [adu**2]."""
        factor = np.float32(np.pi / 2 if self.cfg.method == "median_per_row" else mean_factor(self.cfg.clip))
        return np.where(self.absent, np.float32(0), factor * self.sigma**2).astype(np.float32)

    def measure(self, block: Block, level: F4, used: F4, square: F4) -> None:
        """Fill level (NaN where nothing is left), pixels used and squared residuals (n, n_amp) of a block's rows."""
        start, width = self.columns(block.layout)
        image = without(block, self.cfg.mask_planes) if block.has_mask else block.image
        below, above, clip = self.cuts
        mean = self.cfg.method != "median_per_row"
        overscan.row_levels(
            image, start, width, mean, self.integers, self.centre, below, above, clip, level, used, square
        )
        low, high = self.common_rows
        if block.r0 < low or block.r1 > high:
            row = np.arange(block.r0, block.r1)[:, None]
            level[(row < self.first) | (row >= self.last)] = np.nan

    def whole(self) -> tuple[F4, F4]:
        """Level and variance (R, n_amp) of all rows, measured on first call; gaps filled."""
        with self._lock:
            if self._whole is None:
                self._whole = measure_whole(self)
            return self._whole


@step("overscan_serial", unit="adu", after=("dither",), area="raw", config=SerialOverscanConfig)
def remove_block(block: Block, given: SerialLevels, cfg: SerialOverscanConfig) -> None:
    """image -= level of the row; row variance += that of the level."""
    rows, layout = slice(block.r0, block.r1), block.layout
    level, used, square = given.level[rows], given.used[rows], given.square[rows]
    start, width = given.columns(layout)
    if cfg.per_row and not cfg.compat and width.any():
        given.measure(block, level, used, square)
        variance: F4 = (given.row_factor / np.maximum(used, np.float32(1))).astype(np.float32, copy=False)
        if not np.isfinite(level).all():
            level[:, given.absent] = 0
            gaps = ~np.isfinite(level)
            if gaps.any():
                whole, error = given.whole()
                level[gaps], variance[gaps] = whole[rows][gaps], error[rows][gaps]
                used[gaps] = 0
                given.filled[rows] = gaps
    else:
        whole, error = given.whole()
        level[:], variance = whole[rows], error[rows]
        if width.any():
            overscan.row_residuals(block.image, start, width, level, given.spread * np.float32(5), used, square)
    if cfg.compat and layout.part == "segment":
        for label in ("data", "serial_overscan"):
            arith.subtract_rows(block.image, *layout.span(label), level)
    else:
        arith.subtract_rows(block.image, layout.start, layout.width, level)
    block.add_row_variance(variance)
    if cfg.report_leakage and layout.part == "segment":
        leakage(block, given, cfg)
    if given.lost.any() and cfg.bad_if_lost and not cfg.compat:
        mask = block.start_mask()
        for a in np.flatnonzero(given.lost):
            mask[:, layout.start[a] : layout.start[a] + layout.width[a]] |= np.uint32(bit("BAD"))


@remove_block.forward
def add_block(block: Block, offsets: RowOffsets, cfg: SerialOverscanConfig) -> None:
    """image += level of the row, in every column."""
    level = offsets.at(block)
    arith.subtract_rows(block.image, block.layout.start, block.layout.width, -level)


@remove_block.preparing
def prepare(rows: Rows, given: None, cfg: SerialOverscanConfig) -> SerialLevels:
    """Level and noise of each amplifier on a sample of rows; all levels at once for scalar and fitted methods."""
    layout = Layout(rows.exposure.detector, "serial_overscan")
    boxes = layout.box("serial_overscan")
    first = np.array([b.y0 for b in boxes]) + layout.shift
    last = np.array([b.y1 if b.area else b.y0 for b in boxes]) + layout.shift
    height = int(max(a.shape[0] + s for a, s in zip(rows.exposure.detector, layout.shift, strict=True)))
    start, width = used_columns(layout, "serial_overscan", cfg.skip_leading, cfg.skip_trailing)
    n = len(rows.exposure.detector)
    centre, sigma, spread = (np.zeros(n, np.float32) for _ in range(3))
    present = width > 0
    integers = False
    if present.any():
        sample = read_sample(rows, layout, cfg, first, last)
        integers = overscan.strip_statistics(sample, start, width, cfg.max_deviation, centre, sigma, spread)
    lost = present & ~np.isfinite(centre)
    if lost.any():
        strip = read_strip(rows, layout, cfg, int(first.min()), int(last.max()))
        overscan.strip_statistics(strip, start, width, cfg.max_deviation, centre, sigma, spread)
        lost = present & ~np.isfinite(centre)
    noise = np.float32(np.sqrt(1 / 12) if integers else 0)
    table = np.full((height, n), np.nan, np.float32)
    out = SerialLevels(
        rows,
        cfg,
        first.astype(np.int64),
        last.astype(np.int64),
        present,
        lost,
        np.nan_to_num(centre),
        np.maximum(np.nan_to_num(sigma), noise),
        np.maximum(np.nan_to_num(spread), noise),
        integers,
        table,
        table.copy(),
        table.copy(),
        np.zeros((height, n), np.bool_),
        np.zeros((2, n, max(cfg.skip_leading, 1))),
    )
    if not cfg.per_row or cfg.compat:
        out.whole()
    return out


def without(block: Block, planes: tuple[str, ...]) -> F4:
    """The image of a block, with NaN where the mask has one of `planes`; itself where it has none."""
    bits = np.uint32(sum(bit(p) for p in planes))
    hit = (block.mask & bits) != 0
    return np.where(hit, np.float32(np.nan), block.image) if hit.any() else block.image


def read_strip(rows: Rows, layout: Layout, cfg: SerialOverscanConfig, r0: int, r1: int) -> F4:
    """Rows ``r0 … r1 - 1`` of the overscan columns of all amplifiers, NaN where masked, in new memory."""
    source = replace(rows, buffers=Buffers())
    out = np.empty((r1 - r0, layout.columns), np.float32)
    for r in range(r0, r1, ROWS_AT_ONCE):
        block = source.read(r, min(r + ROWS_AT_ONCE, r1), "serial_overscan")
        out[r - r0 : block.r1 - r0] = without(block, cfg.mask_planes) if block.has_mask else block.image
    return out


def read_sample(rows: Rows, layout: Layout, cfg: SerialOverscanConfig, first: I8, last: I8) -> F4:
    """About 128 rows in groups of 16, spread evenly over the rows that all amplifiers have; all where there are few."""
    have = last > first
    low, high = int(first[have].max()), int(last[have].min())
    if cfg.compat or high - low <= 2 * SAMPLE_ROWS:
        return read_strip(rows, layout, cfg, low, high)
    begins = np.linspace(low, high - CHUNK, SAMPLE_ROWS // CHUNK).astype(int)
    return np.concatenate([read_strip(rows, layout, cfg, b, b + CHUNK) for b in begins.tolist()])


def measure_whole(given: SerialLevels) -> tuple[F4, F4]:
    """Level and variance (R, n_amp) of all rows, by any method; 0 for amplifiers without overscan."""
    cfg, n = given.cfg, given.present.size
    height = given.level.shape[0]
    level, variance = np.zeros((height, n), np.float32), np.zeros((height, n), np.float32)
    if not given.present.any():
        return level, variance
    layout = Layout(given.rows.exposure.detector, "serial_overscan")
    low, high = int(given.first[given.present].min()), int(given.last[given.present].max())
    strip = read_strip(given.rows, layout, cfg, low, high)
    block = Block(given.rows.exposure, layout, low, high, Buffers())
    block.image = strip
    start, width = given.columns(layout)
    if cfg.compat and cfg.method not in overscan_fit.SCALARS:
        block.image = strip.copy()
        for s, w in zip(start, width, strict=True):
            if w:
                far = overscan_fit.own_outliers(strip[:, s : s + w], cfg.clip)
                block.image[:, s : s + w][far] = np.nan
    rough, used, square = (np.empty((high - low, n), np.float32) for _ in range(3))
    given.measure(block, rough, used, square)
    for a in np.flatnonzero(given.present & ~given.lost):
        rows = slice(int(given.first[a]), int(given.last[a]))
        own = slice(rows.start - low, rows.stop - low)
        if cfg.per_row:
            values = overscan_fit.fill_gaps(rough[own, a])
            error = given.row_factor[a] / np.where(used[own, a] > 0, used[own, a], 1)
        elif cfg.method in overscan_fit.CURVES:
            values, error = overscan_fit.fit_line(rough[own, a], cfg.method, cfg.order)
        else:
            region = strip[own, start[a] : start[a] + width[a]].astype(np.float64)
            far = region - given.centre[a]
            region[(np.abs(far) if cfg.deviation == "both" else far) > cfg.max_deviation] = np.nan
            grouped = given.integers and not cfg.compat
            one, error_one = overscan_fit.scalar_level(region, cfg.method, cfg.clip, grouped, float(given.spread[a]))
            values, error = np.full(region.shape[0], one), np.full(region.shape[0], error_one)
        level[rows, a], variance[rows, a] = values, error
        level[: rows.start, a] = np.median(values[:5])
        level[rows.stop :, a] = np.median(values[-5:])
        variance[: rows.start, a], variance[rows.stop :, a] = error[0], error[-1]
    return level, variance


def leakage(block: Block, given: SerialLevels, cfg: SerialOverscanConfig) -> None:
    """Add up the first overscan columns and the last data column, both above the level, over the data rows."""
    layout = block.layout
    (start, width), (data, size) = layout.span("serial_overscan"), layout.span("data")
    low, high = layout.data_rows
    rows = slice(max(low - block.r0, 0), max(high - block.r0, 0))
    for a in np.flatnonzero((width > 0) & (size > 0)):
        after = block.image[rows, start[a] : start[a] + min(cfg.skip_leading, width[a])]
        last = block.image[rows, data[a] + size[a] - 1]
        good = np.isfinite(after).all(axis=1) & np.isfinite(last) & (np.abs(after) < cfg.max_deviation).all(axis=1)
        with given._lock:
            given.leak[0, a, : after.shape[1]] += after[good].sum(axis=0, dtype=np.float64)
            given.leak[1, a] += last[good].sum(dtype=np.float64)


@remove_block.finishing
def finish(exposure: Any, given: SerialLevels, cfg: SerialOverscanConfig) -> dict[str, Any]:
    """Per amplifier: median level [adu], slope [adu/row], noise [adu] of the columns used, rows filled, reasons."""
    return by_amplifier(given, cfg)


remove, add = remove_block.verbs()
