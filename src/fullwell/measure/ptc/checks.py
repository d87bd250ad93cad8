"""Checks of the whole series of one amplifier or of all: dead ones, light in the overscan, a lamp that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.config import ExtractConfig
from fullwell.products import Points

__all__ = ["checked"]

F8 = NDArray[np.float64]
FAR = 5.0


def checked(points: Sequence[Points], cfg: ExtractConfig) -> tuple[Points, ...]:
    """The points with what the whole series says against them; a reason that a point has already stays."""
    means = np.stack([p.mean for p in points])
    with np.errstate(invalid="ignore"):
        known = np.isfinite(means)
        middle = np.array([np.median(m[k]) if k.any() else np.nan for m, k in zip(means.T, known.T, strict=True)])
    out = []
    for one in points:
        reasons, notes = list(one.reasons), list(one.notes)
        for texts, found in (
            (reasons, _dead(one, middle, cfg) if len(points) > 1 else {}),
            (reasons, _overscan(one, cfg)),
        ):
            for k, text in found.items():
                texts[k] = texts[k] or text
        for k, text in _drift(one, cfg).items():
            notes[k] = f"{notes[k]}; {text}" if notes[k] else text
        out.append(replace(one, reasons=tuple(reasons), notes=tuple(notes)))
    return tuple(out)


def _dead(one: Points, middle: F8, cfg: ExtractConfig) -> dict[int, str]:
    """Points of an amplifier that sees next to nothing of the light of the others."""
    with np.errstate(invalid="ignore"):
        dark = np.flatnonzero(one.mean < cfg.dead * middle)
    return {
        int(k): f"dead: mean {one.mean[k]:.4g} adu where the amplifiers have {middle[k]:.4g} (median)" for k in dark
    }  # fmt: skip


def _overscan(one: Points, cfg: ExtractConfig) -> dict[int, str]:
    """Points whose overscan rose with the light, in level or in scatter."""
    out: dict[int, str] = {}
    order = np.argsort(one.mean, kind="stable")
    faint = order[np.isfinite(one.mean[order])]
    level = [k for k in faint if np.isfinite(one.overscan[k])]
    if len(level) > 1:
        base = level[0]
        noise = np.nan_to_num(one.noise)
        rise = one.overscan - one.overscan[base]
        for k in level[1:]:
            if rise[k] > max(cfg.overscan_light * (one.mean[k] - one.mean[base]), FAR * noise[base]):
                part = rise[k] / one.mean[k]
                out[int(k)] = f"light in the overscan: its level rose by {rise[k]:.4g} adu, {part:.2%} of the signal"
    scatter = [k for k in faint if np.isfinite(one.noise[k]) and np.isfinite(one.overscan[k])]
    if len(scatter) > 1:
        quiet = float(np.median(np.sort(one.noise[scatter])[: max(len(scatter) // 2, 1)]))
        for k in scatter:
            if one.noise[k] > cfg.overscan_noise * quiet:
                out.setdefault(
                    int(k), f"light in the overscan: its scatter is {one.noise[k]:.4g} adu, {quiet:.4g} in quiet pairs"
                )
    return out


def _drift(one: Points, cfg: ExtractConfig) -> dict[int, str]:
    """Good points whose light per time (or per charge of the photodiode) departs from the median of the series.

    The points are not worse for it: mean and variance are of the same light. A fit of the linearity would be.
    """
    charge = np.isfinite(one.charge).sum() > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = one.mean / (one.charge if charge else one.exposure_time)
    use = one.good & np.isfinite(flux)
    if use.sum() < 3:
        return {}
    middle = float(np.median(flux[use]))
    away = np.abs(flux / middle - 1)
    per = "charge" if charge else "s"
    return {
        int(k): f"{flux[k]:.4g} adu per {per}, {flux[k] / middle - 1:+.1%} from the series: lamp drift or shutter"
        for k in np.flatnonzero(use & (away > cfg.drift_note))
    }
