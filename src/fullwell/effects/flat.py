"""Flat: the relative response of each pixel (vignetting, dust, PRNU, tree rings).

Model        image *= F(x, y), F of mean 1.
Assumes      the variance is complete: it must be made before the flat, because the shot noise is that of
             the electrons that were collected.
Input        adu or electron, bias and dark removed; assembled coordinates.
Output       I/F; variance V/F**2 + (I/F)**2 V_F/F**2 with V_F the variance of the master.
             Pixels where F is not a number above a millionth (no light arrives) become NaN and NO_DATA; the mask of the
             master is or-ed. The error of the master is common to all frames divided by it.
References   reference ISR 4.8 and section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Layout, StepConfig, rows_of, step
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.products import Flat

__all__ = ["FlatConfig", "add", "remove"]


class FlatConfig(StepConfig):
    """Whether the master's own variance enters the frame's."""

    propagate_variance: bool = Field(True, description="add the relative variance of the combined flat")


@dataclass(frozen=True)
class FlatRows:
    """A flat in the form of blocks: 1/F, its relative variance (size 0 if unknown), its mask."""

    inverse: NDArray[np.float32]
    relative: NDArray[np.float32]
    mask: NDArray[np.uint32] | None


EMPTY = np.zeros((0, 0), np.float32)
DARKEST = 1e-6
"""Response below which a pixel sees no light: dividing by it would leave numbers and noise without meaning."""


@step("flat", needs="flat", after=("variance", "dark", "bias"), area="assembled", config=FlatConfig)
def remove_block(block: Block, flat: FlatRows, cfg: FlatConfig) -> None:
    """image /= F, variance /= F**2 plus the variance of the flat."""
    rows = block.data_rows
    known = flat.relative.size and cfg.propagate_variance
    relative = flat.relative[rows] if known else EMPTY
    arith.times_inverse_flat(block.image, block.start_variance(), flat.inverse[rows], relative)
    for plane in block.components.values():
        arith.times_inverse_flat(np.empty_like(plane), plane, flat.inverse[rows], EMPTY)
    if known and block.exposure.keep_components:
        part = block.component("flat")
        assert part is not None
        part += block.image**2 * relative
    if flat.mask is not None:
        arith.or_plane(block.start_mask(), flat.mask[rows])


@remove_block.forward
def add_block(block: Block, flat: FlatRows, cfg: FlatConfig) -> None:
    """image *= F, variance *= F**2; 0 and NO_DATA where the flat is not positive: no light arrives there."""
    rows = block.data_rows
    response = np.nan_to_num(np.float32(1) / flat.inverse[rows])
    arith.times_inverse_flat(block.image, block.start_variance(), response, EMPTY)
    if flat.mask is not None:
        arith.or_plane(block.start_mask(), flat.mask[rows])


@remove_block.digesting
def digest(product: Flat, layout: Layout, exposure: Exposure) -> FlatRows:
    """Inverse and relative variance in read-out order; where the flat says nothing, NaN and NO_DATA.

    Raises
    ------
    GeometryError
        the product has not the size of the assembled detector.
    """
    image = product.image
    dead = ~((image > DARKEST) & np.isfinite(image))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(dead, np.float32(np.nan), 1 / image).astype(np.float32)
        relative = EMPTY if product.variance is None else (product.variance * inverse**2).astype(np.float32)
    mask = product.mask
    if dead.any():
        bits = dead.astype(np.uint32) * np.uint32(bit("NO_DATA"))
        mask = bits if mask is None else mask | bits
    return FlatRows(
        rows_of(inverse, layout),
        rows_of(relative, layout) if relative.size else EMPTY,
        None if mask is None else rows_of(mask, layout),
    )


remove, add = remove_block.verbs()
