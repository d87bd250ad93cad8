"""The system gain of a camera test freed of brighter-fatter.

Charge that is collected pushes away charge that follows, so that the variance grows less than the mean. The line of the
standard through all levels up to 70 % of saturation is a chord below the tangent; K comes out too small by about
0.75 |a00| times the electrons at 70 % of saturation, and what is divided by K comes out too large. The exponential of
Astier et al. (2019) is fitted instead, whose slope at zero is K.

Reference: Astier et al. 2019 (A&A 629, A36), equation 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc import fit
from fullwell.products import Points
from fullwell.products.emva1288 import LevelSeries

__all__ = ["Freed", "bend_of_response", "corrected_gain"]


@dataclass(frozen=True)
class Freed:
    """K without brighter-fatter.

    Parameters
    ----------
    k, error : [DN/electron], NaN where there is none; why : the reason, "" if there is a value.
    how : the model, in words, with a00; curve : (2, n) signal [DN] and temporal variance less that in the dark [DN2].
    """

    k: float = math.nan
    error: float = math.nan
    how: str = ""
    why: str = ""
    curve: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 0)))


def corrected_gain(levels: LevelSeries) -> Freed:
    """Fit the exponential to the levels up to saturation."""
    top = levels.saturation if levels.saturation >= 0 else levels.signal.size - 1
    use = slice(0, top + 1)
    points = Points(
        amp="camera", mean=levels.signal[use], variance=levels.variance[use],
        variance_error=levels.variance_error[use], noise=np.sqrt(levels.dark_variance[use]),
        exposure_time=levels.time[use],
    )  # fmt: skip
    found = fit("exp", points)
    if found.failure or found.curve is None:
        return Freed(why=found.failure or "the fit of the curve failed")
    k = 1 / found.gain
    spread = max(1.0, math.sqrt(found.reduced_chi2)) if found.dof > 0 else 1.0
    grid = np.linspace(0, float(points.mean.max()), 200)
    how = (
        f"exponential of Astier et al. 2019 through {int(found.used.sum())} of {len(points)} levels, a00 = "
        f"{found.a00:.2e} ± {spread * found.a00_error:.0e} per electron, reduced chi2 {found.reduced_chi2:.2f}"
        f"{' (errors are scaled by its root)' if spread > 1 else ''}"
    )
    bend = bend_of_response(levels, k)
    if math.isfinite(bend):
        how += f"; the non-linearity of the response alone would feign {bend:+.1e}"
        if bend * found.a00 > 0 and abs(bend) > 0.3 * abs(found.a00):
            how += (
                ", so that a00 is not that of brighter-fatter alone; the gain is the slope at zero and holds for both"
            )
    if abs(found.a00) < 4 * spread * found.a00_error:
        how += "; the curvature is not seen at four standard errors"
    elif found.a00 > 0:
        how += "; the curve bends upwards, which is no brighter-fatter: look at the linearity"
    curve = np.stack([grid, found.curve(grid) - found.curve(np.zeros(1))])
    return Freed(k, spread * k * found.gain_error / found.gain, how, "", curve)


def bend_of_response(levels: LevelSeries, k: float) -> float:
    """a00 [1/electron] that a bent response y = o + R h (1 + c h) feigns: 3 c K / R, for V / y grows as 1 + 3 c h.

    The curve is fitted over the levels of the linearity error with its weights; NaN where these are fewer than four.
    """
    use = levels.linearity
    if np.count_nonzero(use) < 4 or not np.isfinite(levels.light[use]).all():
        return math.nan
    unit = float(levels.light[use].max())
    square, slope, _ = np.polyfit(levels.light[use] / unit, levels.signal[use], 2, w=1 / levels.signal[use])
    return float(3 * square / slope * k / slope)
