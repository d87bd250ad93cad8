"""Curves of photon transfer and their derivatives.

Exponential (Astier et al. 2019, eq. 16); k = 1/gain [adu/electron], q = 2 a00 gain [1/adu], c = noise2 [adu2]::

    V(mu) = k mu E(q mu) + c,        E(X) = (exp(X) - 1) / X

Full covariance (eq. 20), x = gain mu, (*) the convolution of the even extensions of the quadrants, c = a b::

    C_ij(mu) = (1/g^2) { x d_i0 d_j0 + a_ij x^2 + (2/3) ([a(*)a]_ij + c_ij) x^3
                         + ((1/3) [a(*)a(*)a]_ij + (5/6) [a(*)c]_ij) x^4 + n_ij }

is for each lag a quartic in mu, of coefficients `Quartic`; the convolutions are products with matrices T(a), each made
by one look-up in a table of indices. Intermediate products keep all their lags, up to 2 M - 2.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quartic", "exponential", "full_covariance"]

F8 = NDArray[np.float64]
LIMIT = 30.0


def _expm1_ratio(x: F8) -> tuple[F8, F8]:
    """E(x) = (exp(x) - 1) / x and E'(x)."""
    x = np.clip(x, -LIMIT, LIMIT)
    small = np.abs(x) < 1e-3
    safe = np.where(small, 1.0, x)
    value = np.where(small, 1 + x / 2 + x * x / 6 + x**3 / 24, np.expm1(safe) / safe)
    slope = np.where(small, 0.5 + x / 3 + x * x / 8, (np.exp(safe) * (safe - 1) + 1) / safe**2)
    return value, slope


def exponential(values: F8, mean: F8) -> tuple[F8, F8]:
    """Variance [adu2] at `mean` (n,) [adu] for (k, q, c), and its derivatives (n, 3)."""
    k, q, c = values
    e, slope = _expm1_ratio(q * mean)
    return k * mean * e + c, np.stack([mean * e, k * mean**2 * slope, np.ones_like(mean)], axis=1)


@lru_cache(maxsize=32)
def _table(rows: int, side: int, known: int) -> NDArray[np.intp]:
    """(4, rows^2 side^2) indices into a flat quadrant of `known`^2 values and a zero at its end."""
    p, q = np.arange(rows), np.arange(side)
    signs = np.array([1, -1])
    lag = np.abs(p[:, None, None] - signs * q[None, :, None])
    lag[:, 0, 1] = known
    lag = np.minimum(lag, known)
    px = lag[:, None, :, None, :, None]
    py = lag[None, :, None, :, None, :]
    flat = np.where((px < known) & (py < known), px * known + py, known * known)
    return np.ascontiguousarray(flat.reshape(-1, 4).T)


def _matrix(kernel: F8, rows: int, side: int) -> F8:
    """T(kernel): (rows^2, side^2), which makes of a flat quadrant its convolution with `kernel`."""
    known = kernel.shape[0]
    flat = np.append(kernel.ravel(), 0.0)
    first, *others = _table(rows, side, known)
    total = flat.take(first)
    for indices in others:
        total += flat.take(indices)
    return np.asarray(total.reshape(rows * rows, side * side))


class Quartic:
    """Coefficients of the powers 0…4 of mu of the full-covariance model, and their derivatives.

    Parameters
    ----------
    side : M, lags 0…M-1 on both axes.
    with_b : whether c = a b is a parameter, or zero.

    Notes
    -----
    Parameters are a (M^2), c (M^2, with b), n' = n / gain^2 [adu2] (M^2), gain: in this order, in one vector.
    """

    def __init__(self, side: int, with_b: bool) -> None:
        self.side, self.with_b = side, with_b
        self.m2 = side * side
        self.size = (3 if with_b else 2) * self.m2 + 1

    def split(self, values: F8) -> tuple[F8, F8, F8, float]:
        """a, c, n' as (M, M), and the gain."""
        m2, shape = self.m2, (self.side, self.side)
        a, noise = values[:m2], values[-1 - m2 : -1]
        c = values[m2 : 2 * m2] if self.with_b else np.zeros(m2)
        return a.reshape(shape), c.reshape(shape), noise.reshape(shape), float(values[-1])

    def join(self, a: F8, c: F8, noise: F8, gain: float) -> F8:
        """The vector of parameters of `split`."""
        return np.concatenate([a.ravel(), *([c.ravel()] if self.with_b else []), noise.ravel(), [gain]])

    def __call__(self, values: F8) -> tuple[F8, F8]:
        """(5, M^2) coefficients, (5, M^2, p) derivatives."""
        side, m2 = self.side, self.m2
        a, c, noise, gain = self.split(values)
        wide = 2 * side - 1
        ta = _matrix(a, wide, side)
        square = (ta @ a.ravel()).reshape(wide, wide)
        near = ta.reshape(wide, wide, m2)[:side, :side].reshape(m2, m2)
        taa = _matrix(square, side, side)
        aa, aaa, ac = square[:side, :side].ravel(), taa @ a.ravel(), near @ c.ravel()
        third, fourth = (2 / 3) * (aa + c.ravel()), aaa / 3 + (5 / 6) * ac
        origin = np.zeros(m2)
        origin[0] = 1.0
        coefficients = np.stack([noise.ravel(), origin / gain, a.ravel(), third * gain, fourth * gain**2])
        d = np.zeros((5, m2, self.size))
        i = np.arange(m2)
        d[0, i, self.size - 1 - m2 + i] = 1.0
        d[1, 0, -1] = -1 / gain**2
        d[2, i, i] = 1.0
        d[3, :, :m2] = (4 / 3) * gain * near
        d[4, :, :m2] = gain**2 * taa
        d[3, :, -1], d[4, :, -1] = third, 2 * gain * fourth
        if self.with_b:
            d[4, :, :m2] += gain**2 * (5 / 6) * _matrix(c, side, side)
            d[3, i, m2 + i] = (2 / 3) * gain
            d[4, :, m2 : 2 * m2] = gain**2 * (5 / 6) * near
        return coefficients, d


def full_covariance(mean: F8, *, gain: float, a: F8, c: F8 | None = None, noise: F8 | None = None) -> F8:
    """Covariances of one image (n, M, M) [adu2] at `mean` (n,) [adu].

    Parameters
    ----------
    gain : [electron/adu]; a : (M, M) [1/electron]; c = a b : [1/electron2]; noise : [electron2].
    """
    side = a.shape[0]
    quartic = Quartic(side, True)
    empty = np.zeros_like(a)
    values = quartic.join(a, empty if c is None else c, (empty if noise is None else noise) / gain**2, gain)
    powers = np.asarray(mean, np.float64)[:, None] ** np.arange(5)
    return np.asarray((powers @ quartic(values)[0]).reshape(-1, side, side))
