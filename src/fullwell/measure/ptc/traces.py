"""Traces that a wrong treatment leaves in single pairs: flats not scaled, clips and factors, cosmic rays.

They show where the same pairs were measured in two ways: with and without clip, scaled and not scaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.measure.levels import clip_factor
from fullwell.measure.ptc.estimators import Fits, noise_variance, usable
from fullwell.measure.ptc.predict import CHI2_MEDIAN
from fullwell.products import Points

__all__ = ["SURE", "Finding", "Given", "factors", "given_of", "mismatch", "percent"]

F8 = NDArray[np.float64]
Mask = NDArray[np.bool_]
SURE = 4.0
"""Standard errors from which a trace counts."""


@dataclass(frozen=True)
class Finding:
    """One cause: its name, the sentence with the evidence, its effect (fraction of a gain, signed), its sigmas."""

    cause: str
    text: str
    effect: float = math.nan
    sigmas: float = math.nan

    def __str__(self) -> str:
        return f"{self.cause}: {self.text}"


@dataclass(frozen=True)
class Given:
    """Points in use (`use`), with relative errors of their variances, read noise [adu2] and fits."""

    points: Points
    fits: Fits
    use: Mask
    noise: F8
    relative: F8

    @property
    def mean(self) -> F8:
        """Of the points in use [adu]."""
        return self.points.mean[self.use]

    @property
    def variance(self) -> F8:
        """Of the points in use [adu2]."""
        return self.points.variance[self.use]

    @property
    def top(self) -> float:
        """Highest mean in use [adu]."""
        return float(self.mean.max())


def percent(value: float) -> str:
    """A fraction in words."""
    return f"{100 * value:.2g} %" if abs(value) < 0.1 else f"{100 * value:.0f} %"


def given_of(points: Points, fits: Fits) -> Given:
    """What all traces start from; a read noise that is not known is NaN."""
    use = usable(points)
    try:
        noise = noise_variance(points, fits)
    except DataError:
        noise = np.full(len(points), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = points.variance_error / points.variance
    known = relative[use & np.isfinite(relative)]
    if use.any():
        relative = np.where(np.isfinite(relative), relative, np.median(known) if known.size else math.nan)
    return Given(points, fits, use, noise, relative)


def mismatch(given: Given) -> Finding | None:
    """Whether the ratio image was made of flats that were not scaled to one level."""
    points, use = given.points, given.use & np.isfinite(given.points.ratio) & np.isfinite(given.points.delta)
    if not use.any():
        return None
    mean, ratio = points.mean[use], points.ratio[use]
    expected = points.delta[use] ** 2 / (2 * mean)
    rest = ratio - points.variance[use] / mean
    sigma = 1.5 * given.relative[use] * ratio
    if not np.isfinite(sigma).all() or not (expected > 0).any():
        return None
    rest = rest - np.median(rest[expected <= np.median(expected)]) if use.sum() > 3 else rest
    bottom = float(np.sum((expected / sigma) ** 2))
    factor, error = float(np.sum(expected * rest / sigma**2)) / bottom, 1 / math.sqrt(bottom)
    effect = float(np.mean(expected / ratio))
    if factor < SURE * error or not 0.5 < factor < 2 or effect < 0.003:
        return None
    worst = int(np.argmax(expected / ratio))
    share = abs(points.delta[use][worst]) / mean[worst]
    return Finding(
        "Flux mismatch",
        f"the flats of a pair differ by up to {percent(share)} and were not scaled to one level, which adds half the "
        f"square of the difference to the pair formula: its gain is {percent(effect)} low on average, "
        f"{percent(float((expected / ratio)[worst]))} in the worst pair ({factor / error:.0f} sigma). Scale the "
        "second flat, or take the variance of the scaled difference.",
        -effect,
        factor / error,
    )


NAMED = (
    (1 / clip_factor(3.0, 1), 0.002, "a clip at 3 sigma, once, without its correction"),
    (1 / clip_factor(3.0, 3), 0.002, "a clip at 3 sigma, repeated, without its correction"),
    (2.0, 0.03, "a variance that was halved twice"),
    (0.5, 0.03, "a variance of a difference that was not halved, or a ratio image without its factor"),
    (CHI2_MEDIAN, 0.02, "the median of the ratio image, which is a chi-square: the mean is to be taken"),
)


FEWEST = 4
"""Pairs from which a factor can be called the same in all."""
UNNAMED = 0.05
"""A factor that no known fault makes counts from here on: light that is not uniform makes smaller ones."""


def factors(given: Given, unscaled: bool) -> list[Finding]:
    """A constant factor between unclipped and clipped variance, and pairs in which the unclipped one is too large."""
    points, use = given.points, given.use
    extra = points.delta**2 / 2 if unscaled else 0.0
    out: list[Finding] = []
    for values, part, name in (
        (points.raw_variance, given.relative, "variance"),
        (points.ratio * points.mean - extra, np.fmax(given.relative, _own_error(points)), "pair formula"),
    ):
        ok = use & np.isfinite(values) & np.isfinite(part)
        if not ok.any() or (out and out[0].cause != "Cosmic rays"):
            continue
        quotient = values[ok] / points.variance[ok]
        sigma = 1.5 * np.maximum(given.relative[ok], np.abs(quotient) * part[ok] if part is not given.relative else 0)
        center = float(np.median(quotient))
        error = 1.2533 * float(np.median(sigma)) * max(center, 1.0) / math.sqrt(quotient.size)
        alike = float(np.median(np.abs(quotient - center))) < 3 * float(np.median(sigma)) * max(center, 1.0)
        named = _named(center, error)
        steady = alike and abs(center - 1) > max(SURE * error, 0.005) and quotient.size >= FEWEST
        steady = steady and bool(named or abs(center - 1) > UNNAMED)
        if steady:
            out.append(_factor(center, error, name, named))
        usual = center if steady else min(center, 1 + SURE * error) if quotient.size >= FEWEST else 1.0
        high = (quotient / usual - 1) / sigma
        if (high > 5).any() and not any(item.cause == "Cosmic rays" for item in out):
            out.append(_rays(high, quotient, points.mean[ok], points.rejected[ok], name))
    dark = None if any(item.cause == "Factor" for item in out) else _dark(given)
    return [*out, dark] if dark else out


def _own_error(points: Points) -> F8:
    """(n,) error of the ratio as part of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(points.ratio_error / points.ratio)


def _dark(given: Given) -> Finding | None:
    """Pairs whose ratio image scatters far more than a chi-square, though nothing hit the difference of the flats."""
    points, part = given.points, _own_error(given.points)
    with np.errstate(divide="ignore", invalid="ignore"):
        clean = points.raw_variance / points.variance - 1 < 5 * 1.5 * given.relative
        ok = given.use & clean & np.isfinite(part) & np.isfinite(given.relative)
        heavy = ok & (part > 2 * given.relative) & (part > 0.005)
    if not heavy.any():
        return None
    worst = int(np.argmax(np.where(heavy, part, 0)))
    return Finding(
        "Dark pixels",
        f"in {int(heavy.sum())} of {int(ok.sum())} pairs a few pixels carry the mean of the ratio image: its error is "
        f"{percent(float(part[worst]))} at {points.mean[worst]:.5g} adu, that of the variance "
        f"{percent(float(given.relative[worst]))}. The difference of the flats has no hits, so that the sum by which "
        "it is divided is near zero there: dark defects, or light as faint as the noise. The pair formula is no better "
        "than that. Mask them, or divide the mean of the squares by the mean of the sums.",
        float(np.median(part[heavy])),
        float(part[worst] / given.relative[worst]),
    )


def _named(center: float, error: float) -> str:
    """What makes such a factor, "" where nothing known does."""
    return next((text for value, wide, text in NAMED if abs(center / value - 1) < wide + min(3 * error, wide)), "")


def _factor(center: float, error: float, name: str, named: str) -> Finding:
    if not named and center < 1:
        named = "a clip of the ratio image, which is a chi-square and must not be clipped, or a wrong factor"
    cause = "Factor" if center > 1.5 or 0.48 < center < 0.52 else "Clipping"
    return Finding(
        cause,
        f"the {name} without clip over the clipped variance is {center:.4f} ± {error:.1g} at all levels, where 1 is "
        f"expected: {named or 'a constant that a clip or a wrong factor makes'}. It multiplies a gain by the same "
        "number whatever the level and the amplifier.",
        center - 1,
        abs(center - 1) / error,
    )


def _rays(high: F8, quotient: F8, mean: F8, rejected: F8, name: str) -> Finding:
    hit = high > 5
    worst = int(np.argmax(high))
    share = float(np.nanmax(rejected)) if np.isfinite(rejected).any() else math.nan
    seen = f"; the clip took up to {100 * share:.2g} % of the pixels" if math.isfinite(share) and share > 0 else ""
    return Finding(
        "Cosmic rays",
        f"in {int(hit.sum())} of {hit.size} pairs the {name} without clip is larger than the clipped variance by more "
        f"than chance, by {percent(float(quotient[worst]) - 1)} at {mean[worst]:.5g} adu ({high[worst]:.0f} sigma)"
        f"{seen}: a few pixels carry it, hit by cosmic rays (or defects, or lit far more than the rest). Clip the "
        "difference of the flats, never the ratio image.",
        -float(np.mean(np.maximum(quotient - 1, 0))),
        float(high[worst]),
    )
