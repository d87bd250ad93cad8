"""Relative errors of the points, and the reasons why points take no part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.products.ptc import Points

__all__ = ["candidates", "relative_errors"]

F8 = NDArray[np.float64]


def relative_errors(points: Points) -> F8 | None:
    """(n,) error of the variance over the variance, from `variance_error` or the numbers of pixels; None: unknown.

    A Gaussian sample of N pixels has sqrt(2 / N). As a part of the variance it does not depend on the fluctuation of
    the point, so that errors taken from the fitted variance do not favour points that came out low.
    """
    good = points.good
    with np.errstate(divide="ignore", invalid="ignore"):
        for error in (points.variance_error / points.variance, np.sqrt(2 / points.pixels[:, 0, 0])):
            if good.any() and np.all(np.isfinite(error[good])) and np.all(error[good] > 0):
                return np.asarray(error)
    return None


def candidates(points: Points, config: FitConfig) -> tuple[NDArray[np.bool_], list[str]]:
    """Points that a fit may take, and for each other point why not."""
    reasons = list(points.reasons)
    for i, reason in enumerate(reasons):
        mean, variance = points.mean[i], points.variance[i]
        if reason:
            continue
        if not np.isfinite(mean) or not np.isfinite(variance):
            reasons[i] = "mean or variance is not finite"
        elif variance <= 0:
            reasons[i] = f"variance {variance:.4g} adu2 is not above zero"
        elif mean <= config.low:
            reasons[i] = f"mean {mean:.5g} adu is not above the limit of {config.low:.5g} adu"
        elif mean >= config.high:
            reasons[i] = f"mean {mean:.5g} adu is not below the limit of {config.high:.5g} adu"
    return np.array([not reason for reason in reasons], bool), reasons
