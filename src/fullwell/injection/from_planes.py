"""K of a frame from its planes alone: which estimator they allow, what it leaves open, and when to refuse.

Order        a coadd, or noise moved between pixels: the sources ("bright"). A variance of the counts of each pixel:
             closed form, with background and read noise given ("closed") or calibrated on the frame
             ("self-calibrated"). A variance of a model: the sources give the background, the closed form on blocks the
             map.
Refuses      where the error that the data leave is above the limit, and where the bright pixels contradict the sky.
References   injection note A.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.frames import Frame
from fullwell.injection.closed import bright_term, closed_form, self_calibrated, without_outliers
from fullwell.injection.convention import Planes, convention_of, neighbours
from fullwell.injection.effective_gain import Convention, EffectiveGain
from fullwell.injection.known import as_map, noise_of
from fullwell.injection.sources import bright_slope, expected_gain
from fullwell.injection.windows import Tile, local_median, region_slope, tiles_of, window_slope

__all__ = ["LIMITS", "from_planes", "planes_of"]

F8 = NDArray[np.float64]
LIMITS = {"realised": 0.005, "expected": 0.02, "bright": 0.02}
"""Largest relative error of K that is taken."""
MOVED = 0.08
"""Correlation of adjacent pixels above which an image was resampled."""
GUESS = 5.0
"""Read noise [electron] where none is known."""
COADD = ("coadd", "stack")

BAD = (
    "BAD",
    "SAT",
    "INTRP",
    "CR",
    "EDGE",
    "SUSPECT",
    "NO_DATA",
    "UNMASKEDNAN",
    "INJECTED",
)
"""Planes of pixels that say nothing about K."""


def planes_of(frame: Frame) -> Planes:
    """What may be used of a frame to find K.

    Raises
    ------
    DataError
        it has no variance, or no good pixel.
    """
    where = frame.source or frame.observation.obs_id
    if frame.variance is None:
        raise DataError(
            "the frame has no variance, so that nothing can be said about its noise",
            where=where,
            remedy="reduce it with a gain: the step variance then runs",
        )
    good = frame.good(BAD)
    image = np.where(good, frame.image.array, np.nan).astype(np.float64)
    variance = frame.variance.array.astype(np.float64)
    good &= np.isfinite(variance) & (variance > 0)
    image[~good] = np.nan
    variance[~good] = np.nan
    if not good.any():
        raise DataError("the frame has no pixel that is finite, unmasked and has a variance above 0", where=where)
    return Planes(image, variance, good, where)


@dataclass(frozen=True)
class _Case:
    """A frame, what may be used of it (with the background that is known put back), and what is known beside it.

    `noise` : read noise [electron], number or (ny, nx); `noise_error` : relative; `base` : background [unit] that was
    put back; `exact` : whether it and the read noise were given by hand; `notes` : so far.
    """

    frame: Frame
    planes: Planes
    tiles: list[Tile]
    convention: Convention
    noise: Any
    noise_error: float
    base: Any
    exact: bool
    notes: tuple[str, ...]

    @property
    def parts(self) -> list[list[Tile]]:
        """Tiles that share a background: all, but each amplifier for itself in adu."""
        names = dict.fromkeys(t.name for t in self.tiles)
        if self.frame.unit != "adu":
            return [self.tiles]
        return [[t for t in self.tiles if t.name == name] for name in names]

    def gain(self, k: F8, method: str, rms: float, background: Any, *notes: str, phi: Any = None) -> EffectiveGain:
        """The result."""
        return EffectiveGain(
            k.astype(np.float32),
            self.frame.box,
            self.frame.unit,
            method,
            self.convention,
            rms=float(rms),
            background=background.astype(np.float32) if isinstance(background, np.ndarray) else float(background),
            read_noise=self.noise.astype(np.float32) if isinstance(self.noise, np.ndarray) else self.noise,
            flat_variance=None if phi is None else phi.astype(np.float32),
            notes=(*self.notes, *notes),
        )


def from_planes(
    frame: Frame, method: str, read_noise: Any, background: Any, convention: Convention | None, limit: float | None
) -> EffectiveGain:
    """K without the flat; the parameters are those of `effective_gain`.

    Raises
    ------
    DataError
        the planes do not determine it.
    """
    case = _case(frame, read_noise, background, convention)
    lag, error = neighbours(case.planes)
    moved = lag > MOVED and lag > 5 * error
    if moved:
        case = replace(case, notes=(*case.notes, f"adjacent pixels are correlated, {lag:.2f}: the image was resampled"))
    if method == "bright" or (method == "auto" and (moved or _is_coadd(frame))):
        return _bright(case, limit)
    if moved:
        raise DataError(
            f"adjacent pixels are correlated ({lag:.2f} +- {error:.2f}): the image was resampled, and the noise of its "
            "sky does not give the K of a source",
            where=case.planes.where,
            remedy='use method="bright", or inject into the images before they were resampled',
        )
    if method in ("window", "region"):
        return _sloped(case, method)
    if case.convention == "expected":
        return _expected(case, limit)
    if method == "closed" or (method == "auto" and case.exact):
        return _closed(case)
    return _calibrated(case, method, limit)


def _case(frame: Frame, read_noise: Any, background: Any, convention: Convention | None) -> _Case:
    """What is known of a frame."""
    given = background if background is not None else frame.background
    base = 0.0 if given is None else as_map(given, frame, "background")
    planes, notes = planes_of(frame), []
    planes = replace(planes, image=planes.image + base)
    kind = convention
    if kind is None:
        kind, level = convention_of(planes)
        notes.append(f"the variance is {kind}: median R^2 of variance against image {level:.2f}")
    noise, error = noise_of(frame, read_noise), 0.1 if read_noise is not None else 0.02
    values = np.asarray(noise, float)
    if not np.isfinite(values).any():
        noise, error = GUESS, 0.5
        notes.append(f"the read noise is not known: {GUESS:g} electron, to a factor of 1.5, were taken")
    elif values.ndim:
        noise = np.where(np.isfinite(values), values, np.nanmedian(values))
    exact = background is not None and read_noise is not None
    return _Case(frame, planes, tiles_of(frame), kind, noise, error, base, exact, tuple(notes))


def _is_coadd(frame: Frame) -> bool:
    """Whether the header says that the frame was made of several."""
    kind = str(frame.metadata.get("LSST BUTLER DATASETTYPE", "")).lower()
    number = frame.metadata.get("NCOMBINE", 1)
    return any(word in kind for word in COADD) or (isinstance(number, int) and number > 1)


def _closed(case: _Case) -> EffectiveGain:
    """Background and read noise are given."""
    planes = case.planes
    if not np.isfinite(np.asarray(case.noise)).all() or case.noise_error > 0.1:
        raise DataError("the closed form needs the read noise", where=planes.where, remedy="give read_noise=")
    k = closed_form(planes.image, planes.variance, case.noise)
    known = np.isfinite(k)
    part = 2 * k * np.square(case.noise)
    share = float(np.nanmedian(part / (planes.image + part)))
    near = np.full(k.shape, np.nan)
    for tile in case.tiles:
        near[tile.part] = local_median(k[tile.part], known[tile.part])
    return case.gain(
        np.where(known, k, near),
        "closed",
        0.0,
        case.base,
        f"as good as what was given: a read noise that is 1 % off makes K {share:.2g} % wrong",
        "the variance of the flat is not known: bright sources lack its term",
    )


def _calibrated(case: _Case, method: str, limit: float | None) -> EffectiveGain:
    """Closed form, the background found from the noise of the frame."""
    planes = case.planes
    found = self_calibrated(planes, case.tiles, case.noise, case.noise_error)
    bright, phi = bright_term(planes, case.tiles, found), None
    told = "the variance of the flat is not known: bright sources lack its term"
    for _ in range(2):
        if not (bright.flat_variance > 4 * bright.flat_error) and phi is None:
            break
        more = bright.flat_variance * (found.k / np.nanmedian(found.k))
        phi = np.maximum(np.nan_to_num(more if phi is None else phi + more), 0.0)
        found = self_calibrated(planes, case.tiles, case.noise, case.noise_error, phi)
        told = f"relative variance of the flat {np.nanmedian(phi):.2g}, one number for the frame, from bright pixels"
        bright = bright_term(planes, case.tiles, found)
    if abs(bright.offset) > max(4 * bright.offset_error, 0.02):
        text = f"bright pixels have a K that differs by {100 * bright.offset:+.1f} % from that of the sky around them"
        if method != "auto":
            raise DataError(
                f"{text}: this is no single exposure",
                where=planes.where,
                remedy='use method="bright"',
            )
        return _bright(replace(case, notes=(*case.notes, f"{text}: taken for a coadd")), limit)
    _within(case, found.rms, limit or LIMITS["realised"])
    k, off = without_outliers(found.k, case.tiles, planes.good)
    side = max(t.part[0].stop - t.part[0].start for t in case.tiles)
    notes = [
        f"a background that is no constant over {side} pixels is not told from the flat",
        "an error of the read noise is held by the background that is given here",
        told,
    ]
    if (dark := case.frame.last("dark")) is not None and dark.state == "done":
        notes.append("K is too low by the share of the noise of the combined dark in the variance of the sky")
    if off:
        notes.append(f"{off} pixels stood out and have the K of those around them")
    if found.lost:
        notes.append(f"no good pixel, K unknown: {', '.join(found.lost)}")
    level = found.background + case.base
    level = np.where(np.isfinite(level), level, np.nanmedian(level))
    return case.gain(k, "self-calibrated", found.rms, level, *notes, phi=phi)


def _expected(case: _Case, limit: float | None) -> EffectiveGain:
    """A variance made of a model: sources and blocks."""
    k, b, rms = expected_gain(case.planes, case.parts, case.noise, case.noise_error, limit or LIMITS["expected"])
    return case.gain(
        k,
        "self-calibrated",
        rms,
        b + case.base,
        "the variance is that of a model: structure of the flat finer than 16 pixels is not in K",
        "the variance of the flat is not known, and raises K where the sources were bright",
    )


def _bright(case: _Case, limit: float | None) -> EffectiveGain:
    """The slope of sources."""
    k, rms = bright_slope(case.planes, case.parts, limit or LIMITS["bright"])
    return case.gain(
        k,
        "bright",
        rms,
        case.base,
        "K is a smooth function of position, that of a source: the noise of the sky has another",
        "pixels drawn one by one lack the covariance of resampling: inject into the inputs where they are at hand",
    )


def _sloped(case: _Case, method: str) -> EffectiveGain:
    """The slopes of windows or amplifiers."""
    if case.convention == "expected":
        raise DataError(
            "the variance was made of a model: it does not follow the noise of the sky, and has no slope against it",
            where=case.planes.where,
            remedy="give the flat (flat=, or repo=)",
        )
    k, rms = (window_slope if method == "window" else region_slope)(case.planes, case.tiles)
    return case.gain(
        k, method, rms, case.base, "structure of the flat inside a window or amplifier is not in K, and pulls the slope"
    )


def _within(case: _Case, rms: float, limit: float) -> None:
    """Refuse an error above the limit.

    Raises
    ------
    DataError
        so it is.
    """
    if not rms <= limit:
        raise DataError(
            f"the frame determines K to {100 * rms:.2g} % only, {100 * limit:g} % is asked",
            where=case.planes.where,
            remedy="give the flat (flat=, or repo=), the read noise, or a wider limit=",
        )
