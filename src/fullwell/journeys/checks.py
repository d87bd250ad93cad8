"""Truth against measurement: what the demo prints, each with its error, its bound and its pull.

Every error is that of the estimator, not of the simulation: a pull is (measured - truth) / error and has
width 1 over many nights. The bound is the Cramer-Rao bound for the same frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame
from fullwell.products import Bias, Dark, Flat, Gain, Ptc
from fullwell.simulation import SensorModel, Truth
from fullwell.simulation.stars import star_stamp

__all__ = ["Check", "dark_checks", "flat_check", "gain_checks", "noise_checks", "star_check", "transfer_checks"]


@dataclass(frozen=True)
class Check:
    """One row: `measured` against `truth`, with the standard `error` and the Cramer-Rao `bound` on it."""

    name: str
    unit: str
    truth: float
    measured: float
    error: float
    bound: float = math.nan

    @property
    def pull(self) -> float:
        """(measured - truth) / error."""
        return (self.measured - self.truth) / self.error

    @property
    def ok(self) -> bool:
        """Whether the pull is below 4."""
        return abs(self.pull) < 4

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON types."""
        return {
            "name": self.name,
            "unit": self.unit,
            "truth": self.truth,
            "measured": self.measured,
            "error": self.error,
            "bound": None if math.isnan(self.bound) else self.bound,
            "pull": self.pull,
            "ok": self.ok,
        }


def gain_checks(sensor: SensorModel, gain: Gain, flats: int) -> list[Check]:
    """Gain of each amplifier. `flats` is the number of flats it was measured from.

    The bound: n frames of N pixels of unknown mean fix the variance to sqrt(2 / (N (n - n/2))) where flats come
    in pairs of unknown level each.
    """
    out = []
    for i, amp in enumerate(sensor.detector):
        bound = sensor.gain[i] * math.sqrt(2 / (amp.data.area * max(flats / 2, 1)))
        out.append(
            Check(
                f"gain {amp.name}",
                "electron/adu",
                float(sensor.gain[i]),
                float(gain.gain[i]),
                float(gain.gain_error[i]),
                bound,
            )
        )
    return out


def transfer_checks(sensor: SensorModel, ptc: Ptc) -> list[Check]:
    """Gain of each amplifier as photon transfer adopted it, free of brighter-fatter whether there is any or not."""
    out = []
    for name, true in zip(sensor.detector.names, sensor.gain, strict=True):
        i = ptc.amplifier(name)
        found, error = float(ptc.gain[i]), float(ptc.gain_error[i])
        out.append(Check(f"PTC gain {name}", "electron/adu", float(true), found, error))
    return out


def noise_checks(sensor: SensorModel, gain: Gain, biases: int) -> list[Check]:
    """Read noise of each amplifier, quantisation included; the error of the gain is part of the error."""
    out = []
    for i, amp in enumerate(sensor.detector):
        truth = math.hypot(float(sensor.read_noise[i]), float(sensor.gain[i]) / math.sqrt(12))
        bound = math.hypot(truth / math.sqrt(amp.data.area * max(biases, 1)), truth * gain.gain_error[i] / gain.gain[i])
        out.append(
            Check(
                f"read noise {amp.name}",
                "electron",
                truth,
                float(gain.read_noise[i]),
                float(gain.read_noise_error[i]),
                bound,
            )
        )
    return out


def dark_checks(sensor: SensorModel, dark: Dark, bias: Bias, gain: Gain, time: float, frames: int) -> list[Check]:
    """Mean dark rate of each amplifier over pixels that are neither hot nor defective.

    Rows share the error of their overscan value, so the error is that of the mean of the row means.
    """
    out = []
    good = ~(sensor.hot | sensor.bad)
    if dark.mask is not None:
        good &= dark.mask == 0
    for i, amp in enumerate(sensor.detector):
        at = amp.trimmed.slices
        ok = good[at]
        rows = np.array([dark.image[at][r][ok[r]].mean() for r in range(ok.shape[0]) if ok[r].any()])
        truth, measured = float(sensor.dark[at][ok].mean()), float(dark.image[at][ok].mean())
        scatter = float(rows.std(ddof=1) / math.sqrt(rows.size))
        error = math.hypot(scatter, measured * gain.gain_error[i] / gain.gain[i])
        # every row of every dark and bias has an offset of its own, known from n overscan pixels
        overscan = max(amp.serial_overscan.width - 6, 1) * ok.shape[0]
        noise, biases = float(sensor.read_noise[i]), max(len(bias.inputs), 1)
        row = noise**2 * (1 / frames + 1 / biases) / overscan
        pixel = ((noise**2 + truth * time) / frames + noise**2 / biases) / int(ok.sum())
        bound = math.sqrt(pixel + row) / time
        out.append(Check(f"dark rate {amp.name}", "electron/s", truth, measured, error, bound))
    return out


def flat_check(sensor: SensorModel, flat: Flat, band: str) -> Check:
    """How much of the true structure inside the amplifiers the flat shows: 1 when it shows all of it.

    The least-squares slope of measured on true structure, each about its mean in the amplifier (a common
    factor of an amplifier is its gain's). The error is that of least squares, which is the bound.
    """
    truth = sensor.flat(band)
    assert flat.variance is not None
    good = ~(sensor.bad | sensor.hot) & np.isfinite(flat.image) & (flat.variance > 0)
    if flat.mask is not None:
        good &= flat.mask == 0
    top = bottom = 0.0
    for amp in sensor.detector:
        at = amp.trimmed.slices
        ok = good[at]
        weight = ok / np.where(ok, _smooth_variance(flat.variance[at], ok), 1)
        t, f = truth[at].astype(float), np.where(ok, flat.image[at], 0).astype(float)
        t = t / np.average(t, weights=weight) - 1
        f = f / np.average(f, weights=weight) - 1
        top += float((weight * t * f).sum())
        bottom += float((weight * t * t).sum())
    error = 1 / math.sqrt(bottom)
    return Check(f"flat structure {band}", "", 1.0, top / bottom, error, error)


def _smooth_variance(variance: NDArray[np.float32], ok: NDArray[np.bool_]) -> float:
    """One variance for the amplifier: weights must not follow the noise of the pixels they weigh."""
    return float(np.median(variance[ok]))


def star_check(frames: Sequence[tuple[Frame, Truth]], gain: Gain, band: str) -> Check:
    """Flux of the stars of one band over all exposures, as a fraction of the true flux.

    Each star is fitted with the known profile and a constant sky in a box of 2.5 FWHM; a weighted mean of
    measured on true flux over all stars follows. What the gains have in common scales all fluxes. A combined flat has
    mean 1 with the pixels in it that see nothing, the true response has it without them: `scale` is the ratio.
    """
    top = bottom = 0.0
    for frame, truth in frames:
        scale = float(np.where(truth.sensor.blind, 0, truth.sensor.flat(band)).mean())
        for true, measured, variance in _fluxes(frame, truth):
            flux = true * scale
            top += measured * flux / variance
            bottom += flux**2 / variance
    common = float(np.sqrt(np.sum((gain.gain_error / gain.gain) ** 2)) / gain.gain.size)
    error = math.hypot(1 / math.sqrt(bottom), common)
    return Check(f"star flux {band}", "of true", 1.0, top / bottom, error, error)


def _fluxes(frame: Frame, truth: Truth) -> list[tuple[float, float, float]]:
    """(true, measured, variance) [electron] of each star whose box holds only good pixels."""
    spec: Any = truth.scene_spec
    good = frame.good() & ~truth.bad & ~truth.cosmic_rays & ~truth.saturated
    if frame.mask is not None:
        good &= ~frame.mask["INTRP"]
    expected = truth.scene / truth.throughput.clip(1e-3) + (_noise(truth) ** 2) / truth.throughput.clip(1e-3) ** 2
    half = math.ceil(2.5 * spec.fwhm)
    out = []
    for star in truth.light.catalogue:
        x, y = round(star.x), round(star.y)
        ny, nx = frame.shape
        if not (half <= x < nx - half and half <= y < ny - half):
            continue
        at = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
        if not good[at].all():
            continue
        _, _, stamp = star_stamp(spec, star.x, star.y)
        c = stamp.shape[0] // 2
        profile = stamp[c - half : c + half + 1, c - half : c + half + 1].ravel()
        flux = star.flux * spec.time
        other = (truth.light.stars[at] if truth.light.stars is not None else 0) - flux * profile.reshape(
            2 * half + 1, -1
        )
        value = (frame.image.array[at] - other).ravel().astype(float)
        weight = 1 / expected[at].ravel()
        design = np.stack([profile, np.ones_like(profile)])
        normal = np.linalg.inv((design * weight) @ design.T)
        fit = normal @ (design * weight) @ value
        out.append((flux, float(fit[0]), float(normal[0, 0])))
    return out


def _noise(truth: Truth) -> NDArray[np.float32]:
    """Read noise of each pixel [electron]."""
    out = np.zeros(truth.shape, np.float32)
    for amp, noise in zip(truth.sensor.detector, truth.sensor.read_noise, strict=True):
        out[amp.trimmed.slices] = noise
    return out
