"""Settings of the measurement of photon transfer points."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.measure.ptc.background import Background

__all__ = ["ExtractConfig"]


class ExtractConfig(StepConfig):
    """What is measured of each pair of flats, in which pixels, and what makes a point a bad one."""

    clip: float = Field(default=5.5, gt=1, description="Half width of the clips of levels and difference [sigma].")
    rounds: int = Field(default=3, ge=1, description="How often is clipped.")
    lags: int = Field(default=8, ge=0, description="Largest lag of the covariances [pixel].")
    method: Literal["direct", "fft"] = Field(
        default="direct", description="Direct sums, or transforms: the same numbers."
    )
    masked: tuple[str, ...] = Field(
        default=("SUSPECT", "BAD", "NO_DATA", "SAT", "UNMASKEDNAN"),
        description="Mask planes whose pixels take no part.",
    )
    level: Literal["amplifier", "detector"] = Field(
        default="amplifier", description="Pixels of each amplifier, or all of the detector as one."
    )
    region: tuple[int, int, int, int] | None = Field(
        default=None, description="Only these pixels: x0, y0, width, height in the assembled image."
    )
    edge: int = Field(default=0, ge=0, description="Rows and columns left out along each side [pixel].")
    edge_of: Literal["amplifier", "detector"] = Field(default="amplifier", description="Whose sides `edge` is about.")
    vignetting: tuple[float, ...] = Field(
        default=(),
        description="Relative light, polynomial of the focal-plane radius [m], highest power first; empty: not used.",
    )
    vignetting_drop: float = Field(default=2.0, gt=0, description="Keep pixels with this much less light at most [%].")
    vignetting_pixels: int = Field(default=250_000, ge=1, description="Raise the drop by 1 % until so many are left.")
    binning: int = Field(default=1, ge=1, description="Mean of this many by this many pixels first.")
    diff_background: Background = Field(default="none", description="Smooth part taken off the difference.")
    box: int = Field(default=128, ge=8, description="Box of the median background [pixel].")
    pixels: int = Field(default=10_000, ge=2, description="Fewest pixels, before binning, that make a point.")
    mismatch: float = Field(default=0.02, gt=0, description="Largest difference of the two levels, of their mean.")
    mismatch_note: float = Field(default=0.005, gt=0, description="From this difference on it is noted.")
    min_mean: float = Field(default=0.0, description="A point lies above this mean [adu].")
    max_mean: float = Field(default=1e6, description="A point lies below this mean [adu].")
    saturated: float = Field(default=0.005, gt=0, description="Largest share of saturated pixels.")
    rejected: float = Field(default=0.01, gt=0, description="Largest share of pixels clipped as hits.")
    ks_test: bool = Field(default=False, description="Test the difference against a Gaussian (Kolmogorov-Smirnov).")
    ks_pixels: int = Field(default=20_000, ge=100, description="Pixels of that test, chosen at random.")
    ks_limit: float = Field(default=0.01, ge=0, description="A point of lower probability is bad.")
    seed: int = Field(default=12345, description="Of that choice.")
    charge_key: str = Field(
        default="", description="Header keyword of the light or charge of an exposure; empty: none."
    )
    noise: Literal["auto", "overscan", "bias", "given"] = Field(
        default="auto", description="Read noise from the overscan, else of bias pairs, else as given; or only from one."
    )
    overscan_light: float = Field(
        default=0.005, gt=0, description="Rise of the overscan level, of the signal, that means light or charge in it."
    )
    overscan_noise: float = Field(
        default=2.0, gt=1, description="Overscan noise, of that of the quiet pairs, that means so."
    )
    drift_note: float = Field(
        default=0.03, gt=0, description="Light per time that departs so much from the series is noted."
    )
    dead: float = Field(default=0.01, ge=0, description="An amplifier with less light, of the median of all, is dead.")
