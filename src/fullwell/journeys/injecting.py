"""Stars injected into a reduced frame of the demo: nothing must tell them from those that were there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame
from fullwell.injection import distinguishability, effective_gain, inject
from fullwell.journeys.checks import Check
from fullwell.products import Flat
from fullwell.simulation import Truth

__all__ = ["free_places", "injection_check"]


def injection_check(frame: Frame, truth: Truth, flat: Flat) -> Check:
    """How well an adversary who knows the flat tells injected pixels from native ones: 1/2 is chance.

    As many stars as the field has, of the same law of fluxes and the same profile, are injected where there is room.
    The measured value is the area under the curve of |q - 1|, statistic T3 of `injection.verify`, which needs no
    classifier; its error is bootstrapped by star and stands for the bound too. An injection with one gain for the whole
    frame shows 1.
    """
    spec: Any = truth.scene_spec
    native = np.array([(s.x, s.y) for s in truth.light.catalogue])
    flux = np.array([s.flux for s in truth.light.catalogue]) * spec.time
    rng = np.random.default_rng([truth.seed, 11])
    places = free_places(frame.shape, native, len(native), 6 * spec.fwhm, rng)
    ratio = flux.max() / flux.min()
    catalog = {"x": places[:, 0], "y": places[:, 1], "flux": flux.min() * ratio ** rng.uniform(size=len(places))}
    profile = f"moffat:{spec.fwhm}:{spec.beta}" if spec.profile == "moffat" else f"gaussian:{spec.fwhm}"
    gain = effective_gain(frame, flat=flat)
    done = inject(frame, catalog, gain=gain, psf=profile, seed=truth.seed)
    found = distinguishability(frame, done, gain=gain, native=native, tests=("T3",))["T3"]
    return Check("injection AUC", "", found.expected, found.value, found.error, found.error)


def free_places(
    shape: tuple[int, int], taken: NDArray[np.float64], n: int, distance: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Up to `n` places (x, y) at random on a frame of `shape`, `distance` apart from each other, from `taken` (m, 2),
    and from the edges."""
    ny, nx = shape
    found: list[NDArray[np.float64]] = list(taken)
    for place in rng.uniform((distance, distance), (nx - distance, ny - distance), size=(200 * n, 2)):
        if len(found) - len(taken) == n:
            break
        if not found or np.min(np.hypot(*(np.array(found) - place).T)) >= distance:
            found.append(place)
    return np.array(found[len(taken) :]).reshape(-1, 2)
