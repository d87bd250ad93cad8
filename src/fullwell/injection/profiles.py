"""Pictures of extended sources, drawn by GalSim (an extra) through the PSF; and how far every source reaches.

Shapes lie in the tangent plane of the sky where the frame has celestial coordinates (beta from east towards
north), else in pixels (beta from x towards y); lengths in arcsec need such coordinates, ``half_light_radius_pix`` and
``trail_length_pix`` do not. The flux is the total one of the profile, of a trail as well.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.cameras import Box
from fullwell.frames.psf import Psf
from fullwell.injection.catalog import Sources, Status
from fullwell.injection.columns import SHEARS
from fullwell.injection.draw import Stamp
from fullwell.injection.world import World

__all__ = ["Pictures", "effective_table", "galsim"]

F8 = NDArray[np.float64]
SERSIC = (0.3, 6.2)
"""Range of the Sersic index that GalSim draws."""
LARGEST = 4096
"""Largest stamp that is drawn [pixel]."""


def galsim() -> Any:
    """The library.

    Raises
    ------
    UsageError
        it is not installed.
    """
    try:
        import galsim as library
    except ImportError:
        raise UsageError(
            "extended sources are drawn by GalSim, which is not installed",
            remedy="pip install 'fullwell[galsim]'; stars need no GalSim",
        ) from None
    return library


def effective_table(profile: Any, half: int, sampling: int = 4) -> F8:
    """The table of a GalSim profile [pixel], integrated over pixels."""
    library = galsim()
    n = 2 * half * sampling + 1
    seen = library.Convolve(profile, library.Pixel(1.0))
    image = seen.drawImage(nx=n, ny=n, scale=1 / sampling, method="no_pixel", dtype=float)
    return np.asarray(image.array, np.float64)


class Pictures:
    """Stamps of the extended ones of `sources`, called with a number; made when they are asked for."""

    def __init__(self, sources: Sources, psf: Psf | None, world: World | None, box: Box) -> None:
        self.sources, self.psf, self.world, self.box = sources, psf, world, box
        self._made = lru_cache(maxsize=64)(self._draw)

    def __call__(self, number: int) -> Stamp:
        """The stamp of source `number`, of sum 1."""
        return self._made(number)

    def extents(self) -> NDArray[np.int64]:
        """(n, 4) x0, y0, x1, y1 of the stamps; of size 0 where nothing is drawn.

        Sources that cannot be drawn get their bit of `Status` here.
        """
        sources = self.sources
        x, y = (np.floor(np.where(np.isfinite(v), np.clip(v, -1e8, 1e8), -1e8) + 0.5) for v in (sources.x, sources.y))
        half = np.where(sources.draw_half > 0, sources.draw_half, self.psf.half if self.psf else 0)
        for i in np.nonzero(sources.drawn() & (sources.kind != "star"))[0]:
            half[i] = self._half(int(i))
        half = np.where(sources.drawn(), half, -1)
        return np.stack([x - half, y - half, x + half + 1, y + half + 1], axis=1).astype(np.int64)

    def _half(self, i: int) -> int:
        """Half size of the stamp of an extended source; its status tells where it cannot be drawn."""
        sources, box = self.sources, self.box
        away = max(box.x0 - sources.x[i], sources.x[i] - box.x1, box.y0 - sources.y[i], sources.y[i] - box.y1)
        if away > LARGEST / 2 or self.psf is None:
            return 0
        library = galsim()
        try:
            seen, jacobian = self._seen(i)
            scale = math.sqrt(abs(np.linalg.det(jacobian)))
            good = int(sources.draw_half[i]) or int(seen.getGoodImageSize(scale)) // 2 + 1
        except library.GalSimFFTSizeError:
            sources.status[i] |= int(Status.FFT_SIZE_ERROR)
            return 0
        except (library.GalSimError, _Bad) as error:
            sources.status[i] |= int(error.status if isinstance(error, _Bad) else Status.SHAPE_BAD)
            return 0
        return min(good, LARGEST // 2)

    def _jacobian(self, i: int) -> F8:
        if self.world is None:
            return np.eye(2)
        return self.world.jacobian(float(self.sources.x[i]), float(self.sources.y[i]))

    def _length(self, i: int, name: str, jacobian: F8) -> float:
        """A length in the plane of the profile: arcsec, or pixels without celestial coordinates."""
        shape = self.sources.shape
        pixels = float(shape[f"{name}_pix"][i]) if f"{name}_pix" in shape else math.nan
        if math.isfinite(pixels):
            value = pixels * math.sqrt(abs(np.linalg.det(jacobian)))
        else:
            value = float(shape[name][i]) if name in shape else math.nan
            if math.isfinite(value) and self.world is None:
                raise UsageError(
                    f"{name} is in arcsec, the frame has no celestial coordinates",
                    remedy=f"give wcs=…, or a column {name}_pix [pixel]",
                )
        if not (math.isfinite(value) and value > 0):
            raise _Bad(Status.SHAPE_BAD)
        return value

    def _profile(self, i: int, jacobian: F8) -> Any:
        library, kind, shape = galsim(), self.sources.kind[i], self.sources.shape
        if kind == "stamp":
            return self._picture(str(shape["stamp"][i]) if "stamp" in shape else "", jacobian)
        if kind == "trail":
            length = self._length(i, "trail_length", jacobian)
            width = 1e-3 * math.sqrt(abs(np.linalg.det(jacobian)))
            angle = float(shape["beta"][i]) if "beta" in shape else 0.0
            return library.Box(length, width).rotate(angle * library.degrees)
        radius = self._length(i, "half_light_radius", jacobian)
        if kind == "sersic":
            n = float(shape["n"][i]) if "n" in shape else math.nan
            if not SERSIC[0] <= n <= SERSIC[1]:
                raise _Bad(Status.SERSIC_EXTREME)
            profile = library.Sersic(n, half_light_radius=radius)
        else:
            makers = {"exponential": "Exponential", "devaucouleurs": "DeVaucouleurs", "gaussian": "Gaussian"}
            profile = getattr(library, makers[kind])(half_light_radius=radius)
        return profile.shear(self._shear(i))

    def _shear(self, i: int) -> Any:
        library, shape = galsim(), self.sources.shape
        for first, second in SHEARS:
            a, b = (float(shape[name][i]) if name in shape else math.nan for name in (first, second))
            if not math.isfinite(a) and not math.isfinite(b):
                continue
            if first == "q":
                if not 0 < a <= 1:
                    raise _Bad(Status.SHAPE_BAD)
                return library.Shear(q=a, beta=(b if math.isfinite(b) else 0.0) * library.degrees)
            return library.Shear(**{first: np.nan_to_num(a), second: np.nan_to_num(b)})
        return library.Shear()

    def _picture(self, path: str, jacobian: F8) -> Any:
        """The image in a FITS file, in pixels of the frame."""
        from fullwell import io
        from fullwell.base.errors import FullwellError

        library = galsim()
        try:
            array = np.asarray(io.read(path).image.array, np.float64)
        except FullwellError:
            raise _Bad(Status.STAMP_BAD) from None
        if not np.isfinite(array).all() or not array.sum() > 0:
            raise _Bad(Status.STAMP_BAD)
        image = library.Image(array, wcs=library.JacobianWCS(*jacobian.ravel()))
        return library.InterpolatedImage(image, normalization="flux", flux=1.0)

    def _seen(self, i: int) -> tuple[Any, F8]:
        """The profile through PSF and pixel, in the plane of the profile, and the Jacobian of that plane."""
        library = galsim()
        jacobian = self._jacobian(i)
        assert self.psf is not None
        sampling = self.psf.sampling
        try:
            table = self.psf.table(float(self.sources.x[i]), float(self.sources.y[i]))
        except UsageError:
            raise
        except Exception:
            raise _Bad(Status.PSF_COMPUTE_ERROR) from None
        local = library.JacobianWCS(*(jacobian / sampling).ravel())
        psf = library.InterpolatedImage(library.Image(table, wcs=local), normalization="flux", flux=1.0)
        return library.Convolve(self._profile(i, jacobian), psf), jacobian

    def _draw(self, i: int) -> Stamp:
        library, sources = galsim(), self.sources
        seen, jacobian = self._seen(i)
        half = self._half(i)
        cx, cy = math.floor(sources.x[i] + 0.5), math.floor(sources.y[i] + 0.5)
        image = library.Image(2 * half + 1, 2 * half + 1, wcs=library.JacobianWCS(*jacobian.ravel()), dtype=float)
        offset = (float(sources.x[i] - cx), float(sources.y[i] - cy))
        seen.drawImage(image=image, method="no_pixel", offset=offset)
        return Stamp(np.ascontiguousarray(image.array), cx - half, cy - half)


class _Bad(Exception):
    """A source that cannot be drawn, and why."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status
