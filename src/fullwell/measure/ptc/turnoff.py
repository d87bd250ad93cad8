"""Turnoff and roll-off: where the variance leaves the curve of photon transfer.

The turnoff is the highest mean of a point on the curve; it lies between that point and the next. The roll-off models
the loss above t as V(mu) - (exp(-(mu - t) / tau) - 1), tau < 0, and is the last mean where model and curve agree to a
given part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.expfit import scaled
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.leastsquares import inverse, marquardt
from fullwell.measure.ptc.models import exponential
from fullwell.measure.ptc.weights import relative_errors
from fullwell.products.ptc import Points

__all__ = ["Turnoff", "turnoff"]

F8 = NDArray[np.float64]
TAU_START, TAU_LOW, TAU_HIGH = -1200.0, -10_000.0, -100.0
DECREASES, DECREASE_FROM = 2, 10_000.0


@dataclass(frozen=True, kw_only=True)
class Turnoff:
    """All in adu, NaN where unknown: `value` of the turnoff and its sampling `error`; `rolloff`, `tau` with errors."""

    value: float = math.nan
    error: float = math.nan
    rolloff: float = math.nan
    rolloff_error: float = math.nan
    tau: float = math.nan
    tau_error: float = math.nan


def turnoff(points: Points, fit: Fit, config: FitConfig | None = None) -> Turnoff:
    """Where the curve of `fit` ends.

    Parameters
    ----------
    fit : its points are those on the curve; it must have a curve for a roll-off.
    config : `turnoff` is the definition, "kept" by default; "emva1288" takes the largest variance, of equal
        ones the highest; "decrease" the point before the variance falls twice in a row, to above 10 000 adu2.

    Returns
    -------
    Turnoff, of NaN where the fit failed. The sampling error is half the distance of the neighbours, or the whole
    distance to the one below where there is none above. Where nothing lies just above the turnoff, or the loss has not
    the form of the model, the roll-off is the turnoff and has no error.
    """
    config = config or FitConfig()
    finite = np.isfinite(points.mean) & np.isfinite(points.variance)
    order = np.flatnonzero(finite)[np.argsort(points.mean[finite], kind="stable")]
    index = _index(points, fit, order, config)
    if index is None:
        return Turnoff()
    mean = points.mean[order]
    below = mean[index] - mean[index - 1] if index else math.nan
    above = mean[index + 1] - mean[index - 1] if index and index + 1 < mean.size else math.nan
    value, error = float(mean[index]), float(above / 2 if math.isfinite(above) else below)
    if not config.rolloff or fit.failure or fit.curve is None:
        return Turnoff(value=value, error=error)
    return _rolloff(points, fit, config, value, error)


def _index(points: Points, fit: Fit, order: NDArray[np.intp], config: FitConfig) -> int | None:
    """Which of the finite points, by ascending mean, is the turnoff."""
    variance = points.variance[order]
    if config.turnoff == "emva1288":
        return int(variance.size - 1 - np.argmax(variance[::-1])) if variance.size else None
    if config.turnoff == "decrease":
        falls = (np.diff(variance) < 0) & (variance[1:] > DECREASE_FROM)
        for i in range(falls.size - DECREASES + 1):
            if falls[i : i + DECREASES].all():
                return i
        return int(variance.size - 1) if variance.size else None
    used = fit.used[order] if fit.used.size == len(points) else np.zeros(order.size, bool)
    return None if fit.failure or not used.any() else int(np.flatnonzero(used)[-1])


def _rolloff(points: Points, fit: Fit, config: FitConfig, value: float, error: float) -> Turnoff:
    """Fit exponential, start and length of the loss together to the points on the curve and those just above."""
    with np.errstate(all="ignore"):
        near = points.good & (points.mean > value) & (points.mean <= value + config.rolloff_reach)
        near &= points.variance <= points.variance[fit.used & (points.mean == value)].max()
        if not near.any():
            return Turnoff(value=value, error=error, rolloff=value)
        use = (fit.used | near) & (points.variance > 0)
        mean, variance = points.mean[use], points.variance[use]
        known = relative_errors(points)
        sigma = variance if known is None else known[use] * variance
        exp = _exponential_of(fit)

        def model(p: F8) -> tuple[F8, F8]:
            curve, jac = _with_loss(p, mean)
            return (variance - curve) / sigma, jac / sigma[:, None]

        best = None
        gap = float(np.min(mean[mean > value])) - value
        for start in (value, value - gap, value + 0.9 * gap):
            found = marquardt(model, np.array([*exp, start, TAU_START]), enough=1e-6)
            if np.isfinite(found.chi2) and (best is None or found.chi2 < best.chi2):
                best = found
        if best is None or not TAU_LOW < best.values[4] < TAU_HIGH:
            return Turnoff(value=value, error=error, rolloff=value)
        part = known[near] if known is not None else math.sqrt(best.chi2 / max(mean.size - 5, 1))
        off = np.abs(_with_loss(best.values, points.mean[near])[0] / points.variance[near] - 1)
        if np.any(off > config.cut * np.hypot(part, config.floor)):
            return Turnoff(value=value, error=error, rolloff=value)
        cov = inverse(best.normal)
        if scaled(known is not None, config):
            cov = cov * best.chi2 / max(mean.size - 5, 1)
        if not np.all(np.isfinite(cov)):
            return Turnoff(value=value, error=error, rolloff=value)
        loss_at, tau = float(best.values[3]), float(best.values[4])
        grid = np.linspace(loss_at, max(loss_at, value), 2000)
        part = _with_loss(best.values, grid)[0] / exponential(best.values[:3], grid)[0] - 1
        inside = grid[np.abs(part) <= config.rolloff_deviation]
        rolloff = min(float(inside.max()) if inside.size else value, value)
        t_error, tau_error = np.sqrt(np.diag(cov))[3:]
        return Turnoff(
            value=value, error=error, rolloff=rolloff, rolloff_error=float(t_error), tau=tau, tau_error=float(tau_error)
        )  # fmt: skip


def _bounded(tau: float) -> tuple[float, float]:
    """tau within its bounds, and whether it is free there."""
    held = min(max(tau, TAU_LOW), TAU_HIGH)
    return held, float(held == tau)


def _exponential_of(fit: Fit) -> F8:
    """(k, q, c) of the fit of any model that has a gain and an a00."""
    gain = fit.gain
    a00 = fit.a00 if math.isfinite(fit.a00) else 0.0
    return np.array([1 / gain, 2 * a00 * gain, (fit.noise / gain) ** 2 if math.isfinite(fit.noise) else 0.0])


def _with_loss(p: F8, mean: F8) -> tuple[F8, F8]:
    """Exponential with a loss above p[3] of length p[4], and its derivatives (n, 5)."""
    curve, jac = exponential(p[:3], mean)
    tau, free = _bounded(float(p[4]))
    over = np.maximum(mean - p[3], 0.0)
    growth = np.exp(np.clip(-over / tau, 0.0, 40.0))
    start = np.where(over > 0, -growth / tau, 0.0)
    length = np.where(over > 0, growth * over / tau**2, 0.0) * free
    return curve - (growth - 1), np.concatenate([jac, start[:, None], -length[:, None]], axis=1)
