"""The exponential of photon transfer: gain, a00 and noise of one amplifier, with errors from those of the points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.leastsquares import Solution, inverse
from fullwell.measure.ptc.models import exponential
from fullwell.measure.ptc.outliers import Selection, fit_exponential
from fullwell.products.ptc import Points

__all__ = ["as_fit", "fit_exp", "noise_of", "scaled"]

F8 = NDArray[np.float64]


def scaled(known: bool, config: FitConfig) -> bool:
    """Whether errors are multiplied by sqrt(chi2/dof)."""
    return config.scale_errors == "always" or (config.scale_errors == "unknown" and not known)


def noise_of(square: float, error: float) -> tuple[float, float]:
    """Noise and its error from its square and that one's error; 0 where the square came out negative.

    Near zero the square is Gaussian and the root is not: the error is then that of a root of one standard error.
    """
    root = float(np.sqrt(max(square, 0.0)))
    return root, float(min(error / (2 * root), np.sqrt(error))) if root > 0 else float(np.sqrt(max(error, 0.0)))


def physical(values: F8) -> tuple[F8, F8]:
    """(a00, gain, noise2 [electron2]) of (k, q, c), and its derivatives (3, 3)."""
    k, q, c = values
    jac = np.array([[q / 2, k / 2, 0.0], [-1 / k**2, 0.0, 0.0], [-2 * c / k**3, 0.0, 1 / k**2]])
    return np.array([q * k / 2, 1 / k, c / k**2]), jac


def _covariance(solution: Solution, mean: F8, sigma: F8, robust: F8, errors: F8) -> F8:
    """Covariance of (k, q, c) where the points have `errors` and were weighted by robust / sigma^2."""
    jac = exponential(solution.values, mean)[1]
    weight = robust / sigma**2
    bread = inverse(jac.T @ (weight[:, None] * jac))
    if np.allclose(weight * errors**2, 1.0):
        return bread
    return np.asarray(bread @ _meat(jac, weight * errors) @ bread)


def _meat(jac: F8, weight: F8) -> F8:
    scaled_jac = jac * weight[:, None]
    return np.asarray(scaled_jac.T @ scaled_jac)


def fit_exp(points: Points, config: FitConfig, chosen: Selection) -> Fit:
    """The exponential curve through the points that were chosen.

    Returns
    -------
    Fit of "exp" with parameters ("a00", "gain", "noise2"), in 1/electron, electron/adu and electron2; with `failure`
    where there is none.
    """
    if chosen.failure:
        return Fit(model="exp", failure=chosen.failure, used=chosen.kept, reasons=chosen.reasons)
    use = chosen.kept
    mean, variance = points.mean[use], points.variance[use]
    known = chosen.known[use] if chosen.known is not None else None
    weights = config.weights
    solution, sigma, robust = fit_exponential(mean, variance, known, chosen.values, weights=weights, loss=config.loss)
    curve = exponential(solution.values, mean)[0]
    base = variance if weights == "measured" else curve
    errors = base if known is None else known * base
    chi2, dof = float(np.sum(((variance - curve) / errors) ** 2)), int(use.sum()) - 3
    covariance = _covariance(solution, mean, sigma, robust, errors)
    if scaled(known is not None, config):
        covariance = covariance * (chi2 / dof if dof > 0 else np.nan)
    if config.bootstrap:
        covariance = _bootstrap(mean, variance, known, solution.values, config)
    return as_fit(solution.values, covariance, chi2, dof, chosen)


def _bootstrap(mean: F8, variance: F8, known: F8 | None, start: F8, config: FitConfig) -> F8:
    """Covariance of (k, q, c) from fits of points drawn with replacement."""
    rng = np.random.default_rng(config.seed)
    found = []
    for _ in range(config.bootstrap):
        i = rng.integers(0, mean.size, mean.size)
        part = known[i] if known is not None else None
        found.append(
            fit_exponential(mean[i], variance[i], part, start, weights=config.weights, loss=config.loss)[0].values
        )
    return np.asarray(np.cov(np.array(found).T))


def as_fit(values: F8, covariance: F8, chi2: float, dof: int, chosen: Selection, model: str = "exp") -> Fit:
    """`Fit` of `model` from parameters (k, q, c) and their covariance."""
    if not np.all(np.isfinite(covariance)) or values[0] <= 0:
        text = (
            "the points do not determine gain, a00 and noise together" if values[0] > 0 else "the gain is not positive"
        )
        return Fit(model=model, failure=text, used=chosen.kept, reasons=chosen.reasons)
    found, jac = physical(values)
    spread = jac @ covariance @ jac.T
    error = np.sqrt(np.diag(spread))
    noise, noise_error = noise_of(float(found[2]), float(error[2]))
    return Fit(
        model=model, names=("a00", "gain", "noise2"), values=found, covariance=spread, chi2=chi2, dof=dof,
        used=chosen.kept, reasons=chosen.reasons, gain=float(found[1]), gain_error=float(error[1]), noise=noise,
        noise_error=noise_error, a00=float(found[0]), a00_error=float(error[0]),
        curve=lambda mean: exponential(values, np.asarray(mean, np.float64))[0],
    )  # fmt: skip
