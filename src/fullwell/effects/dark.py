"""Dark current: electrons collected without light.

Model        image += D(x, y) * t, D per second, t the dark time (open, waiting and reading) [s].
Assumes      linear in t; the temperature of the master is that of the frame.
Input        adu or electron, the unit of the master times second (another one is refused); assembled coordinates.
Output       image - t D; variance += t**2 V_D, and += t D in electron, t D / gain in adu with a known gain: the
             shot noise of the dark charge itself, which is no longer in the image when the variance step runs.
             Kept parts: "dark", the shot noise, and "dark_frame", the error of the master.
References   reference ISR 4.7 and section 3 ("the shot noise of the dark current is missing").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.errors import HeaderError
from fullwell.conductor import Block, Exposure, Layout, Rows, StepConfig, rows_of, step
from fullwell.kernels import arith
from fullwell.products import Dark

__all__ = ["DarkConfig", "add", "remove"]


class DarkConfig(StepConfig):
    """Which noise of the dark enters the frame's variance."""

    propagate_variance: bool = Field(True, description="add the variance of the combined dark")
    shot_noise: bool = Field(True, description="add the shot noise of the dark charge of the frame itself")


@dataclass(frozen=True)
class DarkRows:
    """A dark in the form of blocks, per second; `variance` and `mask` None where the product has none."""

    image: NDArray[np.float32]
    variance: NDArray[np.float32] | None
    mask: NDArray[np.uint32] | None


@step("dark", needs="dark", after=("bias", "assemble"), area="assembled", config=DarkConfig)
def remove_block(block: Block, dark: DarkRows, cfg: DarkConfig) -> None:
    """image -= rate x dark time; the variances of master and dark charge are added."""
    rows, time = block.data_rows, np.float32(block.exposure.dark_time)
    rate = dark.image[rows]
    if cfg.shot_noise and block.unit == "electron":
        arith.subtract_poisson(block.image, block.variance, rate, time, not block.has_variance)
        block.has_variance = True
        _keep(block, "dark", rate, time)
    else:
        arith.subtract_scaled(block.image, rate, time)
        factor = block.exposure.poisson(block.unit)
        if cfg.shot_noise and factor.any():
            charge = rate * (time * np.repeat(factor, block.layout.width))
            arith.add_plane(block.start_variance(), charge, np.float32(1))
            _keep(block, "dark", charge, np.float32(1))
    if dark.variance is not None and cfg.propagate_variance:
        arith.add_plane(block.start_variance(), dark.variance[rows], time * time)
        _keep(block, "dark_frame", dark.variance[rows], time * time)
    if dark.mask is not None:
        arith.or_plane(block.start_mask(), dark.mask[rows])


@remove_block.forward
def add_block(block: Block, dark: DarkRows, cfg: DarkConfig) -> None:
    """image += rate x dark time, the mean without its shot noise."""
    arith.add_plane(block.image, dark.image[block.data_rows], np.float32(_time(block.exposure)))


@remove_block.digesting
def digest(product: Dark, layout: Layout, exposure: Exposure) -> DarkRows:
    """Planes in read-out order.

    Raises
    ------
    GeometryError
        the product has not the size of the assembled detector.
    """
    return DarkRows(
        rows_of(product.image, layout),
        None if product.variance is None else rows_of(product.variance, layout),
        None if product.mask is None else rows_of(product.mask, layout),
    )


@remove_block.preparing
def prepare(rows: Rows, dark: DarkRows, cfg: DarkConfig) -> DarkRows:
    """The planes as they are, after a look at the dark time, before any pixel is changed.

    Raises
    ------
    HeaderError
        the frame has no dark time.
    """
    _time(rows.exposure)
    return dark


def _time(exposure: Exposure) -> float:
    """Dark time of the frame [s]."""
    if not np.isfinite(exposure.dark_time) or exposure.dark_time < 0:
        raise HeaderError(
            f"the dark cannot be scaled: the dark time of the frame is {exposure.dark_time} s",
            where=exposure.observation.obs_id or None,
            remedy="give DARKTIME or EXPTIME in the header, or switch the step 'dark' off",
        )
    return exposure.dark_time


def _keep(block: Block, name: str, plane: NDArray[np.float32], factor: np.float32) -> None:
    part = block.component(name)
    if part is not None:
        arith.add_plane(part, plane, factor)


remove, add = remove_block.verbs()
