"""Photon transfer at a glance: the curve of all amplifiers, and what was adopted for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.base.numbers import significant, with_error
from fullwell.plots.canvas import BLACK, BLUE, RED, sheet, styled
from fullwell.plots.ptc_parts import chord_gain, curves, draw_points, kinds_of
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["overview"]


@plot("ptc", "overview")
@styled
def overview(ptc: Ptc, *, title: str = "") -> Figure:
    """Top: variance x gain / mean of all amplifiers against the signal in electrons. Below: the adopted numbers.

    In these units light alone is 1 for every amplifier, so that all curves fall together where the gains are
    right; they sink along the black line by brighter-fatter, the same for all amplifiers of a sensor, and collapse
    at full well. Below, each amplifier's gain, read noise, a00 and turnoff: thick bars are statistical errors, thin
    ones with caps have the systematic error added. A red cross on the axis is an amplifier without a gain; why is
    in `status`. One amplifier has its numbers in words.

    Raises
    ------
    DataError
        the product has no amplifier, or neither points nor gains.
    """
    points = any(np.isfinite(p.mean).any() for p in ptc.points)
    if not len(ptc.amps) or not (points or np.isfinite(ptc.gain).any()):
        raise DataError(
            "the photon transfer is empty: it holds neither points nor gains",
            where=ptc.source or f"photon transfer {ptc.id[:12]}",
            remedy="; ".join(dict.fromkeys(s for s in ptc.status if s)) or "measure it with `fullwell ptc`",
        )
    few = len(ptc.amps) <= 2
    figure = sheet(9.0, (3.2 if points else 0.6) + (1.9 if few else 4.6))
    heights = (3.2, 1.9 if few else 4.6)
    halves: Any = figure.subfigures(2, 1, height_ratios=heights) if points else (None, figure)
    upper, lower = halves
    if upper is not None:
        _collapse(upper, ptc)
    if few:
        _words(lower, ptc)
    else:
        _numbers(lower, ptc)
    obs = ptc.observation
    known = "" if obs.instrument == "generic" else f"{obs.instrument}, detector {obs.detector}: "
    by = f", gain by {ptc.estimator}" if ptc.estimator else ", estimator of the gain unknown"
    count = len(ptc.amps)
    figure.suptitle(title or f"{known}photon transfer of {count} amplifier{'s' if count > 1 else ''}{by}", fontsize=11)
    return figure


def _collapse(figure: Figure, ptc: Ptc) -> None:
    """variance x gain / mean against electrons; amplifiers without a gain are left out and named."""
    ax = figure.add_subplot()
    drawn = [c for c in curves(ptc) if np.isfinite(c.gain) and c.measured.any()]
    kinds = kinds_of(drawn)
    for curve in drawn:
        mean = curve.points.mean
        draw_points(ax, curve, mean * curve.gain, curve.gain * curve.shot_variance() / mean, kinds)
    ax.axhline(1, color="0.4", linewidth=0.9, linestyle="--")
    gain, a00 = np.nanmedian([[c.gain, c.a00] for c in drawn], axis=0) if drawn else (np.nan, np.nan)
    if np.isfinite(a00):
        top = max(float(np.nanmax(c.points.mean)) for c in drawn)
        reach = np.linspace(1e-3 * top, top, 120)
        label = f"brighter-fatter, median a00 = {a00:.2e} per e-"
        ax.plot(reach * gain, gain / chord_gain(gain, a00, reach), color=BLACK, linewidth=1.2, label=label)
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(sorted(dict(zip(labels, handles, strict=True)).items(), key=lambda item: item[0] in kinds))
    texts = [f"left out: {t} ({kinds[t][2]})" if t in kinds else t for t in unique]
    ax.legend(unique.values(), texts, loc="lower left", fontsize=8)
    ax.set(xlabel="mean signal [e-]", ylabel="(var. - read noise²) × gain / mean")
    ax.set_ylim(-0.05, 1.35)
    none = [name for name, gain in zip(ptc.amps, ptc.gain, strict=True) if not np.isfinite(gain)]
    if none:
        ax.set_title(f"without a gain: {', '.join(none[:8])}{' …' if len(none) > 8 else ''}", fontsize=9, color=RED)


def _numbers(figure: Figure, ptc: Ptc) -> None:
    """Gain, read noise, a00 and turnoff by amplifier."""
    grid = figure.subplots(2, 2, sharex=True)
    x = np.arange(len(ptc.amps))
    total = np.hypot(np.nan_to_num(ptc.gain_error), np.nan_to_num(ptc.gain_model_error))
    electrons = np.isfinite(ptc.read_noise).any()
    noise, unit = (ptc.read_noise, "e-") if electrons else (ptc.read_noise_adu, "adu")
    panels = (
        (ptc.gain, ptc.gain_error, total, "gain [e-/adu]"),
        (noise, ptc.read_noise_error if electrons else np.zeros(len(x)), None, f"read noise [{unit}]"),
        (1e6 * ptc.a00, 1e6 * ptc.a00_error, None, "a00 [1e-6 / e-]"),
        (ptc.turnoff, ptc.turnoff_error, None, "turnoff [adu]"),
    )
    for ax, (value, error, wide, label) in zip(grid.ravel(), panels, strict=True):
        _bars(ax, x, value, error, wide)
        ax.set_ylabel(label, fontsize=9)
        missing = ~np.isfinite(value)
        if missing.any():
            ax.plot(x[missing], np.full(missing.sum(), 0.03), "x", color=RED, ms=6, transform=ax.get_xaxis_transform())
        if not np.isfinite(value).any():
            ax.annotate("unknown", (0.5, 0.5), xycoords="axes fraction", ha="center")
    for ax in grid[1]:
        ax.set_xticks(x, ptc.amps, rotation=90 if len(x) > 6 else 0, fontsize=8)


def _bars(ax: Axes, x: np.ndarray, value: np.ndarray, error: np.ndarray, wide: np.ndarray | None) -> None:
    if wide is not None and np.any(wide > 0):
        ax.errorbar(x, value, yerr=wide, fmt="none", ecolor=BLUE, elinewidth=0.7, capsize=3, label="with systematic")
    ax.errorbar(x, value, yerr=np.nan_to_num(error), fmt="o", color=BLUE, elinewidth=2.0, label="statistical")


def _words(figure: Figure, ptc: Ptc) -> None:
    """The numbers of one or two amplifiers as lines of text."""
    for k, name in enumerate(ptc.amps):
        if ptc.status[k]:
            lines = [("no gain", ptc.status[k])]
        else:
            systematic = f", systematic {significant(float(ptc.gain_model_error[k]), 2)}"
            rows = (
                ("gain", with_error(ptc.gain[k], ptc.gain_error[k], "e-/adu") + systematic),
                ("read noise", with_error(ptc.read_noise[k], ptc.read_noise_error[k], "e-")),
                ("a00", with_error(ptc.a00[k], ptc.a00_error[k], "per e-")),
                ("turnoff", with_error(ptc.turnoff[k], ptc.turnoff_error[k], "adu")),
                ("signals used", f"{significant(ptc.range_low[k])} to {significant(ptc.range_high[k])} adu"),
                ("chi² per degree", significant(ptc.chi2[k], 3)),
            )
            lines = list(rows)
        x = 0.06 + k * 0.5
        figure.text(x, 0.92, f"amplifier {name}", fontsize=10, weight="bold", va="top")
        for row, (label, text) in enumerate(lines):
            figure.text(x, 0.78 - 0.12 * row, f"{label}:  {text}", fontsize=9, va="top")
