"""Interpolated pixels of an injected frame: the added light is interpolated as the values were."""

from __future__ import annotations

from typing import Any

import numpy as np

from fullwell.frames import Frame
from fullwell.kernels import repair

__all__ = ["reapply"]


def reapply(before: Frame, after: Frame) -> None:
    """Give INTRP pixels of `after` what was added to their neighbours, in place, with the weights that filled them.

    Image and variance are linear in the neighbours, image with weights w and variance with w**2; so what was added is
    interpolated by itself. The settings of the step are those of the history, its defaults where there is no record.
    """
    assert after.mask is not None
    wanted = after.mask["INTRP"]
    if not wanted.any():
        return
    from fullwell.effects.interpolation import InterpolationConfig

    record = after.last("interpolation")
    cfg = InterpolationConfig.model_validate(record.config if record is not None else {})
    added = _difference(after.image.array, before.image.array)
    noise = np.zeros((0, 0), np.float32)
    if after.variance is not None and before.variance is not None:
        noise = _difference(after.variance.array, before.variance.array)
    avoid = [name for name in (*cfg.planes, *cfg.avoid) if name in after.mask.schema]
    usable = ~wanted & ~after.mask.any_of(avoid) & np.isfinite(before.image.array)
    planes: list[Any] = [added, noise, wanted, usable, np.zeros(added.shape, bool)]
    if cfg.axis == "y":
        planes = [np.ascontiguousarray(plane.T) for plane in planes]
    cubic = cfg.cubic_up_to if cfg.method == "cubic" else 0
    repair.fill_rows(planes[0], planes[1], planes[2], planes[3], cfg.widest, cfg.edge, cubic, planes[4])
    added, noise, _, _, done = (plane.T for plane in planes) if cfg.axis == "y" else planes
    touched = done & (added != 0)
    after.image.array[touched] += added[touched]
    if noise.size and after.variance is not None:
        after.variance.array[touched] += np.maximum(noise[touched], 0)
    after.mask["INJECTED"] = after.mask["INJECTED"] | touched


def _difference(after: Any, before: Any) -> Any:
    """What was added; 0 where there is no number."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.subtract(after, before, dtype=np.float64)).astype(np.float32)
