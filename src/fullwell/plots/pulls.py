"""Truth against measurement: one row per check, the difference in units of its error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLUE, RED, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["pulls"]

LIMIT = 4.0
"""A pull beyond this is a failure: it happens by chance once in 16,000 checks."""


@plot("checks", "pulls")
@styled
def pulls(checks: Sequence[Mapping[str, Any]], *, limit: float = LIMIT) -> Figure:
    """Pulls of `checks`, each {"name", "unit", "truth", "measured", "error", "pull"}.

    Left: one point per check with its error bar of length 1. Right, from ten checks on: their
    histogram against the normal law that they follow if the errors are true.
    """
    values = np.array([math.nan if c["pull"] is None else c["pull"] for c in checks], float)
    n = len(checks)
    many = n >= 10
    figure = sheet(8.2 if many else 6.2, min(max(0.26 * n + 1.1, 2.4), 14.0))
    axes = figure.subplots(1, 2, squeeze=False, width_ratios=(3, 1))[0] if many else [figure.add_subplot()]
    ax, rows = axes[0], np.arange(n)
    ax.axvspan(-1, 1, color="0.88", zorder=0)
    ax.axvline(0, color="0.4", linewidth=1)
    ok = np.abs(values) < limit
    for hits, colour, label in ((ok, BLUE, "within the limit"), (~ok & np.isfinite(values), RED, "beyond the limit")):
        if hits.any():
            ax.errorbar(values[hits], rows[hits], xerr=1, fmt="o", color=colour, elinewidth=1, label=label)
    reach = max(limit + 0.5, float(np.nanmax(np.abs(values), initial=0)) + 1.2)
    for side in (-limit, limit):
        ax.axvline(side, color=RED, linestyle="--", linewidth=1)
    ax.set_yticks(rows, [_label(c) for c in checks], fontsize=8)
    ax.set(ylim=(n - 0.5, -0.5), xlim=(-reach, reach), xlabel="(measured - truth) / error")
    if many:
        _law(axes[1], values[np.isfinite(values)], limit)
    return figure


def _label(check: Mapping[str, Any]) -> str:
    unit = f" [{check['unit']}]" if check.get("unit") else ""
    return f"{check['name']}{unit}"


def _law(ax: Any, values: np.ndarray, limit: float) -> None:
    edges = np.arange(-limit - 0.25, limit + 0.5, 0.5)
    ax.hist(np.clip(values, edges[0], edges[-1]), bins=edges, color=BLUE, alpha=0.5, orientation="horizontal")
    grid = np.linspace(-limit, limit, 201)
    law = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    ax.plot(values.size * 0.5 * law, grid, color=RED, label="normal law")
    width = f"{values.std(ddof=1):.2f}" if values.size > 1 else "-"
    ax.set_title(f"mean {values.mean():+.2f}, width {width}", fontsize=9)
    ax.set(xlabel="checks", ylabel="pull", ylim=(-limit, limit))
    ax.legend(loc="upper right")
