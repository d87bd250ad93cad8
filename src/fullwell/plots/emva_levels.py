"""Figures of a camera test: sensitivity, photon transfer, signal-to-noise, linearity, dark current."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.base.numbers import with_error
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, RED, sheet, styled
from fullwell.products import Emva1288

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dark_current", "deviation", "linearity", "photon_transfer", "sensitivity", "snr"]

SIGNAL = "$\\mu_y - \\mu_{y.dark}$ [DN]"


def _end(test: Emva1288) -> int:
    levels = test.levels
    return levels.saturation if levels.saturation >= 0 else levels.signal.size - 1


@plot("emva1288", "sensitivity")
@styled
def sensitivity(test: Emva1288) -> Figure:
    """Mean grey value without the dark one against the light, the line of the responsivity, and saturation."""
    levels, r = test.levels, test["responsivity"]
    figure = sheet(6.4, 4.2)
    ax = figure.subplots()
    ax.plot(levels.light, levels.signal, "o", color=BLUE, label="measured")
    use = levels.light[levels.sensitivity]
    ends = np.array([0.0, use.max()])
    ax.plot(ends, r.value * ends, color=RED, label=f"R = {r.value:.5g} {r.unit}, fit")
    beyond = np.array([use.max(), levels.light[_end(test)]])
    ax.plot(beyond, r.value * beyond, color=RED, linestyle=":", label="beyond the fit")
    if levels.saturation >= 0:
        ax.axvline(levels.light[levels.saturation], color=BLACK, linewidth=0.9, linestyle="--", label="saturation")
    ax.set(xlabel=f"light [{levels.light_label}]", ylabel=SIGNAL, ylim=(0, None), xlim=(0, None))
    ax.legend(loc="upper left")
    return figure


@plot("emva1288", "photon_transfer")
@styled
def photon_transfer(test: Emva1288) -> Figure:
    """Temporal variance against signal: the line of the standard, the curve with brighter-fatter, and residuals."""
    levels, k = test.levels, test["system_gain"]
    figure = sheet(6.4, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    x, y = levels.signal, levels.shot
    top.errorbar(x, y, yerr=levels.variance_error, fmt="o", color=BLUE, elinewidth=1, label="measured")
    edge = x[levels.sensitivity].max()
    full = x[_end(test)]
    top.plot([0, edge], [0, k.value * edge], color=RED, label=f"K = {k.value:.5g} DN/e$^-$, standard")
    top.plot([edge, full], [k.value * edge, k.value * full], color=RED, linestyle=":")
    inside = slice(0, _end(test) + 1)
    bottom.plot(x[inside], 100 * (y / (k.value * x) - 1)[inside], "o", color=RED)
    if test.curve.size:
        label = f"K = {k.corrected:.5g} DN/e$^-$, with brighter-fatter"
        top.plot(*test.curve, color=GREEN, label=label)
        expected = np.interp(x[inside], *test.curve)
        bottom.plot(x[inside], 100 * (y[inside] / expected - 1), "s", color=GREEN, markersize=3.5)
    if levels.saturation >= 0:
        for ax in (top, bottom):
            ax.axvline(full, color=BLACK, linewidth=0.9, linestyle="--")
        top.text(full, 0.02 * y.max(), "saturation ", ha="right", va="bottom", fontsize=9)
    bottom.axhline(0, color=BLACK, linewidth=0.8)
    top.set(ylabel="$\\sigma^2_y - \\sigma^2_{y.dark}$ [DN$^2$]", ylim=(0, None))
    bottom.set(xlabel=SIGNAL, ylabel="from model [%]")
    top.legend(loc="upper left")
    return figure


@plot("emva1288", "snr")
@styled
def snr(test: Emva1288) -> Figure:
    """Signal-to-noise ratio against the light, double logarithmic: measured, model, ideal, and with nonuniformity."""
    levels = test.levels
    end = _end(test) + 1
    figure = sheet(6.4, 4.4)
    ax = figure.subplots()
    light, signal = levels.light[:end], levels.signal[:end]
    k = test["system_gain"].value
    ok = (signal > 0) & (levels.variance[:end] > 0) & (light > 0)
    ax.loglog(light[ok], (signal / np.sqrt(levels.variance[:end]))[ok], "o", color=BLUE, label="measured, temporal")
    per_light = test["responsivity"].value / k
    threshold, full = test["threshold_e"].value, test["saturation_e"].value
    grid = np.geomspace(0.5 * threshold, full, 200)
    noise2 = test["dark_noise"].value ** 2 + test["quantisation_noise"].value ** 2
    ax.loglog(grid / per_light, grid / np.sqrt(noise2 + grid), color=BLUE, linewidth=1.2, label="linear model")
    dsnu, prnu = test["dsnu"].value, test["prnu"].value / 100
    if math.isfinite(dsnu) and math.isfinite(prnu):
        total = grid / np.sqrt(noise2 + dsnu**2 + grid + (prnu * grid) ** 2)
        ax.loglog(grid / per_light, total, color=RED, linewidth=1.2, label="with DSNU and PRNU")
    if test["responsivity"].unit == "DN/photon":
        ax.loglog(grid / per_light, np.sqrt(grid / per_light), color=BLACK, linestyle=":", label="ideal sensor")
    ax.axhline(1, color=BLACK, linewidth=0.8)
    for position, text in ((threshold, "threshold"), (full, "saturation")):
        ax.axvline(position / per_light, color=BLACK, linewidth=0.9, linestyle="--")
        ax.text(position / per_light, 0.6, f"{text} ", rotation=90, ha="right", va="bottom", fontsize=9)
    ax.set(xlabel=f"light [{levels.light_label}]", ylabel="signal-to-noise ratio", ylim=(0.5, None))
    ax.legend(loc="lower right", bbox_to_anchor=(0.92, 0.1))
    return figure


@plot("emva1288", "linearity")
@styled
def linearity(test: Emva1288) -> Figure:
    """Mean grey value without the dark one against the light, with the line of the linearity error."""
    levels = test.levels
    offset, slope = _line(test)
    figure = sheet(6.4, 4.2)
    ax = figure.subplots()
    use = levels.linearity
    ax.plot(levels.light[~use], levels.signal[~use], "o", color="0.65", label="outside 5 % to 95 %")
    ax.plot(levels.light[use], levels.signal[use], "o", color=BLUE, label="in the fit")
    ends = np.array([levels.light[use].min(), levels.light[use].max()])
    label = f"{offset:.3g} DN + {slope:.5g} x"
    ax.plot(ends, offset + slope * ends, color=RED, label=label)
    ax.set(xlabel=f"light [{levels.light_label}]", ylabel=SIGNAL)
    ax.legend(loc="upper left")
    return figure


def _line(test: Emva1288) -> tuple[float, float]:
    if not np.isfinite(test.levels.deviation).any():
        raise DataError("there is no line of the linearity error", remedy=test["linearity_error"].note)
    return test.levels.line


@plot("emva1288", "deviation")
@styled
def deviation(test: Emva1288) -> Figure:
    """Deviation from the line of the linearity error, with its extremes."""
    _line(test)
    levels = test.levels
    figure = sheet(6.4, 3.6)
    ax = figure.subplots()
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.plot(levels.light, levels.deviation, "o-", color=BLUE, linewidth=0.9)
    for key, colour in (("linearity_error_min", RED), ("linearity_error_max", GREEN)):
        q = test[key]
        ax.axhline(q.value, color=colour, linestyle="--", linewidth=1.1, label=f"{q.symbol} = {q.value:+.3f} %")
    ax.set(xlabel=f"light [{levels.light_label}]", ylabel="deviation from the line [%]")
    ax.margins(y=0.3)
    ax.legend(loc="upper right", ncols=2)
    return figure


@plot("emva1288", "dark_current")
@styled
def dark_current(test: Emva1288) -> Figure:
    """Mean and temporal variance in the dark against the exposure time, with their straight lines."""
    levels = test.levels
    figure = sheet(6.4, 4.8)
    top, bottom = figure.subplots(2, 1, sharex=True)
    times = np.unique(levels.time)
    values: Any
    for ax, values, error, key, label in (
        (top, levels.dark_mean, None, "dark_current", "$\\mu_{y.dark}$ [DN]"),
        (
            bottom,
            levels.dark_variance,
            levels.dark_variance_error,
            "dark_current_variance",
            "$\\sigma^2_{y.dark}$ [DN$^2$]",
        ),
    ):
        ax.errorbar(levels.time, values, yerr=error, fmt="o", color=BLUE, elinewidth=1)
        q = test[key]
        if math.isfinite(q.value) and times.size > 2:
            text = f"{q.symbol} = {with_error(q.value, q.error)} e$^-$/s"
            ax.plot(times, np.polyval(np.polyfit(levels.time, values, 1), times), color=RED, label=text)
            ax.legend(loc="best")
        else:
            ax.set_title(q.note, fontsize=9, color=ORANGE)
        ax.set(ylabel=label)
    bottom.set(xlabel="exposure time [s]")
    return figure
