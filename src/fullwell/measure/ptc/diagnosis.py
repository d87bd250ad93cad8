"""What bends the curve of one amplifier, in sentences, each with the numbers that speak for it.

Each cause leaves another trace (V: variance of one flat, m: mean, s: read noise, r: <(I1 - I2)^2/(I1 + I2)>):

=================  =======================================================================================
No curve           V/m is below zero without light, or falls by more than all of it
Brighter-fatter    V/m falls with m, and what is missing is found in the covariances with the neighbours
Non-linearity      V/m changes with m and the neighbours do not make up for it; m is not in proportion to exposure
Pattern            V grows with the square of m and neighbours know nothing of it
Flux mismatch      r - V/m follows (m2 - m1)^2/(2 m)
Read noise         s^2/m is a part of r
Pedestal           V - s^2 does not vanish with m
Clipping, factor   unclipped over clipped variance is the same at all levels, and not 1
Cosmic rays        unclipped over clipped variance is large in some pairs, or at faint levels
Dark pixels        the mean of the ratio image scatters though nothing hit the difference of the flats
Saturation         V falls short of the model from one level on
=================  =======================================================================================

A trace counts from 4 standard errors on, and only where it moves a gain by as much as each test says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.estimators import Fits, covariance_sum, reference_name, usable
from fullwell.measure.ptc.predict import curve_fit
from fullwell.measure.ptc.traces import SURE, Finding, Given, factors, given_of, mismatch, percent
from fullwell.products import Estimate, Points

__all__ = ["Finding", "diagnose", "findings"]

F8 = NDArray[np.float64]
Mask = NDArray[np.bool_]


def findings(points: Points, fits: Fits) -> tuple[Finding, ...]:
    """Every cause that leaves a trace in the points of one amplifier, none where nothing does.

    Parameters
    ----------
    points : with the reasons of the selection; fits : "exp" at least, for all but the pair-wise traces.
    """
    given = given_of(points, fits)
    if not given.use.any():
        return ()
    unscaled = mismatch(given)
    constant = factors(given, unscaled is not None)
    wrong = any(item.cause == "Factor" for item in constant)
    found = [
        *_bend(given), unscaled, _read_noise(given), None if wrong else _pedestal(given), *constant,
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


def _slope(given: Given, values: F8, errors: F8) -> tuple[float, float]:
    """Relative change of (values - noise)/mean per adu, and its error: of c/m + k (1 + slope m), c for the pedestal.

    c is left out where there are less than five points or the levels span less than a factor of 3.
    """
    mean, noise = given.mean, np.nan_to_num(given.noise[given.use])
    ok = np.isfinite(values)
    if ok.sum() < 3 or mean[ok].max() < 1.2 * mean[ok].min():
        return math.nan, math.nan
    x, y, e = mean[ok] / given.top, ((values - noise) / mean)[ok], (errors / mean)[ok]
    terms = [np.ones(x.size), x, *([1 / x] if x.size >= 5 and x.max() > 3 * x.min() else [])]
    known = bool(np.isfinite(e).all() and (e > 0).all())
    weight = 1 / e if known else np.ones(x.size)
    design = np.stack(terms, 1) * weight[:, None]
    inverse = np.linalg.pinv(design.T @ design)
    found = inverse @ (design.T @ (y * weight))
    scatter = float(np.sum((y * weight - design @ found) ** 2)) / max(x.size - len(terms), 1)
    error = math.sqrt(inverse[1, 1] * (1.0 if known else scatter))
    return float(found[1] / found[0]) / given.top, error / abs(float(found[0])) / given.top


def _exposure(given: Given) -> tuple[float, float, str]:
    """beta of mean = c + q (1 + beta q) [1/adu], its error, and of what: photodiode, else time; NaN where unknown.

    c takes up a wrong pedestal and a shutter that is late; errors follow from the scatter, 1e-4 at least.
    """
    for name, text in (("charge", "photodiode charge"), ("exposure_time", "exposure time")):
        x, y = getattr(given.points, name)[given.use], given.mean
        ok = np.isfinite(x) & (x > 0)
        if ok.sum() >= 6 and x[ok].max() > 2 * x[ok].min():
            x, y = x[ok] / x[ok].max(), y[ok]
            design = np.stack([1 / x, np.ones(x.size), x], 1)
            inverse = np.linalg.pinv(design.T @ design)
            values = inverse @ (design.T @ (y / x))
            scatter = float(np.sum((y / x - design @ values) ** 2)) / (x.size - 3)
            error = math.sqrt(inverse[2, 2] * scatter) / values[1] ** 2
            return float(values[2] / values[1] ** 2), math.hypot(error, 1e-4 / given.top), text
    return math.nan, math.nan, ""


def _bend(given: Given) -> list[Finding]:
    """Brighter-fatter, non-linearity or a pattern: what changes V/m with the level."""
    points, top, out = given.points, given.top, []
    slope = _slope(given, given.variance, given.relative[given.use] * given.variance)
    if slope[0] * top < -1 and slope[0] < -SURE * slope[1]:
        return [_no_curve(given, slope)]
    near = total = (math.nan, math.nan)
    if points.lags > 0:
        total = _slope(given, *(values[given.use] for values in covariance_sum(points)))
        close, errors = (values[given.use] for values in covariance_sum(points, 3))
        near = _neighbours(given, close - given.variance, errors)
    beta, beta_error, what = _exposure(given)
    bent = abs(beta) > SURE * beta_error and abs(beta) * top > 0.003
    shared = near[0] > SURE * near[1]
    rest = slope[0] - (3 * beta if bent else 0.0)
    alone = points.lags == 0 and rest < -SURE * math.hypot(slope[1], 3 * beta_error if bent else 0.0)
    if shared or (alone and rest * top < -0.003):
        out.append(_brighter_fatter(given, slope, near, total, "" if bent else what))
    trace = slope if not out else total if points.lags >= 3 else (math.nan, math.nan)
    left = abs(trace[0]) > SURE * trace[1] and abs(trace[0]) * top > (0.01 if out else 0.003)
    left = left and not (out and abs(trace[0]) < 0.25 * abs(slope[0]))
    denied = left and not bent and abs(beta - trace[0] / 3) > SURE * math.hypot(beta_error, trace[1] / 3)
    if denied and trace[0] > 0:
        out.append(_pattern(trace[0], given))
    elif bent or (left and not denied):
        out.append(_non_linear(given, trace, (beta, beta_error), what if bent else "", bool(out)))
    return out


def _no_curve(given: Given, slope: tuple[float, float]) -> Finding:
    """No effect of a sensor takes more variance away than there is."""
    sizes = given.variance / given.mean
    return Finding(
        "No curve",
        f"the variance over the mean runs from {sizes.min():.3g} to {sizes.max():.3g} adu between the points, more "
        "than any effect of a sensor can do: they do not belong to one curve. These are no pairs of flats (but darks, "
        "or images), their light moved between the two, or the level without light was not taken off the means.",
        slope[0] * given.top,
        abs(slope[0]) / slope[1],
    )


def _neighbours(given: Given, extra: F8, errors: F8) -> tuple[float, float]:
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
    given: Given, slope: tuple[float, float], near: tuple[float, float], total: tuple[float, float], straight: str
) -> Finding:
    """`straight`: what the mean is in proportion to, "" where that is not known."""
    lost = -slope[0] * given.top
    parts = []
    if math.isfinite(lost):
        parts.append(
            f"the variance over the mean falls by {percent(lost)} up to {given.top:.5g} adu "
            f"({abs(slope[0]) / slope[1]:.0f} sigma): charge in a pixel repels charge that comes later"
        )
    fit = curve_fit(given.fits)
    if fit and math.isfinite(fit.a00):
        parts.append(f"a00 = {fit.a00:.3g} ± {fit.a00_error:.1g} per electron")
    if math.isfinite(near[0]):
        parts.append(
            f"neighbours of a pixel are correlated, and the sum of their covariances stands {near[0] / near[1]:.0f} "
            "sigma above zero: there the missing variance is"
        )
        if math.isfinite(total[0]) and slope[0] < 0:
            healed, error = 100 * (1 - total[0] / slope[0]), -100 * total[1] / slope[0]
            parts.append(f"added to the variance they take away {healed:.0f} ± {error:.0f} % of the bend")
    else:
        parts.append(
            f"the mean is in proportion to the {straight}, so that it is not the response"
            if straight
            else "covariances with neighbours were not measured; they would tell it from a non-linear response"
        )
    sigmas = near[0] / near[1] if math.isfinite(near[0]) else abs(slope[0]) / slope[1]
    return Finding("Brighter-fatter", "; ".join(parts) + ".", lost, sigmas)


def _non_linear(given: Given, trace: tuple[float, float], beta: tuple[float, float], what: str, added: bool) -> Finding:
    """`what` the mean was compared with, "" where the variance alone speaks; `added`: neighbours are in it."""
    parts, source = [], beta if what else (trace[0] / 3, trace[1] / 3)
    effect, sigmas = source[0] * given.top, abs(source[0]) / source[1]
    if what:
        parts.append(
            f"the mean departs from the {what} by {percent(effect)} at {given.top:.5g} adu ({sigmas:.0f} sigma)"
        )
    if abs(trace[0]) > SURE * trace[1]:
        known = " with its neighbours added" if added else ""
        parts.append(
            f"the variance over the mean{known} changes by {percent(trace[0] * given.top)}, "
            f"and a response that is {percent(effect)} off changes it by three times that"
        )
    parts.append(
        "correct the linearity and measure again, unless lamp or shutter made it: times of exposure cannot tell, a "
        "photodiode can"
        if what == "exposure time"
        else "correct the linearity and measure again"
    )
    return Finding("Non-linearity", "; ".join(parts) + ".", effect, sigmas)


def _pattern(slope: float, given: Given) -> Finding:
    scale = float(np.median(given.variance / given.mean))
    return Finding(
        "Pattern",
        f"the variance grows with the square of the mean, as a pattern of {percent(math.sqrt(slope * scale))} of the "
        "signal does that stays in the difference (a single flat, or flats that moved), while the mean is in "
        "proportion to the exposure; take the difference of two flats of one series.",
        slope * given.top,
    )


def _read_noise(given: Given) -> Finding | None:
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
        f"{math.sqrt(float(np.median(noise))):.3g} adu of it are {percent(float(part[faint]))} of the variance at "
        f"{mean[faint]:.4g} adu and lower the pair gain there by as much, by {percent(float(part.mean()))} on "
        "average. Take its square off the variance.",
        -float(part.mean()),
    )


def _pedestal(given: Given) -> Finding | None:
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
        f"that was taken off is wrong by that much{other}. It moves the pair gain by {percent(effect)} on average, by "
        f"{percent(pedestal / faint)} at {faint:.4g} adu; a slope does not feel it. Look at the overscan or bias.",
        effect,
        abs(pedestal) / error,
    )


def _saturation(given: Given) -> Finding | None:
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
        f"from {first:.5g} adu on the variance falls short of the model, by {percent(-float(lack.min()))} at most, in "
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
    if not use.any():
        return "Nothing can be said of what bends the curve: no point is usable."
    gains = [known[n].gain for n in ("pair_noise_subtracted", "line", "zero_flux", "exp", "fullcov") if n in known]
    spread = f", and the estimators agree within {percent(max(gains) / min(gains) - 1)}" if len(gains) > 1 else ""
    low, high = float(points.mean[use].min()), float(points.mean[use].max())
    if high < 1.2 * low:
        return (
            f"All points are at one level, {low:.5g} adu, which cannot tell what bends the curve: a pair gain is "
            "biased by brighter-fatter by an unknown amount. Measure other levels, or covariances to 3 lags or more."
        )
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
