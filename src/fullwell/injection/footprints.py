"""Pixels of native and of injected stars, found alike in one frame, so that nothing but their light differs.

Model        a footprint is a connected set of pixels above the sky of its amplifier by 5 of its standard deviations.
             It is an injected star where no pixel of it was as high before, a native one where one was and the
             injected light alone is nowhere as high; where both are, stars overlap and it is neither.
             Height and sky are of the image alone: the variance that is on trial chooses no pixel.
References   injection note A.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.injection.effective_gain import EffectiveGain

__all__ = ["HEIGHT", "UNFIT", "Pixels", "Scene", "regions", "sky_of", "star_pixels"]

HEIGHT = 5.0
"""Standard deviations of the sky that a pixel of a footprint is above it."""

SMALLEST = 3
"""Pixels of the smallest footprint."""

UNFIT = ("BAD", "SAT", "INTRP", "CR", "NO_DATA", "UNMASKEDNAN", "CROSSTALK")
"""Mask planes whose pixels do not follow the law of the noise, so that they prove nothing."""

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """What does not change from trial to trial: the frame before, its gain, regions, sky.

    Parameters
    ----------
    image, variance : (ny, nx) of the frame before; k : [unit/electron]; background : b; relative : phi^2, or 0.
    good : (ny, nx) pixels that may be used; names : of the regions (amplifiers); region : (ny, nx) their numbers,
    -1 in none; sky, sigma : of each region.
    """

    image: F8
    variance: F8
    k: F8
    background: F8 | float
    relative: F8 | float
    good: Bool
    names: tuple[str, ...]
    region: NDArray[np.int16]
    sky: F8
    sigma: F8

    @classmethod
    def of(cls, before: Frame, after: Frame, gain: EffectiveGain) -> Scene:
        """The scene of frames `before` and `after` an injection.

        Raises
        ------
        DataError
            no variance, or no pixel of known gain and without a flag.
        """
        if before.variance is None or after.variance is None:
            raise DataError(
                "a frame without a variance plane cannot be tested",
                where=before.source or before.observation.obs_id,
                remedy="make the frame with a recipe whose order has the step 'variance'",
            )
        k = np.asarray(gain.of(before.box), np.float64)
        background, relative = (_part(v, gain.box, before.box) for v in (gain.background, gain.flat_variance))
        image = np.asarray(before.image.array, np.float64)
        good = before.good(UNFIT) & after.good(UNFIT) & np.isfinite(k) & (k > 0)
        good &= np.isfinite(before.variance.array) & np.isfinite(after.variance.array)
        if not good.any():
            raise DataError(
                "there is no pixel of known effective gain without a flag",
                where=before.source or before.observation.obs_id,
            )
        names, region = regions(before)
        sky, sigma = sky_of(image, good, region, len(names))
        variance = np.asarray(before.variance.array, np.float64)
        return cls(image, variance, k, background, relative, good, names, region, sky, sigma)

    def light(self, image: F8) -> F8:
        """The light that passed the pixels, in the unit of the image: I + b."""
        return image + self.background


def _part(value: NDArray[np.float32] | float | None, box: Box, wanted: Box) -> F8 | float:
    """The pixels `wanted` of a map that covers `box`; a number stays one, None is 0."""
    if value is None or not isinstance(value, np.ndarray):
        return float(value or 0.0)
    return np.asarray(value[wanted.shifted(-box.x0, -box.y0).slices], np.float64)


def regions(frame: Frame) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Names and (ny, nx) numbers of the amplifiers of an assembled frame; one region where there is no detector."""
    out = np.full(frame.shape, -1, np.int16)
    if frame.detector is None:
        out[...] = 0
        return ("all",), out
    names: list[str] = []
    for amp in frame.detector:
        common = amp.trimmed.intersection(frame.box)
        if common is None or not common.area:
            continue
        out[common.shifted(-frame.box.x0, -frame.box.y0).slices] = len(names)
        names.append(amp.name)
    return tuple(names), out


def sky_of(image: F8, good: Bool, region: NDArray[np.int16], n: int) -> tuple[F8, F8]:
    """Median and robust standard deviation of the lower half of the pixels of each region, (n,): stars lie above."""
    sky, sigma = np.full(n, np.nan), np.full(n, np.nan)
    for i in range(n):
        values = image[good & (region == i)]
        if values.size:
            sky[i] = np.median(values)
            below = values[values <= sky[i]]
            sigma[i] = 1.4826 * np.median(sky[i] - below)
    return sky, sigma


@dataclass(frozen=True)
class Pixels:
    """Pixels of stars, each (pixels,), and their stars, each (stars,).

    Parameters
    ----------
    y, x : place in the frame; image, variance : of the frame after; star : number of the star;
    region : of the pixel. injected : of each star; flux : of each star above the sky [unit]; pair : of each star.
    """

    y: I8
    x: I8
    image: F8
    variance: F8
    star: I8
    region: I8
    injected: Bool
    flux: F8
    pair: I8

    def paired(self, pair: I8) -> Pixels:
        """The pixels of the stars whose number `pair` (stars,) is not negative, numbered anew."""
        keep = pair >= 0
        number = np.cumsum(keep) - 1
        hit = keep[self.star]
        return Pixels(
            self.y[hit], self.x[hit], self.image[hit], self.variance[hit], number[self.star[hit]], self.region[hit],
            self.injected[keep], self.flux[keep], pair[keep],
        )  # fmt: skip

    @property
    def counts(self) -> tuple[int, int]:
        """Number of native and of injected stars."""
        return int((~self.injected).sum()), int(self.injected.sum())


def star_pixels(scene: Scene, image: F8, variance: F8, native: F8 | None = None, put: F8 | None = None) -> Pixels:
    """Pixels of the native and injected stars of the frame (`image`, `variance`), injected into the one of `scene`.

    Parameters
    ----------
    native : (n, 2) x, y [pixel of the array] of stars known in the frame before: other native light (cosmic rays,
        galaxies) is left out. put : the same for injected sources. None takes all.
    """
    from scipy import ndimage

    level = np.where(scene.region >= 0, scene.sky[scene.region], np.nan)
    height = np.where(scene.region >= 0, HEIGHT * scene.sigma[scene.region], np.nan)
    with np.errstate(invalid="ignore"):
        above = scene.good & (image - level > height)
        was = scene.good & (scene.image - level > height)
        new = scene.good & (image - scene.image > height)
    labels, n = ndimage.label(above, structure=np.ones((3, 3)))
    size = np.bincount(labels.ravel(), minlength=n + 1)
    has_native = np.bincount(labels[was], minlength=n + 1) > 0
    has_injected = ~has_native
    overlap = has_native & (np.bincount(labels[new], minlength=n + 1) > 0)
    use = (size >= SMALLEST) & ~overlap
    for places, others in ((native, has_injected), (put, has_native)):
        if places is not None:
            known = np.zeros(n + 1, bool)
            known[_labels_at(labels, places)] = True
            use &= known | others
    use[0] = False
    number = np.cumsum(use) - 1
    y, x = np.nonzero(use[labels])
    star = number[labels[y, x]]
    injected = has_injected[use]
    flux = np.bincount(star, (image - level)[y, x], injected.size).astype(np.float64)
    alone = np.full(injected.size, -1, np.int64)
    return Pixels(y, x, image[y, x], variance[y, x], star, scene.region[y, x].astype(np.int64), injected, flux, alone)


def _labels_at(labels: NDArray[np.int32], places: F8) -> NDArray[np.int32]:
    x, y = np.rint(np.asarray(places, np.float64)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < labels.shape[1]) & (y < labels.shape[0])
    return labels[y[inside], x[inside]]
