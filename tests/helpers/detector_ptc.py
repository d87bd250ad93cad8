"""The photon transfer of a detector, for figures: brighter-fatter, a turnoff, points left out, a dead amplifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from fullwell.frames import Observation
from fullwell.products import Estimate, Points, Ptc

GAIN, NOISE, A00, FULL, PIXELS, LAGS = 0.77, 5.2, -2.7e-6, 150_000.0, 1_000_000, 8
"""e-/adu, e-, 1/e-, e- of the turnoff, pixels of an amplifier, lags."""
NAMES = tuple(f"C{row}{column}" for row in "10" for column in range(8))
DEAD = "C13"
A_MATRIX = 2.0e-7 * np.array([[max(i * i + j * j, 1) ** -1.3 for j in range(LAGS)] for i in range(LAGS)])
A_MATRIX[0, 0], A_MATRIX[0, 1] = A00, 5.0e-7
BIASED = {"pair": 1.10, "line": 1.26, "quadratic": 1.02, "lab_pair": 1.104, "lab_line": 1.24, "power": 0.65}
"""Ratio to the gain."""
UNBIASED = ("zero_flux", "cov_sum", "exp", "fullcov", "eotest")


def exp_variance(mean: np.ndarray, gain: float) -> np.ndarray:
    """(exp(2 a g mu) - 1) / (2 a g^2) + (noise / g)^2 [adu2], a negative."""
    return np.asarray(np.expm1(2 * A00 * gain * mean) / (2 * A00 * gain**2) + (NOISE / gain) ** 2)


def points_of(name: str, gain: float, pairs: int, rng: np.random.Generator, *, dead: bool = False) -> Points:
    """Points of one amplifier; with more than twelve the last saturate, one was hit, and of one the flats differ."""
    many = pairs > 12
    grid = np.linspace(3000, 172_000, pairs - 8) if many else np.linspace(2000, 90_000, pairs)
    electrons = np.r_[np.geomspace(150, 2000, 8), grid] if many else grid
    time = electrons / 3000
    if dead:
        nothing = np.full(pairs, np.nan)
        why = ("no signal: 0.1 adu above the bias",) * pairs
        return Points(amp=name, mean=nothing, variance=nothing, reasons=why, exposure_time=time)
    mean = electrons / gain
    mean = mean * (1 - 1e-7 * mean)
    variance = exp_variance(mean, gain)
    full = electrons > FULL
    variance[full] *= np.exp(-(electrons[full] - FULL) / 6000)
    error = variance * np.sqrt(2 / PIXELS)
    variance = variance + error * rng.normal(size=pairs)
    scatter = rng.normal(size=(pairs, LAGS, LAGS)) * variance[:, None, None] / np.sqrt(PIXELS)
    covariance = A_MATRIX * (mean**2)[:, None, None] + scatter
    reasons = [""] * pairs
    if many:
        variance[20] *= 1.06
        reasons[20] = "the flats differ by 2.31 %, more than 1 %"
        variance[5] *= 1.2
        reasons[5] = "cosmic rays: 0.4 % of the pixels were rejected"
        for k in np.flatnonzero(electrons > 165_000):
            reasons[k] = "saturated: 3.2 % of the pixels"
    covariance[:, 0, 0] = variance
    return Points(
        amp=name, mean=mean, variance=variance, variance_error=error, exposure_time=time,
        delta=mean * 0.002 * rng.normal(size=pairs), noise=np.full(pairs, NOISE / gain),
        noise_error=np.full(pairs, 0.002), ratio=variance / mean, ratio_error=error / mean,
        covariance=covariance, pixels=np.full(covariance.shape, PIXELS), reasons=tuple(reasons),
    )  # fmt: skip


def estimates_of(gain: float, rng: np.random.Generator) -> tuple[Estimate, ...]:
    """Every estimator about `gain`, the biased ones off by their ratios; one without a value."""
    out = []
    for name in (*UNBIASED, *BIASED):
        ratio = BIASED.get(name, 1.0)
        found = ratio * (1.0 if name == "fullcov" else 1 + 0.002 * rng.normal())
        out.append(
            Estimate(name=name, gain=gain * found, error=0.001 * gain, found=found, found_error=0.001, predicted=ratio,
                     biased=name in BIASED, low=200.0, high=190_000.0, points=30)
        )  # fmt: skip
    out.append(Estimate(name="emva1288", gain=np.nan, reason="no dark frames"))
    return tuple(out)


def detector_ptc(amps: int = 16, pairs: int = 39, *, seed: int = 4, dead: str = DEAD, **changes: Any) -> Ptc:
    """The photon transfer of `amps` amplifiers and `pairs` pairs; the amplifier `dead` has no signal."""
    rng = np.random.default_rng(seed)
    names = NAMES[:amps]
    off = np.array([name == dead for name in names])
    gain = GAIN * (1 + 0.04 * rng.normal(size=amps))
    points = tuple(points_of(n, g, pairs, rng, dead=n == dead) for n, g in zip(names, gain, strict=True))
    known = np.where(off, np.nan, gain)
    none = 0 * known
    turnoff = FULL / known
    a = A_MATRIX + none[:, None, None]
    value: dict[str, Any] = {
        "amps": names, "gain": known * (1 + 0.0005 * rng.normal(size=amps)), "gain_error": 0.0008 * known,
        "gain_model_error": 0.002 * known, "read_noise": none + NOISE * (1 + 0.02 * rng.normal(size=amps)),
        "read_noise_error": none + 0.05, "read_noise_adu": NOISE / known,
        "a00": none + A00 * (1 + 0.03 * rng.normal(size=amps)), "a00_error": none + 2e-8,
        "chi2": none + 1 + 0.1 * rng.normal(size=amps), "turnoff": turnoff, "turnoff_error": 0.02 * turnoff,
        "range_low": none + 190.0, "range_high": turnoff, "a": a, "a_error": 0 * a + 1e-8, "b": 0 * a,
        "noise_matrix": 0 * a, "fit_type": "FULLCOVARIANCE", "estimator": "fullcov",
        "status": tuple("no signal: every pair is as dark as the bias" if o else "" for o in off), "points": points,
        "estimates": tuple(() if o else estimates_of(g, rng) for o, g in zip(off, gain, strict=True)),
        "diagnosis": tuple(() if o else ("Brighter-fatter bends the curve: 15 % at full well.",) for o in off),
        "pairs": tuple((f"flat_{2 * k:03d}", f"flat_{2 * k + 1:03d}") for k in range(pairs)),
        "model": np.stack([exp_variance(p.mean, g) for p, g in zip(points, gain, strict=True)]),
        "used": np.stack([p.good & (p.mean <= t) for p, t in zip(points, turnoff, strict=True)]),
        "observation": Observation(instrument="lsstcam", detector="R22_S11", detector_id=94),
    }  # fmt: skip
    return Ptc(**{**value, **changes})
