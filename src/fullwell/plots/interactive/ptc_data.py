"""Columns behind the page of photon transfer: one row per point, per amplifier, per estimate, per lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fullwell.base.numbers import significant, with_error
from fullwell.plots.canvas import BLUE
from fullwell.plots.ptc_covariances import NEAREST, SCALE, strength
from fullwell.plots.ptc_gain_histogram import ratio_gain
from fullwell.plots.ptc_parts import OTHER, Curve, chord_gain, kind_of, kinds_of
from fullwell.plots.ptc_variance import pulls_of
from fullwell.products import Ptc

__all__ = ["WORDS", "colours", "curve_columns", "estimate_columns", "lag_columns", "point_columns", "table_columns"]

USED = "used in the fit"
SHAPES = {"x": "x", "s": "square", "^": "triangle", "v": "inverted_triangle", "D": "diamond", "+": "cross"}
"""Markers of Matplotlib -> those of Bokeh."""

WORDS = {
    "Curve": "Light alone gives variance = mean / gain, level in the second panel. Brighter-fatter makes the points "
    "sink along the fitted line, read noise lifts them at the left, and above the turnoff the variance collapses. "
    "Residuals of a good fit scatter between -2 and 2 (dotted) without a trend.",
    "Pair gain": "The gain of a pair, mean / (variance - read noise squared), is the chord from the origin to the bent "
    "curve: it rises with the signal, and only at zero signal is it the gain. Lines are what brighter-fatter of the "
    "fitted strength a00 leads to.",
    "Estimators": "The gain of every amplifier by every estimator, and its ratio to the reference. The black bar is "
    "the ratio predicted by running the estimator on the fitted curve at the very points that were taken: dots on "
    "their bar are understood, dots away from it mean that something else than brighter-fatter is at work.",
    "Saturation": "Where the charge spills over, the variance collapses, so that mean / variance shoots up; the mean "
    "still follows the exposure until the converter or the pixel is full.",
    "Covariances": "a(i, j) says by how much of its area a pixel changes for each electron in the pixel i columns and "
    "j rows away: negative for the pixel itself, positive for its neighbours, about zero in sum. Beside it, "
    "covariance / mean squared of the nearest neighbours: level where the effect is of first order.",
    "Noise": "Slope 0 at the left is the read noise; slope one half, a factor 10 in noise for 100 in signal, is the "
    "noise of the light; points that sink below it at the right are brighter-fatter, then saturation.",
}
"""Title of a tab -> what it shows and how it is read."""


def colours(count: int) -> list[str]:
    """As many colours as amplifiers, told apart by hue and by lightness of neighbours."""
    from colorsys import hls_to_rgb

    if count == 1:
        return [BLUE]
    tones = [hls_to_rgb(k / count, (0.36, 0.5)[k % 2], 0.75) for k in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in tone) for tone in tones]


def point_columns(ptc: Ptc, drawn: Sequence[Curve], paint: dict[str, str]) -> dict[str, list[Any]]:
    """One row per point that can be drawn; "reason" is `USED` or why the point is left out."""
    kinds = kinds_of(drawn)
    out: dict[str, list[Any]] = {name: [] for name in ("amp", "pair", "reason", "colour", "marker")}
    for curve in drawn:
        hit = np.flatnonzero(curve.measured)
        points = curve.points
        noise = np.where(np.isfinite(points.noise), points.noise, curve.noise)
        columns = {
            "mean": points.mean, "variance": points.variance, "ratio": points.variance / points.mean,
            "model": curve.model, "residual": pulls_of(curve), "gain": curve.pair_gain()[0],
            "chord": ratio_gain(curve), "deviation": np.sqrt(np.maximum(points.variance, 0)),
            "time": points.exposure_time, "charge": points.charge, "noise": noise,
            "delta": 100 * points.delta / points.mean,
        }  # fmt: skip
        for i, j in NEAREST:
            known = points.lags >= max(i, j)
            cov = points.covariance[:, i, j] if known else np.full(len(points), np.nan)
            columns[f"c{i}{j}"] = SCALE * cov / points.mean**2
        for name, values in columns.items():
            out.setdefault(name, []).extend(values[hit].tolist())
        for k in hit:
            kind = kind_of(curve.reasons[k])
            mark = kinds.get(kind, kinds.get(OTHER, ("o", "", 0)))[0]
            out["amp"].append(curve.name)
            out["pair"].append(_pair(ptc, int(k)))
            out["reason"].append(USED if curve.used[k] else curve.reasons[k])
            out["colour"].append(paint[curve.name])
            out["marker"].append("circle" if curve.used[k] else SHAPES.get(mark, "asterisk"))
    return out


def _pair(ptc: Ptc, k: int) -> str:
    return f"{k + 1}: {' and '.join(ptc.pairs[k])}" if k < len(ptc.pairs) else f"{k + 1}"


def curve_columns(drawn: Sequence[Curve], paint: dict[str, str]) -> dict[str, list[Any]]:
    """One row per amplifier: the fitted model at the points, and the pair gain expected of a00, by rising mean."""
    out: dict[str, list[Any]] = {n: [] for n in ("amp", "colour", "mean", "variance", "ratio", "reach", "chord")}
    for curve in drawn:
        order = curve.order[np.isfinite(curve.model[curve.order])]
        mean, model = curve.points.mean[order], curve.model[order]
        top = float(np.nanmax(curve.points.mean[curve.measured], initial=0.0))
        reach = np.linspace(0, top, 60) if np.isfinite(curve.gain + curve.a00) and top > 0 else np.zeros(0)
        out["amp"].append(curve.name)
        out["colour"].append(paint[curve.name])
        out["mean"].append(mean.tolist())
        out["variance"].append(model.tolist())
        out["ratio"].append((model / mean).tolist())
        out["reach"].append(reach.tolist())
        out["chord"].append(chord_gain(curve.gain, curve.a00, reach).tolist())
    return out


def estimate_columns(ptc: Ptc, paint: dict[str, str]) -> dict[str, list[Any]]:
    """One row per amplifier and estimator with a value."""
    out: dict[str, list[Any]] = {
        n: [] for n in ("amp", "colour", "estimator", "gain", "error", "found", "predicted", "biased", "note")
    }
    for name, row in zip(ptc.amps, ptc.estimates, strict=True):
        for estimate in (e for e in row if np.isfinite(e.gain) and name in paint):
            out["amp"].append(name)
            out["colour"].append(paint[name])
            out["estimator"].append(estimate.name)
            for what in ("gain", "error", "found", "predicted", "note"):
                out[what].append(getattr(estimate, what))
            out["biased"].append("by brighter-fatter" if estimate.biased else "no")
    return out


def lag_columns(ptc: Ptc, drawn: Sequence[Curve]) -> dict[str, list[Any]]:
    """One row per amplifier and lag: strength a [1e-6 / e-], and its logarithm with sign for the colour."""
    out: dict[str, list[Any]] = {n: [] for n in ("amp", "i", "j", "a", "tone", "text", "ink")}
    for curve in drawn:
        grid = SCALE * strength(ptc, curve)
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                out["ink"].append("white" if abs(value) > 0.1 * np.nanmax(np.abs(grid)) else "black")
                out["amp"].append(curve.name)
                out["i"].append(i)
                out["j"].append(j)
                out["a"].append(float(value))
                out["tone"].append(float(np.sign(value) * np.log10(1 + abs(value) / 0.003)))
                out["text"].append(f"{value:.2g}")
    return out


def table_columns(ptc: Ptc, drawn: Sequence[Curve]) -> dict[str, list[Any]]:
    """One row per amplifier: the adopted numbers in words, status and diagnosis."""
    rows = [curve.index for curve in drawn]
    return {
        "amp": [ptc.amps[i] for i in rows],
        "gain": [with_error(ptc.gain[i], ptc.gain_error[i]) for i in rows],
        "systematic": [significant(float(ptc.gain_model_error[i]), 2) for i in rows],
        "noise": [with_error(ptc.read_noise[i], ptc.read_noise_error[i]) for i in rows],
        "a00": [with_error(1e6 * ptc.a00[i], 1e6 * ptc.a00_error[i]) for i in rows],
        "turnoff": [with_error(ptc.turnoff[i], ptc.turnoff_error[i]) for i in rows],
        "chi2": [significant(float(ptc.chi2[i]), 3) for i in rows],
        "points": [f"{int(c.used.sum())} of {len(c.points)}" for c in drawn],
        "status": [ptc.status[i] or "has a gain" for i in rows],
        "words": [" ".join(ptc.diagnosis[i]) for i in rows],
    }
