"""Calibrations of a simulated sensor: the exact ones, and masters drawn with the noise that frames would give.

Model        a master is the mean of n frames. Its error per pixel is normal with the variance of one frame over n:
             read noise and rounding, R**2 + g**2 / 12; the error of the overscan, which is common to a row of an
             amplifier, pi/2 times that over the columns used (median); and for darks and flats the Poisson noise
             of the charge, drawn as one Poisson number of n times the mean.
Assumes      each master was made with a bias of its own, so that the errors of bias, dark and flat are independent,
             as the variance of a corrected frame takes them to be.
Why          closure tests need masters drawn afresh for each of hundreds of exposures.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.frames import Observation
from fullwell.products import Bias, Crosstalk, Dark, Defects, Flat, Gain, Linearity, Product
from fullwell.simulation.sensor import SensorModel
from fullwell.simulation.streams import Streams

__all__ = ["exact_products", "masters"]

F4 = NDArray[np.float32]


def exact_products(sensor: SensorModel, band: str = "") -> dict[str, Product]:
    """Role -> product that undoes the sensor's effects without error.

    Roles: bias, dark, flat, gain, defects, crosstalk, linearity. Bias in electron, dark in electron per second.
    The read noise of the gain includes the rounding, ``sqrt(R**2 + g**2 / 12)``, as the overscan shows it.
    """
    det, n = sensor.detector, len(sensor.detector)
    obs = Observation(detector=det.name, detector_id=det.id, filter=band, band=band)
    zero = np.zeros(n)
    full = (sensor.full_well / sensor.gain) if np.isfinite(sensor.full_well) else np.full(n, np.nan)
    more: dict[str, Any] = {"observation": obs, "detector": det}
    return {
        "bias": Bias(image=sensor.bias, unit="electron", **more),
        "dark": Dark(image=sensor.dark, unit="electron/s", **more),
        "flat": Flat(image=sensor.flat(band), **more),
        "gain": Gain(
            amps=det.names,
            gain=sensor.gain,
            gain_error=zero,
            read_noise=_noise(sensor),
            read_noise_error=zero,
            saturation=np.fmin(full, sensor.top - sensor.level),
            estimator="simulation",
            observation=obs,
        ),
        "defects": Defects.from_mask(sensor.bad, observation=obs),
        "crosstalk": Crosstalk(amps=det.names, coefficients=sensor.crosstalk, unit="electron", observation=obs),
        "linearity": Linearity(
            amps=det.names, models=("Polynomial",) * n, coefficients=tuple(sensor.linearity), observation=obs
        ),
    }


def masters(
    sensor: SensorModel,
    *,
    seed: int,
    band: str = "",
    n_bias: int = 16,
    n_dark: int = 16,
    dark_time: float = 100.0,
    n_flat: int = 16,
    flat_level: float = 40000.0,
    skip: int = 6,
) -> dict[str, Product]:
    """All products of a night, bias, dark and flat with noise of their own; the others are exact.

    Parameters
    ----------
    seed : of the draw; another seed gives another night of the same sensor.
    n_bias, n_dark, n_flat : frames in each master; dark_time [s] of one dark; flat_level [electron] of one flat.
    skip : overscan columns that the overscan step leaves out.

    Raises
    ------
    UsageError
        a number of frames below 1, or no dark time or flat level.
    """
    if min(n_bias, n_dark, n_flat) < 1 or dark_time <= 0 or flat_level <= 0:
        raise UsageError("masters need at least one frame each, a dark time and a flat level above 0")
    out, streams = exact_products(sensor, band), Streams(seed)
    single, row = _frame_noise(sensor, skip)

    def drawn(label: str, n: int) -> tuple[F4, F4]:
        """Error of a mean of `n` bias-like frames from which another bias was taken, and its variance."""
        share = 1 / n + (0 if label == "bias" else 1 / n_bias)
        error = streams(f"master {label}").standard_normal(single.shape, dtype=np.float32)
        error *= np.sqrt(single * np.float32(share))
        rows = streams(f"master {label} rows")
        for a, amp in enumerate(sensor.detector):
            if row[a] > 0:
                sensor.readout(a, error)[...] += (
                    math.sqrt(row[a] * share) * rows.standard_normal((amp.data.height, 1))
                ).astype(np.float32)
        return error, (single + by_amp(sensor, row)) * np.float32(share)

    def counted(label: str, mean: F4, n: int) -> F4:
        return (streams(f"master {label} charge").poisson(mean * np.float32(n)) / n).astype(np.float32)

    more: dict[str, Any] = {"observation": out["bias"].observation, "detector": sensor.detector}
    error, variance = drawn("bias", n_bias)
    out["bias"] = Bias(image=sensor.bias + error, variance=variance, unit="electron", **more)
    error, variance = drawn("dark", n_dark)
    charge, time = sensor.dark * np.float32(dark_time), np.float32(dark_time)
    out["dark"] = Dark(
        image=(counted("dark", charge, n_dark) + error) / time,
        variance=(charge / np.float32(n_dark) + variance) / time**2,
        unit="electron/s",
        **more,
    )
    error, variance = drawn("flat", n_flat)
    light, level = sensor.flat(band) * np.float32(flat_level), np.float32(flat_level)
    out["flat"] = Flat(
        image=(counted("flat", light, n_flat) + error) / level,
        variance=(light / np.float32(n_flat) + variance) / level**2,
        **more,
    )
    return out


def by_amp(sensor: SensorModel, values: NDArray[np.float64]) -> F4:
    """One value per amplifier as a map (ny, nx)."""
    out = np.empty(sensor.detector.box.shape, np.float32)
    for amp, value in zip(sensor.detector, values, strict=True):
        out[amp.trimmed.slices] = value
    return out


def _noise(sensor: SensorModel) -> NDArray[np.float64]:
    """[electron] (n_amp,) rms of a bias pixel: read noise and rounding."""
    return np.sqrt(sensor.read_noise**2 + sensor.gain**2 / 12)


def _frame_noise(sensor: SensorModel, skip: int) -> tuple[F4, NDArray[np.float64]]:
    """Variance of one bias frame [electron**2]: of each pixel (ny, nx), and common to each row (n_amp,)."""
    noise = _noise(sensor) ** 2
    used = np.array([amp.serial_overscan.width - skip for amp in sensor.detector])
    row = np.where(used > 0, math.pi / 2 * noise / np.maximum(used, 1), 0.0)
    return by_amp(sensor, noise), row
