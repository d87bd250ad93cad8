"""Random numbers that need no state: a function of key and counter, so that no order of work can change them.

`philox` is Philox 4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A counter
is (pixel, attempt, low and high word of a source), a key belongs to a seed and an exposure.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.kernels.jit import kernel

__all__ = ["FEW", "gaussians", "philox", "philox_words", "poisson", "poissons", "uniforms"]

F8 = NDArray[np.float64]

FEW = 10.0
"""Mean below which a Poisson number is found by inversion; above it by transformed rejection. Both are exact."""

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MUL0, _MUL1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_ADD0, _ADD1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_STEP = 1.0 / 9007199254740992.0
_S5, _S6, _S16 = np.uint64(5), np.uint64(6), np.uint64(16)
_INVERSE = np.zeros(256)
_INVERSE[1:] = 1 / np.arange(1, 256)
_FACTORIALS = np.array([math.lgamma(n + 1.0) for n in range(256)])


@kernel
def philox(c0: Any, c1: Any, c2: Any, c3: Any, key: Any) -> Any:
    """Four words of 32 bits, as uint64, of a counter of four such words and a key of 64 bits."""
    k0, k1 = key & _LOW, key >> _HALF
    for _ in range(10):
        p0, p1 = _MUL0 * c0, _MUL1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _ADD0) & _LOW, (k1 + _ADD1) & _LOW
    return c0, c1, c2, c3


@kernel
def philox_words(counter: Any, key: Any, out: Any) -> None:
    """`philox` of arrays: `counter` (4,), `out` (4,), uint64."""
    out[0], out[1], out[2], out[3] = philox(counter[0], counter[1], counter[2], counter[3], key)


@kernel
def _unit(high: Any, low: Any) -> float:
    """A number inside (0, 1) of 53 bits, of two words of 32."""
    whole = np.int64(((high >> _S5) << np.uint64(26)) | (low >> _S6))
    return (np.float64(whole) + 0.5) * _STEP


@kernel
def uniforms(y: int, x0: int, attempt: int, source: Any, key: Any, u: F8, v: F8) -> None:
    """u, v (n,) = two numbers inside (0, 1) for each of the pixels (x0 … x0 + n - 1, y) and a source (uint64)."""
    word = np.uint64(0xFFFF)
    row, first = (np.uint64(y) & word) << _S16, np.uint64(x0)
    low, high, trial = source & _LOW, source >> _HALF, np.uint64(attempt)
    low_key, high_key = key & _LOW, key >> _HALF
    for i in range(u.size):
        c0, c1, c2, c3, k0, k1 = row | ((first + np.uint64(i)) & word), trial, low, high, low_key, high_key
        for _ in range(10):
            p0, p1 = _MUL0 * c0, _MUL1 * c2
            c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
            k0, k1 = (k0 + _ADD0) & _LOW, (k1 + _ADD1) & _LOW
        u[i] = (np.float64(np.int64(((c0 >> _S5) << np.uint64(26)) | (c1 >> _S6))) + 0.5) * _STEP
        v[i] = (np.float64(np.int64(((c2 >> _S5) << np.uint64(26)) | (c3 >> _S6))) + 0.5) * _STEP


@kernel
def _log_factorial(n: float) -> float:
    """ln n!; Stirling's series above the table, good to 1e-16 there."""
    if n < 256.0:
        return float(_FACTORIALS[int(n)])
    m = n + 1.0
    r = 1.0 / m
    return (m - 0.5) * math.log(m) - m + 0.91893853320467274178 + r * (1.0 / 12.0 - r * r * (1.0 / 360.0))


@kernel
def poisson(mean: float, u: float, v: float, y: int, x: int, source: Any, key: Any) -> float:
    """A Poisson number of `mean`, from u and v of attempt 0 of a pixel, and of later attempts where these fail.

    Inversion below `FEW`; above it Hörmann's transformed rejection with squeeze (PTRS, 1993), as NumPy has it.
    """
    if mean <= 0.0:
        return 0.0
    if u <= 1.0 - mean:
        return 0.0
    if mean < FEW:
        n, p, left = 0, math.exp(-mean), u
        while left > p and n < 255:
            left -= p
            n += 1
            p *= mean * _INVERSE[n]
        return float(n)
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    again = 1.1239 + 1.1328 / (b - 3.4)
    quick = 0.9277 - 3.6224 / (b - 2.0)
    word = np.uint64(0xFFFF)
    pixel = ((np.uint64(y) & word) << _S16) | (np.uint64(x) & word)
    attempt = np.uint64(0)
    while True:
        shift = u - 0.5
        inner = 0.5 - abs(shift)
        k = math.floor((2.0 * a / inner + b) * shift + mean + 0.43)
        if inner >= 0.07 and v <= quick:
            return k
        if k >= 0.0 and not (inner < 0.013 and v > inner):
            left = math.log(v * again / (a / (inner * inner) + b))
            if left <= k * math.log(mean) - mean - _log_factorial(k):
                return k
        attempt += np.uint64(1)
        c0, c1, c2, c3 = philox(pixel, attempt, source & _LOW, source >> _HALF, key)
        u, v = _unit(c0, c1), _unit(c2, c3)


@kernel
def poissons(mean: F8, y: int, x0: int, source: Any, key: Any, out: F8) -> None:
    """out (n,) = Poisson numbers of `mean` (n,) for the pixels of a row, of one source."""
    u, v = np.empty(mean.size), np.empty(mean.size)
    uniforms(y, x0, 0, source, key, u, v)
    for i in range(mean.size):
        out[i] = poisson(mean[i], u[i], v[i], y, x0 + i, source, key)


@kernel
def gaussians(u: F8, v: F8) -> None:
    """Numbers inside (0, 1) to standard normal ones, in u (Box and Muller 1958)."""
    for i in range(u.size):
        u[i] = math.sqrt(-2.0 * math.log(u[i])) * math.cos(2.0 * math.pi * v[i])
