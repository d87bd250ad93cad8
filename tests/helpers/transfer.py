"""Photon-transfer points drawn from the equations of the literature, with nothing of the fits in them.

Variances and covariances are eq. 20 of Astier et al. 2019, the convolutions by scipy on the whole plane of
lags; scatter is Gaussian with the errors of N pixels. The a-matrix is that of an e2v sensor: nearest neighbours as
measured, an r^-2.6 tail, and no net change of area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from fullwell.products import Points

F8 = NDArray[np.float64]
A00 = -2.7e-6


def matrix(reach: int = 4, a00: float = A00) -> F8:
    """(2 reach + 1,) x (2 reach + 1,) [x lag, y lag] whose sum is zero."""
    lag = np.arange(-reach, reach + 1)
    x, y = np.meshgrid(lag, lag, indexing="ij")
    radius = np.hypot(x, y)
    radius[reach, reach] = 1.0
    near = {(0, 1): 5.0e-7, (1, 0): 2.05e-7, (1, 1): 1.54e-7}
    a = radius**-2.6
    fixed = np.zeros(a.shape, bool)
    for (i, j), value in near.items():
        here = (np.abs(x) == i) & (np.abs(y) == j)
        a[here], fixed[here] = value, True
    a[reach, reach], fixed[reach, reach] = A00, True
    a[~fixed] *= -a[fixed].sum() / a[~fixed].sum()
    return a * (a00 / A00)


def levels(low: float = 150.0, high: float = 100_000.0) -> F8:
    """39 signals [electron]: 8 in equal ratios from `low` to 2000, 31 in equal steps from 3000 to `high`."""
    return np.concatenate([np.geomspace(low, 2000.0, 8), np.linspace(3000.0, high, 31)])


@dataclass(frozen=True)
class Truth:
    """gain [electron/adu], noise [electron], a-matrix and b of all lags [1/electron], pixels of the amplifier."""

    gain: float = 0.77
    noise: float = 5.2
    a00: float = A00
    pixels: int = 1_000_000
    b: float = 0.0

    def covariances(self, signal: F8, lags: int) -> F8:
        """(n, lags + 1, lags + 1) [electron2] without read noise."""
        a = matrix(a00=self.a00)
        reach = 12
        wide = np.zeros((2 * reach + 1,) * 2)
        part = slice(reach - a.shape[0] // 2, reach + a.shape[0] // 2 + 1)
        wide[part, part] = a
        aa = fftconvolve(wide, wide, mode="same")
        aaa = fftconvolve(aa, wide, mode="same")
        x = signal[:, None, None]
        out = wide * x**2 + 2 / 3 * (aa + self.b * wide) * x**3 + (aaa / 3 + 5 / 6 * self.b * aa) * x**4
        out[:, reach, reach] += signal
        return out[:, reach : reach + lags + 1, reach : reach + lags + 1]


def draw(
    signal: F8 | None = None, *, truth: Truth | None = None, lags: int = 8, seed: int | None = 1, amp: str = "C00",
    mismatch: float | F8 = 0.0, pedestal: float = 0.0, beta: float = 0.0, clip: float = 1.0,
    hit: tuple[float, float] = (0, 0), full_well: float = np.inf, noise: float | None = None,
    pattern: float = 0.0, timed: bool = True,
) -> Points:  # fmt: skip
    """Points of one amplifier.

    mismatch : relative, of each pair; pedestal : [adu] added to the means; beta : mean = q (1 + beta q) [1/adu].
    clip : what the variance is multiplied by; hit : share of pixels with cosmic rays and their amplitude [adu].
    full_well : signal [electron] above which the variance falls; noise : what is said of the read noise [electron];
    pattern : rms of a fixed pattern left in the difference; seed None: no scatter.
    """
    truth = truth or Truth()
    signal = levels() if signal is None else np.asarray(signal, float)
    rng = np.random.default_rng(seed)
    cov = truth.covariances(signal, lags) / truth.gain**2
    cov[:, 0, 0] += (truth.noise / truth.gain) ** 2 + (pattern * signal / truth.gain) ** 2
    q = signal / truth.gain
    cov *= ((1 + 2 * beta * q) ** 2)[:, None, None]
    cov[:, 0, 0] *= np.where(signal > full_well, np.exp(-(signal - full_well) / 2e4), 1.0)
    error = np.broadcast_to(cov[:, :1, :1], cov.shape) / np.sqrt(truth.pixels)
    error = error * np.where(np.arange(lags + 1)[:, None] + np.arange(lags + 1) == 0, np.sqrt(2), 1.0)
    fold = np.ones((lags + 1, lags + 1))
    fold[1:, 1:] = np.sqrt(2)
    drawn = cov + (rng.normal(size=cov.shape) * error / fold if seed is not None else 0.0)
    raw = drawn[:, 0, 0].copy()
    mean = q * (1 + beta * q) + pedestal
    delta = mismatch * mean
    rays = hit[0] * hit[1] ** 2 * (rng.lognormal(0, 1, mean.size) if seed is not None else 1.0)
    ratio = (raw + (rays + delta**2) / 2) / mean
    drawn[:, 0, 0] *= clip
    said = truth.noise if noise is None else noise
    n = mean.size
    return Points(
        amp=amp, mean=mean, delta=delta, variance=drawn[:, 0, 0], variance_error=error[:, 0, 0],
        raw_variance=raw + rays / 2, ratio=ratio, ratio_error=error[:, 0, 0] / mean, ratio_median=0.454936 * ratio,
        noise=np.full(n, said / truth.gain),
        noise_error=np.full(n, said / truth.gain * 0.001), exposure_time=signal / 2000.0 if timed else np.zeros(0),
        covariance=drawn, pixels=np.full(cov.shape, truth.pixels) * np.rint(fold**2).astype(int),
    )  # fmt: skip
