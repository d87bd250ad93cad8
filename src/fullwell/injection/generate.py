"""Catalogues made to a law: places (uniform, grid, Halton, clustered) and magnitudes, from a seed.

Places are pixels of the detector over a box; magnitudes AB. The tables are what `inject` takes; more columns may
be added."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame

__all__ = ["LAYOUTS", "make_catalog"]

F8 = NDArray[np.float64]


def make_catalog(
    area: Frame | Box,
    number: int,
    *,
    layout: str = "uniform",
    mag: float | tuple[float, float] | None = None,
    flux: float | tuple[float, float] | None = None,
    slope: float = 0.0,
    near: Any = None,
    radius: float = 20.0,
    edge: float = 0.0,
    seed: int = 0,
    columns: Mapping[str, Any] | None = None,
) -> Any:
    """An astropy Table of `number` sources.

    Parameters
    ----------
    area : a frame, or a box of its detector. edge : how far places stay inside it [pixel].
    layout : "uniform"; "grid", as square as it goes; "halton", evenly without a lattice (Halton 1960);
        "clustered", with a normal distribution of width `radius` [pixel] about the places `near` (m, 2) of x, y,
        in turn.
    mag : AB magnitude, or the (bright, faint) ends of a distribution whose density grows as 10**(slope * mag).
    flux : in its stead [unit of the image], or the ends of a distribution that is even in its logarithm.
    columns : further ones: numbers for all, arrays, or (low, high) of a uniform distribution.

    Raises
    ------
    UsageError
        an unknown layout; not one of `mag` and `flux`; no place left.
    """
    from astropy.table import Table

    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout '{layout}' of sources", remedy=f"one of {', '.join(LAYOUTS)}")
    if (mag is None) == (flux is None):
        raise UsageError("give either mag or flux", remedy="mag=(18, 24) or flux=(100, 1e5)")
    box = area.box if isinstance(area, Frame) else area
    low = np.array([box.x0, box.y0], float) - 0.5 + edge
    size = np.array([box.width, box.height], float) - 2 * edge
    if number < 1 or (size <= 0).any():
        raise UsageError(f"{number} sources have no place in {box} with an edge of {edge} pixels")
    rng = np.random.default_rng([seed, 1])
    if layout == "clustered":
        places = _clustered(rng, number, near, radius)
    else:
        places = low + size * LAYOUTS[layout](rng, number, size)
    table = Table({"id": np.arange(1, number + 1), "x": places[:, 0], "y": places[:, 1]})
    table["source_type"] = "star"
    if mag is not None:
        table["mag"] = _magnitudes(np.random.default_rng([seed, 2]), number, mag, slope)
    elif flux is not None:
        ends = np.log(_above_zero(_ends(flux)))
        table["flux"] = np.exp(np.random.default_rng([seed, 2]).uniform(ends[0], ends[1], number))
    for i, (name, value) in enumerate((columns or {}).items()):
        drawn = isinstance(value, tuple) and len(value) == 2
        table[name] = np.random.default_rng([seed, 3 + i]).uniform(value[0], value[1], number) if drawn else value
    table.meta["generator"] = f"{layout}, seed {seed}"
    return table


def _ends(value: float | tuple[float, float]) -> F8:
    """(low, high) of a number or of a pair."""
    ends = np.broadcast_to(np.asarray(value, float), (2,))
    if not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise UsageError(f"{value} is no range", remedy="give (low, high)")
    return ends


def _above_zero(ends: F8) -> F8:
    """Ends of fluxes, whose logarithm is taken."""
    if not ends[0] > 0:
        raise UsageError(
            f"fluxes from {ends[0]:g} to {ends[1]:g} have no logarithm to be even in",
            remedy="a range above 0, for example flux=(100, 1e5)",
        )
    return ends


def _magnitudes(rng: np.random.Generator, n: int, mag: float | tuple[float, float], slope: float) -> F8:
    """Numbers whose density grows as 10**(slope m) between the ends."""
    bright, faint = _ends(mag)
    u = rng.uniform(size=n)
    rate = slope * math.log(10)
    if abs(rate * (faint - bright)) < 1e-9:
        return np.asarray(bright + u * (faint - bright))
    return np.asarray(bright + np.log1p(u * np.expm1(rate * (faint - bright))) / rate)


def _uniform(rng: np.random.Generator, n: int, size: F8) -> F8:
    return rng.uniform(size=(n, 2))


def _grid(rng: np.random.Generator, n: int, size: F8) -> F8:
    across = max(1, math.ceil(math.sqrt(n * size[0] / size[1])))
    down = math.ceil(n / across)
    at = np.arange(n)
    return np.stack([(at % across + 0.5) / across, (at // across + 0.5) / down], axis=1)


def _halton(rng: np.random.Generator, n: int, size: F8) -> F8:
    """Radical inverses in bases 2 and 3, moved by a random shift (Cranley and Patterson 1976)."""
    out = np.zeros((n, 2))
    for axis, base in enumerate((2, 3)):
        left, scale = np.arange(1, n + 1), 1.0
        while left.any():
            scale /= base
            out[:, axis] += scale * (left % base)
            left = left // base
    return (out + rng.uniform(size=2)) % 1.0


def _clustered(rng: np.random.Generator, n: int, near: Any, radius: float) -> F8:
    centres = np.asarray([] if near is None else near, float)
    if centres.ndim != 2 or centres.shape[1] != 2 or not centres.size or not radius > 0:
        raise UsageError("clustered sources need places to be near", remedy="near=[(x, y), …], radius above 0 [pixel]")
    return np.asarray(centres[np.arange(n) % len(centres)] + radius * rng.standard_normal((n, 2)))


LAYOUTS: dict[str, Callable[[np.random.Generator, int, F8], F8]] = {
    "uniform": _uniform,
    "grid": _grid,
    "halton": _halton,
    "clustered": _uniform,
}
"""Layout -> (generator, number, size) to places within the unit square."""
