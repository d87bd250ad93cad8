"""`fit`: any model of photon transfer on the points of one amplifier. An amplifier that cannot be fitted says why."""

from __future__ import annotations

import numpy as np

from fullwell.base.errors import UsageError
from fullwell.measure.ptc.expfit import fit_exp
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.fullcov import fit_full_covariance
from fullwell.measure.ptc.outliers import Selection, first_values, fit_exponential, select
from fullwell.measure.ptc.simple import fit_eotest, fit_polynomial, fit_power
from fullwell.measure.ptc.weights import relative_errors
from fullwell.products.ptc import Points

__all__ = ["MODELS", "fit"]

MODELS = ("line", "quadratic", "power", "polynomial", "eotest", "exp", "fullcov", "fullcov_no_b")


def fit(model: str, points: Points, config: FitConfig | None = None, start: Fit | None = None) -> Fit:
    """Fit one model.

    Parameters
    ----------
    model : one of `MODELS`.
    points : of one amplifier.
    start : a fit whose points are taken, of "exp" as a rule; without it they are selected here.

    Returns
    -------
    Fit. Where the points allow none it has a `failure` text and NaN; nothing is raised.

    Raises
    ------
    UsageError
        there is no model of that name.
    """
    if model not in MODELS:
        raise UsageError(f"there is no photon transfer model '{model}'", remedy=f"models: {', '.join(MODELS)}")
    config = config or FitConfig()
    with np.errstate(all="ignore"):
        if model == "eotest":
            return fit_eotest(points, config)
        chosen = _chosen(points, config, start)
        if model == "exp":
            return fit_exp(points, config, chosen)
        if model in ("fullcov", "fullcov_no_b"):
            exp = start if start is not None and start.model == "exp" else fit_exp(points, config, chosen)
            return fit_full_covariance(points, config, exp, with_b=model == "fullcov")
        if model == "power":
            return fit_power(points, config, chosen)
        return fit_polynomial(points, config, chosen, model)


def _chosen(points: Points, config: FitConfig, start: Fit | None) -> Selection:
    """The points of `start`, or those selected anew."""
    if start is None or start.failure or start.used.size != len(points):
        return select(points, config)
    reasons = tuple(
        "" if used else old or "not used by the fit before" for used, old in zip(start.used, start.reasons, strict=True)
    )
    known = relative_errors(points)
    if start.model in ("exp", "eotest"):
        values = np.array([1 / start.gain, 2 * start.a00 * start.gain, start.value("noise2") / start.gain**2])
    else:
        mean, variance = points.mean[start.used], points.variance[start.used]
        part = known[start.used] if known is not None else None
        values = fit_exponential(mean, variance, part, first_values(mean, variance))[0].values
    return Selection(start.used.copy(), reasons, values, known)
