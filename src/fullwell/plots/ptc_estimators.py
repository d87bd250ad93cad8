"""Gains of all amplifiers by all estimators, and how far each lies from the reference: found and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, sheet, styled
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["estimator_table", "estimators"]

COOL, WARM = (BLUE, GREEN, SKY, "#4B5FA5", "#2F8F9D"), (RED, ORANGE, PINK, "#8C510A", "#B2182B")
SHAPES = "os^vDPX*<>hp"


@plot("ptc", "estimators")
@styled
def estimators(ptc: Ptc, *, amps: Sequence[str] | None = None, names: Sequence[str] | None = None) -> Figure:
    """Top: the gain of every amplifier by every estimator. Bottom: its ratio to the reference, found and predicted.

    Estimators that brighter-fatter does not bias are in cool colours and should agree; those that it biases are in
    warm colours, drawn hollow. Below, a dot is the ratio that was found for one amplifier, and the black bar the
    ratio predicted (median) by running the estimator on the fitted curve at the very points that were taken. Where
    dots lie on their bar the difference between the estimators is understood: none of them is wrong, they measure
    different things of a bent curve. Dots away from the bar mean that something else is at work: clipping, a lamp
    that drifts, cosmic rays, a pedestal.

    Parameters
    ----------
    amps : amplifiers to draw, all by default. names : estimators to draw, all that have a value by default.

    Raises
    ------
    DataError
        the product holds no estimate.
    """
    wanted = [ptc.amplifier(name) for name in amps] if amps else list(range(len(ptc.amps)))
    gain, error, found, predicted, biased = estimator_table(ptc, names)
    order = list(gain)
    figure = sheet(9.2 if len(wanted) > 1 else 7.6, 3.4 + 0.9 + 0.26 * len(order) + 0.8)
    top, bottom = figure.subplots(2, 1, height_ratios=(3.4, 0.9 + 0.26 * len(order)))
    x = np.arange(len(wanted))
    for k, name in enumerate(order):
        marker, colour = SHAPES[k % len(SHAPES)], (WARM if biased[name] else COOL)[k % 5]
        style = {"color": colour, "mfc": "none" if biased[name] else colour, "markersize": 5, "linewidth": 0.6}
        shift = (k - len(order) / 2) * (0.5 / max(len(order), 1))
        top.errorbar(x + shift, gain[name][wanted], yerr=np.nan_to_num(error[name][wanted]), fmt=f"{marker}-",
                     elinewidth=0.7, label=_label(ptc, name, biased[name]), **style)  # fmt: skip
        _ratio(bottom, k, found[name][wanted], predicted[name][wanted], marker, style)
    top.set_xticks(x, [ptc.amps[i] for i in wanted], rotation=90 if len(x) > 8 else 0)
    top.set(ylabel="gain [e-/adu]", title="gain by amplifier")
    if len(wanted) == 1:
        top.set_xlim(-0.6, 0.6)
    top.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    bottom.axvline(1, color="0.4", linewidth=0.9)
    bottom.set_yticks(np.arange(len(order)), order, fontsize=8)
    reference = _reference(ptc, found)
    bottom.set(ylim=(len(order) - 0.4, -0.6), xlabel=f"gain / gain of the reference{reference}",
               title="ratio to the reference: found (marks) and predicted from the fitted curve (bar)")  # fmt: skip
    low, high = bottom.get_xlim()
    bottom.set_xlim(low, high + 0.34 * (high - low))
    return figure


def estimator_table(
    ptc: Ptc, names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], dict[str, bool]]:
    """By estimator: gain, error, ratio found and ratio predicted, each (n_amp,), and whether brighter-fatter biases it.

    Estimators without any value are left out; the unbiased come first, else in the order of the product.

    Raises
    ------
    DataError
        no estimator has a value.
    """
    known = {e.name: e.biased for row in ptc.estimates for e in row if np.isfinite(e.gain)}
    order = [n for n in sorted(known, key=lambda n: known[n]) if names is None or n in names]
    if not order:
        raise DataError(
            "there are no estimates to draw",
            where=ptc.source or f"photon transfer {ptc.id[:12]}",
            remedy=f"estimators of this product: {', '.join(known)}" if known else "measure it with `fullwell ptc`",
        )

    def column(what: str) -> dict[str, np.ndarray]:
        rows = [{e.name: getattr(e, what) for e in row} for row in ptc.estimates]
        return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in order}

    return column("gain"), column("error"), column("found"), column("predicted"), {n: known[n] for n in order}


def _label(ptc: Ptc, name: str, biased: bool) -> str:
    words = [*(["biased"] if biased else []), *(["adopted"] if name == ptc.estimator else [])]
    return f"{name} ({', '.join(words)})" if words else name


def _reference(ptc: Ptc, found: dict[str, np.ndarray]) -> str:
    """The estimator whose ratio is 1 everywhere, in brackets; "" where none is."""
    for name, ratio in found.items():
        known = ratio[np.isfinite(ratio)]
        if known.size and np.all(known == 1):
            return f" ({name})"
    return f" ({ptc.estimator})" if ptc.estimator else ""


def _ratio(ax: Axes, row: int, found: np.ndarray, predicted: np.ndarray, marker: str, style: dict[str, Any]) -> None:
    """One row of the lower panel: a mark for each amplifier, a bar for the prediction, both in numbers at the right."""
    fine = np.isfinite(found)
    spread = np.linspace(-0.2, 0.2, found.size) if found.size > 1 else np.zeros(1)
    ax.plot(found[fine], row + spread[fine], marker, **{**style, "markersize": 3.6, "linestyle": "none"})
    words = f"{np.median(found[fine]):.3f}" if fine.any() else "-"
    if np.isfinite(predicted).any():
        middle = float(np.nanmedian(predicted))
        ax.plot([middle, middle], [row - 0.38, row + 0.38], color=BLACK, alpha=0.45, linewidth=3.5, zorder=1)
        words += f"   predicted {middle:.3f}"
    ax.annotate(words, (0.99, row), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=8)
