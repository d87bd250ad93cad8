"""Gain of each pair of flats: against the signal, with its extrapolation to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, GREEN, RED, styled
from fullwell.plots.ptc_parts import (
    Curve,
    cells,
    chord_gain,
    curves,
    draw_points,
    few_ticks,
    kinds_of,
    names_below,
    within,
)
from fullwell.products import Estimate, Ptc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Extrapolation", "extrapolate", "pair_gain"]

FAINT = 1000.0
"""Pairs of fewer electrons are left out of the extrapolation: they say little, and depend on the read noise."""


@dataclass(frozen=True)
class Extrapolation:
    """gain(mean) = zero (1 + slope mean + bend mean^2): `zero` [electron/adu] with `error`, `slope` [1/adu], `bend`."""

    zero: float
    error: float
    slope: float
    bend: float
    low: float
    high: float

    def at(self, mean: np.ndarray) -> np.ndarray:
        """The gain [electron/adu] at signals `mean` [adu]."""
        return self.zero * (1 + self.slope * mean + self.bend * mean**2)

    def formula(self) -> str:
        """In words, for a figure."""
        bend = f" {self.bend:+.1e} µ²" if self.bend else ""
        return f"g = {self.zero:.4f} (1 {self.slope:+.2e} µ{bend})"


def extrapolate(curve: Curve) -> Extrapolation | None:
    """Pair gains of the used points above `FAINT` electrons against the mean: weighted polynomial of degree 2.

    Degree 1 below seven points; None below three, or where the errors are unknown.
    """
    gain, error = curve.pair_gain()
    mean = curve.points.mean
    scale = curve.gain if np.isfinite(curve.gain) else 1.0
    hit = curve.used & np.isfinite(gain) & np.isfinite(error) & (error > 0) & (mean * scale > FAINT)
    if hit.sum() < 3:
        return None
    degree = 2 if hit.sum() >= 7 else 1
    top = float(mean[hit].max())
    design = np.vander(mean[hit] / top, degree + 1, increasing=True) / error[hit, None]
    values, *_ = np.linalg.lstsq(design, gain[hit] / error[hit], rcond=None)
    spread = np.linalg.pinv(design.T @ design)
    return Extrapolation(
        zero=float(values[0]), error=float(np.sqrt(spread[0, 0])), slope=float(values[1] / values[0] / top),
        bend=float(values[2] / values[0] / top**2) if degree == 2 else 0.0, low=float(mean[hit].min()), high=top,
    )  # fmt: skip


@plot("ptc", "pair_gain")
@styled
def pair_gain(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Gain of each pair of flats, mean / (variance - read noise squared), against the mean signal.

    Light alone would give the same gain at every signal. Brighter-fatter lowers the variance, so that the gain of a
    pair rises with the signal: it is the chord from the origin to the bent curve, and only at zero signal is it the
    gain. The red line is a parabola through the pairs, written out in the panel, µ the mean signal; the diamond is
    where it meets zero. The black line is what brighter-fatter of the fitted strength a00 leads to. Where both agree
    and meet the adopted gain (green dashes), brighter-fatter explains the bend.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row.

    Raises
    ------
    DataError
        no point was measured.
    """
    drawn = curves(ptc, amps, what="gains of pairs")
    kinds = kinds_of(drawn)
    figure, grid = cells(drawn, "mean signal µ [adu]", columns=columns, height=2.3)
    gains = [curve.pair_gain() for curve in drawn]
    for curve, (ax,), (gain, error) in zip(drawn, grid, gains, strict=True):
        draw_points(ax, curve, curve.points.mean, gain, kinds, error)
        line = extrapolate(curve)
        if line is not None:
            reach = np.linspace(0, line.high, 80)
            ax.plot(reach, line.at(reach), color=RED, linewidth=1.3)
            ax.errorbar([0], [line.zero], yerr=[line.error], fmt="D", color=RED, markersize=4.5, label="zero flux")
            ax.set_title(f"{ax.get_title(loc='left')}\n{line.formula()}", fontsize=8)
        estimate = _zero_flux(ptc, curve.index)
        if estimate is not None:
            ax.plot([0], [estimate.gain], "D", mfc="none", mec=BLACK, markersize=7, label="zero_flux")
        if np.isfinite(curve.gain) and curve.measured.any():
            ax.axhline(curve.gain, color=GREEN, linewidth=1.0, linestyle="--")
            reach = np.linspace(0, np.nanmax(curve.points.mean), 80)
            if np.isfinite(curve.a00):
                ax.plot(reach, chord_gain(curve.gain, curve.a00, reach), color=BLACK, linewidth=0.9)
    solid = [
        g[c.used & (c.shot_variance() > 4 * np.nan_to_num(c.noise) ** 2)]
        for c, (g, _) in zip(drawn, gains, strict=True)
    ]
    within([cell[0] for cell in grid], [c.points.mean for c in drawn], [g for g, _ in gains], solid, margin=0.25)
    for cell in grid[::columns]:
        cell[0].set_ylabel("pair gain [e-/adu]", fontsize=8)
    few_ticks(grid)
    names_below(figure, kinds, _lines(ptc))
    return figure


def _zero_flux(ptc: Ptc, index: int) -> Estimate | None:
    """The estimate of that name, where the product has one with a value."""
    found = [e for e in ptc.estimates[index] if e.name == "zero_flux" and np.isfinite(e.gain)]
    return found[0] if found else None


def _lines(ptc: Ptc) -> list[object]:
    from matplotlib.lines import Line2D

    out: list[object] = [
        Line2D([], [], color=RED, marker="D", ms=4.5, label="parabola, and where it meets zero"),
        Line2D([], [], color=BLACK, lw=0.9, label="expected of the fitted a00"),
        Line2D([], [], color=GREEN, ls="--", label=f"adopted gain ({ptc.estimator or 'estimator unknown'})"),
    ]
    if any(_zero_flux(ptc, i) for i in range(len(ptc.amps))):
        out.append(Line2D([], [], mec=BLACK, mfc="none", marker="D", ms=7, ls="", label="estimator zero_flux"))
    return out
