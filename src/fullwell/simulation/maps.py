"""Fixed maps of a sensor: response, dark rate, bias pattern, defects. All (ny, nx), assembled coordinates.

Response     vignetting 1 - drop * (r / r_corner)**2 ; PRNU, one normal number per pixel; dust, a dark ring with
             a brighter inside (the shadow of a grain out of focus); tree rings, a cosine of the distance from
             the centre of the silicon crystal, which lies outside the sensor.
Dark         a mean rate with a small scatter, and hot pixels with a lognormal tail.
References   photon-transfer note 10.2, points 2, 4, 5 and 7.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["CODES", "dark_rate", "defect_codes", "dust", "prnu", "tree_rings", "vignetting"]

F4 = NDArray[np.float32]

CODES: dict[str, int] = {"dead": 1, "dead column": 2, "bright column": 3, "hot": 4}
"""Codes of the defect map; 0 is a good pixel."""


def _radius2(shape: tuple[int, int], centre: tuple[float, float]) -> F4:
    y = (np.arange(shape[0], dtype=np.float32) - np.float32(centre[1])) ** 2
    x = (np.arange(shape[1], dtype=np.float32) - np.float32(centre[0])) ** 2
    return y[:, None] + x[None, :]


def vignetting(shape: tuple[int, int], drop: float) -> F4:
    """1 at the centre, ``1 - drop`` at the centres of the corner pixels."""
    cy, cx = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    corner = max(cx**2 + cy**2, 1e-12)
    return 1 - np.float32(drop / corner) * _radius2(shape, (cx, cy))


def prnu(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> F4:
    """1 with a normal scatter of `sigma`, never below 0.1."""
    out = rng.standard_normal(shape, dtype=np.float32)
    out *= np.float32(sigma)
    out += np.float32(1)
    return np.maximum(out, np.float32(0.1), out=out)


def dust(image: F4, n: int, depth: float, rng: np.random.Generator) -> None:
    """Multiply `image` by the shadows of `n` grains, each of radius 2-5 % of the shorter side."""
    ny, nx = image.shape
    for x, y, size, strength in rng.uniform(size=(n, 4)):
        radius = (0.02 + 0.03 * size) * min(ny, nx)
        cx, cy = x * (nx - 1), y * (ny - 1)
        half = math.ceil(1.6 * radius)
        y0, y1 = max(int(cy) - half, 0), min(int(cy) + half + 1, ny)
        x0, x1 = max(int(cx) - half, 0), min(int(cx) + half + 1, nx)
        r = np.sqrt(_radius2((y1 - y0, x1 - x0), (cx - x0, cy - y0))) / np.float32(radius)
        ring = np.exp(-((r - np.float32(0.8)) ** 2) / np.float32(0.045))
        image[y0:y1, x0:x1] *= 1 - np.float32(depth * (0.5 + strength)) * ring


def tree_rings(shape: tuple[int, int], amplitude: float, period: float, phase: float = 0.0) -> F4:
    """``1 + amplitude * cos(2 pi r / period + phase)``, r from a point half a sensor outside the lower left corner."""
    r = np.sqrt(_radius2(shape, (-shape[1] / 2, -shape[0] / 2)))
    return 1 + np.float32(amplitude) * np.cos(r * np.float32(2 * math.pi / period) + np.float32(phase))


def dark_rate(
    shape: tuple[int, int],
    rate: float,
    spread: float,
    hot_fraction: float,
    hot_rate: float,
    hot_sigma: float,
    rng: np.random.Generator,
) -> tuple[F4, NDArray[np.bool_]]:
    """(rate [electron/s], hot): mean `rate` with relative scatter `spread`; hot pixels of median `hot_rate`."""
    out = rng.standard_normal(shape, dtype=np.float32)
    out *= np.float32(rate * spread)
    out += np.float32(rate)
    np.maximum(out, np.float32(0), out=out)
    hot = np.zeros(shape, bool)
    n = int(rng.poisson(hot_fraction * out.size))
    if n:
        where = rng.choice(out.size, size=min(n, out.size), replace=False)
        out.reshape(-1)[where] += (hot_rate * np.exp(hot_sigma * rng.standard_normal(where.size))).astype(np.float32)
        hot.reshape(-1)[where] = True
    return out, hot


def defect_codes(
    shape: tuple[int, int], dead: int, dead_columns: int, bright_columns: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Code of each pixel: single dead pixels, and columns that run from a random row to an edge of the sensor."""
    out = np.zeros(shape, np.uint8)
    ny, nx = shape
    if dead:
        out[rng.integers(0, ny, dead), rng.integers(0, nx, dead)] = CODES["dead"]
    for name, n in (("dead column", dead_columns), ("bright column", bright_columns)):
        for _ in range(n):
            x, y = int(rng.integers(0, nx)), int(rng.integers(0, ny // 2 or 1))
            rows = slice(0, y + ny // 4) if rng.uniform() < 0.5 else slice(ny - 1 - y - ny // 4, ny)
            out[rows, x] = CODES[name]
    return out
