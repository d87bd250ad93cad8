"""Coadds by formula: five exposures of other skies, transparencies and flats, shifted or not, and S of a source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ulike import flat_of, stars

from fullwell.frames import Frame

F8 = NDArray[np.float64]
SKIES = (40.0, 90.0, 60.0, 200.0, 120.0)
CLEAR = (1.0, 0.8, 0.95, 0.6, 0.9)
SHIFTS = ((0.0, 0.0), (0.5, 0.3), (0.3, 0.7), (0.6, 0.4), (0.4, 0.5))


@dataclass(frozen=True)
class Coadd:
    """The frame, sky taken off, and S [unit], (ny, nx)."""

    frame: Frame
    slope: F8


def shifted(plane: F8, by: tuple[float, float], power: int) -> F8:
    """Bilinear resampling by a part of a pixel, with the weights to a power (2 for a variance)."""
    out = np.zeros_like(plane)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (by[0] if dy else 1 - by[0]) * (by[1] if dx else 1 - by[1])
            out += weight**power * np.roll(plane, (-dy, -dx), (0, 1))
    return out


def make(weights: str, resampled: bool, side: int = 768, seed: int = 2, n: int = 400) -> Coadd:
    """Weights "inverse" (of the mean variance of the sky) or "equal"; unit: electron of a clear sky and flat 1."""
    rng = np.random.default_rng(seed)
    scene = stars(side, n, 3e3, 3e5, rng)
    images, variances, gains, noises = [], [], [], []
    for sky, clear, by in zip(SKIES, CLEAR, SHIFTS, strict=True):
        flat = flat_of(side, rng)
        at = tuple(-s for s in by) if resampled else (0.0, 0.0)
        light = _moved(scene, at) if resampled else scene
        collected = rng.poisson((sky + clear * light) * flat) + 6.0 * rng.standard_normal(flat.shape)
        k = 1 / (flat * clear)
        image, variance = k * collected - sky / clear, k**2 * (collected + 36.0)
        noises.append(float(np.mean(k**2 * (sky * flat + 36.0))))
        if resampled:
            image, variance, k = shifted(image, by, 1), shifted(variance, by, 2), shifted(k, by, 2)
        images.append(image)
        variances.append(variance)
        gains.append(k)
    w = 1 / np.array(noises) if weights == "inverse" else np.ones(len(noises))
    w /= w.sum()
    image = sum(a * i for a, i in zip(w, images, strict=True))
    variance = sum(a**2 * v for a, v in zip(w, variances, strict=True))
    slope = sum(a**2 * k for a, k in zip(w, gains, strict=True))
    edge = slice(2, -2)
    frame = Frame.from_arrays(
        np.asarray(image, np.float32)[edge, edge].copy(), np.asarray(variance, np.float32)[edge, edge].copy(),
        unit="electron",
    )  # fmt: skip
    return Coadd(frame, np.asarray(slope)[edge, edge])


def _moved(scene: F8, by: tuple[float, float]) -> F8:
    """The scene as an exposure sees it whose pixels lie elsewhere, by a phase in Fourier space."""
    ny, nx = scene.shape
    phase = np.fft.fftfreq(ny)[:, None] * by[0] + np.fft.fftfreq(nx)[None, :] * by[1]
    moved = np.fft.ifft2(np.fft.fft2(scene) * np.exp(2j * np.pi * phase)).real
    return np.asarray(np.maximum(moved, 0.0))
