"""What bends the curve of one amplifier, in sentences, each with the numbers that speak for it.

Each cause leaves another trace (V: variance of one flat, m: mean, s: read noise, r: <(I1 - I2)^2/(I1 + I2)>):

=================  =======================================================================================
Brighter-fatter    V/m falls with m, and what is missing is found in the covariances with the neighbours
Non-linearity      V/m changes with m and the neighbours do not make up for it; m is not in proportion to exposure
Pattern            V grows with the square of m and neighbours know nothing of it
Flux mismatch      r - V/m follows (m2 - m1)^2/(2 m)
Read noise         s^2/m is a part of r
Pedestal           V - s^2 does not vanish with m
Clipping, factor   unclipped over clipped variance is the same at all levels, and not 1
Cosmic rays        unclipped over clipped variance is large in some pairs, or at faint levels
Saturation         V falls short of the model from one level on
=================  =======================================================================================

A trace counts from 4 standard errors on, and only where it moves a gain by as much as each test says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.measure.levels import clip_factor
from fullwell.measure.ptc.estimators import Fits, covariance_sum, noise_variance, polynomial, reference_name, usable
from fullwell.measure.ptc.predict import CHI2_MEDIAN, curve_fit
from fullwell.products import Estimate, Points

__all__ = ["Finding", "diagnose", "findings"]

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
class _Given:
    """Points in use (`use`), with relative errors of their variances, read noise [adu2] and fits."""

    points: Points
    fits: Fits
    use: Mask
    noise: F8
    relative: F8

    @property
    def mean(self) -> F8:
        return self.points.mean[self.use]

    @property
    def variance(self) -> F8:
        return self.points.variance[self.use]

    @property
    def top(self) -> float:
        return float(self.mean.max())


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if abs(value) < 0.1 else f"{100 * value:.0f} %"


def _given(points: Points, fits: Fits) -> _Given:
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
    return _Given(points, fits, use, noise, relative)


def findings(points: Points, fits: Fits) -> tuple[Finding, ...]:
    """Every cause that leaves a trace in the points of one amplifier, none where nothing does.

    Parameters
    ----------
    points : with the reasons of the selection; fits : "exp" at least, for all but the pair-wise traces.
    """
    given = _given(points, fits)
    if not given.use.any():
        return ()
    mismatch = _mismatch(given)
    found = [
        *_bend(given), mismatch, _read_noise(given), _pedestal(given), *_factors(given, mismatch is not None),
        _saturation(given),
    ]  # fmt: skip
    return tuple(item for item in found if item is not None)


def diagnose(points: Points, fits: Fits, estimates: Sequence[Estimate] = ()) -> tuple[str, ...]:
    """What bends the curve, one sentence or two for each cause, and why the gains differ, with the user's numbers.

    Parameters
    ----------
    points, fits, estimates : of one amplifier, as of `estimate_all`.
    """
    found = findings(points, fits)
    texts = [str(item) for item in found]
    if not found:
        texts.append(_quiet(points, estimates))
    elif any(item.cause == "Brighter-fatter" for item in found):
        texts.append(_answer(points, fits, estimates))
    if not {item.cause for item in found} - {"Brighter-fatter", "Read noise"}:
        texts += _unexplained(estimates)
    return tuple(text for text in texts if text)


def _slope(given: _Given, values: F8, errors: F8) -> tuple[float, float]:
    """Relative change of (values - noise)/mean per adu, and its error, over the points above 1000 electrons."""
    mean, noise = given.mean, np.nan_to_num(given.noise[given.use])
    inverse, sigma = (values - noise) / mean, errors / mean
    bright = mean > 1000 * float(np.median(inverse))
    bright = bright if bright.sum() >= 4 else np.ones(mean.size, bool)
    ok = bright & np.isfinite(inverse)
    if ok.sum() < 3 or mean[ok].max() < 1.2 * mean[ok].min():
        return math.nan, math.nan
    x, y, e = mean[ok], inverse[ok], sigma[ok]
    found, covariance, _ = polynomial(x, y, e, 1)
    return float(found[1] / found[0]), math.sqrt(covariance[1, 1]) / abs(float(found[0]))


def _exposure(given: _Given) -> tuple[float, float, str]:
    """beta of mean = q (1 + beta q) [1/adu], its error, and of what: photodiode, else time; NaN where unknown."""
    for name, text in (("charge", "photodiode charge"), ("exposure_time", "exposure time")):
        x, y = getattr(given.points, name)[given.use], given.mean
        ok = np.isfinite(x) & (x > 0)
        if ok.sum() >= 6 and x[ok].max() > 2 * x[ok].min():
            values, covariance, _ = polynomial(x[ok], y[ok] / x[ok], np.full(int(ok.sum()), np.nan), 1)
            floor = 1e-4 / given.top
            return (
                float(values[1] / values[0] ** 2),
                math.hypot(math.sqrt(covariance[1, 1]) / values[0] ** 2, floor),
                text,
            )
    return math.nan, math.nan, ""


def _bend(given: _Given) -> list[Finding]:
    """Brighter-fatter, non-linearity or a pattern: what changes V/m with the level."""
    points, lags = given.points, given.points.lags
    slope, error = _slope(given, given.variance, given.relative[given.use] * given.variance)
    near, near_error, total, total_error = math.nan, math.nan, math.nan, math.nan
    if lags > 0:
        sums, errors = (values[given.use] for values in covariance_sum(points))
        total, total_error = _slope(given, sums, errors)
        close, close_errors = (values[given.use] for values in covariance_sum(points, 3))
        near, near_error = _neighbours(given, close - given.variance, close_errors)
    beta, beta_error, what = _exposure(given)
    curved = math.isfinite(slope) and abs(slope) > SURE * error and abs(slope) * given.top > 0.003
    shared = math.isfinite(near) and near > SURE * near_error
    out = []
    if shared or (curved and slope < 0 and lags == 0 and not abs(beta) > SURE * beta_error):
        out.append(_brighter_fatter(given, (slope, error), (near, near_error), (total, total_error)))
    left = math.isfinite(total) and lags >= 3 and abs(total) > SURE * total_error and abs(total) * given.top > 0.01
    left = left and (not curved or abs(total) > 0.25 * abs(slope))
    bent = math.isfinite(beta) and abs(beta) > SURE * beta_error and abs(beta) * given.top > 0.003
    pattern = left and total > 0 and math.isfinite(beta) and not bent
    pattern = pattern or (curved and slope > 0 and lags == 0 and math.isfinite(beta) and not bent)
    denied = left and math.isfinite(beta) and abs(beta - total / 3) > SURE * math.hypot(beta_error, total_error / 3)
    if pattern:
        out.append(_pattern(total if math.isfinite(total) else slope, given))
    elif bent or (left and not denied) or (curved and slope > 0 and lags == 0):
        out.append(_non_linear(given, (total, total_error) if left else (slope, error), (beta, beta_error), what, bent))
    return out


def _neighbours(given: _Given, extra: F8, errors: F8) -> tuple[float, float]:
    """Sum of the neighbours over the mean against the mean, as part of V/m [1/adu], and its error."""
    scale = float(np.median((given.variance - np.nan_to_num(given.noise[given.use])) / given.mean))
    x, y, e = given.mean, extra / given.mean / scale, errors / given.mean / scale
    ok = np.isfinite(y) & (x > 0)
    if not ok.any():
        return math.nan, math.nan
    if not (np.isfinite(e[ok]).all() and (e[ok] > 0).all()):
        e = np.full(x.size, float(np.std(y[ok])) or math.nan)
    weight = 1 / e[ok] ** 2
    bottom = float(np.sum(weight * x[ok] ** 2))
    return float(np.sum(weight * x[ok] * y[ok])) / bottom, 1 / math.sqrt(bottom)


def _brighter_fatter(
    given: _Given, slope: tuple[float, float], near: tuple[float, float], total: tuple[float, float]
) -> Finding:
    lost = -slope[0] * given.top
    parts = []
    if math.isfinite(lost):
        parts.append(
            f"the variance over the mean falls by {_percent(lost)} up to {given.top:.5g} adu "
            f"({abs(slope[0]) / slope[1]:.0f} sigma): charge in a pixel repels charge that comes later"
        )
    fit = curve_fit(given.fits)
    if fit and math.isfinite(fit.a00):
        parts.append(f"a00 = {fit.a00:.3g} ± {fit.a00_error:.1g} per electron")
    if math.isfinite(near[0]):
        parts.append(
            f"what is missing is found in the neighbours, whose covariances grow with the square of the mean "
            f"({near[0] / near[1]:.0f} sigma)"
        )
        if math.isfinite(total[0]) and slope[0] < 0:
            parts.append(f"added to the variance they take away {_percent(1 - total[0] / slope[0])} of the bend")
    else:
        parts.append("covariances with neighbours were not measured; they would tell it from a non-linear response")
    sigmas = near[0] / near[1] if math.isfinite(near[0]) else abs(slope[0]) / slope[1]
    return Finding("Brighter-fatter", "; ".join(parts) + ".", lost, sigmas)


def _non_linear(given: _Given, trace: tuple[float, float], beta: tuple[float, float], what: str, bent: bool) -> Finding:
    parts, sigmas, effect = [], math.nan, math.nan
    if bent:
        effect, sigmas = beta[0] * given.top, abs(beta[0]) / beta[1]
        parts.append(
            f"the mean departs from the {what} by {_percent(effect)} at {given.top:.5g} adu ({sigmas:.0f} sigma)"
        )
    if math.isfinite(trace[0]) and abs(trace[0]) > SURE * trace[1]:
        if not bent:
            effect, sigmas = trace[0] * given.top / 3, abs(trace[0]) / trace[1]
        known = "with its covariances, " if given.points.lags >= 3 else ""
        parts.append(
            f"the variance over the mean, {known}changes by {_percent(trace[0] * given.top)}, three times what a "
            f"non-linear response of {_percent(trace[0] * given.top / 3)} there would be"
        )
    parts.append("correct the linearity and measure again")
    return Finding("Non-linearity", "; ".join(parts) + ".", effect, sigmas)


def _pattern(slope: float, given: _Given) -> Finding:
    scale = float(np.median(given.variance / given.mean))
    return Finding(
        "Pattern",
        f"the variance grows with the square of the mean, as a pattern of {_percent(math.sqrt(slope * scale))} of the "
        "signal does that stays in the difference (a single flat, or flats that moved), while the mean is in "
        "proportion to the exposure; take the difference of two flats of one series.",
        slope * given.top,
    )


def _mismatch(given: _Given) -> Finding | None:
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
        f"the flats of a pair differ by up to {_percent(share)} and were not scaled to one level, which adds half the "
        f"square of the difference to the pair formula: its gain is {_percent(effect)} low on average, "
        f"{_percent(float((expected / ratio)[worst]))} in the worst pair ({factor / error:.0f} sigma). Scale the "
        "second flat, or take the variance of the scaled difference.",
        -effect,
        factor / error,
    )


def _read_noise(given: _Given) -> Finding | None:
    """How much of the pair formula is read noise."""
    noise, mean = given.noise[given.use], given.mean
    if not np.isfinite(noise).all():
        return None
    part = noise / given.variance
    faint = int(np.argmin(mean))
    if part[faint] < 0.01 and part.mean() < 0.002:
        return None
    return Finding(
        "Read noise",
        f"{math.sqrt(float(np.median(noise))):.3g} adu of it are {_percent(float(part[faint]))} of the variance at "
        f"{mean[faint]:.4g} adu and lower the pair gain there by as much, by {_percent(float(part.mean()))} on "
        "average. Take its square off the variance.",
        -float(part.mean()),
    )


def _pedestal(given: _Given) -> Finding | None:
    """Whether the curve meets the read noise at a mean other than zero."""
    fit = given.fits.get("exp")
    measured = given.points.noise[np.isfinite(given.points.noise)]
    if fit is None or fit.failure or not measured.size or not math.isfinite(fit.error("noise2")):
        return None
    chi2 = fit.reduced_chi2
    error = fit.error("noise2") / fit.gain * math.sqrt(max(1.0, chi2 if math.isfinite(chi2) else 1.0))
    pedestal = float(np.median(measured)) ** 2 * fit.gain - fit.value("noise2") / fit.gain
    faint = float(given.mean.min())
    if abs(pedestal) < SURE * error or abs(pedestal) < 0.002 * faint:
        return None
    other = "" if pedestal > 0 else " (or the image has more noise than the overscan)"
    effect = float(np.mean(pedestal / given.mean))
    return Finding(
        "Pedestal",
        f"the variance meets the read noise at a mean of {pedestal:+.3g} ± {error:.1g} adu instead of zero: the level "
        f"that was taken off is wrong by that much{other}. It moves the pair gain by {_percent(effect)} on average, by "
        f"{_percent(pedestal / faint)} at {faint:.4g} adu; a slope does not feel it. Look at the overscan or bias.",
        effect,
        abs(pedestal) / error,
    )


NAMED = (
    (1 / clip_factor(3.0, 1), 0.002, "a clip at 3 sigma, once, without its correction"),
    (1 / clip_factor(3.0, 3), 0.002, "a clip at 3 sigma, repeated, without its correction"),
    (2.0, 0.03, "a variance that was halved twice"),
    (0.5, 0.03, "a variance of a difference that was not halved, or a ratio image without its factor"),
    (CHI2_MEDIAN, 0.02, "the median of the ratio image, which is a chi-square: the mean is to be taken"),
)


def _factors(given: _Given, mismatch: bool) -> list[Finding]:
    """A constant factor between unclipped and clipped variance, and pairs in which the unclipped one is too large."""
    points, use = given.points, given.use
    extra = points.delta**2 / 2 if mismatch else 0.0
    out: list[Finding] = []
    for values, name in ((points.raw_variance, "variance"), (points.ratio * points.mean - extra, "pair formula")):
        ok = use & np.isfinite(values) & np.isfinite(given.relative)
        if not ok.any() or (out and out[0].cause != "Cosmic rays"):
            continue
        quotient, sigma = values[ok] / points.variance[ok], 1.5 * given.relative[ok]
        center = float(np.median(quotient))
        error = 1.2533 * float(np.median(sigma)) * max(center, 1.0) / math.sqrt(quotient.size)
        alike = float(np.median(np.abs(quotient - center))) < 3 * float(np.median(sigma)) * max(center, 1.0)
        steady = alike and abs(center - 1) > max(SURE * error, 0.005)
        if steady:
            out.append(_factor(center, error, name))
        high = (quotient / (center if steady else min(center, 1 + SURE * error)) - 1) / sigma
        if (high > 5).any() and not any(item.cause == "Cosmic rays" for item in out):
            out.append(_rays(high, quotient, points.mean[ok], points.rejected[ok], name))
    return out


def _factor(center: float, error: float, name: str) -> Finding:
    named = next((text for value, wide, text in NAMED if abs(center / value - 1) < wide + 3 * error), "")
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
        f"than chance, by {_percent(float(quotient[worst]) - 1)} at {mean[worst]:.5g} adu ({high[worst]:.0f} sigma)"
        f"{seen}: a few pixels hit by cosmic rays (or defects) carry it. Clip the difference of the flats, never the "
        "ratio image.",
        -float(np.mean(np.maximum(quotient - 1, 0))),
        float(high[worst]),
    )


def _saturation(given: _Given) -> Finding | None:
    """Whether the variance falls short of the model above the points of the fit."""
    fit, points = curve_fit(given.fits), given.points
    if fit is None or fit.curve is None:
        return None
    with np.errstate(invalid="ignore"):
        above = np.isfinite(points.mean) & np.isfinite(points.variance) & (points.mean > given.top) & ~given.use
    if not above.any():
        return None
    lack = points.variance[above] / fit.curve(points.mean[above]) - 1
    sigma = np.sqrt(np.nan_to_num(given.relative[above]) ** 2 + 0.005**2)
    short = (lack < -0.02) & (lack < -5 * sigma)
    if not short.any():
        return None
    first = float(points.mean[above][short].min())
    return Finding(
        "Saturation",
        f"from {first:.5g} adu on the variance falls short of the model, by {_percent(-float(lack.min()))} at most, in "
        f"{int(short.sum())} points: pixels are full and share their charge. The last good level is {given.top:.5g} "
        "adu; fits that reach beyond it are wrong.",
        float(lack.min()),
        float((-lack / sigma).max()),
    )


def _by_name(estimates: Sequence[Estimate]) -> dict[str, Estimate]:
    return {item.name: item for item in estimates if not item.reason and math.isfinite(item.gain)}


def _answer(points: Points, fits: Fits, estimates: Sequence[Estimate]) -> str:
    """The chord and the tangent, in the numbers of the user."""
    known, fit = _by_name(estimates), curve_fit(fits)
    reference = reference_name(known)
    if not reference or fit is None or not fit.a00 < 0:
        return ""
    gain, use = known[reference].gain, usable(points)
    signal = float(points.mean[use].max()) * gain
    text = (
        "Why the gains differ: the pair formula is a chord from the origin of a curve that brighter-fatter bends, a "
        "straight line is a mean tangent, and only the tangent at zero is the gain. With |a00| = "
        f"{-fit.a00:.3g} per electron and signals up to M = {signal:.0f} electrons, |a00| M = {-fit.a00 * signal:.2g}"
    )
    parts = [
        f"{label} {known[name].found:.3f} (predicted {known[name].predicted:.3f})"
        for name, label in (("pair_noise_subtracted", "pair"), ("line", "line"), ("quadratic", "quadratic"))
        if name in known and math.isfinite(known[name].predicted)
    ]
    text += f"; over the gain by {reference} ({gain:.4g} electron/adu): {', '.join(parts)}." if parts else "."
    healed = [
        f"{label} {100 * (known[name].found - 1):+.2f} ± {100 * known[name].found_error:.2f} % from it"
        for name, label in (("zero_flux", "Pair gains extrapolated to zero"), ("cov_sum", "neighbours added"))
        if name in known and name != reference and math.isfinite(known[name].found)
    ]
    text += f" {', '.join(healed)}." if healed else ""
    return text + " The factor looks constant because a00 belongs to the silicon and all amplifiers see the same light."


def _quiet(points: Points, estimates: Sequence[Estimate]) -> str:
    known, use = _by_name(estimates), usable(points)
    if use.sum() < 3:
        return f"Nothing can be said of what bends the curve: {int(use.sum())} usable points, 3 are needed."
    gains = [known[n].gain for n in ("pair_noise_subtracted", "line", "zero_flux", "exp", "fullcov") if n in known]
    spread = f", and the estimators agree within {_percent(max(gains) / min(gains) - 1)}" if len(gains) > 1 else ""
    low, high = float(points.mean[use].min()), float(points.mean[use].max())
    return (
        f"Nothing bends the curve: the variance is in proportion to the mean from {low:.4g} to {high:.5g} adu{spread}."
    )


def _unexplained(estimates: Sequence[Estimate]) -> list[str]:
    """Estimators that the fitted curve does not account for."""
    out = []
    for name, item in _by_name(estimates).items():
        gap = item.found - item.predicted
        if name.startswith("lab_") or not math.isfinite(gap) or not math.isfinite(item.found_error):
            continue
        if abs(gap) > 0.01 and abs(gap) > SURE * item.found_error:
            out.append(
                f"Unexplained: '{name}' is {item.found:.4f} of the reference where the curve predicts "
                f"{item.predicted:.4f} ({abs(gap) / item.found_error:.0f} sigma)."
            )
    return out
