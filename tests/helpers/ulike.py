"""Planes made by formula: a detector at the edge in a blue band, dark sky, a flat of 0.75 with structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Detector
from fullwell.frames import Frame
from fullwell.simulation import grid_detector

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """A frame and what is true of it: K, b, r, the mean of the image [unit]."""

    frame: Frame
    k: F8
    background: float
    read_noise: F8
    mean: F8

    def planes(self, variance: F8) -> Frame:
        """The same frame with another variance."""
        assert self.frame.image is not None
        return Frame.from_arrays(
            self.frame.image.array.copy(),
            variance.astype(np.float32),
            unit=self.frame.unit,
            detector=self.frame.detector,
        )


def detector(side: int) -> Detector:
    """Eight amplifiers in two rows of four."""
    return grid_detector(4, 2, (side // 2, side // 4))


def flat_of(side: int, rng: np.random.Generator, *, texture: float = 0.01, amps: float = 0.0) -> F8:
    """Mean 0.75, from 0.63 to 0.88: a slope across, waves, and `texture` from pixel to pixel."""
    y, x = np.mgrid[:side, :side] / side
    flat = 0.75 * (1 + 0.11 * (x - 0.5) + 0.10 * (y - 0.5) + 0.02 * np.sin(9 * x) * np.cos(7 * y))
    flat *= 1 + texture * rng.standard_normal(flat.shape)
    if amps:
        for amp in detector(side):
            flat[amp.trimmed.slices] *= 1 + amps * rng.uniform(-1, 1)
    return np.asarray(flat)


def stars(side: int, n: int, low: float, high: float, rng: np.random.Generator, fwhm: float = 3.5) -> F8:
    """Mean of `n` Gaussian stars, fluxes from `low` to `high` uniform in magnitude."""
    out, reach, sigma = np.zeros((side, side)), 15, fwhm / 2.3548
    step = np.arange(-reach, reach + 1)
    for _ in range(n):
        x, y = rng.uniform(reach, side - reach - 1, 2)
        flux = low * (high / low) ** rng.uniform()
        j, i = round(x), round(y)
        gx, gy = (np.exp(-0.5 * ((step + c - p) / sigma) ** 2) for c, p in ((j, x), (i, y)))
        out[i - reach : i + reach + 1, j - reach : j + reach + 1] += flux * np.outer(gy, gx) / gy.sum() / gx.sum()
    return out


def make(
    side: int = 2048,
    *,
    seed: int = 1,
    sky: float = 60.0,
    c: float = 1.0,
    light: Any = 0.0,
    background: float | None = None,
    texture: float = 0.01,
    phi: float = 0.0,
    amps: float = 0.0,
    gradient: float = 0.0,
    unit: str = "electron",
) -> Made:
    """One exposure: `sky` [electron collected at flat 1] and `light` (the same, (ny, nx)); `background` [unit] is what
    was taken off, by default all of the sky; `phi` : relative variance of the flat in the plane; c : unit per electron.
    """
    rng = np.random.default_rng(seed)
    flat = flat_of(side, rng, texture=texture, amps=amps)
    noise = np.empty((side, side))
    for amp in detector(side):
        noise[amp.trimmed.slices] = rng.uniform(5, 8)
    slope = 1 + gradient * (np.mgrid[:side, :side][1] / side - 0.5)
    mean = (sky * slope + light) * flat
    collected = rng.poisson(mean) + noise * rng.standard_normal(mean.shape)
    k = c / flat
    b = c * sky if background is None else background
    total = k * collected
    variance = k * total + k**2 * noise**2 + phi * total**2
    frame = Frame.from_arrays(
        (total - b).astype(np.float32), variance.astype(np.float32), unit=unit, detector=detector(side)
    )
    return Made(frame, k, b, noise, k * mean - b)
