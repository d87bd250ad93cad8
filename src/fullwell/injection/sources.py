"""K from the sources of a frame: what they add to the variance over what they add to the image.

Model        over the footprint of a source, sum(V - V_sky) = K sum(I - I_sky), whatever was taken off as background,
             whether V was made of the counts of a pixel or of a model, and through resampling: K is then the slope S of
             an astronomical object, sum w^2 (h^2 * K_i), which the noise of the sky does not give.
Expected     planes made of a model or of a smoothed signal say nothing in the sky's noise. There the sources give the
             background b, and the closed form on blocks of 16 pixels, b known, gives the map of K.
Assumes      sources that add at least a third of the variance of the sky in a block of 16 pixels, and nothing that
             moves charge over more than a block.
Cannot know  structure of the flat finer than the blocks; the flat's own variance, which raises V of the brightest.
References   injection note A.3 (coadds), A.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.injection.closed import closed_form
from fullwell.injection.convention import Planes
from fullwell.injection.windows import BLOCK, Tile, blocks, nearest, spread_out

__all__ = ["BlockMeans", "block_means", "bright_slope", "expected_gain"]

F8 = NDArray[np.float64]
RISE = 0.33
"""Part of the variance of the sky that the sources of a block must add."""
GROUPS = 8
"""Independent groups of sources that an error is taken from."""
_CROWDED = 60
_ORDERS = ((40, 2), (12, 1), (0, 0))
"""Number of groups of sources from which on K is a polynomial of that order in position."""


@dataclass(frozen=True)
class BlockMeans:
    """Blocks of 16 pixels of one part of a frame.

    Parameters
    ----------
    image, variance : mean of the good pixels, NaN where fewer than half are good.
    count : good pixels; sky : local sky of both, (2, rows, columns).
    source : blocks with a source or next to one.
    """

    image: F8
    variance: F8
    count: F8
    sky: F8
    source: NDArray[np.bool_]

    @property
    def rise(self) -> tuple[F8, F8]:
        """What the sources add, summed over the pixels of a block: to the image, to the variance; 0 outside."""
        inside = self.source & np.isfinite(self.image)
        lift = np.where(inside, self.count, 0.0)
        return (
            np.nan_to_num(self.image - self.sky[0]) * lift,
            np.nan_to_num(self.variance - self.sky[1]) * lift,
        )

    def groups(self, side: int = 3) -> NDArray[np.int64]:
        """A number for each block: that of the blocks with sources that touch, or, where sources are so crowded that
        many do, of squares of `side` blocks.
        """
        from scipy.ndimage import label

        touching, n = label(self.source, structure=np.ones((3, 3), bool))
        if n and np.bincount(touching.ravel())[1:].max() <= _CROWDED:
            return np.asarray(touching, np.int64)
        rows, columns = self.image.shape
        y, x = np.mgrid[:rows, :columns]
        return np.asarray(y // side * (columns // side + 1) + x // side)


def block_means(image: F8, variance: F8) -> BlockMeans:
    """Means of blocks, the sky around each, and where sources are; NaN are the pixels not to be used."""
    from scipy.ndimage import binary_dilation

    parts = [blocks(plane, BLOCK) for plane in (image, variance)]
    count = np.count_nonzero(np.isfinite(parts[0]), axis=2).astype(float)
    enough = count >= BLOCK * BLOCK / 2
    means = [np.where(enough, np.nansum(part, axis=2) / np.maximum(count, 1), np.nan) for part in parts]
    source = np.zeros(enough.shape, bool)
    level = _around(means[1], source)
    for _ in range(4):
        with np.errstate(invalid="ignore"):
            found = binary_dilation(means[1] > (1 + RISE) * level, iterations=1, structure=np.ones((3, 3), bool))
        if (found == source).all():
            break
        source = found
        level = _around(means[1], source)
    return BlockMeans(means[0], means[1], count, np.stack([_around(means[0], source), level]), source)


def _around(values: F8, source: NDArray[np.bool_], reach: int = 4) -> F8:
    """Median of the blocks without a source within `reach` of each."""
    free = np.where(source, np.nan, values)
    padded = np.pad(free, reach, constant_values=np.nan)
    side = 2 * reach + 1
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side)).reshape(*values.shape, side * side)
    known = np.count_nonzero(np.isfinite(views), axis=2) >= 5
    out = np.full(values.shape, np.nan)
    if known.any():
        out[known] = np.nanmedian(views[known], axis=1)
    if not np.isfinite(out).any():
        out[:] = float(np.nanmedian(values)) if np.isfinite(values).any() else math.nan
    return nearest(out)


def jackknife(light: F8, noise: F8) -> tuple[float, float]:
    """(sum of noise / sum of light, its error) of groups that are independent."""
    n, top, below = light.size, float(noise.sum()), float(light.sum())
    if n < 2 or below <= 0:
        return math.nan, math.inf
    each = (top - noise) / (below - light)
    return top / below, math.sqrt((n - 1) / n * float(np.sum((each - each.mean()) ** 2)))


def _grouped(means: BlockMeans) -> tuple[F8, F8, F8, F8]:
    """Of groups of blocks with sources: light and variance that they add, and the places (x, y) [block]."""
    light, noise = means.rise
    number = means.groups().ravel()
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    total = np.bincount(number, light.ravel())
    keep = np.bincount(number, (light != 0).ravel()) > 0
    weight = np.maximum(np.bincount(number, np.abs(light).ravel()), 1e-300)
    places = [np.bincount(number, (np.abs(light) * p).ravel()) / weight for p in (x, y)]
    every = (total, np.bincount(number, noise.ravel()), *places)
    sums = [np.asarray(one, np.float64)[keep] for one in every]
    return sums[0], sums[1], sums[2], sums[3]


def bright_slope(planes: Planes, parts: Sequence[Sequence[Tile]], limit: float) -> tuple[F8, float]:
    """K of a coadd or resampled image from its sources, a smooth function of position.

    Parameters
    ----------
    parts : tiles that share one polynomial; limit : largest relative error of K that is accepted.

    Raises
    ------
    DataError
        too few sources, or K would be known worse than `limit`.
    """
    out = np.full(planes.image.shape, np.nan)
    worst = 0.0
    for tiles in parts:
        box = _hull(tiles)
        means = block_means(planes.image[box], planes.variance[box])
        light, noise, x, y = _grouped(means)
        mean = float(noise.sum()) / float(light.sum()) if light.sum() > 0 else math.nan
        if not mean > 0:
            _check(planes, 0, math.inf, limit, tiles[0].name)
        order = next(o for n, o in _ORDERS if light.size >= n)
        shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
        surface = _surface(light, noise, x, y, order, (means.image.shape[0], means.image.shape[1]))
        surface = np.clip(surface, 0.5 * mean, 2 * mean)
        lines, columns = (np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip((y, x), surface.shape, strict=True))
        error = jackknife(surface[lines, columns] * light, noise)[1] * math.sqrt(len(_terms(x, y, order)))
        _check(planes, light.size, error, limit, tiles[0].name)
        out[box] = spread_out(surface, BLOCK, shape)
        worst = max(worst, error)
    return out, worst


def _terms(x: F8, y: F8, order: int) -> list[F8]:
    return [x**i * y**j for i in range(order + 1) for j in range(order + 1 - i)]


def _surface(light: F8, noise: F8, x: F8, y: F8, order: int, shape: tuple[int, int]) -> F8:
    """Polynomial of K on the blocks: noise = sum of terms times light, each group weighted by 1 / light."""
    scale = (max(shape[1] - 1, 1) / 2, max(shape[0] - 1, 1) / 2)
    u, v = x / scale[0] - 1, y / scale[1] - 1
    weight = 1 / np.sqrt(np.maximum(np.abs(light), float(np.median(np.abs(light)))))
    a = np.stack(_terms(u, v, order), axis=1) * light[:, None]
    best, *_ = np.linalg.lstsq(a * weight[:, None], noise * weight, rcond=None)
    gy, gx = np.mgrid[: shape[0], : shape[1]]
    terms = _terms(gx / scale[0] - 1, gy / scale[1] - 1, order)
    return np.asarray(sum(c * t for c, t in zip(best, terms, strict=True)))


def expected_gain(
    planes: Planes, parts: Sequence[Sequence[Tile]], read_noise: F8 | float, noise_error: float, limit: float
) -> tuple[F8, F8, float]:
    """K and b of a frame whose variance was made of a model, and the relative error of K.

    An amplifier whose own sources give its b to half the limit has one of its own, which then holds the error of its
    read noise; the others of a part share one.

    Parameters
    ----------
    parts : tiles that may share one b; read_noise : [electron] number or (ny, nx), and its relative error.
    limit : largest relative error of K that is accepted.

    Raises
    ------
    DataError
        too few or too faint sources.
    """
    noise = np.broadcast_to(np.asarray(read_noise, float), planes.image.shape)
    out, level = (np.full(planes.image.shape, np.nan) for _ in range(2))
    squares = []
    for tiles in parts:
        whole = _whole(tiles)
        found = [block_means(planes.image[t.part], planes.variance[t.part]) for t in whole]
        own = [float(np.sqrt(np.nanmean(noise[t.part] ** 2))) for t in whole]
        common = float(np.sqrt(np.mean(np.square(own))))
        shared = _background(found, common)
        for tile, means, r in zip(whole, found, own, strict=True):
            alone = _background([means], r)
            mine = alone[2] >= GROUPS and alone[1] <= limit / 2
            b, error, n = alone if mine else shared
            _check(planes, n, error, limit, tile.name if len(whole) == 1 else "")
            k = _around(closed_form(means.sky[0], means.sky[1], r, b), means.source, reach=2)
            width = 2 * float(np.nanmedian(k)) * r**2
            share = width / (float(np.nanmedian(means.sky[0])) + b + width)
            off = 0.0 if mine else noise_error * share * abs(1 - common**2 / r**2 if r > 0 else 0.0)
            squares.append(error**2 + off**2)
            out[tile.part], level[tile.part] = spread_out(nearest(k), BLOCK, planes.image[tile.part].shape), b
    rms = math.sqrt(float(np.mean(squares)))
    _check(planes, GROUPS, rms, limit, "")
    return out, level, rms


def _background(every: Sequence[BlockMeans], r: float) -> tuple[float, float, int]:
    """(b for which the K of the sky explains what sources add, relative error of K, groups of sources)."""
    light, noise, sky = ([], [], [])  # type: tuple[list[F8], list[F8], list[F8]]
    for means in every:
        lift, rise = means.rise
        inside = lift != 0
        light.append(lift[inside])
        noise.append(rise[inside])
        sky.append(np.stack([means.sky[0][inside], means.sky[1][inside]]))
    total = np.concatenate(light)
    if not total.size or float(total.sum()) <= 0:
        return math.nan, math.inf, 0
    rise, level = np.concatenate(noise), np.concatenate(sky, axis=1)
    number = np.concatenate([m.groups()[m.rise[0] != 0] + (i << 32) for i, m in enumerate(every)])
    _, number = np.unique(number, return_inverse=True)
    ratio = float(rise.sum()) / float(total.sum())

    def excess(b: float) -> float:
        k = closed_form(level[0], level[1], r, b)
        return float(np.nansum(rise - k * total)) / float(total.sum()) / ratio

    b = float(np.mean(level[1])) / ratio - float(np.mean(level[0])) - ratio * r**2
    width = float(np.mean(level[1])) / ratio
    other = b + 0.02 * width
    last, value = excess(other), excess(b)
    for _ in range(20):
        if value == last or not math.isfinite(value):
            break
        move = -value * (b - other) / (value - last)
        other, last = b, value
        b += max(-0.3 * width, min(0.3 * width, move))
        value = excess(b)
        if abs(value) < 1e-6:
            break
    explained = np.nan_to_num(closed_form(level[0], level[1], r, b)) * total
    sums = [np.asarray(np.bincount(number, values), np.float64) for values in (explained, rise)]
    _, error = jackknife(sums[0], sums[1])
    return b, error, int(number.max()) + 1


def _whole(tiles: Sequence[Tile]) -> list[Tile]:
    """One tile for each amplifier."""
    names = dict.fromkeys(t.name for t in tiles)
    return [Tile(name, _hull([t for t in tiles if t.name == name])) for name in names]


def _hull(tiles: Sequence[Tile]) -> tuple[slice, slice]:
    """The smallest box around tiles."""
    ys, xs = [t.part[0] for t in tiles], [t.part[1] for t in tiles]
    return (
        slice(min(s.start for s in ys), max(s.stop for s in ys)),
        slice(min(s.start for s in xs), max(s.stop for s in xs)),
    )


def _check(planes: Planes, n: int, error: float, limit: float, name: str) -> None:
    """Refuse where the sources do not determine K.

    Raises
    ------
    DataError
        fewer than `GROUPS` groups of sources, or an error above the limit.
    """
    if n >= GROUPS and error <= limit:
        return
    known = "" if not math.isfinite(error) else f"; K would be known to {100 * error:.1f} %, {100 * limit:g} % is asked"
    raise DataError(
        f"K cannot be found from the sources{f' of {name}' if name else ''}: {n} groups of blocks of {BLOCK} pixels "
        f"have sources that add a third of the variance of the sky, {GROUPS} are needed{known}",
        where=planes.where,
        remedy="give the flat (flat=, or repo=), or the background and the read noise of the frame",
    )
