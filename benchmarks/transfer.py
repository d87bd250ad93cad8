"""T13: the full-covariance fit of 8 x 8 lags at 200 fluxes, against scipy least squares at equal chi2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fullwell.measure.ptc import FitConfig, fit
from fullwell.measure.ptc.fullcov import POWERS
from fullwell.measure.ptc.models import Quartic, full_covariance
from fullwell.products import Points
from harness import Result, at_least, at_most, interleave

F8 = NDArray[np.float64]
SIDE, FLUXES, PIXELS = 8, 200, 1_000_000


def points() -> Points:
    """An e2v-like sensor to 90 kadu, with the errors of a megapixel."""
    rng = np.random.default_rng(6)
    i, j = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    a = 4e-7 * (1 + i * i + j * j) ** -1.3
    a[0, 0] = -2.8e-6
    noise = np.where((i == 0) & (j == 0), 30.0, 0.1)
    mean = np.linspace(500, 90_000, FLUXES)
    cov = full_covariance(mean, gain=1.4, a=a, c=1e-6 * a, noise=noise)
    error = cov[:, :1, :1] / np.sqrt(PIXELS) * np.where((i == 0) & (j == 0), np.sqrt(2), 1)
    cov += error * rng.standard_normal(cov.shape)
    return Points(amp="C00", mean=mean, variance=cov[:, 0, 0], covariance=cov, pixels=np.full(cov.shape, PIXELS))


def by_scipy(given: Points, start: F8, scale: F8) -> tuple[F8, float]:
    """Parameters and chi2 by trust-region least squares on all 12 800 data, analytic derivatives and scales given."""
    quartic, error = Quartic(SIDE, True), given.covariance_errors().reshape(FLUXES, -1)
    powers, data = given.mean[:, None] ** POWERS, given.covariance.reshape(FLUXES, -1)

    def residuals(p: F8) -> F8:
        return np.asarray(((powers @ quartic(p * scale)[0] - data) / error).ravel())

    def slopes(p: F8) -> F8:
        jac = np.tensordot(powers, quartic(p * scale)[1], axes=1) / error[:, :, None]
        return np.asarray(jac.reshape(data.size, -1) * scale)

    found = least_squares(residuals, start / scale, slopes, method="trf", ftol=1e-9, xtol=1e-9, gtol=1e-9)
    return found.x * scale, 2 * float(found.cost)


def family() -> list[Result]:
    """The figures of this family."""
    given, config = points(), FitConfig(weights="measured")
    exp = fit("exp", given, config)
    quartic, zeros = Quartic(SIDE, True), np.zeros((SIDE, SIDE))
    guess = zeros.copy()
    guess[0, 0] = exp.a00
    noise = np.where(guess != 0, exp.noise**2 / exp.gain**2, 0.0)
    start = quartic.join(guess, zeros, noise, exp.gain)
    scale = quartic.join(zeros + 1e-7, zeros + 1e-12, zeros + 1.0, 1.0)
    ours, (values, chi2) = fit("fullcov", given, config, exp), by_scipy(given, start, scale)
    assert abs(ours.chi2 - chi2) < 1e-3, (ours.chi2, chi2)
    assert abs(ours.gain - values[-1]) < 0.02 * ours.gain_error
    times = interleave(
        {
            "ours": lambda: fit("fullcov", given, config, exp),
            "default": lambda: fit("fullcov", given, None, exp),
            "scipy": lambda: by_scipy(given, start, scale),
        },
        5,
        1,
    )
    cpu = {name: t.cpu for name, t in times.items()}
    note = f"{1e3 * cpu['ours']:.0f} ms with given errors, {1e3 * cpu['default']:.0f} ms with errors from the fit"
    return [
        at_most("T13 full-covariance fit of an amplifier", 1e3 * cpu["default"], "ms of CPU", 30, note),
        at_least("T13 full-covariance fit, speed", cpu["scipy"] / cpu["ours"], "scipy trf, analytic Jacobian", 30),
    ]
