"""A field of stars on a simulated sensor, and an injector of a few lines that shares nothing with the package's own.

Half of the stars of a field are simulated, light to raw counts, and go through ISR; the other half is injected into the
result. Both halves have one law of fluxes, and the dice say which star is of which half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fullwell.frames import Frame, GainMap, Plane
from fullwell.injection import EffectiveGain
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, SensorModel, exact_products, grid_detector, sensor_of, simulate

FWHM = 2.5


@dataclass
class Field:
    """Frames without and with the second half, the mean flux of that half, and the true K."""

    before: Frame
    expected: np.ndarray
    gain: EffectiveGain
    unit_gain: float
    reference: Frame
    """The same with the second half in front of the detector, not injected."""
    stars: np.ndarray
    flux: np.ndarray
    """x, y [pixel] and flux [unit] of the second half."""


def sensor(ny: int, nx: int, flat: np.ndarray, seed: int = 3, band: str = "u", columns: int = 4) -> SensorModel:
    """A sensor of 2 x `columns` amplifiers of different gains with `flat` (ny, nx) as its response."""
    geometry = grid_detector(columns, 2, (ny // 2, nx // columns), prescan=4, serial=64, gain=1.5, read_noise=6.0)
    changes = {"spread": 0.2, "bias_pattern": 1.0, "level_drift": 1.0, "bits": 18}
    return sensor_of("ideal", seed, detector=geometry, **changes).with_flat(band, flat)


def flat_like(ny: int, nx: int, mean: float, drop: float, prnu: float = 0.01, seed: int = 1) -> np.ndarray:
    """Vignetting about a point beyond the corner, and structure from pixel to pixel."""
    y, x = np.mgrid[0:ny, 0:nx].astype(float)
    r2 = ((x / nx) ** 2 + (y / ny) ** 2) / 2
    flat = 1 - drop * r2
    flat *= 1 + prnu * np.random.default_rng(seed).standard_normal(flat.shape)
    return (mean * flat / flat.mean()).astype(np.float32)


def places(ny: int, nx: int, pitch: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) x, y about the knots of a grid, in no order."""
    y, x = np.mgrid[pitch // 2 : ny - pitch // 2 + 1 : pitch, pitch // 2 : nx - pitch // 2 + 1 : pitch]
    grid = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-1.5, 1.5, (x.size, 2))
    return rng.permutation(grid)


def light(stars: np.ndarray, flux: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(ny, nx) light of Gaussian stars, each pixel the integral over its area."""
    from scipy.special import erf

    out, half, sigma = np.zeros(shape), 8, FWHM / 2.3548
    edge = np.arange(-half, half + 2) - 0.5
    for (x, y), f in zip(stars, flux, strict=True):
        cx, cy = round(x), round(y)
        part = [np.diff(erf((edge + c - v) / (np.sqrt(2) * sigma))) / 2 for c, v in ((cx, x), (cy, y))]
        ys, xs = slice(max(cy - half, 0), cy + half + 1), slice(max(cx - half, 0), cx + half + 1)
        stamp = f * part[1][:, None] * part[0]
        room = out[ys, xs]
        room += stamp[max(half - cy, 0) :, max(half - cx, 0) :][: room.shape[0], : room.shape[1]]
    return out


def field(
    flat: np.ndarray, *, sky: float = 60.0, pitch: int = 17, low: float = 300.0, high: float = 3e5, scale: float = 1.0,
    unit: str = "electron", seed: int = 1, reference: bool = False, columns: int = 4,
) -> Field:  # fmt: skip
    """Stars of `low` to `high` electrons at response 1, `sky` electrons; `scale` [unit/electron]."""
    ny, nx = flat.shape
    rng = np.random.default_rng(seed)
    stars = places(ny, nx, pitch, rng)
    flux = low * (high / low) ** rng.uniform(size=len(stars))
    half = len(stars) // 2
    own = light(stars[:half], flux[:half], flat.shape)
    extra = light(stars[half:], flux[half:], flat.shape)
    chip = sensor(ny, nx, flat, columns=columns)
    products = exact_products(chip, "u")

    raw = simulate(ScienceScene(band="u", time=30.0, stars=()), chip, seed=seed + 100, light=own + sky).frame
    before = _reduced(raw, products, scale, unit)
    there = before
    if reference:
        acting = ("flat", "shot_noise")
        more = simulate(ScienceScene(band="u", stars=()), chip, seed=seed + 200, light=extra, effects=acting).frame
        counts = raw.image.array.astype(np.float32) + more.image.array
        there = _reduced(replace(raw, image=Plane(counts, unit="adu")), products, scale, unit)
    k = EffectiveGain((scale / flat).astype(np.float32), before.box, unit, "flat", rms=0.0)
    return Field(before, extra * scale, k, scale, there, stars[half:], flux[half:] * scale)


def _reduced(raw: Frame, products: dict, scale: float, unit: str) -> Frame:
    """The raw frame after ISR, times `scale`."""
    done = isr(raw, {n: products[n] for n in ("bias", "flat", "gain")})
    image, variance = done.image.array * np.float32(scale), done.variance.array * np.float32(scale) ** 2
    made = replace(done.gain_map, scale=scale) if unit == "electron" else GainMap(scale=scale)
    return replace(done, image=Plane(image, unit=unit), variance=Plane(variance, unit=f"{unit}2"), gain_map=made)


def inject(one: Field, k: np.ndarray | float, seed: int = 5, *, how: str = "right") -> Frame:
    """The field with its second half, drawn with the effective gain `k`.

    how : "right", "mean" (variance from the mean flux), "reciprocal" (Poisson(dI k') / k', k' the slope), "flux" (no
    noise, no variance).
    """
    rng, mean = np.random.default_rng(seed), one.expected
    if how == "reciprocal":
        added = rng.poisson(mean * k) / k
        more = mean * k
    elif how == "flux":
        added, more = mean, 0.0 * mean
    else:
        electrons = rng.poisson(mean / k)
        added = electrons * k
        more = k**2 * electrons if how == "right" else k * mean
    done = one.before.copy()
    done.image.array = done.image.array + added
    done.variance.array = done.variance.array + more
    return done
