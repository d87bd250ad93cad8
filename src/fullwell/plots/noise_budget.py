"""The noise budget of a frame: terms of the variance, stacked against flux, and by amplifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, sheet, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["stack"]

COLOURS = {
    "signal": ORANGE, "sky": SKY, "dark": "#555555", "read_noise": BLUE, "quantisation": "#999999", "overscan": PINK,
    "bias_frame": "#7f6f00", "dark_frame": "#444499", "flat": GREEN, "linearity": RED, "unattributed": "#dddddd",
}  # fmt: skip


@plot("noise_budget", "stack")
@styled
def stack(budget: Any, **options: Any) -> Figure:
    """What the variance of a frame is made of, against flux and by amplifier.

    Left: the share of each term in the mean variance of the pixels of a range of flux; faint pixels have read noise and
    sky, bright ones the photons of the sources and the error of the flat. A gap below 1, or bars above it, would be
    variance that no term explains. The dashed line is what is left of the variance where charge repels charge and
    nothing corrects it. Right: the same for all pixels of each amplifier; they should look alike.

    Raises
    ------
    DataError
        the budget has no ranges of flux.
    """
    if not budget.levels:
        raise DataError("the noise budget has no pixels to draw", where=budget.name)
    figure = sheet(11.0, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1.0])
    _bars(left, budget, budget.levels)
    left.set_xticks(range(len(budget.levels)), [f"{s.flux:.4g}" for s in budget.levels], rotation=30)
    left.set(xlabel=f"mean flux of the range [{budget.unit}]", ylabel="share of the variance")
    fatter = [1 + s.outside.get("brighter_fatter", np.nan) / s.variance for s in budget.levels]
    if np.isfinite(fatter).any():
        left.plot(
            range(len(fatter)), fatter, color=BLACK, linestyle="--", marker="o", ms=3, label="with brighter-fatter"
        )
    shares = budget.amps or (budget.frame,)
    _bars(right, budget, shares)
    right.set_xticks(range(len(shares)), [s.name for s in shares], rotation=90 if len(shares) > 8 else 0)
    right.set(xlabel="amplifier", ylabel="share of the variance")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(
        f"noise budget, {budget.method}; unattributed {budget.closure:.1e} of the variance", fontsize="medium"
    )
    return figure


def _bars(axes: Axes, budget: Any, shares: Any) -> None:
    place, above, below = np.arange(len(shares)), np.zeros(len(shares)), np.zeros(len(shares))
    for term in budget.terms():
        height = np.array([s.mean[term] / s.variance if s.variance else 0.0 for s in shares])
        base = np.where(height >= 0, above, below)
        axes.bar(place, height, 0.9, bottom=base, color=COLOURS.get(term, RED), label=term.replace("_", " "))
        above, below = above + np.maximum(height, 0), below + np.minimum(height, 0)
    axes.set_ylim(min(0.0, float(below.min()) * 1.1), max(1.02, float(above.max()) * 1.02))
    axes.grid(False)
