"""Serial overscan (first form: one value per row)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fullwell.conductor import Block, StepConfig, step
from fullwell.kernels import arith, overscan


class SerialOverscanConfig(StepConfig):
    method: Literal["mean", "median"] = "median"
    skip_leading: int = 3
    skip_trailing: int = 3


@step("overscan_serial", unit="adu", area="raw", config=SerialOverscanConfig)
def remove_block(block: Block, given: None, cfg: SerialOverscanConfig) -> None:
    start, width = block.span("serial_overscan")
    start, width = start + cfg.skip_leading, width - cfg.skip_leading - cfg.skip_trailing
    level = np.empty((block.n, start.size), np.float32)
    if cfg.method == "mean":
        overscan.row_means(block.image, start, width, level)
    else:
        overscan.row_medians(block.image, start, width, level)
    layout = block.layout
    arith.subtract_rows(block.image, layout.start, layout.width, level)
