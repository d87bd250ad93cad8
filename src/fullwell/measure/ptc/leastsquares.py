"""Levenberg-Marquardt on small dense problems, with an analytic Jacobian; errors of weighted estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Solution", "inverse", "marquardt"]

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """`values` (p,), `chi2`, `normal` = J'J (p, p) there, `steps` taken, and whether it `converged`."""

    values: F8
    chi2: float
    normal: F8
    steps: int
    converged: bool


def inverse(normal: F8) -> F8:
    """Inverse of a symmetric positive matrix, scaled to a unit diagonal first; NaN where it is singular."""
    scale = np.sqrt(np.diag(normal))
    if not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        return np.full(normal.shape, np.nan)
    try:
        unit = np.linalg.inv(normal / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return np.full(normal.shape, np.nan)
    if not np.all(np.diag(unit) > 0) or np.max(np.diag(unit)) > 1e14:
        return np.full(normal.shape, np.nan)
    return np.asarray(unit / np.outer(scale, scale))


def marquardt(
    model: Callable[[F8], tuple[F8, F8]], start: F8, *, steps: int = 60, enough: float = 1e-12, damping: float = 1e-3
) -> Solution:
    """Minimise |r(p)|^2.

    Parameters
    ----------
    model : p -> (data less model) / errors (m,), derivatives of the model / errors (m, p).
    start : (p,) first values.
    enough : the search ends when a step lowers chi2 by less, or by less than 1e-10 of it; where chi2 is in units of the
        errors, a step of 1e-4 moves no parameter by more than a hundredth of its error.

    Notes
    -----
    Marquardt, J. SIAM 11, 431 (1963); damping on the diagonal of the normal matrix, so that units do not matter.
    """
    p = np.array(start, np.float64)
    r, jac = model(p)
    chi2 = float(r @ r)
    normal, gradient = jac.T @ jac, jac.T @ r
    for step in range(steps):
        scale = np.sqrt(np.diag(normal))
        scale[~(scale > 0)] = 1.0
        unit = normal / np.outer(scale, scale)
        while True:
            move = _solve(unit, gradient / scale, damping)
            trial = p + move / scale
            with np.errstate(all="ignore"):
                r, jac = model(trial)
            new = float(r @ r)
            if new <= chi2 or damping > 1e12:
                break
            damping = max(damping, 1e-9) * 10
        if not new <= chi2:
            return Solution(p, chi2, normal, step, bool(np.isfinite(chi2)))
        done = chi2 - new <= 1e-10 * new + enough
        p, chi2, damping = trial, new, damping / 10
        normal, gradient = jac.T @ jac, jac.T @ r
        if done:
            return Solution(p, chi2, normal, step + 1, True)
    return Solution(p, chi2, normal, steps, False)


def _solve(unit: F8, gradient: F8, damping: float) -> F8:
    damped = unit + damping * np.eye(unit.shape[0])
    try:
        return np.asarray(np.linalg.solve(damped, gradient))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(damped, gradient, rcond=None)[0])
