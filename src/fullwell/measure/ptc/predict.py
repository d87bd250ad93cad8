"""What each estimator would say of the fitted curve: the points of the user without their scatter.

The user's own means, mismatches, noise, lags and selection are kept; only variances and covariances are those of the
fitted model. Each estimator is run on them as it is, so that the ratio to the reference needs no formula, and holds for
any spacing of the levels, any cut and any weights. Where the ratio that is found differs from the predicted one,
something else than the fitted bend is at work (`fullwell.measure.ptc.diagnosis`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.measure.ptc.estimators import ESTIMATORS, Fits, run_one
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.products import Points

__all__ = ["curve_fit", "curve_points", "predicted_ratios"]

F8 = NDArray[np.float64]
CHI2_MEDIAN = 0.454936423119572
"""Median of chi-square with one degree of freedom."""
REFITTED = ("line", "quadratic", "power", "eotest", "exp", "fullcov_no_b")


def curve_fit(fits: Fits, first: str = "") -> Fit | None:
    """The fit whose curve predictions are made on: `first`, else full covariances, else the exponential."""
    for name in (first, "fullcov", "fullcov_no_b", "exp"):
        fit = fits.get(name)
        if fit and not fit.failure and fit.curve is not None and math.isfinite(fit.gain):
            return fit
    return None


def curve_points(points: Points, fit: Fit) -> Points:
    """The points of the user with variances, covariances and ratios of the fitted curve.

    Parameters
    ----------
    points : means, lags, noise, mismatch, errors and reasons are kept, and so is NaN.
    fit : covariances that it does not have are c2 m^2 + c3 m^3, fitted to the measured ones.

    Returns
    -------
    Points
        ratio is (V + delta^2 / 2)/m: what <(I1 - I2)^2/(I1 + I2)> is of flats that are not scaled.

    Raises
    ------
    DataError
        the fit has no curve.
    """
    if fit.curve is None:
        raise DataError(f"the fit '{fit.model}' has no curve", where=f"amplifier {points.amp}")
    known = np.isfinite(points.mean)
    variance = np.full(len(points), np.nan)
    variance[known] = fit.curve(points.mean[known])
    covariance = _smooth_covariances(points)
    if fit.covariances is not None and known.any():
        model = fit.covariances(points.mean[known])
        side = min(model.shape[1], covariance.shape[1])
        covariance[np.flatnonzero(known), :side, :side] = model[:, :side, :side]
    covariance[:, 0, 0] = variance
    delta = np.where(np.isfinite(points.delta), points.delta, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (variance + delta**2 / 2) / points.mean

    def like(measured: F8, values: F8) -> F8:
        return np.where(np.isfinite(measured), values, np.nan)

    return replace(
        points,
        variance=like(points.variance, variance),
        covariance=np.where(np.isfinite(points.covariance), covariance, np.nan),
        raw_variance=like(points.raw_variance, variance),
        hist_variance=like(points.hist_variance, variance),
        ratio=like(points.ratio, ratio),
        ratio_median=like(points.ratio_median, CHI2_MEDIAN * ratio),
    )


def _smooth_covariances(points: Points) -> F8:
    """(n, L + 1, L + 1) each lag fitted with c2 m^2 + c3 m^3; zero where too few points allow it."""
    smooth = np.zeros(points.covariance.shape)
    flat = points.covariance.reshape(len(points), -1)
    use = points.good & np.isfinite(flat).all(1)
    if use.sum() < 2:
        return smooth
    top = float(np.abs(points.mean[use]).max()) or 1.0
    x = np.where(np.isfinite(points.mean), points.mean, 0.0) / top
    design = np.stack([x**2, x**3], 1)
    weight = 1 / np.maximum(np.abs(points.variance[use]), 1e-300)
    values = np.linalg.lstsq(design[use] * weight[:, None], flat[use] * weight[:, None], rcond=None)[0]
    return np.asarray((design @ values).reshape(smooth.shape))


def predicted_ratios(
    points: Points, fits: Fits, reference: str, names: Iterable[str], config: FitConfig | None = None
) -> dict[str, float]:
    """Gain by each estimator over that by the reference, both of the fitted curve at the points of the user.

    Parameters
    ----------
    reference : name of the estimator that ratios refer to; names : of the estimators.
    config : of the fits. Models that were fitted are fitted again, to the points they had used.

    Returns
    -------
    dict
        name -> ratio; estimators that the curve does not serve are left out, and all are where there is no curve.
        Points with a reason against them keep their variance, which tells EMVA 1288 where saturation is; the sheet
        of the course, which takes all points, is given the curve at all of them.
    """
    from fullwell.measure.ptc.lab import LAB

    curve = curve_fit(fits, reference)
    if curve is None:
        return {}
    ideal = curve_points(points, curve)
    chosen = replace(ideal, variance=np.where(points.good, ideal.variance, points.variance))
    again = _refitted(ideal, fits, curve, config or FitConfig())
    values = {}
    for name in {*names, reference}:
        if name not in ESTIMATORS or (name in fits and name not in again):
            continue
        estimate = run_one(ESTIMATORS[name], ideal if name in LAB else chosen, again)
        if not estimate.reason:
            values[name] = estimate.gain
    base = values.get(reference)
    return {name: gain / base for name, gain in values.items()} if base else {}


def _refitted(ideal: Points, fits: Fits, curve: Fit, config: FitConfig) -> dict[str, Fit]:
    from fullwell.measure.ptc.fitting import fit

    again = {curve.model: curve}
    for model in REFITTED:
        before = fits.get(model)
        if before is None or before.failure or model in again:
            continue
        if model == "fullcov_no_b" and curve.covariances is None:
            continue
        reasons = ideal.reasons
        if before.used.size == len(ideal):
            pairs = zip(ideal.reasons, before.used, strict=True)
            reasons = tuple(r or ("" if used else f"not in the fit '{model}'") for r, used in pairs)
        again[model] = fit(model, replace(ideal, reasons=reasons), config, before)
    return again
