"""A quick look at linearity: mean signal against exposure time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, RED, styled
from fullwell.plots.ptc_parts import Curve, cells, curves, draw_points, few_ticks, kinds_of, names_below, note, within
from fullwell.plots.ptc_saturation import dose_of
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["linearity", "straight"]


@plot("ptc", "linearity")
@styled
def linearity(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Mean signal against exposure time with a straight line, and below it the residual in per cent of the line.

    The line is fitted to the points that the photon transfer used, each with the same relative weight. A residual
    that bends slowly is non-linearity of the amplifier; one common to all amplifiers is the lamp or the shutter (a
    fixed error of the time shows as a hook at the shortest exposures). A lamp that drifts looks the same as
    non-linearity: only a photodiode tells them apart. A residual that drops at the right is saturation.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row.

    Raises
    ------
    DataError
        no point was measured, or neither exposure time nor charge is known.
    """
    from matplotlib.lines import Line2D

    drawn = curves(ptc, amps, what="means")
    what, doses = dose_of(drawn)
    unit = "s" if what.endswith("[s]") else "charge"
    kinds = kinds_of(drawn)
    figure, grid = cells(drawn, what, (1.3, 1.0), columns=columns, height=2.9)
    residuals = []
    for curve, (top, bottom), dose in zip(drawn, grid, doses, strict=True):
        line = straight(curve, dose)
        draw_points(top, curve, dose, curve.points.mean, kinds)
        expected = np.full(dose.shape, np.nan) if line is None else line[0] + line[1] * dose
        residual = 100 * (curve.points.mean / np.where(expected > 0, expected, np.nan) - 1)
        residuals.append(residual)
        draw_points(bottom, curve, dose, residual, kinds)
        bottom.axhline(0, color=BLACK, linewidth=0.9)
        if line is None:
            if curve.measured.any():
                note(bottom, "too few points", place="middle")
            continue
        reach = np.array([0, np.nanmax(dose)])
        top.plot(reach, line[0] + line[1] * reach, color=BLACK, linewidth=1.1)
        if np.isfinite(curve.turnoff):
            top.axhline(curve.turnoff, color=RED, linewidth=0.9, linestyle=":")
        note(top, f"{line[1]:.5g} adu / {unit}\noffset {line[0]:.3g} adu", place="left")
    core = [r[c.used] for c, r in zip(drawn, residuals, strict=True)]
    within([cell[1] for cell in grid], doses, residuals, core, margin=0.15)
    for cell in grid[::columns]:
        cell[0].set_ylabel("mean [adu]", fontsize=8)
        cell[1].set_ylabel("residual [%]", fontsize=8)
    lines = [Line2D([], [], color=BLACK, label="straight line"), Line2D([], [], color=RED, ls=":", label="turnoff")]
    few_ticks(grid)
    names_below(figure, kinds, lines)
    return figure


def straight(curve: Curve, dose: np.ndarray) -> tuple[float, float] | None:
    """Offset [adu] and slope of the mean against `dose`, weights 1 / mean; None below three used points."""
    hit = curve.used & np.isfinite(dose)
    if hit.sum() < 3 or np.ptp(dose[hit]) == 0:
        return None
    slope, offset = np.polyfit(dose[hit], curve.points.mean[hit], 1, w=1 / curve.points.mean[hit])
    return float(offset), float(slope)
