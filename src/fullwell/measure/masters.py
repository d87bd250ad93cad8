"""Combined bias, dark and flat from frames that the calibration recipes have corrected.

Before anything is combined each frame is looked at as a whole; one that does not belong is left out and the product's
notes say why. The variance of a product is that of its mean: propagated from the frames where they carry one, else
from their scatter (pooled over the amplifier below ten frames, because a scatter of few values is itself too noisy to
weigh pixels with).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.conductor import Workers
from fullwell.frames import Frame, bit
from fullwell.measure.hits import without_hits
from fullwell.measure.levels import PERCENTILES, Statistics, amplifier_boxes, amplifier_statistics, statistics
from fullwell.measure.rejection import Clip
from fullwell.measure.stacking import BAD_PLANES, Combined, combine
from fullwell.products import Bias, Dark, Flat

__all__ = ["build_bias", "build_dark", "build_flat"]

POOL_BELOW = 10
SKY_WORDS = ("sky", "twi", "dusk", "dawn")


@dataclass(frozen=True)
class _Looked:
    """A frame and its levels by amplifier."""

    frame: Frame
    levels: dict[str, Statistics]

    @property
    def name(self) -> str:
        return self.frame.source or self.frame.observation.obs_id or "frame"


def _checked(frames: Sequence[Frame], what: str) -> list[_Looked]:
    """The frames with their levels; refuses what cannot be a stack of assembled frames."""
    if not frames:
        raise UsageError(f"there is no {what} frame to combine", remedy=f"give at least one {what} frame")
    for frame in frames:
        if frame.raw and frame.detector is not None:
            raise UsageError(
                f"a combined {what} is made of corrected frames, this one is raw",
                where=frame.source or frame.observation.obs_id,
                remedy=f"run the recipe '{what}' on it first: fullwell.isr(frame, products, recipe='{what}')",
            )
    return [_Looked(f, amplifier_statistics(f)) for f in frames]


def _percentiles(image: NDArray[Any]) -> list[float]:
    """`PERCENTILES` of the finite pixels; of a large image from a thinned grid, the extremes from all of it."""
    step = max(1, image.shape[0] // 1024)
    sample = image[::step, ::step]
    good = sample[np.isfinite(sample)]
    if not good.size:
        return [math.nan] * len(PERCENTILES)
    found = [float(v) for v in np.percentile(good, PERCENTILES)]
    found[0], found[-1] = float(np.nanmin(image)), float(np.nanmax(image))
    return found


def _statistics(used: Sequence[_Looked], image: NDArray[np.float32], made: Combined) -> dict[str, Any]:
    """What the product tells about its inputs and itself."""
    return {
        "percents": list(PERCENTILES),
        "percentiles": _percentiles(image),
        "inputs": {u.name: _percentiles(u.frame.image.array) for u in used},
        "scales": made.scales.tolist(),
        "rejected": made.rejected_by_input.tolist(),
        "variance": "propagated" if made.propagated else "scatter",
    }


def _pooled(made: Combined, frame: Frame, notes: list[str]) -> NDArray[np.float32]:
    """Variance of the mean; a scatter of few frames is replaced by the amplifier's mean, but for pixels far noisier."""
    variance = made.variance
    if made.propagated or len(made.inputs) >= POOL_BELOW:
        return variance
    if len(made.inputs) == 1:
        notes.append("One frame without a variance of its own: the variance of the product is its pixel scatter.")
        out = np.empty_like(variance)
        for box in amplifier_boxes(frame.detector, frame.box).values():
            part = box.shifted(-frame.box.x0, -frame.box.y0).slices
            out[part] = statistics(made.image[part]).variance
        return out
    out = variance.copy()
    for box in amplifier_boxes(frame.detector, frame.box).values():
        part = box.shifted(-frame.box.x0, -frame.box.y0).slices
        own, kept = variance[part], made.count[part]
        valid = np.isfinite(own) & (kept > 1)
        if not valid.any():
            continue
        per_value = own * kept
        typical = float(np.mean(per_value[valid & (per_value <= 25 * np.median(per_value[valid]))]))
        with np.errstate(divide="ignore"):
            level = (typical / kept).astype(np.float32)
        out[part] = np.where(valid & (per_value > 25 * typical), own, level)
    notes.append(
        f"The variance is the scatter of {len(made.inputs)} frames, pooled over each amplifier "
        "but for pixels with more than 25 times its variance."
    )
    return out


def _mask(made: Combined) -> NDArray[np.uint32] | None:
    """NO_DATA where no frame had a value; None where all had."""
    none = made.mask & np.uint32(bit("NO_DATA"))
    return none if none.any() else None


def _common(used: Sequence[_Looked], made: Combined, notes: Sequence[str], step: str, **config: Any) -> dict[str, Any]:
    """Fields that all image products share."""
    first = used[0].frame
    record = Record(
        step, config=config, inputs={str(i): u.name for i, u in enumerate(used)}, numbers={"frames": len(used)},
    )  # fmt: skip
    return {
        "count": made.count,
        "mask": _mask(made),
        "box": first.box,
        "detector": first.detector,
        "observation": first.observation,
        "inputs": tuple(u.name for u in used),
        "history": (*first.history, made.record(), record),
        "notes": tuple(dict.fromkeys([*notes, *made.notes])),
    }


def _belong(looked: Sequence[_Looked], notes: list[str], unit: str) -> list[_Looked]:
    """Frames whose level and noise are those of the others, by amplifier; at most half are left out."""
    if len(looked) < 3:
        return list(looked)
    reasons: dict[int, str] = {}
    for amp in looked[0].levels:
        level = np.array([u.levels[amp].median for u in looked])
        noise = np.array([u.levels[amp].sigma for u in looked])
        middle, typical = float(np.median(level)), float(np.median(noise))
        limit = max(5 * 1.4826 * float(np.median(np.abs(level - middle))), 0.3 * typical)
        for i in np.flatnonzero(np.abs(level - middle) > limit):
            reasons.setdefault(
                int(i), f"level {level[i]:.2f} {unit} in amplifier {amp}, the others {middle:.2f} (limit {limit:.2f})"
            )
        for i in np.flatnonzero(noise > 1.5 * typical):
            reasons.setdefault(
                int(i), f"noise {noise[i]:.2f} {unit} in amplifier {amp}, the others {typical:.2f}: light or pick-up"
            )
    if 2 * len(reasons) >= len(looked):
        notes.append(f"{len(reasons)} of {len(looked)} frames differ in level or noise; all are used.")
        return list(looked)
    for place, reason in sorted(reasons.items()):
        notes.append(f"Left out {looked[place].name}: {reason}.")
    return [u for i, u in enumerate(looked) if i not in reasons]


def build_bias(
    frames: Sequence[Frame],
    *,
    clip: Clip | str | None = None,
    drop: bool = True,
    memory: int = 1 << 30,
    workers: Workers | int | None = None,
) -> Bias:
    """Combined bias: the clipped mean of bias frames.

    Parameters
    ----------
    frames : corrected by the recipe "bias" (assembled; overscan subtracted where there is one).
    clip : rule of rejection; None for the default of `combine`.
    drop : leave out frames whose level differs from the median of all by more than 5 sigma of the levels and 0.3 of
        the pixel noise, or whose noise is 1.5 times that of the others.
    memory, workers : as of `combine`.

    Raises
    ------
    UsageError, GeometryError
        no frame; raw frames; frames of different size, binning or unit.
    """
    looked = _checked(frames, "bias")
    notes: list[str] = []
    used = _belong(looked, notes, looked[0].frame.unit) if drop else looked
    made = combine([u.frame for u in used], clip=clip, memory=memory, workers=workers)
    variance = _pooled(made, used[0].frame, notes)
    return Bias(
        image=made.image,
        variance=variance,
        unit=made.unit,
        statistics=_statistics(used, made.image, made),
        **_common(used, made, notes, "build_bias", drop=drop, clip=made.clip.model_dump()),
    )


def _intercepts(looked: Sequence[_Looked], times: NDArray[np.float64], notes: list[str]) -> list[Frame]:
    """Frames with the level that a line over time has at zero taken off, amplifier by amplifier."""
    if np.unique(times).size < 2:
        raise DataError(
            "an intercept needs darks of two different times", remedy="take some, or build without intercept"
        )
    out = [u.frame.copy() for u in looked]
    for amp, box in amplifier_boxes(out[0].detector, out[0].box).items():
        level = np.array([u.levels[amp].mean for u in looked])
        slope, offset = np.polyfit(times, level, 1)
        notes.append(f"Amplifier {amp}: {offset:.3f} {out[0].unit} at no dark time taken off ({slope:.5g} per second).")
        for frame in out:
            frame[box].image.array -= np.float32(offset)
    return out


def _dark_times(looked: Sequence[_Looked], dark_times: Sequence[float] | None) -> NDArray[np.float64]:
    """Dark time of each frame [s], all positive."""
    given = [u.frame.observation.collecting_time for u in looked] if dark_times is None else list(dark_times)
    times = np.array(given, np.float64)
    if times.shape != (len(looked),):
        raise UsageError(f"{times.size} dark times for {len(looked)} frames", remedy="give one per frame")
    for u, t in zip(looked, times, strict=True):
        if not (math.isfinite(t) and t > 0):
            raise DataError(
                f"the dark time is {t:g} s",
                where=u.name,
                remedy="are these dark frames? DARKTIME or EXPTIME must say so; in Python give dark_times",
            )
    return times


def build_dark(
    frames: Sequence[Frame],
    dark_times: Sequence[float] | None = None,
    *,
    biases: Sequence[Bias] = (),
    intercept: bool = False,
    clip: Clip | str | None = None,
    drop: bool = True,
    memory: int = 1 << 30,
    workers: Workers | int | None = None,
) -> Dark:
    """Combined dark per second: the clipped, weighted mean of frame / dark time.

    Frames of less than a fifth of the longest time are left out: their rates have many times its noise. Rates of
    unequal times are weighted by the inverse of their median variance (by the time squared, as read noise has it, where
    the frames have no variance). Cosmic rays are what the clip takes away; in two or three frames, too few for it, they
    are the values 5 sigma of the amplifier's noise above the others (unless a clip is given).

    Parameters
    ----------
    frames : corrected by the recipe "dark" (assembled, bias subtracted).
    dark_times : [s] per frame; None for those of the headers.
    biases : combined biases; the one that was subtracted from the frames is found by its id. Its error is the same in
        all frames and is not averaged down; the recipe "dark" leaves it out of their variances, and it is added here,
        once. The statistics keep its id and how much of it a second of dark holds: where bias and dark are taken off
        one frame, only the error of the difference counts.
    intercept : fit each amplifier's level over time and take off what it is at zero: a bias that drifted. Needs
        darks of different times.
    clip, drop, memory, workers : as of `build_bias` (levels are those of the rates).

    Raises
    ------
    DataError
        a dark without a positive time; an intercept of equal times.
    UsageError, GeometryError
        as of `build_bias`.
    """
    looked = _checked(frames, "dark")
    times = _dark_times(looked, dark_times)
    notes: list[str] = []
    stack = _intercepts(looked, times, notes) if intercept else [u.frame for u in looked]
    keep = []
    for i, (u, t) in enumerate(zip(looked, times, strict=True)):
        if t < 0.2 * times.max():
            role = " but for the intercept" if intercept else ""
            notes.append(f"Left out {u.name}{role}: {t:g} s is short against {times.max():g} s.")
        else:
            keep.append(i)
    if drop and np.ptp(times[keep]) <= 0.2 * times.max():
        rates = [_Looked(stack[i], amplifier_statistics(stack[i])) for i in keep]
        belong = {id(u) for u in _belong(rates, notes, stack[0].unit)}
        keep = [i for i, u in zip(keep, rates, strict=True) if id(u) in belong]
    chosen, t = [stack[i] for i in keep], times[keep]
    weights: Any = None
    if np.ptp(t) > 0:
        weights = "inverse_variance" if all(f.variance is not None for f in chosen) else (t / t.max()) ** 2
    if len(chosen) == 1:
        notes.append("1 dark frame: cosmic rays cannot be told from signal.")
    elif len(chosen) < 4 and clip is None:
        chosen, hits = without_hits(chosen, 1.0 / t)
        notes.append(f"Cosmic rays were found by the noise of the amplifiers: {hits} values in {len(chosen)} frames.")
    made = combine(chosen, clip=clip, scale=1.0 / t, weights=weights, memory=memory, workers=workers)
    used = [replace(looked[i], frame=stack[i]) for i in keep]
    variance = _pooled(made, chosen[0], notes)
    shared: dict[str, Any] = {}
    bias = _bias_of(chosen, biases)
    if bias is not None and bias.variance is not None:
        share = float(np.average(made.scales, weights=made.weights))
        variance = variance + np.float32(share**2) * bias.variance
        shared = {"bias": bias.id, "bias_share": share}
    return Dark(
        image=made.image,
        variance=variance,
        unit=f"{made.unit}/s",
        statistics={**_statistics(used, made.image, made), "dark_times": t.tolist(), **shared},
        **_common(used, made, notes, "build_dark", intercept=intercept, drop=drop, clip=made.clip.model_dump()),
    )


def _bias_of(frames: Sequence[Frame], biases: Sequence[Bias]) -> Bias | None:
    """The bias that the histories of all frames name; None where it is not given or they name several."""
    named = {r.inputs.get("bias", "") for f in frames if (r := f.last("bias")) is not None and r.state == "done"}
    return next((b for b in biases if named == {b.id} and b.image.shape == frames[0].shape), None)


def _flat_level(u: _Looked, region: Box | None) -> Statistics:
    frame = u.frame if region is None else u.frame[region.intersection(u.frame.box)]
    return statistics(frame.image.array, ~frame.good(), sigma=10.0)


def _usable(
    looked: Sequence[_Looked], levels: Sequence[Statistics], saturated: float, faint: float, notes: list[str]
) -> list[int]:
    """Indices of the flats that are neither saturated nor faint; the others are named."""
    best = max((s.mean for s in levels if math.isfinite(s.mean)), default=math.nan)
    keep = []
    for i, (u, s) in enumerate(zip(looked, levels, strict=True)):
        mask = u.frame.mask
        full = 0.0 if mask is None else float(np.mean(mask.any_of(("SAT", "SUSPECT"))))
        if full > saturated:
            notes.append(f"Left out {u.name}: {full:.1%} of its pixels are saturated or suspect.")
        elif not s.mean > 0:
            notes.append(f"Left out {u.name}: its level is {s.mean:.2f} {u.frame.unit}, there is no light.")
        elif s.mean < faint * best:
            notes.append(f"Left out {u.name}: its level {s.mean:.0f} {u.frame.unit} is faint against {best:.0f}.")
        else:
            keep.append(i)
    if not keep:
        raise DataError(
            f"none of the {len(looked)} flats can be used: {notes[-1] if notes else 'no pixel is valid'}",
            where=looked[0].name,
            remedy="take flats at a third to two thirds of saturation",
        )
    return keep


def _without_stars(frames: Sequence[Frame], levels: NDArray[np.float64], notes: list[str]) -> list[Frame]:
    """Frames in which what stands 5 sigma above the other frames, smoothed over 3 x 3, is masked with a margin."""
    from scipy.ndimage import binary_dilation, uniform_filter

    typical = combine(frames, method="median", scale=levels.mean() / levels, clip="none").image
    out, hidden = [], 0
    for frame, level in zip(frames, levels, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = frame.image.array / typical * np.float32(levels.mean() / level)
        good = np.isfinite(ratio) & frame.good()
        smooth = uniform_filter(np.where(good, ratio, 1.0).astype(np.float32), 3, mode="nearest")
        found = statistics(smooth, ~good)
        star = binary_dilation(good & (smooth > found.median + 5 * found.sigma), iterations=3)
        bits = np.zeros(frame.shape, np.uint32) if frame.mask is None else frame.mask.array.copy()
        bits[star] |= np.uint32(bit("DETECTED"))
        hidden += int(star.sum())
        own = Frame.from_arrays(
            frame.image.array, None if frame.variance is None else frame.variance.array, bits, unit=frame.unit
        )
        own.observation, own.source = frame.observation, frame.source
        out.append(own)
    notes.append(f"Stars masked: {hidden} pixels of {len(frames)} frames.")
    return out


def build_flat(
    frames: Sequence[Frame],
    *,
    mask_stars: bool | None = None,
    region: Box | None = None,
    saturated: float = 0.05,
    faint: float = 0.05,
    clip: Clip | str | None = None,
    memory: int = 1 << 30,
    workers: Workers | int | None = None,
) -> Flat:
    """Combined flat of one filter: each frame divided by its level, clipped mean, normalised to mean 1.

    One level per exposure, for the whole detector: amplifiers and detectors keep their relative response. Frames of
    unequal level are weighted by it, as shot noise has it (or by the inverse of their median variance).

    Parameters
    ----------
    frames : corrected by the recipe "flat" (assembled; bias and dark subtracted), of one filter.
    mask_stars : mask stars in each frame before combining; None: where a header speaks of sky or twilight and there
        are three frames or more.
    region : where levels are measured and the mean is 1; None for all good pixels.
    saturated : a frame with more than this fraction of saturated or suspect pixels is left out.
    faint : a frame below this fraction of the brightest level is left out.
    clip, memory, workers : as of `build_bias`.

    Raises
    ------
    UsageError
        no frame, raw frames, or two filters (both are named). GeometryError: sizes, binnings or units differ.
    DataError
        all frames are saturated, faint or dark.
    """
    looked = _checked(frames, "flat")
    for u in looked[1:]:
        a, b = looked[0].frame.observation.filter, u.frame.observation.filter
        if a != b:
            raise UsageError(
                f"the flats are of two filters, '{a}' and '{b}'",
                where=f"{looked[0].name}, {u.name}",
                remedy="build one flat per filter",
            )
    notes: list[str] = []
    levels = [_flat_level(u, region) for u in looked]
    keep = _usable(looked, levels, saturated, faint, notes)
    used, level = [looked[i] for i in keep], np.array([levels[i].mean for i in keep])
    chosen = [u.frame for u in used]
    words = " ".join(f"{f.observation.object} {f.observation.reason} {f.source}" for f in chosen).lower()
    stars = any(w in words for w in SKY_WORDS) if mask_stars is None else mask_stars
    planes: tuple[str, ...] = BAD_PLANES
    if stars and len(chosen) >= 3:
        chosen = _without_stars(chosen, level, notes)
        planes = (*planes, "DETECTED")
    elif stars:
        notes.append(f"Stars cannot be masked with {len(chosen)} frames.")
    weights: Any = None
    if np.ptp(level) > 0.05 * level.max():
        weights = "inverse_variance" if all(f.variance is not None for f in chosen) else level / level.max()
    made = combine(
        chosen, clip=clip, scale=1.0 / level, weights=weights, mask_planes=planes, memory=memory, workers=workers
    )
    good = np.isfinite(made.image)
    if region is not None:
        inside = np.zeros_like(good)
        own = region.intersection(used[0].frame.box).shifted(-used[0].frame.box.x0, -used[0].frame.box.y0)
        inside[own.slices] = True
        good &= inside
    norm = float(np.mean(made.image[good], dtype=np.float64))
    image = (made.image / np.float32(norm)).astype(np.float32)
    variance = (_pooled(made, used[0].frame, notes) / np.float32(norm**2)).astype(np.float32)
    return Flat(
        image=image,
        variance=variance,
        unit="",
        statistics={**_statistics(used, image, made), "levels": level.tolist(), "norm": norm},
        **_common(used, made, notes, "build_flat", mask_stars=bool(stars), clip=made.clip.model_dump()),
    )
