"""The variance of frames against reality: squared residuals of repeated exposures over the mean variance.

Model        with a truth T, chi2 = sum (I - T)^2 / sum V; without one, n exposures of one scene give
             chi2 = n/(n-1) sum (I - mean)^2 / sum V', V' the variance without what all exposures share: the
             errors of the combined frames cancel in the differences.
Ratio        of sums, never the mean of ratios: a variance made of a pixel's own counts is low where the pixel is low.
Selection    without a truth a pixel is sorted by the flux of its neighbours, of itself nothing: a choice by its own
             noise would pull the variance with it.
Errors       from the scatter of tiles, which includes what neighbours share; at least that of normal noise,
             sqrt(2 sum V^2) / sum V.
References   photon-transfer note 10.2; injection note A.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError, UnitError, UsageError
from fullwell.frames import Frame
from fullwell.measure.noise_budget import NoiseBudget, noise_budget, usable
from fullwell.measure.noise_products import where_of
from fullwell.measure.noise_terms import amp_slices
from fullwell.products import Product

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Chi2", "VarianceCheck", "check_variance"]

F8 = NDArray[np.float64]
SHARED = ("bias_frame", "dark_frame", "flat")
"""Terms that exposures with the same combined frames have in common."""
COMBINED = ("the bias", "the dark", "the flat")
TILES = 16
"""Tiles along each axis of the map."""


@dataclass(frozen=True)
class Chi2:
    """One ratio.

    Parameters
    ----------
    name : what pixels; flux : their mean [unit]; pixels : number of them in one frame.
    chi2 : squared residual over variance, 1 where the variance is true; error : standard error.
    """

    name: str
    flux: float
    pixels: int
    chi2: float
    error: float

    @property
    def pull(self) -> float:
        """(chi2 - 1) / error."""
        return (self.chi2 - 1) / self.error

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**self.__dict__, "pull": self.pull}


@dataclass(frozen=True)
class VarianceCheck:
    """How far the variance agrees with the scatter of repeated exposures.

    Parameters
    ----------
    frames : number; unit : of the images; truth : whether the true scene was given.
    whole : all pixels; amps, levels : by amplifier, by flux. map, map_error : (tiles, tiles), NaN where no pixel is.
    scale : relative level of each frame, 1 where none was asked for. notes : sentences.
    """

    frames: int
    unit: str
    truth: bool
    whole: Chi2
    amps: tuple[Chi2, ...]
    levels: tuple[Chi2, ...]
    map: F8
    map_error: F8
    scale: tuple[float, ...]
    notes: tuple[str, ...]

    def plot(self, name: str = "maps", **options: Any) -> Figure:
        """Figure `name` ("maps") of `fullwell.plots.variance_check`."""
        from fullwell.base.figures import figure

        drawn: Figure = figure("variance_check", name)(self, **options)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        shares = {"amps": [c.to_dict() for c in self.amps], "levels": [c.to_dict() for c in self.levels]}
        head = {"frames": self.frames, "unit": self.unit, "truth": self.truth, "whole": self.whole.to_dict()}
        maps = {"map": self.map.tolist(), "map_error": self.map_error.tolist(), "scale": list(self.scale)}
        return {**head, **shares, **maps, "notes": list(self.notes)}


def check_variance(
    frames: Sequence[Frame],
    truth: NDArray[Any] | None = None,
    *,
    products: dict[str, Product] | None = None,
    repo: Any = None,
    levels: Sequence[float] = (),
    match: bool = False,
) -> VarianceCheck:
    """Squared residuals of exposures of one scene over their variance, by flux, amplifier and position.

    Parameters
    ----------
    frames : corrected frames of one detector and unit. truth : (ny, nx) true scene [unit]; then one frame is enough,
        and the errors of the combined frames count.
    products, repo : as in `noise_budget`, where the frames did not keep the parts of the variance.
    levels : edges of the ranges of flux; by default eight.
    match : scale the frames to one level first (a lamp that drifts).

    Raises
    ------
    UsageError
        fewer than two frames without a truth; `match` with a truth.
    DataError
        a frame has no variance, or no pixel is left.
    GeometryError, UnitError
        frames or truth of different detectors, sizes or units.
    """
    _alike(frames, truth)
    if truth is not None and match:
        raise UsageError("frames that are compared with a truth are not scaled", remedy="leave match out")
    ok = np.logical_and.reduce([usable(f) for f in frames])
    if truth is not None:
        ok &= np.isfinite(truth)
    if not ok.any():
        raise DataError("no pixel is usable in all frames", where=where_of(frames[0]), remedy="look at the masks")
    images = [f.image.array.astype(np.float64) for f in frames]
    scale = _scales(images, ok) if match else np.ones(len(frames))
    images = [image / s for image, s in zip(images, scale, strict=True)]
    variances, notes = _variances(frames, truth is not None, products, repo)
    variance = sum(v / s**2 for v, s in zip(variances, scale, strict=True)) / len(frames)
    if truth is not None:
        squares = sum((image - truth) ** 2 for image in images) / len(frames)
        flux, freedom = np.asarray(truth, np.float64), len(frames)
    else:
        mean = np.mean(images, axis=0)
        squares = sum((image - mean) ** 2 for image in images) / (len(frames) - 1)
        flux, freedom = _neighbours(mean, ok), len(frames) - 1
    ok = ok & np.isfinite(variance) & np.isfinite(flux)
    ratios = _Ratios(squares, np.asarray(variance), flux, ok, freedom)
    detector = frames[0].detector
    amps = {} if detector is None else {n: amp_slices(frames[0], n) for n in detector.names}
    return VarianceCheck(
        len(frames), frames[0].unit, truth is not None, ratios.of("all", ok),
        tuple(ratios.of(name, ratios.only(at)) for name, at in amps.items() if ok[at].any()),
        tuple(ratios.of(*one) for one in ratios.ranges(levels)),
        *ratios.map(), tuple(float(s) for s in scale), tuple(notes),
    )  # fmt: skip


def _alike(frames: Sequence[Frame], truth: Any) -> None:
    if not frames or (truth is None and len(frames) < 2):
        raise UsageError(
            f"chi2 needs two or more exposures of one scene, {len(frames)} given",
            where=where_of(frames[0]) if frames else None,
            remedy="give more exposures of the same field, or the true scene",
        )
    first = frames[0]
    for frame in frames[1:]:
        where = f"{where_of(first)} and {where_of(frame)}"
        names = first.observation.detector, frame.observation.detector
        if frame.box != first.box or (all(names) and names[0] != names[1]):
            raise GeometryError(
                f"the frames are not of one detector: {names[0]} {first.box}, {names[1]} {frame.box}",
                where=where,
                remedy="give exposures of one detector",
            )
        if frame.unit != first.unit:
            raise UnitError(
                f"one frame is in {first.unit}, one in {frame.unit}", where=where, remedy="reduce them alike"
            )
    if truth is not None and np.shape(truth) != first.shape:
        raise GeometryError(
            f"the true scene has shape {np.shape(truth)}, the frame {first.shape}",
            where=where_of(first),
            remedy="cut it",
        )


def _scales(images: Sequence[F8], ok: NDArray[np.bool_]) -> F8:
    sums = np.array([image[ok].mean() for image in images])
    if not (sums > 0).all():
        raise DataError("frames without a level above 0 cannot be scaled to each other", remedy="leave --match out")
    return np.asarray(sums / sums.mean())


def _variances(frames: Sequence[Frame], truth: bool, products: Any, repo: Any) -> tuple[list[F8], list[str]]:
    """Variances without what the frames share, and sentences."""
    planes = [f.variance.array.astype(np.float64) for f in frames if f.variance is not None]
    if truth:
        return planes, []
    shared = [{(r.step, *sorted(r.inputs.items())) for r in f.history if r.inputs} for f in frames]
    if any(s != shared[0] for s in shared):
        return planes, ["the frames were not corrected with the same products: their errors are left in the variance"]
    if not shared[0]:
        return planes, []
    notes: list[str] = []
    for i, frame in enumerate(frames):
        budget: NoiseBudget = noise_budget(frame, products, repo)
        planes[i] -= sum((budget.planes[n] for n in SHARED if n in budget.planes), np.zeros(frame.shape))
        notes += [n for n in budget.notes if n.startswith(COMBINED) and n not in notes]
    return planes, [f"{n}: its error, which the frames share, is left in the variance" for n in notes]


def _neighbours(image: F8, ok: NDArray[np.bool_]) -> F8:
    """Mean of the usable ones of the 24 pixels around each; NaN where there are none."""
    from scipy.ndimage import uniform_filter

    values = np.where(ok, image, 0.0)
    total = uniform_filter(values, 5, mode="constant") * 25 - values
    count = np.rint(uniform_filter(ok.astype(np.float64), 5, mode="constant") * 25) - ok
    return np.divide(total, count, out=np.full(image.shape, np.nan), where=count > 0)


@dataclass(frozen=True)
class _Ratios:
    """Planes that ratios are taken of; freedom : degrees of freedom of a pixel."""

    squares: F8
    variance: F8
    flux: F8
    ok: NDArray[np.bool_]
    freedom: int

    def only(self, at: tuple[slice, slice]) -> NDArray[np.bool_]:
        """The usable pixels of a part."""
        out = np.zeros_like(self.ok)
        out[at] = self.ok[at]
        return out

    def tiles(self, at: NDArray[np.bool_]) -> tuple[F8, F8, F8]:
        """Sums of squares and variances, and pixels, of each tile, (tiles, tiles)."""
        ny, nx = at.shape
        y, x = (np.minimum(np.arange(n) * TILES // max(n, 1), TILES - 1) for n in (ny, nx))
        label = (y[:, None] * TILES + x[None, :])[at]
        sums = [np.bincount(label, w, TILES * TILES) for w in (self.squares[at], self.variance[at], None)]
        return sums[0].astype(np.float64), sums[1].astype(np.float64), sums[2].astype(np.float64)

    def of(self, name: str, at: NDArray[np.bool_]) -> Chi2:
        """The ratio of the pixels `at`."""
        top, bottom, count = self.tiles(at)
        ratio = float(top.sum() / bottom.sum())
        used = count > 0
        error = ratio * math.sqrt(2 * float(np.sum(self.variance[at] ** 2)) / self.freedom) / float(bottom.sum())
        if used.sum() > 3:
            n = int(used.sum())
            scatter = float(np.sum((top[used] - ratio * bottom[used]) ** 2) * n / (n - 1))
            error = max(error, math.sqrt(scatter) / float(bottom.sum()))
        return Chi2(name, float(self.flux[at].mean()), int(at.sum()), ratio, error)

    def ranges(self, levels: Sequence[float]) -> list[tuple[str, NDArray[np.bool_]]]:
        """(name, pixels) of ranges of flux that hold pixels."""
        edges = np.asarray(levels, np.float64)
        values = self.flux[self.ok]
        if edges.size and (edges.size < 2 or not (np.diff(edges) > 0).all()):
            raise UsageError(
                "the edges of the flux do not rise", where="levels", remedy="two or more, from faint to bright"
            )
        if not edges.size:
            low, top = max(float(np.median(values)), 1.0), float(np.quantile(values, 0.9999))
            inner = np.geomspace(low, top, 9)[1:-1] if top > 1.5 * low else np.zeros(0)
            edges = np.concatenate(([-np.inf], inner, [np.inf]))
        out = []
        for low, high in pairwise(edges):
            at = self.ok & (self.flux >= low) & (self.flux < high)
            if at.any():
                out.append((f"{low:.6g} to {high:.6g}", at))
        return out

    def map(self) -> tuple[F8, F8]:
        """chi2 and its error by tile."""
        top, bottom, _ = self.tiles(self.ok)
        fourth = replace(self, squares=self.variance**2).tiles(self.ok)[0]
        none = np.full(top.shape, np.nan)
        ratio = np.divide(top, bottom, out=none.copy(), where=bottom > 0)
        error = np.divide(np.sqrt(2 * fourth / self.freedom), bottom, out=none, where=bottom > 0)
        return ratio.reshape(TILES, TILES), error.reshape(TILES, TILES)
