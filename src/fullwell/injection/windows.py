"""K from the slope of V against I in windows or whole amplifiers, and the tiles that all estimators work on.

Model        over sky, V = K (I + b) + K^2 r^2 has the slope K in a window in which K is the same. Structure of the flat
             from pixel to pixel limits it: 1.2 % rms in windows of 64 pixels, 3 % where the slope is that of a
             whole amplifier and the flat inside is averaged away.
Assumes      a realised variance, and noise that was not moved between pixels.
References   injection note A.4 (4), (5) and its table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.frames import Frame
from fullwell.injection.convention import WINDOW, Planes, sky_of

__all__ = ["Tile", "filled", "local_median", "region_slope", "tiles_of", "window_slope"]

F8 = NDArray[np.float64]
Part = tuple[slice, slice]
BLOCK = 16
"""Side of the blocks that a local median is taken in [pixel]."""


@dataclass(frozen=True)
class Tile:
    """A part of an amplifier: its name, and the pixels in the arrays of the frame."""

    name: str
    part: Part


def tiles_of(frame: Frame, side: int = 512) -> list[Tile]:
    """Tiles of about `side` pixels, none across two amplifiers; the whole frame is one where it has no detector."""
    if frame.detector is not None:
        boxes = [(a.name, a.trimmed.intersection(frame.box)) for a in frame.detector]
        parts = [(name, box.shifted(-frame.box.x0, -frame.box.y0).slices) for name, box in boxes if box.area]
    else:
        parts = [("", (slice(0, frame.shape[0]), slice(0, frame.shape[1])))]
    return [Tile(name, (y, x)) for name, (ys, xs) in parts for y in _cut(ys, side) for x in _cut(xs, side)]


def _cut(whole: slice, side: int) -> list[slice]:
    length = whole.stop - whole.start
    n = max(1, round(length / side))
    edges = [whole.start + length * i // n for i in range(n + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def blocks(plane: F8, side: int) -> F8:
    """The pixels of each block of `side`, (rows, columns, side * side), NaN beyond the edge."""
    ny, nx = plane.shape
    rows, columns = -(-ny // side), -(-nx // side)
    padded = np.full((rows * side, columns * side), np.nan)
    padded[:ny, :nx] = plane
    return padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, side * side)


def local_median(plane: F8, known: NDArray[np.bool_], side: int = BLOCK) -> F8:
    """Median of the known pixels of the block that a pixel lies in, or of the nearest block that has some."""
    parts = blocks(np.where(known, plane, np.nan), side)
    enough = np.count_nonzero(np.isfinite(parts), axis=2) >= max(4, side * side // 16)
    if not enough.any():
        return np.full(plane.shape, float(np.nanmedian(plane[known])) if known.any() else math.nan)
    values = np.full(enough.shape, np.nan)
    values[enough] = np.nanmedian(parts[enough], axis=1)
    values = nearest(values)
    return np.repeat(np.repeat(values, side, axis=0), side, axis=1)[: plane.shape[0], : plane.shape[1]]


def nearest(values: F8) -> F8:
    """NaN replaced by the nearest number."""
    gaps = ~np.isfinite(values)
    if not gaps.any() or gaps.all():
        return values
    from scipy.ndimage import distance_transform_edt

    at = distance_transform_edt(gaps, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(at)])


def filled(values: F8, known: NDArray[np.bool_], near: F8) -> F8:
    """The values where they are known, elsewhere what is near."""
    return np.where(known, values, near)


def spread_out(values: F8, side: int, shape: tuple[int, int]) -> F8:
    """One value per block of `side` as a map, linear between the centres of the blocks."""
    out: F8 = values
    for axis, length in enumerate(shape):
        n = values.shape[axis]
        centres = np.minimum((np.arange(n) + 0.5) * side - 0.5, (np.arange(n) * side + length - 1) / 2)
        at = np.clip(np.interp(np.arange(length), centres, np.arange(n)), 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        high, part = np.minimum(low + 1, n - 1), at - low
        part = part[:, None] if axis == 0 else part[None, :]
        out = np.take(out, low, axis) * (1 - part) + np.take(out, high, axis) * part
    return out


def _slope(image: F8, variance: F8, good: NDArray[np.bool_], clip: float) -> tuple[float, float]:
    """(regression of V on I, its error) over pixels within `clip` sigma of the sky; clip 0 takes all."""
    keep = sky_of(image, good, clip) if clip else good
    i, v = image[keep], variance[keep]
    if i.size < 50 or not np.ptp(i) > 0:
        return math.nan, math.nan
    step = i - i.mean()
    total = float(step @ step)
    k = float(step @ v) / total
    rest = v - v.mean() - k * step
    return k, math.sqrt(float(rest @ rest) / (i.size - 2) / total)


def window_slope(planes: Planes, tiles: Sequence[Tile], window: int = WINDOW) -> tuple[F8, float]:
    """K, linear between the centres of windows of sky, and its relative rms: error of a slope and step between them.

    Raises
    ------
    DataError
        no window has a slope above 0.
    """
    out = np.full(planes.image.shape, np.nan)
    errors: list[float] = []
    steps: list[float] = []
    for tile in tiles:
        image, variance, good = planes.image[tile.part], planes.variance[tile.part], planes.good[tile.part]
        rows, columns = -(-image.shape[0] // window), -(-image.shape[1] // window)
        found = np.full((rows, columns), np.nan)
        for r in range(rows):
            for c in range(columns):
                at = np.s_[r * window : (r + 1) * window, c * window : (c + 1) * window]
                k, error = _slope(image[at], variance[at], good[at], 5.0)
                if k > 0 and error < 0.2 * k:
                    found[r, c] = k
                    errors.append(error / k)
        if np.isfinite(found).any():
            near = nearest(found)
            steps += [*np.diff(np.log(near), axis=0).ravel(), *np.diff(np.log(near), axis=1).ravel()]
            out[tile.part] = spread_out(near, window, image.shape)
    if not errors:
        raise _no_slope(planes, "window")
    texture = math.sqrt(float(np.mean(np.square(steps))) / 2) if steps else 0.0
    return out, math.hypot(float(np.median(errors)), texture, _texture(planes, out))


def region_slope(planes: Planes, tiles: Sequence[Tile]) -> tuple[F8, float]:
    """K, one number for each amplifier, and its relative rms: how far windows differ inside an amplifier.

    Raises
    ------
    DataError
        an amplifier has no slope above 0.
    """
    out = np.full(planes.image.shape, np.nan)
    for name in dict.fromkeys(tile.name for tile in tiles):
        parts = [tile.part for tile in tiles if tile.name == name]
        image, variance = (np.concatenate([p[part].ravel() for part in parts]) for p in (planes.image, planes.variance))
        good = np.concatenate([planes.good[part].ravel() for part in parts])
        k, _ = _slope(image, variance, good, 0.0)
        if not k > 0:
            raise _no_slope(planes, f"amplifier {name}" if name else "region")
        for part in parts:
            out[part] = k
    windows, error = window_slope(planes, tiles)
    with np.errstate(invalid="ignore"):
        apart = np.log(windows / out)
    return out, math.hypot(float(np.sqrt(np.nanmean(apart**2))), error)


def _texture(planes: Planes, k: F8) -> float:
    """Relative rms of V about K I in pixels beside each other: structure of the flat that a slope does not see."""
    rest = planes.variance - k * planes.image
    rise = rest[:, 1:] - rest[:, :-1]
    known = np.isfinite(rise)
    if not known.any():
        return 0.0
    scale = float(np.nanmedian(planes.variance))
    return 1.4826 * float(np.median(np.abs(rise[known]))) / math.sqrt(2) / scale


def _no_slope(planes: Planes, what: str) -> DataError:
    return DataError(
        f"the variance does not rise with the image in any {what}: K cannot be read off its slope",
        where=planes.where,
        remedy="give the flat (flat=, or repo=)",
    )
