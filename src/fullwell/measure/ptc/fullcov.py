"""The full-covariance fit: gain, a, b and noise of all lags of one amplifier at once.

The model of each lag is a quartic in the mean, so that by a QR decomposition the n points of a lag become five numbers
without loss. What is left for Levenberg-Marquardt is a problem of 5 M^2 data and 3 M^2 + 1 (or 2 M^2 + 1) parameters,
whatever the number of points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.measure.ptc.expfit import noise_of, scaled
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.leastsquares import inverse, marquardt
from fullwell.measure.ptc.models import Quartic
from fullwell.measure.ptc.weights import relative_errors
from fullwell.products.ptc import Points

__all__ = ["fit_full_covariance", "subtract_long_range"]

F8 = NDArray[np.float64]
ROUNDS = 4
ENOUGH, COARSE = 1e-5, 1e-2  # of chi2, in the last rounds and in the first, whose weights are not final
SETTLED = 1e-5
POWERS = np.arange(5)


def subtract_long_range(covariance: F8, start: int, degree: int) -> F8:
    """Covariances (n, L, L) less the polynomial, of `degree` in each lag, fitted where i or j is `start` or more."""
    side = covariance.shape[1]
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    terms = np.stack([i**p * j**q for p in range(degree + 1) for q in range(degree + 1)], axis=-1).astype(float)
    far = (i >= start) | (j >= start)
    if far.sum() <= terms.shape[-1]:
        return covariance
    fitted = np.linalg.lstsq(terms[far], covariance[:, far].T, rcond=None)[0]
    return np.asarray(covariance - np.moveaxis(terms @ fitted, -1, 0))


class _Compressed:
    """The weighted points of each lag as R (M^2, 5, 5), z (M^2, 5) and the chi2 that no quartic can explain."""

    def __init__(self, scaled_mean: F8, data: F8, errors: F8) -> None:
        """`scaled_mean` (n,) of about one; `data`, `errors` (n, M^2), not finite where a lag was not measured."""
        ok = np.isfinite(data) & np.isfinite(errors) & (errors > 0)
        weight = np.where(ok, 1 / np.where(ok, errors, 1.0), 0.0)
        y = np.where(ok, data, 0.0) * weight
        rows = scaled_mean[:, None] ** POWERS
        stacked = np.concatenate([weight.T[:, :, None] * rows, y.T[:, :, None]], axis=2)
        r: F8 = np.asarray(np.linalg.qr(stacked, mode="r"))
        if r.shape[1] < 6:
            r = np.concatenate([r, np.zeros((r.shape[0], 6 - r.shape[1], 6))], axis=1)
        self.r, self.z, self.rest = r[:, :5, :5], r[:, :5, 5], float(np.sum(r[:, 5, 5] ** 2))
        self.count = int(ok.sum())

    def start(self) -> F8:
        """(3, M^2) coefficients of the powers 0, 1, 2 of the parabola through each lag."""
        return np.asarray((np.linalg.pinv(self.r[:, :3, :3]) @ self.z[:, :3, None])[:, :, 0].T)


def _solve(quartic: Quartic, data: _Compressed, start: F8, scale: float, enough: float) -> tuple[F8, float, F8]:
    """Parameters, chi2, normal matrix."""
    units = scale ** POWERS.astype(float)

    def residuals(p: F8) -> tuple[F8, F8]:
        coefficients, slopes = quartic(p)
        r = data.z - np.einsum("lmk,kl->lm", data.r, coefficients * units[:, None])
        jac = np.matmul(data.r, (slopes * units[:, None, None]).transpose(1, 0, 2))
        return r.ravel(), jac.reshape(r.size, -1)

    found = marquardt(residuals, start, damping=1e-10, enough=enough)
    return found.values, found.chi2 + data.rest, found.normal


def _relative(points: Points, use: NDArray[np.bool_], side: int) -> tuple[F8, bool]:
    """(n, M, M) errors of covariances as parts of the variance, and whether they are known."""
    variance = relative_errors(points)
    pixels = points.pixels[use][:, :side, :side].astype(float)
    if variance is not None and pixels[:, 0, 0].min() > 0:
        with np.errstate(divide="ignore"):
            part = 1 / np.sqrt(pixels)
        part[:, 0, 0] = variance[use]
        return part, True
    part = np.ones((int(use.sum()), side, side))
    if variance is not None:
        part *= variance[use][:, None, None] / np.sqrt(2)
    part[:, 0, 0] *= np.sqrt(2)
    return part, variance is not None


def fit_full_covariance(points: Points, config: FitConfig, exp: Fit, *, with_b: bool) -> Fit:
    """Fit the covariances of the points that `exp` used.

    Returns
    -------
    Fit of "fullcov" or "fullcov_no_b" with parameters ("a_0_0", …, "c_…", "n_…" [electron2], "gain"); with `failure`
    where there are fewer good points than lags on a side, or none.
    """
    model = "fullcov" if with_b else "fullcov_no_b"
    side = min(config.side or points.lags + 1, points.lags + 1)
    use, reasons = exp.used, exp.reasons
    need = max(side, 5 if with_b else 4)
    text = exp.failure or (
        "" if use.sum() >= need else f"{use.sum()} points lie on the curve, at least {need} are needed"
    )
    if not text and side < 2:
        text = "no covariances between pixels were measured"
    if text:
        return Fit(model=model, failure=text, used=use, reasons=reasons)
    mean, covariance = points.mean[use], points.covariance[use]
    if config.long_range:
        covariance = subtract_long_range(covariance, config.long_range, config.long_range_degree)
    covariance = covariance[:, :side, :side].reshape(mean.size, -1)
    part, known = _relative(points, use, side)
    part = part.reshape(mean.size, -1)
    quartic, scale = Quartic(side, with_b), float(mean.max())
    level, values = covariance[:, 0], np.zeros(0)
    rounds = ROUNDS if config.weights == "model" else 1
    for turn in range(rounds):
        errors = np.ones_like(part) if config.weights == "none" else part * level[:, None]
        data = _Compressed(mean / scale, covariance, errors)
        if not values.size:
            values = _begin(quartic, data, exp, scale)
        before = values
        values, chi2, normal = _solve(quartic, data, values, scale, ENOUGH if turn or rounds == 1 else COARSE)
        fitted = (mean[:, None] ** POWERS) @ quartic(values)[0][:, 0]
        level = np.where(fitted > 0, fitted, level)
        if abs(values[-1] / before[-1] - 1) < SETTLED:
            break
    dof = data.count - quartic.size
    cov = inverse(normal)
    if scaled(known, config) or config.weights == "none":
        cov = cov * (chi2 / dof if dof > 0 else np.nan)
    return _as_fit(model, quartic, values, cov, (chi2, dof), exp)


def _begin(quartic: Quartic, data: _Compressed, exp: Fit, scale: float) -> F8:
    """First parameters: parabolas through the lags, gain and a00 of the exponential."""
    parabola = data.start() / (scale ** POWERS[:3].astype(float))[:, None]
    a = parabola[2].copy()
    a[0] = exp.a00
    noise = parabola[0].copy()
    noise[0] = exp.value("noise2") / exp.gain**2
    return quartic.join(a, np.zeros(quartic.m2), noise, exp.gain)


def _as_fit(model: str, quartic: Quartic, values: F8, cov: F8, quality: tuple[float, int], exp: Fit) -> Fit:
    """`Fit` with noise in electron2."""
    a, c, noise, gain = quartic.split(values)
    side, m2 = quartic.side, quartic.m2
    if not np.all(np.isfinite(cov)) or not gain > 0:
        text = "the points do not determine all parameters" if gain > 0 else "the gain is not positive"
        return Fit(model=model, failure=text, used=exp.used, reasons=exp.reasons)
    turn = np.ones(quartic.size)
    turn[-1 - m2 : -1] = gain**2
    jac_gain = np.zeros(quartic.size)
    jac_gain[-1 - m2 : -1] = 2 * gain * noise.ravel()
    spread = (turn[:, None] * cov) * turn + np.outer(jac_gain, turn * cov[-1]) + np.outer(turn * cov[-1], jac_gain)
    spread += np.outer(jac_gain, jac_gain) * cov[-1, -1]
    error = np.sqrt(np.maximum(np.diag(spread), 0.0))
    found = values.copy()
    found[-1 - m2 : -1] *= gain**2
    root, root_error = noise_of(float(found[-1 - m2]), float(error[-1 - m2]))
    kinds = ("a", "c", "n") if quartic.with_b else ("a", "n")
    lags = [f"{i}_{j}" for i in range(side) for j in range(side)]
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(a != 0, c / a, 0.0)

    def covariances(mean: F8) -> F8:
        powers = np.asarray(mean, np.float64).reshape(-1, 1) ** POWERS
        return np.asarray((powers @ quartic(values)[0]).reshape(-1, side, side))

    return Fit(
        model=model, names=(*(f"{k}_{lag}" for k in kinds for lag in lags), "gain"), values=found, covariance=spread,
        chi2=quality[0], dof=quality[1], used=exp.used, reasons=exp.reasons, gain=gain, gain_error=float(error[-1]),
        noise=root, noise_error=root_error, a00=float(a[0, 0]), a00_error=float(error[0]), a=a.copy(),
        a_error=error[:m2].reshape(side, side), b=b, noise_matrix=found[-1 - m2 : -1].reshape(side, side),
        curve=lambda mean: covariances(mean)[:, 0, 0], covariances=covariances,
    )  # fmt: skip
