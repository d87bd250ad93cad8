"""Defects: pixels whose value says nothing about the light.

Model        a list of boxes in the assembled image; every pixel inside is BAD. A dead amplifier
             is a box over all of it.
Input        any unit, assembled.
Output       mask plane BAD; the image is not changed.
References   reference ISR 4.5; product layout 5.9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Layout, StepConfig, rows_of, step
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.products import Defects

__all__ = ["DefectsConfig", "flag"]


class DefectsConfig(StepConfig):
    """The plane that defects set."""

    plane: str = Field("BAD", description="mask plane that is set")


@step("defects", needs="defects", after=("assemble",), area="assembled", config=DefectsConfig)
def flag_block(block: Block, defects: NDArray[np.uint8], cfg: DefectsConfig) -> None:
    """mask |= BAD inside the boxes."""
    arith.or_bits(block.mask, defects[block.data_rows], bit(cfg.plane), not block.has_mask)
    block.has_mask = True


@flag_block.digesting
def digest(product: Defects, layout: Layout, exposure: Exposure) -> NDArray[np.uint8]:
    """Defect map in read-out order, 0 or 1."""
    return rows_of(product.mask(layout.detector.box.shape).astype(np.uint8), layout)


flag = flag_block.verb()
