"""Assembly: from the segments that each amplifier reads to one image of the sensor.

Model        the data box of each segment, turned from read-out order into the sensor's, at its trimmed box;
             prescan and overscan are dropped. Image, mask, variance and its components go together.
Input        raw.
Output       assembled; after this step boxes are those of the trimmed detector.
References   reference ISR, section 6.4.
"""

from __future__ import annotations

from fullwell.conductor import Block, StepConfig, step

__all__ = ["AssembleConfig"]


class AssembleConfig(StepConfig):
    """Assembly has no settings; the geometry is the camera's."""


@step(
    "assemble", after=("overscan_serial", "overscan_parallel", "crosstalk", "linearity", "deferred_charge"), area="raw"
)
def remove_block(block: Block, given: None, cfg: AssembleConfig) -> None:
    """Keep the data columns; the conductor places the rows."""
    block.trim()
