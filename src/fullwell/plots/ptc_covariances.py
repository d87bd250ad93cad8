"""Covariances of neighbouring pixels: the map of their strength, and how they grow with the signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLUE, COLOURS, sheet, styled
from fullwell.plots.ptc_parts import Curve, curves, note
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["covariances", "strength"]

NEAREST = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
"""Lags (serial, parallel) drawn against the signal."""
SCALE = 1e6
"""Strengths are written in units of 1e-6 per electron."""


@plot("ptc", "covariances")
@styled
def covariances(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Maps of the strength a(i, j) by distance of the pixels, and covariance / mean² against mean for the nearest.

    a(i, j) says by how much of its area a pixel changes for each electron in the pixel i columns and j rows away.
    a(0, 0) is negative: a pixel that is full repels charge. That charge arrives in the neighbours, so that all
    others are positive, fall off with the distance, and the sum over all of them is near zero. The parallel
    neighbour (0, 1) is mostly the strongest: only the clocks hold charge apart along a column. Below, covariance
    divided by the squared mean would be level if the effect were of first order; its slow change with the signal
    is the higher order, and a rise at the left is correlated noise of the electronics. The grey band is one error.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : maps in a row.

    Raises
    ------
    DataError
        no point was measured, or variances only (lag 0).
    """
    drawn = curves(ptc, amps, what="covariances")
    lags = max(curve.points.lags for curve in drawn)
    if lags < 1 and ptc.a.shape[1:2] in ((), (0,), (1,)):
        raise DataError(
            "there are no covariances to draw: variances alone were measured",
            where=ptc.source or f"photon transfer {ptc.id[:12]}",
            remedy="measure with lags of 1 or more",
        )
    maps = [strength(ptc, curve) for curve in drawn]
    columns = min(columns, len(drawn))
    rows = -(-len(drawn) // columns)
    near = [lag for lag in NEAREST if max(lag) <= lags]
    side = 4.2 if len(drawn) == 1 else 2.1
    wide = 8.2 if len(drawn) == 1 else max(columns * 2.2 + 0.9, 9.0)
    figure = sheet(wide, rows * side + (3.0 if near else 0.4))
    halves: Any = figure.subfigures(2, 1, height_ratios=(rows * side, 2.8)) if near else (figure, None)
    upper, lower = halves
    _maps(upper, drawn, maps, rows, columns)
    if lower is not None:
        panels = lower.subplots(1, len(near), sharex=True, squeeze=False)[0]
        for ax, lag in zip(panels, near, strict=True):
            _growth(ax, drawn, lag)
        panels[0].set_ylabel("covariance / mean² [1e-6 / e-]", fontsize=8)
        lower.supxlabel("mean signal [adu]", fontsize=10)
    return figure


def strength(ptc: Ptc, curve: Curve) -> np.ndarray:
    """(M, M) the fitted a [1/electron]; where there is none, from the brightest used pair: C gain / mean^2 / gain^2.

    At lag (0, 0) that is (variance - mean / gain) / mean^2 / gain.
    """
    if ptc.a.ndim == 3 and ptc.a.shape[1] > 1 and np.isfinite(ptc.a[curve.index]).any():
        return np.asarray(ptc.a[curve.index])
    size = curve.points.lags + 1
    bright = [k for k in curve.order if curve.used[k]]
    if not bright or not np.isfinite(curve.gain):
        return np.full((size, size), np.nan)
    mean, cov = curve.points.mean[bright[-1]], curve.points.covariance[bright[-1]].copy()
    cov[0, 0] -= mean / curve.gain
    return np.asarray(cov / mean**2)


def _maps(figure: Figure, drawn: Sequence[Curve], maps: Sequence[np.ndarray], rows: int, columns: int) -> None:
    """Maps on one symmetric logarithmic scale; numbers in the cells where there is one amplifier."""
    from matplotlib.colors import SymLogNorm

    values = np.concatenate([SCALE * np.abs(m[np.isfinite(m)]) for m in maps])
    top = float(values.max()) if values.size else 1.0
    scale = SymLogNorm(linthresh=max(top / 300, 1e-9), vmin=-top, vmax=top)
    axes = figure.subplots(rows, columns, squeeze=False)
    mesh = None
    for ax in axes.ravel()[len(drawn) :]:
        ax.set_visible(False)
    for k, (curve, grid, ax) in enumerate(zip(drawn, maps, axes.ravel(), strict=False)):
        ax.set_title(curve.name, fontsize=9)
        ax.grid(visible=False)
        ax.set_aspect("equal")
        if not np.isfinite(grid).any():
            note(ax, "none measured", place="middle")
            ax.set(xticks=[], yticks=[])
            continue
        edges = np.arange(grid.shape[0] + 1) - 0.5
        mesh = ax.pcolormesh(edges, edges, SCALE * grid.T, norm=scale, cmap="RdBu_r", edgecolors="white", linewidth=0.3)
        ax.tick_params(labelsize=7)
        ax.set_xticks(range(0, grid.shape[0], 2))
        ax.set_yticks(range(0, grid.shape[0], 2))
        if k % columns == 0:
            ax.set_ylabel("parallel lag j", fontsize=8)
        if k + columns >= len(drawn):
            ax.set_xlabel("serial lag i", fontsize=8)
        if len(drawn) == 1:
            _numbers(ax, grid, top)
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes, shrink=0.9, aspect=30)
        bar.set_label("a(i, j) [1e-6 / e-]", fontsize=9)
        ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if top / 300 < t <= top]
        bar.set_ticks(
            [-t for t in reversed(ticks)] + [0, *ticks],
            labels=[f"{t:g}" for t in (*(-t for t in reversed(ticks)), 0, *ticks)],
        )
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=7)


def _numbers(ax: Axes, grid: np.ndarray, top: float) -> None:
    size = 7 if grid.shape[0] <= 8 else 5
    for i, j in np.ndindex(grid.shape):
        value = SCALE * grid[i, j]
        if np.isfinite(value):
            dark = abs(value) > 0.3 * top
            ax.text(i, j, f"{value:.2g}", ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _growth(ax: Axes, drawn: Sequence[Curve], lag: tuple[int, int]) -> None:
    """Covariance / mean^2 at one lag: a thin line for each amplifier, the used points; median as a thick one."""
    i, j = lag
    stack, means, errors = [], [], []
    for curve in drawn:
        order = [k for k in curve.order if curve.used[k]]
        if curve.points.lags < max(lag) or not order:
            continue
        mean = curve.points.mean[order]
        ratio = SCALE * curve.points.covariance[order, i, j] / mean**2
        with np.errstate(divide="ignore", invalid="ignore"):
            error = SCALE * curve.points.covariance_errors()[order, i, j] / mean**2
        line = {"linewidth": 0.6, "alpha": 0.5} if len(drawn) > 1 else {"marker": "o", "linewidth": 1.0}
        ax.plot(mean, ratio, color=COLOURS[0], **line, markersize=3)
        stack.append(ratio)
        means.append(mean)
        errors.append(np.where(np.isfinite(error), error, 0.0))
    ax.set_title(f"lag ({i}, {j})", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.axhline(0, color="0.4", linewidth=0.8)
    if not stack:
        return
    bright = np.concatenate([r[m > 0.1 * m.max()] for r, m in zip(stack, means, strict=True)])
    if len({len(r) for r in stack}) == 1:
        mean, middle = np.median(means, axis=0), np.median(stack, axis=0)
        error = np.median(errors, axis=0)
        ax.fill_between(mean, middle - error, middle + error, color="0.6", alpha=0.4, linewidth=0)
        if len(stack) > 1:
            ax.plot(mean, middle, color=BLUE, linewidth=1.8)
    low, high = min(0.0, float(np.min(bright))), max(0.0, float(np.max(bright)))
    ax.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
