"""One pair of flats of one amplifier: levels, variance and covariances of their difference, and whether to trust them.

With clipped means m1, m2 of the flats I1, I2 and m = (m1 + m2)/2 the difference is

    D = (m2 I1 - m1 I2) / m,

both flats brought to the common mean, so that what differs from pixel to pixel in sensitivity cancels. Half the
clipped variance of D, divided by what the clip leaves of a Gaussian, is the variance of one image at the level m.
A mismatch of relative size s lowers it by s^2/4 only. Pixels beyond the clip of D (cosmic rays, defects) are left out
of the covariances; nothing is ever clipped on the ratio image, whose distribution is a chi-square.

References: Astier et al. 2019 (A&A 629, A36); acceptance cases 11 to 18, 22, 23 of the photon transfer specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.kernels import clipping
from fullwell.kernels.covariances import covariance_sums
from fullwell.measure.levels import clip_factor
from fullwell.measure.ptc.area import binned
from fullwell.measure.ptc.background import background
from fullwell.measure.ptc.clip import Clipped, Scratch, clipped, plain
from fullwell.measure.ptc.config import ExtractConfig
from fullwell.measure.ptc.histogram import gaussian_test
from fullwell.measure.ptc.transform import transform_covariances

__all__ = ["PairValues", "measure_pair"]

RATIO_BINS = 8192
RATIO_SAMPLE = 262_144
SCRATCH = Scratch()
NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class PairValues:
    """What was measured of one pair in one amplifier; the fields of `fullwell.products.Points`, one entry of each.

    Parameters
    ----------
    mean1, mean2 : clipped means of the two flats [adu]. factor : what the clip left of the variance.
    covariance, pixels : (L + 1, L + 1).
    reason : "" for a good point, else why it is bad. notes : what is odd about it all the same.
    """

    mean: float = NAN
    mean1: float = NAN
    mean2: float = NAN
    delta: float = NAN
    variance: float = NAN
    variance_error: float = NAN
    raw_variance: float = NAN
    ratio: float = NAN
    ratio_error: float = NAN
    ratio_median: float = NAN
    row_variance: float = NAN
    columns: float = NAN
    ks: float = NAN
    hist_variance: float = NAN
    hist_chi2: float = NAN
    rejected: float = NAN
    factor: float = 1.0
    covariance: NDArray[np.float64] = field(default_factory=lambda: np.full((1, 1), np.nan))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    reason: str = ""
    notes: tuple[str, ...] = ()


def empty(lags: int, reason: str, **known: Any) -> PairValues:
    """A point of which only `known` could be measured."""
    shape = (lags + 1, lags + 1)
    return PairValues(
        covariance=np.full(shape, np.nan), pixels=np.zeros(shape, np.int64), reason=reason, **known
    )  # fmt: skip


def measure_pair(
    flat1: NDArray[Any],
    flat2: NDArray[Any],
    good: NDArray[np.bool_] | None = None,
    *,
    noise: float = NAN,
    lags: int | None = None,
    config: ExtractConfig | None = None,
    saturated: int = 0,
) -> PairValues:
    """Everything that a pair of flats of one amplifier tells.

    Parameters
    ----------
    flat1, flat2 : (ny, nx) [adu] above the pedestal, of the same light. Float32 is computed in float32 along rows.
    good : (ny, nx) pixels to be used in both; None for all. What is not finite takes no part.
    noise : read noise [adu], NaN if unknown: only for the reason of a point without light.
    lags : largest lag; None for that of `config`. region, edges and masks of `config` are the caller's business.
    saturated : number of pixels of the region that are masked as saturated in either flat.

    Raises
    ------
    GeometryError
        arrays of different shape, or not of two dimensions.
    """
    cfg = config or ExtractConfig()
    lags = cfg.lags if lags is None else lags
    if flat1.ndim != 2 or flat1.shape != flat2.shape or (good is not None and good.shape != flat1.shape):
        shapes = [a.shape for a in (flat1, flat2) if a is not None] + ([] if good is None else [good.shape])
        raise GeometryError(f"flats and mask have shapes {', '.join(map(str, shapes))}", remedy="cut all to one region")
    use = np.ones(flat1.shape, np.bool_) if good is None else np.ascontiguousarray(good, np.bool_)
    region = use.size
    count = int(np.count_nonzero(use))
    if count < cfg.pixels:
        full = f"; {saturated / region:.0%} are saturated" if saturated > cfg.saturated * region else ""
        return empty(lags, f"{count} good pixels are left, fewer than {cfg.pixels}{full}")
    a, b = plain(flat1, SCRATCH, "first"), plain(flat2, SCRATCH, "second")
    if cfg.binning > 1:
        a, b, use = binned(a, b, use, cfg.binning)
    one, two = (clipped(image, use, cfg.clip, cfg.rounds) for image in (a, b))
    mean = (one.mean + two.mean) / 2
    known: dict[str, Any] = {"mean": mean, "mean1": one.mean, "mean2": two.mean, "delta": two.mean - one.mean}
    if one.count < cfg.pixels / cfg.binning**2 or two.count < cfg.pixels / cfg.binning**2:
        least = min(one.count, two.count)
        return empty(lags, f"{least} pixels with a value are left, fewer than {cfg.pixels // cfg.binning**2}", **known)
    if not mean > 0:
        return empty(lags, f"no light: the mean is {mean:.4g} adu", **known)
    values = _difference_values(a, b, use, one, two, lags, cfg)
    if not values["variance"] > 0:
        same = "the two flats are the same image" if np.array_equal(a[use], b[use]) else "dead: no pixel varies"
        return empty(lags, same, **known)
    reason, notes = judged(values | known, saturated / region, noise, cfg)
    return PairValues(**known, **values, **_ratio(a, b, use, values["variance"] / mean), reason=reason, notes=notes)


def _difference_values(
    a: NDArray[Any], b: NDArray[Any], use: NDArray[np.bool_], one: Clipped, two: Clipped, lags: int, cfg: ExtractConfig
) -> dict[str, Any]:
    """Everything that comes of the difference of the flats at their common mean."""
    mean = (one.mean + two.mean) / 2
    d = SCRATCH.take("difference", a.shape, np.result_type(a, b))
    clipping.scaled_difference(a, b, np.array([two.mean / mean, one.mean / mean], d.dtype), d)
    found = clipped(d, use, cfg.clip, cfg.rounds)
    kept = SCRATCH.take("kept", d.shape, np.bool_)
    if cfg.diff_background != "none":
        clipping.cut(d, use, found.mean, cfg.clip * found.sigma, kept)
        d -= background(d, kept, cfg.diff_background, cfg.box)
        found = clipped(d, use, cfg.clip, cfg.rounds)
    count = clipping.cut(d, use, found.mean, cfg.clip * found.sigma, kept)
    if count < 2 or not found.variance > 0:
        return {"variance": 0.0}
    total, _, raw = clipping.clip_sums(d, use, found.mean, 1e18)
    second, fourth = clipping.central_moments(d, kept, found.mean)
    spread = math.sqrt(max(fourth / count - (second / count) ** 2, 0.0) / count)
    rows, number = clipping.row_sums(d, kept)
    measured = plain(rows[None, np.isfinite(rows)])
    across = clipped(measured, np.ones(measured.shape, np.bool_), cfg.clip, cfg.rounds)
    covariance, pixels = _covariances(d, kept, found, lags, cfg)
    out = {
        "variance": 0.5 * found.variance / found.factor,
        "variance_error": 0.5 * spread / found.factor,
        "raw_variance": 0.5 * raw * total / (total - 1),
        "row_variance": across.variance / across.factor,
        "columns": float(number[number > 0].mean()),
        "rejected": 1.0 - count / total,
        "factor": found.factor,
        "covariance": covariance,
        "pixels": pixels,
    }
    if cfg.ks_test:
        out.update(gaussian_test(d[kept], math.sqrt(found.variance), cfg.ks_pixels, cfg.seed))
    return out


def _covariances(
    d: NDArray[Any], kept: NDArray[np.bool_], found: Clipped, lags: int, cfg: ExtractConfig
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Covariances of one image, corrected for the clip, which is one round more than that of the variance."""
    d -= d.dtype.type(found.mean)
    sums = covariance_sums if cfg.method == "direct" else transform_covariances
    covariance, pixels = sums(d, kept, lags)
    factor = clip_factor(cfg.clip, cfg.rounds + 1)
    covariance *= 0.5 / factor**2
    covariance[0, 0] *= factor
    return covariance, pixels


def _ratio(a: NDArray[Any], b: NDArray[Any], use: NDArray[np.bool_], scale: float) -> dict[str, Any]:
    """Mean of (I1 - I2)^2/(I1 + I2), its error and its median [adu], of rows enough; `scale` is about its mean."""
    step = max(a.size // RATIO_SAMPLE, 1)
    count, mean, square, histogram = clipping.ratio_sums(a, b, use, 4 * scale, RATIO_BINS, step)
    if count < 2:
        return {}
    below = np.cumsum(histogram)
    half = below[-1] / 2
    k = int(np.searchsorted(below, half))
    if 0 < k <= RATIO_BINS:
        median = float(k - 1 + (half - below[k - 1]) / histogram[k]) * 4 * scale / RATIO_BINS
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            median = float(np.nanmedian(((a - b) ** 2 / (a + b))[use]))
    error = math.sqrt(max(square - mean * mean, 0.0) / count)
    return {"ratio": mean, "ratio_error": error, "ratio_median": median}


def judged(values: dict[str, Any], saturated: float, noise: float, cfg: ExtractConfig) -> tuple[str, tuple[str, ...]]:
    """Why a measured point is bad, "" if it is good, and what is to be noted."""
    mean, delta = values["mean"], values["delta"]
    mismatch = abs(delta) / mean
    ks = values.get("ks", NAN)
    apart = (
        f"the levels of the two flats, {values['mean1']:.5g} and {values['mean2']:.5g} adu, differ by {mismatch:.2%}"
    )
    reasons = [
        (saturated > cfg.saturated, f"{saturated:.2%} of the pixels are saturated, more than {cfg.saturated:.2%}"),
        (
            mismatch > cfg.mismatch,
            f"{apart}, more than {cfg.mismatch:.2%}: the lamp drifts, or they are no pair",
        ),
        (mean <= cfg.min_mean, f"the mean {mean:.5g} adu is not above min_mean {cfg.min_mean:.5g}"),
        (mean >= cfg.max_mean, f"the mean {mean:.5g} adu is not below max_mean {cfg.max_mean:.5g}"),
        (
            values["rejected"] > cfg.rejected,
            f"{values['rejected']:.2%} of the pixels were clipped (cosmic rays?), more than {cfg.rejected:.2%}",
        ),
        (ks < cfg.ks_limit, f"the difference is not Gaussian: Kolmogorov-Smirnov p = {ks:.2g}, below {cfg.ks_limit:g}"),
        (
            2 * values["variance"] < noise**2,
            f"variance {values['variance']:.4g} adu2 is far below that of the read noise {noise:.4g} adu",
        ),
    ]
    off = abs(values["variance"] - values["covariance"][0, 0]) / values["variance"]
    notes = [
        (cfg.mismatch >= mismatch > cfg.mismatch_note, apart),
        (off > 0.01, f"variance and covariance at lag zero differ by {off:.2%}: many hits, or no Gaussian"),
    ]
    return next((text for bad, text in reasons if bad), ""), tuple(text for odd, text in notes if odd)
