"""Charge collected with the brighter-fatter effect inside: stored electrons change the areas of the pixels around.

Model        dQ = Poisson(dt R (1 + a (*) Q) + dt D), R the light and D the dark charge per second, a (*) Q the
             convolution with the relative change of area per stored electron. The sum of `a` over all lags is 0, so
             that what one pixel loses its neighbours gain.
Steps        K equal steps. The mean of dQ is linear in Q, so the second moments of the discrete process are known
             exactly: with A the Fourier transform of a and h = x / K, P' = (1 + A h)^2 P + h. With a scaled by
             K / (K - 1) this has the first order of the continuous process, P = (exp(2 A x) - 1) / (2 A) at mean x;
             `step_matrix` solves for the coefficients that have all orders, mode by mode. Then K changes third and
             higher moments alone.
Edges        "wrap": the amplifier is a torus, so that every pixel has the same statistics; "mirror": the charge
             beyond an edge is the mirror image. The mean charge is conserved by both under uniform light.
References   photon-transfer note A.3 and 10.2; Astier et al. 2019 (A&A 629, A36), whose equation 16 is P of a single
             mode. Nothing here is shared with the code that fits such curves.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.kernels import charge as compiled

__all__ = ["MATRICES", "Edge", "accumulate", "area_matrix", "expected_covariance", "step_matrix", "total"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
Edge = Literal["wrap", "mirror"]

MATRICES: dict[str, dict[str, float]] = {
    "e2v": {"a00": -2.7e-6, "a01": 5.0e-7, "a10": 2.05e-7, "a11": 1.54e-7, "power": 2.6},
    "itl": {"a00": -1.7e-6, "a01": 3.0e-7, "a10": 1.5e-7, "a11": 9.5e-8, "power": 2.6},
}
"""First coefficients [1/electron] and the power of the rest: "e2v" of the photon-transfer note, A.3; "itl" has the
published a00 of that vendor and neighbours of our choice."""


def total(a: NDArray[Any]) -> float:
    """Sum of an even matrix over all lags, from its quadrant (..., M, M)."""
    weight = np.where(np.arange(a.shape[-1]) > 0, 2.0, 1.0)
    return float(np.sum(np.asarray(a, np.float64) * weight[:, None] * weight[None, :]))


def area_matrix(kind: str = "e2v", *, a00: float | None = None, lags: int = 4) -> F8:
    """A matrix of area coefficients, (lags + 1, lags + 1) [1/electron], [i, j], i serial; its sum over all lags is 0.

    Parameters
    ----------
    kind : of `MATRICES`; a00 : scales the whole matrix to this central value, negative.
    lags : largest lag, at least 2; lags beyond 1 fall as r^-power and take up what the first four leave.

    Raises
    ------
    UsageError
        an unknown kind, too few lags, or a positive a00.
    """
    if kind not in MATRICES:
        raise UsageError(f"there is no area matrix '{kind}'", remedy=f"matrices: {', '.join(MATRICES)}")
    if lags < 2 or (a00 is not None and a00 > 0):
        raise UsageError(f"an area matrix of {lags} lags and a00 {a00} cannot be meant", remedy="lags >= 2, a00 <= 0")
    first = MATRICES[kind]
    i, j = np.meshgrid(np.arange(lags + 1.0), np.arange(lags + 1.0), indexing="ij")
    rest = np.where((i > 1) | (j > 1), np.hypot(i, j, where=(i + j) > 0, out=np.ones_like(i)) ** -first["power"], 0.0)
    out = np.zeros_like(rest)
    out[0, 0], out[0, 1], out[1, 0], out[1, 1] = (first[name] for name in ("a00", "a01", "a10", "a11"))
    out -= rest * (total(out) / total(rest))
    return out if a00 is None else out * (a00 / out[0, 0])


def _modes(a: F8, size: int) -> F8:
    """Fourier transform of the even extension of a quadrant, on (size, size) modes; real."""
    k = 2 * np.pi * np.arange(size) / size
    basis = np.cos(np.outer(k, np.arange(a.shape[0])))
    basis[:, 1:] *= 2
    out: F8 = basis @ a @ basis.T
    return out


def _lags(modes: F8, lags: int) -> F8:
    """The quadrant of an even function from its (size, size) Fourier modes."""
    size = modes.shape[0]
    basis = np.cos(2 * np.pi * np.outer(np.arange(lags + 1), np.arange(size)) / size) / size
    out: F8 = basis @ modes @ basis.T
    return out


def _growth(u: F8) -> F8:
    """(exp(u) - 1) / u, 1 at u = 0."""
    safe = np.where(np.abs(u) < 1e-12, 1.0, u)
    return np.where(np.abs(u) < 1e-12, 1.0, np.expm1(safe) / safe)


def expected_covariance(a: F8, level: float, lags: int = 8, *, size: int = 64) -> F8:
    """Covariances of the collected charge [electron2], (lags + 1, lags + 1), of a uniform light that gives `level`.

    The inverse Fourier transform of (exp(2 A x) - 1) / (2 A), without any truncation in powers of x.

    Parameters
    ----------
    level : mean charge x [electron]; size : of the grid of modes, larger than twice the range of the covariances.
    """
    return _lags(level * _growth(2 * level * _modes(np.asarray(a, np.float64), size)), lags)


def step_matrix(a: F8, level: float, steps: int, *, size: int = 64) -> F8:
    """Coefficients for `steps` steps that give at mean `level` [electron] the covariances of the continuous process.

    For each mode, s = (1 + A' h)^2 solves sum_{k<K} s^k = (exp(2 A x) - 1) / (2 A h), by Newton's method from the
    first-order answer s = 1 + 2 A x / (K - 1). The range of the matrix is kept, and its sum is put back to 0.
    """
    if steps < 2:
        raise UsageError(f"{steps} step cannot show the brighter-fatter effect", remedy="at least 2 steps")
    a = np.asarray(a, np.float64)
    if level <= 0 or not a.any():
        return a * (steps / (steps - 1))
    u = 2 * level * _modes(a, size)
    target, s = steps * _growth(u), 1 + u / (steps - 1)
    for _ in range(20):
        value, slope = np.zeros_like(s), np.zeros_like(s)
        for _k in range(steps):
            slope = slope * s + value
            value = value * s + 1
        change = (value - target) / slope
        s -= change
        if np.abs(change).max() < 1e-14:
            break
    out = _lags((np.sqrt(s) - 1) * (steps / level), a.shape[0] - 1)
    out[0, 0] -= total(out)
    return out


def accumulate(
    light: NDArray[Any] | float,
    dark: NDArray[Any] | float,
    a: F8,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    steps: int = 50,
    edge: Edge = "wrap",
    noisy: bool = True,
) -> F4:
    """Electrons in each pixel at the end of an exposure, (ny, nx) float32.

    Parameters
    ----------
    light, dark : mean electrons of the whole exposure, a number, a row, a column or (ny, nx).
    a : (L + 1, L + 1) [1/electron]; all zeros: one exact Poisson draw.
    rng : one stream for one amplifier: the numbers do not depend on threads.
    steps : K of this module's description; edge : likewise.
    noisy : False for the mean charge (of uniform light: unchanged).

    Raises
    ------
    UsageError
        fewer than 2 steps, or an amplifier smaller than the range of `a`.
    """
    bright, dim = (np.atleast_2d(np.asarray(v, np.float32)) for v in (light, dark))
    if not np.any(a):
        mean = np.broadcast_to(np.maximum(bright + dim, 0), shape)
        return rng.poisson(mean).astype(np.float32) if noisy else np.array(mean, np.float32)
    reach = a.shape[0] - 1
    if min(shape) < 2 * reach + 1:
        raise UsageError(f"an amplifier of {shape} is smaller than the area matrix of range {reach}")
    kernel = step_matrix(a, float(np.mean(bright)), steps).astype(np.float32)
    charge = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach), np.float32)
    area = np.ones(shape, np.float32)
    share = np.float32(1 / steps)
    bright, dim = bright * share, dim * share
    # areas stay within a factor of two, but where a pixel is brighter by far than its amplifier
    uniform = np.empty(shape if float(bright.min() + dim.min()) < 2 * compiled.FEW and noisy else (0, 0))
    normal = np.empty(shape if float(bright.max() + dim.max()) > compiled.FEW / 2 and noisy else (0, 0), np.float32)
    for _ in range(steps):
        if uniform.size:
            rng.random(out=uniform)
        if normal.size:
            rng.standard_normal(dtype=np.float32, out=normal)
        compiled.draw(charge, area, bright, dim, uniform, normal, noisy)
        compiled.fill_border(charge, reach, edge == "wrap")
        compiled.relative_area(charge, kernel, area)
    inner: F4 = charge[reach : reach + shape[0], reach : reach + shape[1]].copy()
    return inner
