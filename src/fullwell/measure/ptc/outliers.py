"""Which points lie on the curve: rounds of the exponential fit and rejection, and where the curve ends.

A point is an outlier where it is further than `cut` sigma from the fitted curve, sigma being its own error and, for
what the model leaves out, `floor` of the variance. (Older codes take sqrt(variance), which is 350 true errors at
100 adu2 and a million pixels, and depends on the gain.) The curve ends where rejected points begin to outnumber kept
ones: the number of kept less rejected points up to a mean has its maximum there. So one point that falls on the curve
above its end does not move it, nor does a dip below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.leastsquares import Solution, marquardt
from fullwell.measure.ptc.models import exponential
from fullwell.measure.ptc.weights import candidates, relative_errors
from fullwell.products.ptc import Points

__all__ = ["Selection", "first_values", "fit_exponential", "select"]

F8 = NDArray[np.float64]
Mask = NDArray[np.bool_]
ROBUST_ROUNDS = 12
MAD = 1.4826  # standard deviations of a Gaussian in its median absolute deviation
TINY, RISE = 1e-12, 5.0


@dataclass(frozen=True)
class Selection:
    """`kept` (n,) and n `reasons`, the `solution` of the last round, what is `known` of relative errors, `failure`."""

    kept: Mask
    reasons: tuple[str, ...]
    values: F8
    known: F8 | None
    failure: str = ""


def fit_exponential(
    mean: F8, variance: F8, relative: F8 | None, start: F8, *, weights: str = "model", loss: str = "linear"
) -> tuple[Solution, F8, F8]:
    """The exponential curve through points: solution, errors (n,) [adu2] taken, and robust weights (n,).

    Parameters
    ----------
    relative : (n,) errors as parts of the variance; None: all equal. They multiply the fitted variance (`weights`
        "model", iterated), the "measured" one, or are left out ("none").
    loss : "soft_l1" weighs a point at z sigma by 1 / sqrt(1 + z^2).
    """
    part = np.ones_like(mean) if relative is None else relative
    values, robust = start, np.ones_like(mean)
    sigma = np.ones_like(mean) if weights == "none" else part * variance
    solution = None
    for _ in range(ROBUST_ROUNDS):
        errors = sigma / np.sqrt(robust)

        def residuals(p: F8, errors: F8 = errors) -> tuple[F8, F8]:
            model, jac = exponential(p, mean)
            return (variance - model) / errors, jac / errors[:, None]

        before, solution = values, marquardt(residuals, values)
        values = solution.values
        model = exponential(values, mean)[0]
        if weights == "model":
            sigma = part * np.where(model > 0, model, variance)
        if loss == "soft_l1":
            robust = 1 / np.sqrt(1 + ((variance - model) / sigma) ** 2)
        if (weights != "model" and loss == "linear") or np.allclose(values, before, rtol=1e-8, atol=0):
            break
    assert solution is not None
    return solution, sigma, robust


def first_values(mean: F8, variance: F8) -> F8:
    """(k, q, c) to start from: a straight line through the points, a little brighter-fatter."""
    k = float(np.median(variance / np.maximum(mean, 1e-30)))
    if mean.size > 2 and np.ptp(mean) > 0:
        slope = np.polyfit(mean, variance, 1, w=1 / variance)[0]
        k = float(slope) if slope > 0 else k
    return np.array([k, -2e-6 / k, 0.0])


def _judge(mean: F8, variance: F8, values: F8, part: F8, config: FitConfig) -> F8:
    """(n,) distance of each point from the curve [sigma]; minus infinity where the curve is not above zero."""
    model = exponential(values, mean)[0]
    safe = np.where(model > 0, model, np.inf)
    sigma = np.sqrt(variance) if config.scatter == "poisson" else safe * np.sqrt(part**2 + config.floor**2)
    return np.where(model > 0, (variance - model) / sigma, -np.inf)


def _scatter(variance: F8, model: F8, inside: Mask) -> F8:
    """(n,) errors as parts of the variance, from the scatter of the points in the window; where no errors are known.

    A part that is the same everywhere, from the brighter half of the window, and one in adu2, from the fainter half.
    """
    off, level = variance[inside] - model[inside], model[inside]
    bright = level >= np.median(level)
    part = float(np.median(np.abs(off / level)[bright])) * MAD
    floor = float(np.median(np.abs(off)[~bright])) * MAD if not bright.all() else 0.0
    return np.asarray(np.sqrt(part**2 + (floor / np.where(model > 0, model, np.inf)) ** 2))


def _end(mean: F8, kept: Mask, gap: float) -> int:
    """How many of the points, by ascending mean, lie before the end of the curve."""
    score = np.cumsum(np.where(kept, 1, -1))
    end = int(np.argmax(score)) + 1 if kept.any() else 0
    last = -1
    for i in np.flatnonzero(kept[:end]).tolist():
        if last >= 0 and i > last + 1 and mean[i] - mean[last] > gap:
            return last + 1
        last = i
    return end


def select(points: Points, config: FitConfig) -> Selection:
    """The points on the curve, and a reason for each other one.

    The fits are robust; the first takes the points below `config.window`, each round judges all points anew.
    """
    use, reasons = candidates(points, config)
    known = relative_errors(points)
    need = 3 if known is not None else 4
    if use.sum() < need:
        text = f"{use.sum()} usable points, at least {need} are needed"
        return Selection(np.zeros(len(points), bool), tuple(reasons), np.zeros(0), known, text)
    order = np.flatnonzero(use)[np.argsort(points.mean[use], kind="stable")]
    mean, variance = points.mean[order], points.variance[order]
    scale = float(np.median(mean / variance)) if config.window_scaled else 1.0
    inside = mean <= config.window / scale
    inside[: min(need + 1, mean.size)] = True
    values, past, kept = first_values(mean[inside], variance[inside]), [inside], inside
    part = known[order] if known is not None else np.zeros(mean.size)
    for turn in range(config.rounds):
        weights = np.sqrt(part**2 + config.floor**2 + TINY)[kept]
        values = fit_exponential(mean[kept], variance[kept], weights, values, loss="soft_l1")[0].values
        if not np.all(np.isfinite(values)) or values[0] <= 0:
            text = "the variance does not rise with the mean: the amplifier does not answer to light, or is saturated"
            return Selection(np.zeros(len(points), bool), tuple(reasons), np.zeros(0), known, text)
        if turn == 0 and known is None:
            part = _scatter(variance, exponential(values, mean)[0], inside)
        distance = _judge(mean, variance, values, part, config)
        near = np.abs(distance) < config.cut
        end = _end(mean, near, config.gap / scale)
        kept = near & (np.arange(mean.size) < end)
        if kept.sum() < need:
            break
        if any(np.array_equal(kept, old) for old in past):
            break
        past.append(kept)
    _explain(reasons, order, kept, distance, (mean, variance), end)
    out = np.zeros(len(points), bool)
    out[order[kept]] = True
    text = "" if kept.sum() >= need else f"{kept.sum()} points lie on one curve, at least {need} are needed"
    if not text and not _rises(mean[kept], values, part[kept]):
        text = (
            "the variance does not rise with the mean by more than its errors: the amplifier does not answer to light"
        )
    return Selection(out, tuple(reasons), values, known, text)


def _rises(mean: F8, values: F8, part: F8) -> bool:
    """Whether the curve rises over the points by five errors of a point."""
    curve = exponential(values, mean)[0]
    top = int(np.argmax(curve))
    return bool(curve[top] - curve.min() > RISE * part[top] * curve[top])


def _explain(
    reasons: list[str], order: NDArray[np.intp], kept: Mask, distance: F8, data: tuple[F8, F8], end: int
) -> None:
    """Give each rejected point its reason."""
    mean, variance = data
    last = mean[kept].max() if kept.any() else float("nan")
    for i in np.flatnonzero(~kept):
        if i >= end:
            reasons[order[i]] = f"mean {mean[i]:.6g} adu is above the turnoff at {last:.6g} adu"
        else:
            reasons[order[i]] = f"outlier: variance {variance[i]:.5g} adu2 is {distance[i]:+.1f} sigma off the curve"
