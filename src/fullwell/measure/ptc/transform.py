"""Covariances by the fast Fourier transform: the twin of the direct sums, faster from about 15 lags on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["transform_covariances"]


def transform_covariances(
    image: NDArray[Any], use: NDArray[np.bool_], lags: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What `fullwell.kernels.covariances.covariance_sums` gives, from three transforms in float64.

    Sides are filled with zeros to a length that is fast and at least that of the image plus `lags`, so that nothing
    wraps around.
    """
    from scipy import fft

    size = [fft.next_fast_len(n + lags, real=True) for n in image.shape]
    weight = use.astype(np.float64)
    f_image = fft.rfft2(np.where(use, image, 0).astype(np.float64), size)
    f_weight = fft.rfft2(weight, size)
    product = fft.irfft2(np.abs(f_image) ** 2, size)
    mixed = fft.irfft2(f_image * np.conj(f_weight), size)
    number = np.rint(fft.irfft2(np.abs(f_weight) ** 2, size)).astype(np.int64)
    i, j = np.meshgrid(np.arange(lags + 1), np.arange(lags + 1), indexing="ij")
    inside = (i < image.shape[1]) & (j < image.shape[0])

    def one(dx: NDArray[np.int64], dy: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        pairs = np.where(inside, number[dy, dx], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = product[dy, dx] / pairs - mixed[dy, dx] / pairs * (mixed[-dy, -dx] / pairs)
        return found, pairs

    covariance, pairs = one(i, j)
    other, more = one(-i, j)
    mirrored = (i > 0) & (j > 0)
    covariance = np.where(mirrored, 0.5 * (covariance + other), covariance)
    return covariance, np.where(mirrored, pairs + more, pairs)
