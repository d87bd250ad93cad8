"""`FitConfig`: which points take part in a fit of photon transfer, and how they are weighted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fullwell.base.config import StepConfig

__all__ = ["FitConfig"]


class FitConfig(StepConfig):
    """Points, weights and options of the fits. The defaults need no tuning by camera."""

    low: float = Field(default=0.0, description="points of a smaller mean take no part [adu]")
    high: float = Field(default=1e6, description="points of a larger mean take no part [adu]")
    window: float = Field(default=50_000.0, gt=0, description="the curve is first fitted below this signal [electron]")
    window_scaled: bool = Field(default=True, description="window and gap are in electrons; otherwise in adu")
    cut: float = Field(default=5.0, gt=0, description="a point further from the curve is an outlier [sigma]")
    floor: float = Field(
        default=0.003, ge=0, description="part of the variance by which the model may be wrong [fraction]"
    )
    scatter: Literal["statistical", "poisson"] = Field(
        default="statistical",
        description="sigma of a point: its error and the floor, or sqrt(variance), which older codes take",
    )
    gap: float = Field(
        default=9_000.0, gt=0, description="the curve ends at a step over rejected points that is wider [electron]"
    )
    rounds: int = Field(default=10, ge=1, description="most rounds of fit and rejection")
    loss: Literal["linear", "soft_l1"] = Field(default="linear", description="of the last fit of the exponential")
    weights: Literal["model", "measured", "none"] = Field(
        default="model", description="errors from the fitted variance (unbiased), from the measured one, or all equal"
    )
    simple_weights: Literal["none", "errors"] = Field(
        default="none", description="of line, quadratic and power: all equal, as by hand, or by errors"
    )
    scale_errors: Literal["unknown", "always", "never"] = Field(
        default="unknown",
        description="multiply errors by sqrt(chi2/dof): where errors of points are unknown, always, never",
    )
    bootstrap: int = Field(
        default=0, ge=0, description="resamplings for the errors of the exponential; 0: from the covariance"
    )
    seed: int = Field(default=20_240, description="of the resamplings")
    degree: int = Field(default=3, ge=1, le=6, description="of the polynomial")
    side: int = Field(
        default=0, ge=0, description="side M of the matrices of the full covariance fit; 0: all lags measured"
    )
    long_range: int = Field(default=0, ge=0, description="subtract a plane fitted to lags from this one on; 0: no")
    long_range_degree: int = Field(
        default=1, ge=0, le=3, description="of the polynomial, in each lag, of the long-range covariance"
    )
    turnoff: Literal["kept", "emva1288", "decrease"] = Field(
        default="kept",
        description="highest point on the curve; largest variance seen from the top; before a lasting decrease",
    )
    rolloff: bool = Field(default=False, description="fit the loss of variance above the turnoff")
    rolloff_deviation: float = Field(
        default=0.01, gt=0, lt=1, description="loss of variance at the roll-off [fraction]"
    )
    rolloff_reach: float = Field(
        default=5_000.0, gt=0, description="points so far above the turnoff are fitted too [adu]"
    )
