"""Variance against flux of native and injected stars, amplifier by amplifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, ORANGE, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["injection_slopes"]

KINDS = (("native", BLACK, "."), ("injected", BLUE, "."), ("naive", ORANGE, "."))


@plot("injection", "slopes")
@styled
def injection_slopes(report: Any, *, columns: int = 4, pixels: int = 1500) -> Figure:
    """Variance of a pixel against its flux, for pixels of native stars, of injected ones, and of a naive injection.

    Pixels of native stars lie on a line whose slope is the worth of one electron: one over the flat, in a frame in
    electrons. Injected pixels must lie on the same line (blue on black). The naive control was drawn with one gain for
    the whole frame, as by an injector that knows nothing of the flat (orange): its line leaves that of the data. Slopes
    and their errors, by star, are written in each panel.

    Parameters
    ----------
    report : of `inject.distinguishability`. columns : panels in a row. pixels : drawn of each kind and panel.

    Raises
    ------
    DataError
        no amplifier has a slope.
    """
    drawn = [(i, s) for i, s in enumerate(report.slopes) if np.isfinite(s.native)]
    if not drawn:
        raise DataError("no amplifier has stars enough for a slope", remedy="inject more sources")
    columns = min(columns, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = sheet(2.6 * columns + 0.6 if columns > 1 else 5.0, (2.4 if columns > 1 else 3.6) * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for ax in axes[len(drawn) :]:
        ax.set_visible(False)
    for ax, (i, slopes) in zip(axes, drawn, strict=False):
        lines = []
        for kind, colour, marker in KINDS:
            sample = report.samples.get(kind)
            if sample is None:
                continue
            at = np.flatnonzero(sample.amplifier == i)[:: max((sample.amplifier == i).sum() // pixels, 1)]
            ax.plot(sample.flux[at], sample.variance[at], marker, color=colour, markersize=1.5, label=kind)
            value, error = getattr(slopes, kind), getattr(slopes, f"{kind}_error")
            lines.append(f"{kind} {value:.4f} ± {error:.4f}")
        ax.set_title(f"{slopes.name}   z = {slopes.z:+.1f}", fontsize=9, loc="left")
        ax.text(0.03, 0.97, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=7)
    for ax in axes[max(len(drawn) - columns, 0) : len(drawn)]:
        ax.set_xlabel(f"flux [{report.unit}]", fontsize=8)
    for ax in axes[::columns]:
        ax.set_ylabel(f"variance [{report.unit}²]", fontsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, markerscale=5)
    return figure
