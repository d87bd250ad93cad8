"""Line, quadratic, power law, polynomial and the exponential of the EO test stand, for comparison.

Brighter-fatter bends the curve, and a line or a quadratic then depends on the range: their gains are what people have
called the gain, with the statistical error of that very number. `polynomial` and `eotest` have their own weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.expfit import as_fit, scaled
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.leastsquares import inverse, marquardt
from fullwell.measure.ptc.models import exponential
from fullwell.measure.ptc.outliers import Selection
from fullwell.measure.ptc.weights import candidates, relative_errors
from fullwell.products.ptc import Points

__all__ = ["fit_eotest", "fit_polynomial", "fit_power"]

F8 = NDArray[np.float64]
EOTEST_START = (2.7e-6, 0.75, 25.0)
EOTEST_WINDOW, EOTEST_CUT, EOTEST_ROUNDS = 40_000.0, 5.0, 10


def _linear(terms: F8, data: F8, sigma: F8, errors: F8 | None) -> tuple[F8, F8, float]:
    """Weighted linear least squares: values (p,), their covariance where the data have `errors`, chi2 with those.

    Where `errors` is None, sigma is right up to a factor, taken from the scatter.
    """
    scale = np.abs(terms).max(axis=0)
    rows = terms / scale / sigma[:, None]
    values, *_ = np.linalg.lstsq(rows, data / sigma, rcond=None)
    bread = inverse(rows.T @ rows)
    residual = data - terms @ (values / scale)
    dof = data.size - values.size
    if errors is None:
        chi2 = float(np.sum((residual / sigma) ** 2))
        cov = bread * (chi2 / dof if dof > 0 else np.nan)
    else:
        meat = rows * (errors / sigma)[:, None]
        chi2, cov = float(np.sum((residual / errors) ** 2)), bread @ (meat.T @ meat) @ bread
    return values / scale, np.asarray(cov / np.outer(scale, scale)), chi2


def _errors(points: Points, chosen: Selection) -> F8 | None:
    """(n used,) errors [adu2] of the variances used, from the curve of the selection; None where unknown."""
    if chosen.known is None:
        return None
    use = chosen.kept
    curve = exponential(chosen.values, points.mean[use])[0] if chosen.values.size == 3 else points.variance[use]
    return np.asarray(chosen.known[use] * np.where(curve > 0, curve, points.variance[use]))


def fit_polynomial(points: Points, config: FitConfig, chosen: Selection, model: str) -> Fit:
    """V = c0 + c1 mu + … : gain 1 / c1 [electron/adu], noise sqrt(c0) gain [electron].

    Parameters
    ----------
    model : "line" (degree 1) and "quadratic" (2) with `config.simple_weights`, "polynomial" (`config.degree`) with
        `config.weights`.
    """
    degree = {"line": 1, "quadratic": 2}.get(model, config.degree)
    use = chosen.kept
    if text := _too_few(chosen, degree + 1):
        return Fit(model=model, failure=text, used=use, reasons=chosen.reasons)
    mean, variance = points.mean[use], points.variance[use]
    errors = _errors(points, chosen)
    kind = config.weights if model == "polynomial" else config.simple_weights
    if kind == "none":
        sigma = np.ones_like(mean)
    elif kind == "measured":
        errors = None if chosen.known is None else chosen.known[use] * variance
        sigma = variance if errors is None else errors
    else:
        sigma = variance if errors is None else errors
    terms = mean[:, None] ** np.arange(degree + 1)
    values, cov, chi2 = _linear(terms, variance, sigma, errors)
    dof = mean.size - values.size
    if errors is not None and scaled(True, config):
        cov = cov * chi2 / max(dof, 1)
    if not np.all(np.isfinite(cov)) or not values[1] > 0:
        text = "the variance does not rise with the mean" if np.all(np.isfinite(cov)) else "too few points for errors"
        return Fit(model=model, failure=text, used=use, reasons=chosen.reasons)
    gain = float(1 / values[1])
    noise = float(np.sqrt(abs(values[0])) * gain)
    slope = np.zeros(values.size)
    slope[:2] = (noise / (2 * values[0]) if values[0] else np.nan), -noise * gain
    return Fit(
        model=model, names=tuple(f"c{k}" for k in range(values.size)), values=values, covariance=cov, chi2=chi2,
        dof=dof, used=use, reasons=chosen.reasons, gain=gain, gain_error=float(np.sqrt(cov[1, 1])) * gain**2,
        noise=noise, noise_error=float(np.sqrt(slope @ cov @ slope)),
        curve=lambda x: np.asarray(np.asarray(x, np.float64)[..., None] ** np.arange(values.size) @ values),
    )  # fmt: skip


def fit_power(points: Points, config: FitConfig, chosen: Selection) -> Fit:
    """V = A mu^B, a straight line in log-log: 1 / A stands as gain, which it is only where B is 1."""
    use = chosen.kept & (points.mean > 0)
    if text := _too_few(chosen, 2):
        return Fit(model="power", failure=text, used=use, reasons=chosen.reasons)
    x, y = np.log(points.mean[use]), np.log(points.variance[use])
    errors = chosen.known[use] if chosen.known is not None else None
    sigma = errors if errors is not None and config.simple_weights == "errors" else np.ones_like(x)
    (c, power), cov, chi2 = _linear(np.stack([np.ones_like(x), x], axis=1), y, sigma, errors)
    factor = float(np.exp(c))
    turn = np.diag([factor, 1.0])
    cov = turn @ cov @ turn
    return Fit(
        model="power", names=("A", "B"), values=np.array([factor, power]), covariance=cov, chi2=chi2, dof=x.size - 2,
        used=use, reasons=chosen.reasons, gain=1 / factor, gain_error=float(np.sqrt(cov[0, 0])) / factor**2,
        curve=lambda mean: np.asarray(factor * np.asarray(mean, np.float64) ** power),
    )  # fmt: skip


def _too_few(chosen: Selection, parameters: int) -> str:
    count, need = int(chosen.kept.sum()), parameters + (1 if chosen.known is None else 0)
    return "" if count >= need else f"{count} usable points, at least {need} are needed"


def fit_eotest(points: Points, config: FitConfig) -> Fit:
    """The PTC_GAIN of the EO test stand, as it comes out there.

    Weights 1 / sqrt(variance), first the points below 40 000 adu, then all within 5 sqrt(variance) of the curve, at
    most 10 times; errors from the covariance without scaling.
    """
    use, reasons = candidates(points, config)
    mean, variance = points.mean[use], points.variance[use]
    a, gain, noise2 = EOTEST_START
    values = np.array([1 / gain, -2 * a * gain, noise2 / gain**2])
    inside = mean < EOTEST_WINDOW
    for turn in range(EOTEST_ROUNDS + 1):
        if inside.sum() < 4:
            text = f"{inside.sum()} usable points, at least 4 are needed"
            return Fit(model="eotest", failure=text, used=np.zeros(len(points), bool), reasons=tuple(reasons))
        m, v, sigma = mean[inside], variance[inside], np.sqrt(variance[inside])

        def residuals(p: F8, m: F8 = m, v: F8 = v, sigma: F8 = sigma) -> tuple[F8, F8]:
            curve, jac = exponential(p, m)
            return (v - curve) / sigma, jac / sigma[:, None]

        found = marquardt(residuals, values)
        values = found.values
        distance = (variance - exponential(values, mean)[0]) / np.sqrt(variance)
        before, inside = inside, np.abs(distance) < EOTEST_CUT
        if np.array_equal(before, inside) or turn == EOTEST_ROUNDS:
            break
    kept = np.zeros(len(points), bool)
    kept[np.flatnonzero(use)[before]] = True
    for i, z in zip(np.flatnonzero(use), distance, strict=True):
        if not kept[i]:
            reasons[i] = f"outlier: {z:+.1f} sqrt(variance) off the curve"
    chosen = Selection(kept, tuple(reasons), values, relative_errors(points))
    return as_fit(values, inverse(found.normal), found.chi2, int(before.sum()) - 3, chosen, "eotest")
