"""The photon transfer curve: variance, variance over mean, and residuals of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, PINK, RED, styled
from fullwell.plots.ptc_parts import Curve, cells, curves, draw_points, few_ticks, kinds_of, names_below, note, within
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["variance"]

OTHERS = {"line": PINK, "quadratic": ORANGE, "exp": BLUE}
"""Models that are drawn beside the fitted one, with their colours."""


@plot("ptc", "variance")
@styled
def variance(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Three panels for each amplifier against the mean signal: variance, variance over mean, residuals of the fit.

    Light alone gives variance = mean / gain, which is level in the second panel (green dashes at 1 / gain).
    Brighter-fatter makes the points fall below it, along the fitted model (black; dashed outside the range of the
    fit); a straight line (pink), a parabola (orange) and the exponential (blue) stand beside it, thin. Read noise lifts
    the points at the left; above the turnoff (red dots) charge spills and the variance collapses.
    Residuals are in units of the error of each point: of a good fit they scatter between -2 and 2 without a trend.
    Points that take no part in the fit keep the mark of their reason.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row.

    Raises
    ------
    DataError
        no point was measured.
    """
    drawn = curves(ptc, amps)
    kinds = kinds_of(drawn)
    figure, grid = cells(drawn, "mean signal [adu]", (1.2, 1.2, 0.8), columns=columns, height=3.7)
    for curve, (top, middle, bottom) in zip(drawn, grid, strict=True):
        mean, level = curve.points.mean, curve.points.variance
        draw_points(top, curve, mean, level, kinds)
        draw_points(middle, curve, mean, level / mean, kinds, curve.points.variance_error / mean)
        draw_points(bottom, curve, mean, pulls_of(curve), kinds)
        _models(top, middle, curve)
        _others(middle, ptc, curve)
        for sigma in (-2, 2):
            bottom.axhline(sigma, color="0.6", linewidth=0.8, linestyle=":")
        bottom.axhline(0, color=BLACK, linewidth=0.9)
        for ax in (top, middle, bottom):
            if np.isfinite(curve.turnoff):
                ax.axvline(curve.turnoff, color=RED, linewidth=0.9, linestyle=":")
        if curve.measured.any() and not np.isfinite(curve.model).any():
            note(bottom, "no fit", place="middle")
    top, middle, bottom = grid[0]
    top.set(xscale="log", yscale="log")
    means = [curve.points.mean for curve in drawn]
    for first, values in ((1, [c.points.variance / c.points.mean for c in drawn]), (2, [pulls_of(c) for c in drawn])):
        core = [v[c.used] for c, v in zip(drawn, values, strict=True)]
        within([cell[first] for cell in grid], means, values, core, margin=0.08 if first == 1 else 0.3)
    for cell in grid[::columns]:
        for ax, label in zip(cell, ("variance [adu²]", "var. / mean [adu]", "residual [σ]"), strict=True):
            ax.set_ylabel(label, fontsize=8)
    few_ticks(grid)
    names_below(figure, kinds, _lines(ptc))
    return figure


def pulls_of(curve: Curve) -> np.ndarray:
    """(n,) (variance - model) / error of each point; NaN where one of them is unknown."""
    error = np.where(curve.points.variance_error > 0, curve.points.variance_error, np.nan)
    return np.asarray((curve.points.variance - curve.model) / error)


def _models(top: Axes, middle: Axes, curve: Curve) -> None:
    """The fitted model, dashed where it is extrapolated, and the line of light alone."""
    order = curve.order[np.isfinite(curve.model[curve.order])]
    mean, model = curve.points.mean[order], curve.model[order]
    if order.size:
        fitted = np.flatnonzero(curve.used[order])
        low, high = (fitted[0], fitted[-1] + 1) if fitted.size else (0, 0)
        for ax, y in ((top, model), (middle, model / mean)):
            ax.plot(mean, y, color=BLACK, linewidth=0.9, linestyle="--")
            ax.plot(mean[low:high], y[low:high], color=BLACK, linewidth=1.3)
    if np.isfinite(curve.gain) and curve.measured.any():
        ends = np.geomspace(curve.points.mean[curve.measured].min(), curve.points.mean[curve.measured].max(), 60)
        noise = float(np.nan_to_num(curve.noise))
        top.plot(ends, ends / curve.gain + noise**2, color=GREEN, linewidth=0.9, linestyle="--")
        middle.axhline(1 / curve.gain, color=GREEN, linewidth=0.9, linestyle="--")


def _others(middle: Axes, ptc: Ptc, curve: Curve) -> None:
    """The other models over the mean, where the points of the fit lie."""
    order = [k for k in curve.order if curve.used[k]]
    mean = curve.points.mean[order]
    for name, colour in OTHERS.items():
        if name in ptc.models and len(order) > 1:
            middle.plot(mean, ptc.models[name][curve.index][order] / mean, color=colour, linewidth=0.8, alpha=0.8)


def _lines(ptc: Ptc) -> list[object]:
    from matplotlib.lines import Line2D

    name = f"fitted model ({ptc.fit_type})" if ptc.fit_type else "fitted model"
    out: list[object] = [
        Line2D([], [], color=BLACK, label=name),
        Line2D([], [], color=GREEN, linestyle="--", label="light alone: mean / gain"),
    ]
    out += [Line2D([], [], color=c, linewidth=0.8, label=n) for n, c in OTHERS.items() if n in ptc.models]
    if np.isfinite(ptc.turnoff).any():
        out.append(Line2D([], [], color=RED, linestyle=":", label="turnoff"))
    return out
