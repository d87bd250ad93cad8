"""Where an amplifier saturates: gain against exposure time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.errors import DataError
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
    note,
    within,
)
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dose_of", "onset", "saturation"]


@plot("ptc", "saturation")
@styled
def saturation(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Gain of each pair against exposure time, with the onset of saturation marked.

    Up to the onset (red line, with its band of uncertainty) the gain of a pair rises slowly along the black line,
    which is brighter-fatter. Beyond it charge spills into the neighbours or the converter ends: the variance
    collapses, and mean / variance shoots up without any meaning as a gain. Nothing right of the line belongs into
    a measurement. Where the frames state no exposure time, the charge of the photodiode takes its place.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row.

    Raises
    ------
    DataError
        no point was measured, or neither exposure time nor charge is known.
    """
    drawn = curves(ptc, amps, what="gains of pairs")
    what, doses = dose_of(drawn)
    unit = "s" if what.endswith("[s]") else "of charge"
    kinds = kinds_of(drawn)
    figure, grid = cells(drawn, what, columns=columns, height=2.3)
    gains = [curve.pair_gain() for curve in drawn]
    for curve, (ax,), dose, (gain, error) in zip(drawn, grid, doses, gains, strict=True):
        draw_points(ax, curve, dose, gain, kinds, error)
        order = curve.order[np.isfinite(dose[curve.order])]
        if np.isfinite(curve.gain) and order.size:
            ax.axhline(curve.gain, color=GREEN, linewidth=1.0, linestyle="--")
            expected = chord_gain(curve.gain, float(np.nan_to_num(curve.a00)), curve.points.mean[order])
            rising = np.argsort(dose[order], kind="stable")
            ax.plot(dose[order][rising], expected[rising], color=BLACK, linewidth=0.9)
        start = onset(curve, dose)
        if start is not None:
            low, middle, high = start
            ax.axvspan(low, high, color=RED, alpha=0.13, linewidth=0)
            ax.axvline(middle, color=RED, linewidth=1.2)
            note(ax, f"from {middle:.4g} {unit}, {curve.turnoff:.0f} adu", place="left")
        elif curve.measured.any():
            note(ax, "no saturation within the data", place="left")
    solid = [
        g[c.used & (c.shot_variance() > 4 * np.nan_to_num(c.noise) ** 2)]
        for c, (g, _) in zip(drawn, gains, strict=True)
    ]
    within([cell[0] for cell in grid], doses, [g for g, _ in gains], solid, margin=0.25)
    for cell in grid[::columns]:
        cell[0].set_ylabel("pair gain [e-/adu]", fontsize=8)
    few_ticks(grid)
    names_below(figure, kinds, _lines(ptc))
    return figure


def dose_of(drawn: Sequence[Curve]) -> tuple[str, list[np.ndarray]]:
    """Label of the axis and, by amplifier, how much light each pair got: exposure time [s], else charge.

    Raises
    ------
    DataError
        neither is known of any pair.
    """
    for label, name in (("exposure time [s]", "exposure_time"), ("charge of the photodiode [as given]", "charge")):
        values = [np.asarray(getattr(curve.points, name), float) for curve in drawn]
        if any(np.isfinite(v).any() for v in values):
            return label, values
    raise DataError(
        "there is no exposure time to draw against: no pair states one, nor the charge of a photodiode",
        remedy="EXPTIME is read from the headers; name another keyword in the camera file",
    )


def onset(curve: Curve, dose: np.ndarray) -> tuple[float, float, float] | None:
    """Exposure (lowest, best, highest) at which the mean reaches the turnoff; None where no pair is brighter.

    Between pairs the mean is taken as linear in the exposure.
    """
    order = curve.order[np.isfinite(dose[curve.order])]
    mean = curve.points.mean[order]
    if not np.isfinite(curve.turnoff) or not order.size or mean[-1] <= curve.turnoff:
        return None
    error = float(np.nan_to_num(curve.turnoff_error))
    at = np.interp([curve.turnoff - error, curve.turnoff, curve.turnoff + error], mean, dose[order])
    return float(at[0]), float(at[1]), float(at[2])


def _lines(ptc: Ptc) -> list[object]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=BLACK, lw=0.9, label="expected of the fitted a00"),
        Line2D([], [], color=GREEN, ls="--", label=f"adopted gain ({ptc.estimator or 'estimator unknown'})"),
        Line2D([], [], color=RED, label="onset of saturation (turnoff), ± its error"),
    ]
