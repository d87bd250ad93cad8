"""Variance: the plane that says how far a pixel may lie from the truth.

Model        V = I + (dark charge) + R**2 + overscan fit + quantisation + V_bias + t**2 V_dark, in electron**2,
             with I the signal after bias and dark: the Poisson variance of what was collected is that of the
             signal and of the dark charge (the dark step has added its part).
Assumes      it runs before the flat, which divides it by F**2.
Input        electron; or adu: with the gain known V = I/g + (R/g)**2 + …, else no Poisson term. The record names
             the amplifiers without a gain, and those whose read noise is unknown and therefore not in V.
             A bias frame collects nothing, and without an overscan its counts are the level of the amplifier: the
             recipe of bias frames has no Poisson term (`poisson`).
Output       variance. The *total* is floored at a tenth of the read-noise variance, never the signal:
             flooring the signal makes V too large by 7-8 % in the dark. NaN in the image gives NaN.
Convention   "realised": the Poisson term is the pixel's own counts. Averages over pixels of one true level
             are unbiased; ratios (residual**2 / V) of single pixels are not.
References   reference ISR, section 3; injection note, section A.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.conductor import Block, Exposure, Rows, StepConfig, step
from fullwell.kernels import arith

__all__ = ["VarianceConfig", "flag"]


class VarianceConfig(StepConfig):
    """The Poisson term and the floor of the total."""

    poisson: bool = Field(True, description="whether the signal was collected: False for bias frames")
    floor: float = Field(0.1, ge=0, description="smallest total, as a fraction of the read-noise variance")

    def floor_of(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Smallest total for read-noise variances `noise` (n_amp,)."""
        return noise * np.float32(self.floor)


@dataclass(frozen=True)
class Terms:
    """By amplifier: Poisson variance per unit of signal and read-noise variance, for each unit of the image."""

    poisson: dict[str, NDArray[np.float32]]
    noise: dict[str, NDArray[np.float32]]


@step(
    "variance",
    after=("dark", "bias", "linearity", "overscan_serial", "gain", "brighter_fatter"),
    area="assembled",
    config=VarianceConfig,
)
def flag_block(block: Block, terms: Terms, cfg: VarianceConfig) -> None:
    """variance += Poisson term of the image + read noise + row terms, then the floor."""
    layout = block.layout
    per_unit, noise = terms.poisson[block.unit], terms.noise[block.unit]
    if block.exposure.keep_components:
        _keep(block, per_unit, noise)
    arith.poisson_variance(
        block.variance,
        block.image,
        layout.start,
        layout.width,
        block.row_variance + noise,
        per_unit,
        cfg.floor_of(noise),
        not block.has_variance,
    )
    block.has_variance = True
    block.spend_rows()


@flag_block.preparing
def prepare(rows: Rows, given: None, cfg: VarianceConfig) -> Terms:
    """Read noise and Poisson factors of each amplifier, in both units."""
    exposure, units = rows.exposure, ("adu", "electron")
    factor = np.float32(cfg.poisson)
    return Terms({u: factor * exposure.poisson(u) for u in units}, {u: exposure.noise(u) for u in units})


@flag_block.finishing
def finish(exposure: Exposure, terms: Terms, cfg: VarianceConfig) -> dict[str, Any]:
    """The convention, the read noise taken [electron], and which amplifiers lack a gain (in adu: no Poisson term) or
    a read noise.
    """
    names = exposure.detector.names
    known = np.isfinite(exposure.gain) & np.isfinite(exposure.read_noise)
    return {
        "convention": "realised",
        "read_noise": {n: float(exposure.read_noise[i]) for i, n in enumerate(names) if known[i]},
        "without_gain": [n for n, g in zip(names, exposure.gain, strict=True) if not (np.isfinite(g) and g > 0)],
        "without_read_noise": [n for n, r in zip(names, exposure.read_noise, strict=True) if not np.isfinite(r)],
    }


def _keep(block: Block, per_unit: np.ndarray, noise: np.ndarray) -> None:
    """The parts: Poisson, read noise, and what is the same along a row."""
    amp = np.repeat(np.arange(len(block.layout.detector)), block.layout.width)
    for name, values in (
        ("poisson", block.image * per_unit[amp]),
        ("read_noise", np.broadcast_to(noise[amp], block.image.shape)),
        ("overscan", block.row_variance[:, amp]),
    ):
        part = block.component(name)
        if part is not None:
            part += values


flag = flag_block.verb()
