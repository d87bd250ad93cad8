"""NaN: pixels that are not a number and that nothing else accounts for.

Model        none: a value that is NaN or infinite in image or variance cannot be used.
Input        any unit, assembled, after the defects.
Output       mask plane UNMASKEDNAN, where none of the planes that account for it (BAD, NO_DATA) is set; the image is
             not changed.
References   reference ISR, step 21. The reference flags every NaN, masked before or not; here the plane keeps the
             meaning of its name, so that a count of it says how many pixels went wrong unseen.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fullwell.conductor import Block, Exposure, StepConfig, step
from fullwell.frames import bit
from fullwell.kernels import repair

__all__ = ["NanConfig", "flag"]


class NanConfig(StepConfig):
    """Which planes account for a pixel that is not a number."""

    explained_by: tuple[str, ...] = Field(("BAD", "NO_DATA"), description="mask planes that say why already")


@step("nan", after=("assemble", "bias", "dark", "defects"), area="assembled", config=NanConfig)
def flag_block(block: Block, given: None, cfg: NanConfig) -> None:
    """mask |= UNMASKEDNAN where image or variance is not finite and no other plane says why."""
    value = bit("UNMASKEDNAN")
    known = sum(bit(name) for name in cfg.explained_by) | value
    planes = [block.image] + ([block.variance] if block.has_variance else [])
    count = 0
    for plane in planes:
        if not repair.all_finite(plane):
            count += repair.flag_not_finite(block.start_mask(), plane, known, value)
    if count:
        block.exposure.collect("nan", "pixels", block.r0, int(count))


@flag_block.finishing
def finish(exposure: Exposure, given: None, cfg: NanConfig) -> dict[str, Any]:
    """The number of pixels flagged."""
    return {"pixels": int(sum(exposure.collected("nan", "pixels")))}


flag = flag_block.verb()
