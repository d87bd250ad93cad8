"""`EffectiveGain`: calibrated units per collected electron, pixel by pixel, with all that the noise law needs.

With N electrons collected in a pixel, read noise r [electron], and b what was taken off after the variance was formed,

    I = K N - b,        V = K (I + b) + K^2 r^2 + phi^2 (I + b)^2,

phi^2 the relative variance of the flat where the plane carries it. A source of mean flux dI adds k ~ Poisson(dI/K)
electrons: K k to the image and K^2 k to the variance, and the frame is distributed as one that had the source
(injection note A.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.cameras import Box

__all__ = ["Convention", "EffectiveGain"]

Convention = Literal["realised", "expected"]
F4 = NDArray[np.float32]


@dataclass(frozen=True)
class EffectiveGain:
    """K of the pixels of a box.

    Parameters
    ----------
    k : (ny, nx) [unit/electron], positive where it is known, NaN elsewhere; box : the pixels; unit : of the image.
    method : "stored", "flat", "closed", "self-calibrated", "window", "bright", "region", "header".
    convention : "realised": the variance was made from the counts of the pixel itself, "expected": from a model.
    rms : relative error of k, NaN where it is not known.
    background : (ny, nx) or number, b [unit]; read_noise : (ny, nx) or number, r [electron].
    flat_variance : (ny, nx) phi^2, or None where the variance does not carry the error of the flat.
    notes : sentences for people: what it cannot know.
    """

    k: F4
    box: Box
    unit: str
    method: str
    convention: Convention = "realised"
    rms: float = math.nan
    background: F4 | float = 0.0
    read_noise: F4 | float = math.nan
    flat_variance: F4 | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("k", "background", "read_noise", "flat_variance"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and value.shape != self.box.shape:
                raise GeometryError(f"{name} has shape {value.shape}, its box is {self.box}")

    def of(self, box: Box) -> F4:
        """k of the pixels of `box`, a view; GeometryError where it is not inside."""
        if self.box.intersection(box) != box:
            raise GeometryError(f"the effective gain covers {self.box}, not {box}")
        y, x = box.y0 - self.box.y0, box.x0 - self.box.x0
        return self.k[y : y + box.height, x : x + box.width]
