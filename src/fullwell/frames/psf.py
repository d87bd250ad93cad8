"""Point spread functions as data: what a point of light looks like in the pixels of a frame.

Every form gives a `table`: the profile integrated over pixels, centred on the middle of an array of odd sides,
`sampling` samples a pixel, as float64. That is the *effective* profile: the image of a star whose centre lies in
the middle of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError

__all__ = ["GaussianPsf", "GridPsf", "ImagePsf", "MoffatPsf", "Psf"]

F8 = NDArray[np.float64]

NODES = 0.5 * np.array([-0.9061798459386640, -0.5384693101056831, 0.0, 0.5384693101056831, 0.9061798459386640])
WEIGHTS = 0.5 * np.array(
    [0.2369268850561891, 0.4786286704993665, 0.5688888888888889, 0.4786286704993665, 0.2369268850561891]
)
SAMPLING = 4
"""Samples a pixel of the analytic profiles."""


@runtime_checkable
class Psf(Protocol):
    """What a point spread function gives."""

    @property
    def sampling(self) -> int:
        """Samples of a table per pixel."""

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""

    @property
    def constant(self) -> bool:
        """Whether it is the same everywhere."""

    def table(self, x: float, y: float, half: int | None = None) -> F8:
        """The profile at (x, y) of the detector [pixel], over `half` pixels to each side."""


def _fwhm(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"a PSF of FWHM {value} cannot be", remedy="the full width at half maximum [pixel], above 0")


@dataclass(frozen=True)
class GaussianPsf:
    """A round normal profile of full width at half maximum `fwhm` [pixel], cut at 3.5 FWHM."""

    fwhm: float

    sampling = SAMPLING
    constant = True

    def __post_init__(self) -> None:
        _fwhm(self.fwhm)

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""
        return math.ceil(3.5 * self.fwhm)

    def table(self, x: float = 0, y: float = 0, half: int | None = None) -> F8:
        """The profile, exact integrals over pixels."""
        from scipy.special import erf

        n = SAMPLING * (self.half if half is None else half)
        at, scale = np.arange(-n, n + 1) / SAMPLING, 2 * math.sqrt(math.log(2)) / self.fwhm
        line = 0.5 * (erf((at + 0.5) * scale) - erf((at - 0.5) * scale))
        return np.outer(line, line)


@dataclass(frozen=True)
class MoffatPsf:
    """A round Moffat profile (Trujillo et al. 2001) of width `fwhm` [pixel] and exponent `beta`, cut at 5 FWHM."""

    fwhm: float
    beta: float = 3.5

    sampling = SAMPLING
    constant = True

    def __post_init__(self) -> None:
        _fwhm(self.fwhm)
        if not self.beta > 1:
            raise DataError(f"a Moffat profile of exponent {self.beta} has no finite flux", remedy="beta is above 1")

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""
        return math.ceil(5 * self.fwhm)

    def table(self, x: float = 0, y: float = 0, half: int | None = None) -> F8:
        """The profile, integrated over pixels at 5 x 5 Gauss-Legendre points."""
        n = SAMPLING * (self.half if half is None else half)
        at = np.arange(-n, n + 1) / SAMPLING
        scale = (self.fwhm / 2) ** 2 / (2 ** (1 / self.beta) - 1)
        out = np.zeros((at.size, at.size))
        for v, wv in zip(NODES, WEIGHTS, strict=True):
            for u, wu in zip(NODES, WEIGHTS, strict=True):
                out += wu * wv * (1 + ((at + v)[:, None] ** 2 + (at + u)[None, :] ** 2) / scale) ** -self.beta
        norm: F8 = out * (self.beta - 1) / (math.pi * scale)
        return norm


def _odd(array: NDArray, sampling: int) -> F8:
    """A table that can be used: two axes, odd sides, finite, with light in it."""
    out = np.asarray(array, np.float64)
    if out.ndim != 2 or out.shape[0] % 2 == 0 or out.shape[1] % 2 == 0:
        raise DataError(f"a PSF of shape {out.shape} has no middle pixel", remedy="an image of two axes with odd sides")
    if not np.isfinite(out).all() or not out.sum() > 0:
        raise DataError("the image of the PSF is not finite, or holds no light", remedy="give a star of positive flux")
    if sampling < 1:
        raise DataError(f"a PSF of {sampling} samples a pixel cannot be", remedy="1 or more")
    return out


def _cut(table: F8, half: int) -> F8:
    """`table` on a square of ``2 half + 1``, cut or filled with zeros."""
    out = np.zeros((2 * half + 1, 2 * half + 1))
    hy, hx = table.shape[0] // 2, table.shape[1] // 2
    my, mx = min(hy, half), min(hx, half)
    out[half - my : half + my + 1, half - mx : half + mx + 1] = table[hy - my : hy + my + 1, hx - mx : hx + mx + 1]
    return out


@dataclass(frozen=True, eq=False)
class ImagePsf:
    """An image of a star: `image` (h, w) with odd sides, centred on its middle, `sampling` samples a pixel."""

    image: F8
    sampling: int = 1

    constant = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _odd(self.image, self.sampling))

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""
        return max(self.image.shape) // 2 // self.sampling

    def table(self, x: float = 0, y: float = 0, half: int | None = None) -> F8:
        """The image on a square."""
        return _cut(self.image, self.sampling * (self.half if half is None else half))


@dataclass(frozen=True, eq=False)
class GridPsf:
    """Images of stars at the nodes of a grid, interpolated bilinearly between them; beyond the grid the nearest edge.

    Parameters
    ----------
    x, y : (nx,), (ny,) rising places of the nodes [pixel]. images : (ny, nx, h, w) as of `ImagePsf`.
    """

    x: F8
    y: F8
    images: F8
    sampling: int = 1

    constant = False

    def __post_init__(self) -> None:
        for name in ("x", "y", "images"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.images.ndim != 4 or self.images.shape[:2] != (self.y.size, self.x.size):
            raise DataError(
                f"images of shape {self.images.shape} do not fit a grid of {self.y.size} x {self.x.size} nodes",
                remedy="images[j, i] belongs to the node (x[i], y[j])",
            )
        if (np.diff(self.x) <= 0).any() or (np.diff(self.y) <= 0).any():
            raise DataError("the nodes of the grid of PSFs do not rise", remedy="sort x and y")
        for image in self.images.reshape(-1, *self.images.shape[2:]):
            _odd(image, self.sampling)

    @property
    def half(self) -> int:
        """Half size of its stamps [pixel]."""
        return max(self.images.shape[2:]) // 2 // self.sampling

    def table(self, x: float, y: float, half: int | None = None) -> F8:
        """The mean of the four nearest images, weighted by distance."""
        i, a = _between(self.x, x)
        j, b = _between(self.y, y)
        images = self.images
        i1, j1 = min(i + 1, self.x.size - 1), min(j + 1, self.y.size - 1)
        low = (1 - a) * images[j, i] + a * images[j, i1]
        high = (1 - a) * images[j1, i] + a * images[j1, i1]
        return _cut((1 - b) * low + b * high, self.sampling * (self.half if half is None else half))


def _between(nodes: F8, at: float) -> tuple[int, float]:
    """The node before `at`, and how far it is to the next, 0 … 1."""
    i = int(np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, max(nodes.size - 2, 0)))
    if nodes.size == 1:
        return 0, 0.0
    return i, float(np.clip((at - nodes[i]) / (nodes[i + 1] - nodes[i]), 0, 1))
