"""Interpolation: a value for pixels that have none of their own, from their neighbours in the row.

Model        a gap of unusable pixels, bounded by usable ones at both ends of the row, is filled by a straight line
             between the two ("linear"), or, up to `cubic_up_to` pixels, by the cubic through the two nearest on each
             side ("cubic": weights -1/6, 2/3, 2/3, -1/6 for one pixel), which keeps the peaks of sampled stars better
             and has 1.9 times the variance. At the edge of the image the nearest usable pixel is repeated.
Assumes      the scene changes little over a gap. Gaps wider than `widest`, and pixels farther than `edge` from the
             only usable side, are left as they are, without INTRP: there is nothing near to tell the value.
Input        any unit, assembled.
Output       image; INTRP where a value was given, other planes stay. Variance: that of the weighted mean, the sum
             of w**2 V, which is never negative; how far the scene departs from the line is not in it, and neither is
             the covariance with the neighbours, so INTRP pixels must not be counted as independent data.
References   reference ISR 4.12. There the variance is made with the same signed weights as the image, which can be
             negative and keeps the noise of one pixel for a mean of several; see `Output` for ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from fullwell.base.errors import DataError
from fullwell.conductor import StepConfig, step
from fullwell.frames import Frame
from fullwell.kernels import repair

__all__ = ["InterpolationConfig", "fill"]

EMPTY = np.zeros((0, 0), np.float32)


class InterpolationConfig(StepConfig):
    """Which pixels are filled, from which, and how."""

    planes: tuple[str, ...] = Field(("SAT", "BAD", "UNMASKEDNAN"), description="mask planes whose pixels are filled")
    avoid: tuple[str, ...] = Field(("NO_DATA",), description="further mask planes that are no neighbours")
    method: Literal["linear", "cubic"] = Field("linear", description="between one or two pixels on each side")
    widest: int = Field(16, ge=1, description="widest gap that is filled [pixel]")
    edge: int = Field(6, ge=0, description="how far a value reaches to the edge of the image [pixel]")
    cubic_up_to: int = Field(2, ge=1, description="widest gap for the cubic [pixel]")
    axis: Literal["x", "y"] = Field("x", description="direction of the neighbours in the assembled image")


@step(
    "interpolation",
    after=("variance", "flat", "nan", "defects", "saturation_grow"),
    area="assembled",
    scope="detector",
    config=InterpolationConfig,
)
def fill_frame(frame: Frame, given: None, cfg: InterpolationConfig) -> None:
    """Fill gaps in image, variance and its components, in place; set INTRP.

    Raises
    ------
    DataError
        the frame has no mask, so that nothing says which pixels to fill.
    """
    if frame.mask is None:
        raise DataError(
            "there is no mask to say which pixels to fill",
            where=frame.source or frame.observation.obs_id or None,
            remedy="flag defects or saturation first",
        )
    mask, image = frame.mask, frame.image.array
    known = [name for name in cfg.planes if name in mask.schema]
    wanted = mask.any_of(known)
    if not wanted.any():
        return
    variance = EMPTY if frame.variance is None else frame.variance.array
    usable = ~wanted & ~mask.any_of([name for name in cfg.avoid if name in mask.schema]) & np.isfinite(image)
    if variance.size:
        usable &= np.isfinite(variance)
    done = np.zeros(image.shape, bool)
    cubic = cfg.cubic_up_to if cfg.method == "cubic" else 0
    parts = [plane.array for plane in frame.components.values()]
    for values, noise in ((image, variance), *((image.copy(), part) for part in parts)):
        _fill(values, noise, wanted, usable, done, cubic, cfg)
    mask["INTRP"] = mask["INTRP"] | done


def _fill(
    image: np.ndarray,
    variance: np.ndarray,
    wanted: np.ndarray,
    usable: np.ndarray,
    done: np.ndarray,
    cubic: int,
    cfg: InterpolationConfig,
) -> None:
    """`kernels.repair.fill_rows` along the axis of the settings, in place."""
    planes = [image, variance, wanted, usable, done]
    if cfg.axis == "y":
        planes = [np.ascontiguousarray(plane.T) for plane in planes]
    repair.fill_rows(planes[0], planes[1], planes[2], planes[3], cfg.widest, cfg.edge, cubic, planes[4])
    if cfg.axis == "y":
        image[:], done[:] = planes[0].T, planes[4].T
        if variance.size:
            variance[:] = planes[1].T


fill = fill_frame.verb()
