"""`Fit`: a model fitted to the points of one amplifier, with all that is known of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fit"]

F8 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One model of the variance against the mean, fitted.

    Parameters
    ----------
    model : "line", "quadratic", "power", "polynomial", "eotest", "exp", "fullcov", "fullcov_no_b".
    names, values : of the p parameters; covariance : (p, p), statistical.
    chi2 : sum of squared residuals in units of the errors; dof : degrees of freedom.
    used : (n,) points of the fit; reasons : n texts, "" where used, else why not.
    gain, gain_error : [electron/adu]; noise, noise_error : [electron]; a00, a00_error : [1/electron]; NaN where the
        model has none.
    a, a_error, b, noise_matrix : (M, M) as of `fullwell.products.Ptc`, shape (0, 0) where the model has none.
    curve : means [adu] -> variance of one image [adu2].
    covariances : means (n,) [adu] -> (n, M, M) [adu2]; None where the model has the variance alone.
    failure : why there is no fit, "" if there is one.
    """

    model: str
    names: tuple[str, ...] = ()
    values: F8 = field(default_factory=lambda: np.zeros(0))
    covariance: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    chi2: float = math.nan
    dof: int = 0
    used: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    reasons: tuple[str, ...] = ()
    gain: float = math.nan
    gain_error: float = math.nan
    noise: float = math.nan
    noise_error: float = math.nan
    a00: float = math.nan
    a00_error: float = math.nan
    a: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    a_error: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    b: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    noise_matrix: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    curve: Callable[[F8], F8] | None = None
    covariances: Callable[[F8], F8] | None = None
    failure: str = ""

    @property
    def reduced_chi2(self) -> float:
        """chi2 per degree of freedom; NaN without any."""
        return self.chi2 / self.dof if self.dof > 0 else math.nan

    def value(self, name: str) -> float:
        """Parameter `name`; NaN where the model has none of that name."""
        return float(self.values[self.names.index(name)]) if name in self.names else math.nan

    def error(self, name: str) -> float:
        """Standard error of parameter `name`; NaN where the model has none of that name."""
        if name not in self.names or not self.covariance.size:
            return math.nan
        i = self.names.index(name)
        return math.sqrt(max(float(self.covariance[i, i]), 0.0))
