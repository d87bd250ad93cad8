"""Variance: the plane that says how far a pixel may lie from the truth.

Model        V = I + (dark charge) + R**2 + overscan fit + quantisation + V_bias + t**2 V_dark, in electron**2,
             with I the signal after bias and dark: the Poisson variance of what was collected is that of the
             signal and of the dark charge (the dark step has added its part).
Assumes      it runs before the flat, which divides it by F**2.
Input        electron with known read noise; or adu, where it has no Poisson term and says so
             (gain unknown), or, with the gain known, V = I/g + (R/g)**2 + ….
Output       variance. The *total* is floored at a tenth of the read-noise variance, never the signal:
             flooring the signal makes V too large by 7-8 % in the dark.
Convention   "realised": the Poisson term is the pixel's own counts. Averages over pixels of one true level
             are unbiased; ratios (residual**2 / V) of single pixels are not.
References   reference ISR, section 3; injection note, section A.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.conductor import Block, Rows, StepConfig, step
from fullwell.kernels import arith

__all__ = ["VarianceConfig", "flag"]


class VarianceConfig(StepConfig):
    """The floor of the total, as a fraction of the read-noise variance."""

    floor: float = 0.1

    def floor_of(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Smallest total for read-noise variances `noise` (n_amp,)."""
        return noise * np.float32(self.floor)


@dataclass(frozen=True)
class Terms:
    """By amplifier: Poisson factor and read-noise variance, in electron and in adu (0 where not known)."""

    ones: NDArray[np.float32]
    noise: NDArray[np.float32]
    per_adu: NDArray[np.float32]
    noise_adu: NDArray[np.float32]


@step(
    "variance",
    after=("dark", "bias", "linearity", "overscan_serial", "gain", "brighter_fatter"),
    area="assembled",
    config=VarianceConfig,
)
def flag_block(block: Block, terms: Terms, cfg: VarianceConfig) -> None:
    """variance += Poisson term of the image + read noise + row terms, then the floor."""
    layout = block.layout
    per_unit, noise = (terms.ones, terms.noise) if block.unit == "electron" else (terms.per_adu, terms.noise_adu)
    if block.exposure.keep_components:
        _keep(block, per_unit, noise)
    rows = block.row_variance + noise
    arith.poisson_variance(
        block.variance,
        block.image,
        layout.start,
        layout.width,
        rows,
        per_unit,
        cfg.floor_of(noise),
        not block.has_variance,
    )
    block.has_variance = True


@flag_block.preparing
def prepare(rows: Rows, given: None, cfg: VarianceConfig) -> Terms:
    """Read noise and Poisson factors of each amplifier, in both units."""
    exposure = rows.exposure
    known = np.isfinite(exposure.gain)
    noise = np.nan_to_num(exposure.read_noise) ** 2
    with np.errstate(invalid="ignore"):
        return Terms(
            np.ones(known.size, np.float32),
            noise.astype(np.float32),
            np.where(known, 1 / exposure.gain, 0).astype(np.float32),
            np.where(known, noise / exposure.gain**2, noise).astype(np.float32),
        )


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
            part[:] = values


flag = flag_block.verb()
