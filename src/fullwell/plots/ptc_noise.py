"""Noise against signal in double logarithms: where the electronics make it, and where the light does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.base.numbers import with_error
from fullwell.plots.canvas import BLACK, GREEN, RED, SKY, styled
from fullwell.plots.ptc_parts import Curve, cells, curves, draw_points, few_ticks, kinds_of, names_below, note
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Regime", "noise", "regimes"]

DEEP, BENT = 5.0, 0.02
"""Points of the shot regime have a variance of at least DEEP times that of the read noise, and lie less than BENT
below the line of light alone."""


@dataclass(frozen=True)
class Regime:
    """A straight piece of the curve: log10 noise = `offset` + `slope` log10 mean, of `points` points."""

    slope: float
    error: float
    offset: float
    points: int
    low: float
    high: float


@plot("ptc", "noise")
@styled
def noise(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Noise (root of the variance) against mean signal, both logarithmic, with the slopes of its two regimes fitted.

    At the left the noise does not depend on the light: slope 0, the read noise. Then photons arrive at random, and
    their noise grows as the root of their number: slope ½, the shot noise. The two cross where the signal is gain
    times the read noise squared. Continued downwards, the line of slope ½ meets a noise of 1 adu where the signal
    [adu] is as large as the gain [e-/adu]: the gain can be read off the axis. At the right the points sink below
    the line, first by brighter-fatter, then by saturation. A fixed pattern would make slope 1; differences of two
    flats are free of it.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row.

    Raises
    ------
    DataError
        no point was measured.
    """
    from matplotlib.lines import Line2D

    drawn = curves(ptc, amps)
    kinds = kinds_of(drawn)
    figure, grid = cells(drawn, "mean signal [adu]", columns=columns, height=2.6)
    grid[0][0].set(xscale="log", yscale="log")
    for curve, (ax,) in zip(drawn, grid, strict=True):
        deviation = np.sqrt(np.where(curve.points.variance > 0, curve.points.variance, np.nan))
        draw_points(ax, curve, curve.points.mean, deviation, kinds)
        if curve.measured.any():
            _regimes(ax, curve, alone=len(drawn) == 1)
    for cell in grid[::columns]:
        cell[0].set_ylabel("noise [adu]", fontsize=8)
    lines = [
        Line2D([], [], color=RED, label="shot noise: slope ½ fitted"),
        Line2D([], [], color=SKY, label="read noise: slope 0"),
        Line2D([], [], color=BLACK, lw=0.9, label="both together, of the adopted gain and read noise"),
        Line2D([], [], color=GREEN, marker="D", ls="", label="noise of 1 adu: here signal [adu] = gain [e-/adu]"),
    ]
    few_ticks(grid)
    names_below(figure, kinds, lines)
    return figure


def regimes(curve: Curve) -> tuple[Regime | None, Regime | None]:
    """Read-noise regime and shot-noise regime, None where fewer than three points lie in one.

    Straight lines through log noise against log mean, weighted by the errors of the variance.
    """
    mean, variance = curve.points.mean, curve.points.variance
    floor = float(np.nan_to_num(curve.noise)) ** 2
    fine = curve.used & curve.measured & (variance > 0)
    light = mean / curve.gain if np.isfinite(curve.gain) else variance - floor
    bent = np.zeros(mean.shape, bool) if not np.isfinite(curve.gain) else variance - floor < (1 - BENT) * light
    return _line(curve, fine & (light < floor)), _line(curve, fine & (light > DEEP * floor) & ~bent, floor)


def _line(curve: Curve, hit: np.ndarray, floor: float = 0.0) -> Regime | None:
    """Line through the points `hit`, from whose variance that of the read noise, `floor`, is taken off."""
    if hit.sum() < 3 or np.ptp(curve.points.mean[hit]) == 0:
        return None
    mean, shot = curve.points.mean[hit], curve.points.variance[hit] - floor
    error = curve.points.variance_error[hit]
    error = np.where(np.isfinite(error) & (error > 0), error, shot * np.nanmedian(error / shot))
    error = np.where(np.isfinite(error), error, 0.01 * shot) / shot / 2 / np.log(10)
    centre = np.log10(mean).mean()
    design = np.c_[np.ones(mean.size), np.log10(mean) - centre] / error[:, None]
    target = np.log10(shot) / 2 / error
    values, *_ = np.linalg.lstsq(design, target, rcond=None)
    spread = float(np.sum((target - design @ values) ** 2)) / (mean.size - 2)
    sigma = np.sqrt(np.linalg.inv(design.T @ design)[1, 1] * max(spread, 1.0))
    return Regime(
        slope=float(values[1]), error=float(sigma), offset=float(values[0] - values[1] * centre),
        points=int(hit.sum()), low=float(mean.min()), high=float(mean.max()),
    )  # fmt: skip


def _regimes(ax: Axes, curve: Curve, *, alone: bool) -> None:
    """Lines of the regimes, their slopes in words, and where they cross."""
    flat, shot = regimes(curve)
    mean = curve.points.mean[curve.measured]
    words = []
    if shot is not None:
        start = min(curve.gain, mean.min()) if np.isfinite(curve.gain) else mean.min()
        reach = np.geomspace(start / 1.5, mean.max(), 40)
        ax.plot(reach, 10**shot.offset * reach**shot.slope, color=RED, linewidth=1.2)
        words.append(f"slope {with_error(shot.slope, shot.error)}" + (" (light: ½)" if alone else ""))
    if np.isfinite(curve.gain):
        ax.plot([curve.gain], [1.0], "D", color=GREEN, markersize=5)
    if flat is not None:
        words.append(f"slope {with_error(flat.slope, flat.error)}" + (" (electronics: 0)" if alone else ""))
    if np.isfinite(curve.noise) and curve.noise > 0:
        ax.axhline(curve.noise, color=SKY, linewidth=1.4)
        words.append(f"read noise {curve.noise:.3g} adu" + ("" if flat else ", no flat that dark" if alone else ""))
        if np.isfinite(curve.gain):
            crossing = curve.gain * curve.noise**2
            reach = np.geomspace(curve.gain / 1.5, mean.max(), 80)
            ax.plot(reach, np.sqrt(curve.noise**2 + reach / curve.gain), color=BLACK, linewidth=0.9)
            ax.plot([crossing], [curve.noise], "o", mfc="none", mec=BLACK, markersize=7)
            words.append(f"equal at {crossing:.3g} adu")
    note(ax, "\n".join(words), place="left")
