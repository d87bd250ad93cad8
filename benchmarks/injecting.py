"""S17: 10 000 stars of 33 x 33 pixels with noise into 4096 x 4096, against a plain loop over stamps without noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame
from fullwell.frames.psf import GaussianPsf, ImagePsf
from fullwell.injection import EffectiveGain, inject
from harness import Result, at_most, informative, interleave

SIDE, HALF, STARS = 4096, 16, 10_000
FWHM = 4.0


def catalog(n: int) -> dict[str, NDArray[np.float64]]:
    """Stars whose stamps lie inside, so that the loop needs no clipping."""
    rng = np.random.default_rng(n)
    x, y = rng.uniform(HALF + 1, SIDE - HALF - 2, (2, n))
    return {"x": x, "y": y, "flux": 10 ** rng.uniform(2, 5, n)}


def plain(image: NDArray[np.float32], variance: NDArray[np.float32], stars: dict[str, Any], k: float) -> Any:
    """Copies of the planes with a Gaussian of each star in a stamp, no noise: what one writes in ten lines."""
    image, variance = image.copy(), variance.copy()
    grid, sigma = np.arange(-HALF, HALF + 1), FWHM / np.sqrt(8 * np.log(2))
    for x, y, flux in zip(stars["x"], stars["y"], stars["flux"], strict=True):
        i, j = round(x), round(y)
        across, down = (np.exp(-0.5 * ((grid - d) / sigma) ** 2) for d in (x - i, y - j))
        stamp = np.outer(down / down.sum(), across / across.sum()) * flux
        at = np.s_[j - HALF : j + HALF + 1, i - HALF : i + HALF + 1]
        image[at] += stamp
        variance[at] += k * stamp
    return image, variance


def family() -> list[Result]:
    """The figures of this family."""
    shape, k = (SIDE, SIDE), 1.3
    image, variance = np.full(shape, 100, np.float32), np.full(shape, 125, np.float32)
    frame = Frame.from_arrays(image, variance, np.zeros(shape, np.uint32), unit="electron")
    gain = EffectiveGain(np.full(shape, k, np.float32), frame.box, "electron", "flat")
    psf = ImagePsf(GaussianPsf(FWHM).table(half=HALF)[::4, ::4])
    stars, twice = catalog(STARS), catalog(2 * STARS)
    done = inject(frame, stars, gain=gain, psf=psf).frame
    light, by_hand = (a.astype(np.float64).sum() - image.sum(dtype=float) for a in (
        done.image.array, plain(image, variance, stars, k)[0]))  # fmt: skip
    assert abs(light / by_hand - 1) < 1e-3, (light, by_hand)
    times = interleave(
        {
            "ours": lambda: inject(frame, stars, gain=gain, psf=psf),
            "twice": lambda: inject(frame, twice, gain=gain, psf=psf),
            "none": lambda: inject(frame, {name: v[:1] for name, v in stars.items()}, gain=gain, psf=psf),
            "plain": lambda: plain(image, variance, stars, k),
        },
        7,
    )
    cpu = {name: t.cpu for name, t in times.items()}
    growth = (cpu["twice"] - cpu["none"]) / (cpu["ours"] - cpu["none"])
    return [
        at_most("S17 injection of 10 000 stars", cpu["ours"] / cpu["plain"], "NumPy loop over stamps, no noise", 1.0),
        at_most("S17 injection, twice the stars", growth, "10 000 stars, both above one star", 2.5),
        informative("S17 injection of one star", cpu["none"] / cpu["plain"], "NumPy loop over 10 000 stamps"),
    ]
