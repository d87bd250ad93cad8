"""Stars and cosmic rays as images.

Model        a star is a Gaussian or Moffat profile integrated over each pixel (3 x 3 Gauss-Legendre points,
             good to 1e-4 of the peak from FWHM 2 pixels up) and cut at five FWHM; the stamp is scaled to sum 1,
             so that the flux of the catalogue is the flux in the image.
             A cosmic ray is a straight track of two-pixel width with a Moyal (Landau-like) charge.
References   Trujillo et al. 2001, MNRAS 328, 977 (Moffat); Moyal 1955 (energy loss).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fullwell.simulation.scenes import ScienceScene, Star

__all__ = ["cosmic_rays", "star_image", "star_stamp"]

NODES = (-0.5 * math.sqrt(0.6), 0.0, 0.5 * math.sqrt(0.6))
WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


def star_stamp(scene: ScienceScene, x: float, y: float) -> tuple[int, int, NDArray[np.float64]]:
    """(x0, y0, stamp): a star of flux 1 at (x, y); the stamp's pixel [0, 0] is pixel (x0, y0)."""
    half = math.ceil(5 * scene.fwhm)
    cx, cy = round(x), round(y)
    grid = np.arange(-half, half + 1, dtype=np.float64)
    stamp = np.zeros((grid.size, grid.size))
    for v, wv in zip(NODES, WEIGHTS, strict=True):
        for u, wu in zip(NODES, WEIGHTS, strict=True):
            r2 = (grid + cx - x + u)[None, :] ** 2 + (grid + cy - y + v)[:, None] ** 2
            if scene.profile == "gaussian":
                stamp += wu * wv * np.exp(-4 * math.log(2) * r2 / scene.fwhm**2)
            else:
                scale = (scene.fwhm / 2) ** 2 / (2 ** (1 / scene.beta) - 1)
                stamp += wu * wv * (1 + r2 / scale) ** -scene.beta
    return cx - half, cy - half, stamp / stamp.sum()


def star_image(scene: ScienceScene, stars: Sequence[Star], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Electrons per second of all `stars`, shape (ny, nx), flat = 1; light outside the sensor is lost."""
    out = np.zeros(shape, np.float32)
    ny, nx = shape
    for star in stars:
        x0, y0, stamp = star_stamp(scene, star.x, star.y)
        n = stamp.shape[0]
        a, b, c, d = max(y0, 0), min(y0 + n, ny), max(x0, 0), min(x0 + n, nx)
        if a < b and c < d:
            out[a:b, c:d] += (star.flux * stamp[a - y0 : b - y0, c - x0 : d - x0]).astype(np.float32)
    return out


def cosmic_rays(
    shape: tuple[int, int], expected: float, rng: np.random.Generator, charge: float = 1200.0
) -> NDArray[np.float32] | None:
    """Charge [electron] left by Poisson(`expected`) tracks, whole electrons, shape (ny, nx); None if there is none.

    `charge` is the most probable charge per pixel of path.
    """
    n = int(rng.poisson(expected))
    if n == 0:
        return None
    out = np.zeros(shape, np.float32)
    ny, nx = shape
    x, y = rng.uniform(0, nx, n), rng.uniform(0, ny, n)
    angle, length = rng.uniform(0, 2 * math.pi, n), rng.exponential(8.0, n) + 1.0
    normal = rng.standard_normal((n, 2))
    moyal = np.log(1 / np.maximum(normal[:, 0] ** 2, 1e-4))
    deposit = charge * np.clip(1 + 0.3 * moyal, 0.2, 8.0)
    for i in range(n):
        t = np.arange(0.0, length[i], 0.25)
        for side, share in ((-0.5, 0.5), (0.5, 0.5)):
            px = np.floor(x[i] + t * math.cos(angle[i]) - side * math.sin(angle[i])).astype(int)
            py = np.floor(y[i] + t * math.sin(angle[i]) + side * math.cos(angle[i])).astype(int)
            inside = (px >= 0) & (px < nx) & (py >= 0) & (py < ny)
            np.add.at(out, (py[inside], px[inside]), np.float32(deposit[i] * share * 0.25))
    return np.rint(out)
