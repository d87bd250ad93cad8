from __future__ import annotations

from fullwell.conductor import Block, step
from fullwell.kernels import arith


@step("linearity", needs="linearity", unit="any", area="raw")
def remove_block(block: Block, c, cfg) -> None:
    arith.polynomial(block.image, block.layout.start, block.layout.width, c)
