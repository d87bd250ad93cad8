"""Histogram of the gains of all pairs, with their median."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLUE, GREEN, ORANGE, RED, styled
from fullwell.plots.ptc_parts import Curve, cells, curves, few_ticks, note
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gain_histogram"]


@plot("ptc", "gain_histogram")
@styled
def gain_histogram(ptc: Ptc, *, amps: Sequence[str] | None = None, columns: int = 4, bins: int = 24) -> Figure:
    """How many pairs of flats give which gain by the pair formula, 1 / <(I1 - I2)² / (I1 + I2)>, with the median.

    The width is no error: pairs of more light give a higher gain, because brighter-fatter takes variance away. The
    median (red) therefore depends on the signals that were chosen, and lies beside the adopted gain (green dashes),
    which is free of that. Pairs that were left out of the fit are stacked in orange; a gain far below the others is
    mostly a hit by a cosmic ray or a lamp that moved between the two flats. Where the product does not hold the
    ratio itself, mean / variance stands for it.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. columns : cells in a row. bins : over the range that is drawn.

    Raises
    ------
    DataError
        no point was measured.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    drawn = curves(ptc, amps, what="gains of pairs")
    gains = [ratio_gain(curve) for curve in drawn]
    figure, grid = cells(drawn, "gain of a pair [e-/adu]", columns=columns, height=1.9)
    core = np.concatenate([g[c.used & np.isfinite(g)] for c, g in zip(drawn, gains, strict=True)])
    core = core if core.size else np.concatenate([g[np.isfinite(g)] for g in gains])
    span = float(np.ptp(core)) or 0.02 * float(abs(core[0]))
    edges = np.linspace(core.min() - 0.15 * span, core.max() + 0.3 * span, bins + 1)
    for curve, (ax,), gain in zip(drawn, grid, gains, strict=True):
        fine = np.isfinite(gain)
        if not fine.any():
            continue
        ax.hist(
            [gain[fine & curve.used], gain[fine & ~curve.used]], bins=edges.tolist(), stacked=True, color=[BLUE, ORANGE]
        )
        middle = float(np.median(gain[fine]))
        ax.axvline(middle, color=RED, linewidth=1.5)
        if np.isfinite(curve.gain):
            ax.axvline(curve.gain, color=GREEN, linewidth=1.2, linestyle="--")
        words = [f"median {middle:.4f}", f"of {fine.sum()} pair{'s' if fine.sum() > 1 else ''}"]
        if off := int(np.sum((gain[fine] < edges[0]) | (gain[fine] > edges[-1]))):
            words.append(f"{off} off scale")
        note(ax, "\n".join(words))
    grid[0][0].set_xlim(edges[0], edges[-1])
    for cell in grid[::columns]:
        cell[0].set_ylabel("pairs", fontsize=8)
    few_ticks(grid)
    patches: list[Any] = [patch for cell in grid for patch in cell[0].patches]
    top = max(patch.get_y() + patch.get_height() for patch in patches)
    grid[0][0].set_ylim(0, 1.6 * top)
    grid[0][0].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    handles = [
        Patch(color=BLUE, label="used in the fit"),
        Patch(color=ORANGE, label="left out of the fit"),
        Line2D([], [], color=RED, label="median of all pairs"),
        Line2D([], [], color=GREEN, ls="--", label=f"adopted gain ({ptc.estimator or 'estimator unknown'})"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, max(2, len(drawn))), fontsize=8)
    return figure


def ratio_gain(curve: Curve) -> np.ndarray:
    """(n,) 1 / ratio of the points, mean / variance where the ratio was not measured [electron/adu]."""
    points = curve.points
    ratio = np.where(np.isfinite(points.ratio), points.ratio, points.variance / points.mean)
    return np.asarray(1 / np.where(ratio > 0, ratio, np.nan))
