"""What the overscan effects share: which columns are used, and the numbers for the history.

The noise is that of the columns that gave the level. Its degrees of freedom: a row's own mean takes one
per row, its median ``2 - pi/2`` (sum of squares about the median: n - 2 + pi/2, because a mean and a median
of normal values have the covariance sigma**2/n). A clip at k widths leaves
``1 - 2 k phi(k) / (2 Phi(k) - 1)`` of the variance of normal values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.conductor import Layout

if TYPE_CHECKING:
    from fullwell.effects.overscan_serial import SerialLevels, SerialOverscanConfig

__all__ = ["by_amplifier", "clip_factor", "mean_factor", "used_columns"]

I8 = NDArray[np.int64]


def used_columns(layout: Layout, label: str, leading: int, trailing: int) -> tuple[I8, I8]:
    """Columns of box `label` in blocks of `layout` without `leading` beside the data and `trailing` far from it.

    An overscan that is read before the data has its leading columns at its end.
    """
    start, width = layout.span(label)
    before = np.array([b.x0 < d.x0 for b, d in zip(layout.box(label), layout.box("data"), strict=True)])
    first = np.where(before, trailing, leading)
    return start + np.minimum(first, width), np.maximum(width - leading - trailing, 0)


def clip_factor(clip: float) -> float:
    """Variance of normal values that a clip at `clip` widths leaves; 1 for no clip (0)."""
    if clip <= 0:
        return 1.0
    density = math.exp(-clip * clip / 2) / math.sqrt(2 * math.pi)
    return 1 - 2 * clip * density / math.erf(clip / math.sqrt(2))


def mean_factor(clip: float) -> float:
    """Variance of the mean of normal values clipped about their median, times the number kept, in sigma**2.

    From the influence function ``(x [|x| < k] + c sqrt(pi/2) sign(x)) / (2 Phi(k) - 1)`` with
    ``c = 2 k phi(k)``: the clip moves with the median. 1.027 at k = 3; 1 for no clip (0).
    """
    if clip <= 0:
        return 1.0
    inside = math.erf(clip / math.sqrt(2))
    c = 2 * clip * math.exp(-clip * clip / 2) / math.sqrt(2 * math.pi)
    cross = 2 * c * (1 - math.exp(-clip * clip / 2))
    return (inside - c + cross + c * c * math.pi / 2) / inside


def by_amplifier(given: SerialLevels, cfg: SerialOverscanConfig) -> dict[str, Any]:
    """Numbers of the serial overscan by quantity and amplifier name."""
    detector = given.rows.exposure.detector
    out: dict[str, Any] = {"unit": "adu", "level": {}, "slope": {}, "noise": {}, "filled_rows": {}, "left_out": {}}
    lost_per_row = {"median_per_row": 2 - math.pi / 2, "mean_per_row": 1.0}.get(cfg.method, 0.0)
    factor = clip_factor(cfg.clip if cfg.per_row else 5.0)
    for a, name in enumerate(detector.names):
        if not given.present[a] or given.lost[a]:
            box = detector.amplifiers[a].serial_overscan
            none = "no overscan" if not box.area else "no overscan column is left after the skipped ones"
            out["left_out"][name] = "no usable overscan pixel" if given.present[a] else none
            continue
        rows = np.flatnonzero(np.isfinite(given.level[:, a]))
        if not rows.size:
            continue
        level = given.level[rows, a].astype(np.float64)
        good = given.used[rows, a] > 0
        free = float(np.sum(given.used[rows, a][good] - lost_per_row))
        out["level"][name] = float(np.median(level))
        place = rows - rows.mean()
        out["slope"][name] = float(place @ (level - level.mean()) / (place @ place)) if rows.size > 2 else 0.0
        square = float(np.sum(given.square[rows, a][good], dtype=np.float64))
        out["noise"][name] = math.sqrt(square / factor / free) if free > 0 else math.nan
        out["filled_rows"][name] = int(given.filled[rows, a].sum())
        if cfg.report_leakage and cfg.skip_leading:
            source = given.leak[1, a]
            part = np.divide(given.leak[0, a], source, out=np.zeros_like(source), where=source > 0)
            out.setdefault("leakage", {})[name] = [float(v) for v in part]
    return out
