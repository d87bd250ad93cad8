"""Bias: the level that read-out leaves in each pixel after the overscan is gone.

Model        image += B(x, y), the same in every exposure.
Assumes      the overscan was subtracted from image and master alike, with the same settings.
Input        adu or electron, the unit of the master (another one is refused); assembled coordinates.
Output       image - B; the variance of the master is added, and its mask is or-ed. The error of the master is the same
             in all frames that it is taken from: independent within a frame, common between frames. A dark D built with
             the same master holds s B of it per second, s about 1 / (time of the darks): image - B - t D has the error
             of (1 - t s) B, not of B and t s B apart. The dark brings (t s)**2 V_B; here 1 - 2 t s is added.
References   reference ISR, step 18.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Layout, StepConfig, rows_of, step
from fullwell.kernels import arith
from fullwell.products import Bias

__all__ = ["BiasConfig", "add", "remove"]


class BiasConfig(StepConfig):
    """Whether the master's own variance enters the frame's."""

    propagate_variance: bool = Field(True, description="add the variance of the combined bias")


@dataclass(frozen=True)
class BiasRows:
    """A bias in the form of blocks; `variance` and `mask` None where the product has none."""

    image: NDArray[np.float32]
    variance: NDArray[np.float32] | None
    mask: NDArray[np.uint32] | None


@step(
    "bias",
    needs="bias",
    after=("overscan_serial", "overscan_parallel", "assemble"),
    area="assembled",
    config=BiasConfig,
)
def remove_block(block: Block, bias: BiasRows, cfg: BiasConfig) -> None:
    """image -= bias; variance += that of the master; masks are or-ed."""
    rows = block.data_rows
    arith.subtract_plane(block.image, bias.image[rows])
    if bias.variance is not None and cfg.propagate_variance:
        factor = np.float32(block.exposure.bias_factor)
        arith.add_plane(block.start_variance(), bias.variance[rows], factor)
        part = block.component("bias")
        if part is not None:
            arith.add_plane(part, bias.variance[rows], factor)
    if bias.mask is not None:
        arith.or_plane(block.start_mask(), bias.mask[rows])


@remove_block.forward
def add_block(block: Block, bias: BiasRows, cfg: BiasConfig) -> None:
    """image += bias, without noise."""
    arith.add_plane(block.image, bias.image[block.data_rows], np.float32(1))


@remove_block.digesting
def digest(product: Bias, layout: Layout, exposure: Exposure) -> BiasRows:
    """Planes in read-out order.

    Raises
    ------
    GeometryError
        the product has not the size of the assembled detector.
    """
    return BiasRows(
        rows_of(product.image, layout),
        None if product.variance is None else rows_of(product.variance, layout),
        None if product.mask is None else rows_of(product.mask, layout),
    )


remove, add = remove_block.verbs()
