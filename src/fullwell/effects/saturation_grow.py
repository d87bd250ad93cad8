"""Growing of saturation: the neighbours of a full pixel have lost charge to it or gained some from it.

Model        pixels within a number of steps along rows and columns of a saturated one (a diamond) are SAT too.
Input        any unit, assembled.
Output       mask plane SAT (or the planes named); the image is not changed.
References   reference ISR 4.6 and 4.12: saturated footprints are grown before interpolation.
"""

from __future__ import annotations

from pydantic import Field

from fullwell.conductor import StepConfig, step
from fullwell.frames import Frame
from fullwell.kernels import repair

__all__ = ["SaturationGrowConfig", "flag"]


class SaturationGrowConfig(StepConfig):
    """How far, and which planes."""

    radius: int = Field(1, ge=0, description="steps along rows and columns [pixel]")
    planes: tuple[str, ...] = Field(("SAT",), description="mask planes that grow, each into itself")


@step(
    "saturation_grow",
    after=("saturation", "assemble", "defects", "nan"),
    area="assembled",
    scope="detector",
    config=SaturationGrowConfig,
)
def grow_frame(frame: Frame, given: None, cfg: SaturationGrowConfig) -> None:
    """Grow each plane by a diamond of the radius, in place."""
    if frame.mask is not None:
        for name in cfg.planes:
            repair.grow_diamond(frame.mask.array, frame.mask.value(name), cfg.radius)


flag = grow_frame.verb()
