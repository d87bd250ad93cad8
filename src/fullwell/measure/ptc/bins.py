"""Points from flats of unequal light: spectra of a lamp, twilight, vignetted fields give many levels in one pair.

Pixels are sorted by the mean of both flats at that pixel, and the difference is looked at bin by bin. The choice does
not bias the variance: for photons E[(I1 - I2)^2 | I1 + I2] is (I1 + I2)/gain exactly, whatever the light of the pixel
was. Read noise in the sum does bias the mean: where there are many faint pixels, a value is more likely one of these
that came out high. With the density p of the values and the read noise s the mean of a bin is moved by
(s^2/2) d ln p/dI, averaged over the bin (Tweedie's formula), which needs nothing but the density at its edges. The clip
is in units of what the light of each pixel allows, because a bin may be wide. The flats must differ by one factor only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import FullwellError, UsageError
from fullwell.measure.levels import amplifier_boxes, clip_factor
from fullwell.measure.ptc.clip import clipped
from fullwell.measure.ptc.extract import PairSource, load_pair
from fullwell.measure.ptc.noise import overscan_numbers
from fullwell.products import Points

__all__ = ["BinConfig", "binned_points", "joined", "measure_binned"]

NAN = math.nan
CHI2_MEDIAN = 0.454936423119572
"""Median of chi-square with one degree of freedom."""


class BinConfig(StepConfig):
    """How the light is divided."""

    bins: int = Field(default=30, ge=1, description="Number of bins.")
    spacing: Literal["count", "linear", "log"] = Field(
        default="count", description="Bins of equal numbers of pixels, of equal width, or of equal ratio."
    )
    low: float = Field(default=0.0, ge=0, description="Pixels with more light than this take part [adu].")
    high: float = Field(default=math.inf, gt=0, description="Pixels with less light than this take part [adu].")
    pixels: int = Field(default=500, ge=3, description="Fewest pixels of a bin.")
    clip: float = Field(default=5.5, gt=1, description="Half width of the clip of the difference in a bin [sigma].")
    rounds: int = Field(default=3, ge=1, description="How often is clipped.")
    masked: tuple[str, ...] = Field(
        default=("SUSPECT", "BAD", "NO_DATA", "SAT", "UNMASKEDNAN"), description="Mask planes that take no part."
    )


def binned_points(
    flat1: NDArray[Any],
    flat2: NDArray[Any],
    good: NDArray[np.bool_] | None = None,
    *,
    amp: str = "0",
    config: BinConfig | None = None,
    **numbers: float,
) -> Points:
    """Points of many levels from one pair of flats of unequal light.

    Parameters
    ----------
    flat1, flat2 : (ny, nx) [adu] above the pedestal, of the same scene. good : pixels to be used, None for all.
    numbers : what is the same for all bins: noise, noise_error, exposure_time, overscan …

    Returns
    -------
    One point per bin, of growing mean; a bin of too few pixels has a reason. Covariances of lag zero only.
    """
    cfg = config or BinConfig()
    use = np.isfinite(flat1) & np.isfinite(flat2)
    if good is not None:
        use &= good
    a, b = flat1[use].astype(np.float64), flat2[use].astype(np.float64)
    level1, level2 = _total(a), _total(b)
    level = (level1 + level2) / 2
    if not (level1 > 0 and level2 > 0):
        return _without(amp, f"no light: the means are {level1:.4g} and {level2:.4g} adu")
    a, b = a * (level2 / level), b * (level1 / level)
    light = (a + b) / 2
    inside = (light > cfg.low) & (light < cfg.high)
    every = np.sort(light)
    order = np.argsort(light[inside], kind="stable")
    light, difference = light[inside][order], (a - b)[inside][order]
    if light.size < cfg.pixels:
        return _without(amp, f"{light.size} pixels have light from {cfg.low:g} to {cfg.high:g} adu, too few")
    edges = _edges(light, cfg)
    cuts = np.searchsorted(light, edges).tolist()
    expected = _expected(light, difference, cfg)
    rows = [_one(light[i:j], difference[i:j], expected[i:j], cfg) for i, j in pairwise(cuts)]
    shift = _shifts(every, edges, np.diff(cuts), numbers.get("noise", NAN))
    for row, by in zip(rows, shift.tolist(), strict=True):
        row["mean"] += by
    n = len(rows)
    measured = ("mean", "variance", "variance_error", "rejected", "raw_variance")
    columns: dict[str, Any] = {name: np.array([r[name] for r in rows]) for name in measured}
    columns |= {name: np.full(n, value) for name, value in numbers.items()}
    return Points(
        amp=amp,
        **columns,
        delta=columns["mean"] * ((level2 - level1) / level),
        pixels=np.array([r["pixels"] for r in rows], np.int64).reshape(n, 1, 1),
        reasons=tuple(r["reason"] for r in rows),
        clip_factor=rows[0]["factor"],
    )


def _total(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else NAN


def _without(amp: str, reason: str) -> Points:
    """One point that could not be measured."""
    return Points(amp=amp, mean=np.full(1, NAN), variance=np.full(1, NAN), reasons=(reason,))


def _edges(light: NDArray[np.float64], cfg: BinConfig) -> NDArray[np.float64]:
    """Edges of the bins of sorted levels."""
    low, high = float(light[0]), float(light[-1])
    if cfg.spacing == "linear":
        edges = np.linspace(low, high, cfg.bins + 1)
    elif cfg.spacing == "log":
        edges = np.geomspace(max(low, 1e-3 * high), high, cfg.bins + 1)
    else:
        edges = light[np.minimum(np.arange(cfg.bins + 1) * light.size // cfg.bins, light.size - 1)]
    edges[-1] = np.nextafter(high, np.inf)
    return np.asarray(edges, np.float64)


def _expected(light: NDArray[np.float64], difference: NDArray[np.float64], cfg: BinConfig) -> NDArray[np.float64]:
    """Variance of the difference that goes with the light of each pixel: a straight line through medians."""
    parts = np.array_split(np.arange(light.size), max(min(light.size // 200, 50), 1))
    x = np.array([light[p].mean() for p in parts])
    y = np.array([np.median(difference[p] ** 2) for p in parts]) / CHI2_MEDIAN
    if x.size < 3 or not np.ptp(x) > 0 or not (y > 0).all():
        return np.full(light.size, max(float(y.mean()), np.finfo(np.float64).tiny))
    slope, constant = np.polyfit(x, y, 1, w=1 / y)
    return np.asarray(np.maximum(constant + slope * light, 0.25 * y.min()))


def _shifts(
    every: NDArray[np.float64], edges: NDArray[np.float64], counts: NDArray[np.int64], noise: float
) -> NDArray[np.float64]:
    """What is added to the mean of each bin for the read noise in the choice of its pixels [adu]; 0 where unknown."""
    if not noise > 0:
        return np.zeros(counts.size)
    half = noise / 2
    density = (np.searchsorted(every, edges + half) - np.searchsorted(every, edges - half)) / (2 * half)
    return np.asarray(0.5 * noise**2 * np.diff(density) / np.maximum(counts, 1))


def _one(
    light: NDArray[np.float64], difference: NDArray[np.float64], expected: NDArray[np.float64], cfg: BinConfig
) -> dict[str, Any]:
    """Mean and variance of one bin."""
    out: dict[str, Any] = {
        "mean": _total(light), "variance": NAN, "variance_error": NAN, "raw_variance": NAN, "rejected": NAN,
        "pixels": light.size, "factor": 1.0, "reason": f"{light.size} pixels in the bin, fewer than {cfg.pixels}",
    }  # fmt: skip
    if light.size < cfg.pixels:
        return out
    scaled = difference / np.sqrt(expected)
    found = clipped(scaled[None], np.ones((1, light.size), np.bool_), cfg.clip, cfg.rounds)
    if not found.variance > 0:
        return out | {"reason": "no pixel of the bin varies"}
    kept = np.abs(scaled - found.mean) <= cfg.clip * found.sigma
    squared = (difference[kept] - difference[kept].mean()) ** 2
    factor = clip_factor(cfg.clip, cfg.rounds + 1)
    return {
        "mean": float(light[kept].mean()),
        "variance": 0.5 * float(squared.sum()) / (squared.size - 1) / factor,
        "variance_error": 0.5 * float(squared.std()) / math.sqrt(squared.size) / factor,
        "raw_variance": 0.5 * float(difference.var(ddof=1)),
        "rejected": 1 - squared.size / light.size,
        "pixels": squared.size,
        "factor": factor,
        "reason": "",
    }


def joined(parts: Sequence[Points]) -> Points:
    """The points of one amplifier in one table; without any, UsageError."""
    if not parts:
        raise UsageError("there are no points to join", remedy="measure a pair of flats first")
    own: dict[str, Any] = {"amp": parts[0].amp, "columns": parts[0].columns, "clip_factor": parts[0].clip_factor}
    texts: dict[str, Any] = {name: tuple(t for p in parts for t in getattr(p, name)) for name in ("reasons", "notes")}
    rest = [f.name for f in fields(Points) if f.name not in own and f.name not in texts]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in rest}
    return Points(**own, **texts, **arrays)


def measure_binned(pairs: Iterable[PairSource], *, config: BinConfig | None = None) -> tuple[Points, ...]:
    """`binned_points` of every amplifier of every pair, loaded one pair at a time, joined by amplifier.

    Read noise and level come from the overscan. A pair that cannot be read is one point with the reason in every
    amplifier.

    Raises
    ------
    UsageError
        no pair could be read.
    """
    cfg = config or BinConfig()
    found: dict[str, list[Points]] = {}
    lost: list[str] = []
    for pair in pairs:
        try:
            one, two = load_pair(pair)
        except (FullwellError, OSError) as error:
            lost.append(f"the pair could not be used: {getattr(error, 'problem', error)}")
            continue
        for name, box in amplifier_boxes(one.detector, one.box).items():
            a, b = one[box], two[box]
            good = a.good(cfg.masked) & b.good(cfg.masked)
            numbers = overscan_numbers(one, two, name) | {"exposure_time": one.observation.exposure_time}
            made = binned_points(a.image.array, b.image.array, good, amp=name, config=cfg, **numbers)
            found.setdefault(name, []).append(made)
        del one, two, pair
    if not found:
        raise UsageError("no pair could be read", where=lost[0] if lost else None, remedy="give pairs of flats")
    whole = [joined([*parts, *(_without(name, why) for why in lost)]) for name, parts in found.items()]
    most = max(len(points) for points in whole)
    return tuple(
        joined([points, *(_without(points.amp, "no bin: see the other points") for _ in range(most - len(points)))])
        for points in whole
    )
