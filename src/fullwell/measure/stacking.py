"""Combination of any number of frames: streamed in bands of rows, memory bounded, every file opened once.

Each frame's zero is subtracted and its scale applied before anything is rejected. Masked pixels and those that are
not finite take no part. The result carries two variances: `variance_scatter`, from the scatter of the values about
their mean, and, where all inputs have variances, the propagated one; both are corrected for the values that a clip
takes from good data (`fullwell.measure.rejection`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import ConfigError, DataError, UsageError
from fullwell.base.progress import progress
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.conductor import Workers
from fullwell.frames import Frame, Mask, Plane, bit
from fullwell.kernels.settle import write_mask
from fullwell.measure.bands import Bands, open_all
from fullwell.measure.levels import statistics
from fullwell.measure.rejection import Clip, apply_factors, as_clip, run

__all__ = ["BAD_PLANES", "Combined", "combine"]

BAD_PLANES = ("BAD", "SAT", "CR", "NO_DATA", "UNMASKEDNAN")
BAND_BYTES = 6 << 20
FIXED_BYTES = 3 << 20
SAMPLE_PIXELS = 1 << 20
METHODS = ("clipped", "mean", "median", "min", "max")

Level = Callable[[NDArray[np.float32]], float]
Numbers = Sequence[float] | NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Combined:
    """A combined image.

    Parameters
    ----------
    image : (ny, nx) float32, NaN where no value was left.
    variance : (ny, nx) [unit^2] of the image: propagated where all inputs have variances, else `variance_scatter`.
    variance_scatter : (ny, nx) [unit^2] from the scatter of the values; NaN where fewer than two were kept.
    count : (ny, nx) values kept; rejected : (ny, nx) values that the clip took away.
    mask : (ny, nx) uint32: NO_DATA where no value was left, REJECTED where some were rejected.
    rejected_by_input : (N,) values of each input that the clip took away.
    scales, zeros, weights : (N,) as used: ``scale * (value - zero)``.
    unit, inputs, method, clip : what was combined and how; notes : sentences for people.
    kept_bits : (ceil(N/8), ny, nx), bit i % 8 of plane i // 8 set where input i was kept; None unless asked for.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    variance_scatter: NDArray[np.float32]
    count: NDArray[np.uint16]
    rejected: NDArray[np.uint16]
    mask: NDArray[np.uint32]
    rejected_by_input: NDArray[np.int64]
    scales: NDArray[np.float64]
    zeros: NDArray[np.float64]
    weights: NDArray[np.float64]
    unit: str
    inputs: tuple[str, ...]
    method: str
    clip: Clip
    notes: tuple[str, ...] = ()
    propagated: bool = False
    kept_bits: NDArray[np.uint8] | None = field(default=None, repr=False)

    def kept(self, number: int) -> NDArray[np.bool_]:
        """True where the value of input `number` is part of the result, shape (ny, nx).

        Raises
        ------
        UsageError
            the combination was made without ``keep_rejections=True``.
        """
        if self.kept_bits is None:
            raise UsageError("which inputs were rejected was not kept", remedy="combine(…, keep_rejections=True)")
        return (self.kept_bits[number // 8] & np.uint8(1 << (number % 8))) != 0

    def record(self) -> Record:
        """What was done, for the history of a frame or product."""
        return Record(
            "combine",
            config={"method": self.method, "clip": self.clip.model_dump()},
            inputs={str(i): name for i, name in enumerate(self.inputs)},
            note=" ".join(self.notes),
            numbers={
                "scales": self.scales.tolist(),
                "zeros": self.zeros.tolist(),
                "weights": self.weights.tolist(),
                "rejected": self.rejected_by_input.tolist(),
            },
        )

    def to_frame(self, like: Frame | None = None) -> Frame:
        """The result as a frame; observation, detector and header of `like` where given."""
        box = Box.from_shape(self.image.shape) if like is None else like.box
        frame = Frame(
            Plane(self.image, box, self.unit),
            Plane(self.variance, box, f"{self.unit}2" if self.unit else ""),
            Mask(self.mask, box),
            history=(self.record(),),
        )
        if like is not None:
            frame.detector, frame.observation, frame.raw = like.detector, like.observation, like.raw
            frame.metadata, frame.wcs = dict(like.metadata), like.wcs
        return frame


def combine(
    inputs: Sequence[Any],
    *,
    method: Literal["clipped", "mean", "median", "min", "max"] = "clipped",
    clip: Clip | str | None = None,
    weights: Numbers | str | None = None,
    scale: Numbers | Level | str | None = None,
    zero: Numbers | Level | str | None = None,
    region: Box | None = None,
    mask_planes: Sequence[str] = BAD_PLANES,
    memory: int = 1 << 30,
    workers: Workers | int | None = None,
    keep_rejections: bool = False,
) -> Combined:
    """Combine frames, arrays or files pixel by pixel.

    Parameters
    ----------
    inputs : frames, arrays (ny, nx), paths of FITS files or `Bands`, all of one size, binning and unit.
    method : "clipped" is the mean of what `clip` keeps; "mean", "median", "min", "max" reject only if `clip` is given.
    clip : `Clip`, "lsst", "none" or None. The default of "clipped" keeps values within 5 sigma of the median, sigma =
        1.4826 MAD, in at most 3 rounds: valid from 4 frames on. Rejection is never weighted.
    weights : one per input, or "inverse_variance": of the median variance of each input. They weigh the mean.
    scale : factor per input, or "median", "mean" or a function of an array: brings that level of each input (after its
        zero) to the mean of all inputs.
    zero : subtracted per input, or "median", "mean" or a function: brings that level of each input to the mean of all.
    region : part of the image in which levels are measured; at most a million pixels of it are used.
    mask_planes : pixels with one of these take no part.
    memory : bytes that may be taken beyond the inputs in memory, result included (files are mapped, not loaded).
    workers : threads, or their number (default 1). The result does not depend on it.
    keep_rejections : keep which inputs were used in each pixel (N/8 bytes per pixel).

    Raises
    ------
    UsageError, GeometryError
        nothing to combine; inputs of different size, binning or unit (both are named).
    ConfigError
        an unknown method, clip or statistic; a list of the wrong length; too little memory.
    DataError
        an input without a positive level to scale by.
    """
    if method not in METHODS:
        raise ConfigError(f"there is no method '{method}'", remedy=f"use one of {', '.join(METHODS)}")
    rule = as_clip(clip, method)
    readers = open_all(inputs)
    try:
        job = _Job(readers, method, rule, tuple(mask_planes), keep_rejections, memory)
        job.levels(zero, scale, weights, region)
        own = workers if isinstance(workers, Workers) else Workers(workers or 1)
        try:
            return job.run(own)
        finally:
            if own is not workers:
                own.close()
    finally:
        for reader in readers:
            reader.close()


def _spare(pixels: int) -> int:
    """Pixels between the rows of a stack: 256 beyond a multiple of 2048, so that a column's values lie in many sets
    of the cache. Rows a power of two apart fall into one set, and sorting takes 12 ns a pixel instead of 7.5."""
    return (256 - pixels) % 2048


class _Job:
    """One combination: the inputs, what is to be done with them, and the planes that are filled."""

    def __init__(
        self, readers: list[Bands], method: str, clip: Clip, planes: tuple[str, ...], keep: bool, memory: int
    ) -> None:
        n = len(readers)
        if n > 65535:
            raise UsageError(f"{n} frames are more than 65535", remedy="combine in groups")
        self.readers, self.method, self.clip, self.planes = readers, method, clip, planes
        self.shape = readers[0].shape
        self.zeros, self.scales, self.weights = np.zeros(n), np.ones(n), np.ones(n)
        self.notes = [note for note in (clip.doubts(n),) if note]
        self.propagate = all(r.has_variance for r in readers)
        if not self.propagate and any(r.has_variance for r in readers):
            lacking = next(r.name for r in readers if not r.has_variance)
            self.notes.append(f"The variance comes from the scatter: {lacking} has none of its own.")
        self.masked = any(r.has_mask for r in readers)
        self.integer = all(r.dtype.kind in "iu" for r in readers)
        self.memory = memory
        self.keep = keep

    @property
    def native(self) -> bool:
        """Whether the pixels can be combined as the uint16 that they are."""
        plain = not self.masked and not self.zeros.any() and bool((self.scales == 1).all())
        return plain and all(r.dtype == np.uint16 for r in self.readers)

    # -- levels -------------------------------------------------------------------------------------------------
    def levels(self, zero: Any, scale: Any, weights: Any, region: Box | None) -> None:
        """Zeros, scales and weights from lists or from the pixels."""
        if zero is not None:
            found = self._of("zero", zero, region)
            self.zeros = found if self._listed(zero) else found - found.mean()
        if scale is not None:
            found = self._of("scale", scale, region)
            if self._listed(scale):
                self.scales = found
            else:
                for value, reader in zip(found, self.readers, strict=True):
                    if not value > 0:
                        raise DataError(
                            f"the level is {value:g}: there is nothing to scale by",
                            where=reader.name,
                            remedy="leave this frame out, or give the factors as a list",
                        )
                self.scales = found.mean() / found
        if isinstance(weights, str):
            if weights != "inverse_variance" or not self.propagate:
                why = "there is no such weight" if self.propagate else "not all inputs have a variance"
                raise ConfigError(f"weights '{weights}': {why}", remedy="give one number per input")
            noise = np.array([self._sample(r, region, variance=True, at=i) for i, r in enumerate(self.readers)])
            self.weights = 1.0 / (noise * self.scales**2)
            self.weights /= self.weights.max()
        elif weights is not None:
            self.weights = self._list("weights", weights)
            if not (self.weights >= 0).all() or not self.weights.any():
                raise ConfigError("weights must not be negative, and not all zero")

    @staticmethod
    def _listed(value: Any) -> bool:
        return not isinstance(value, str) and not callable(value)

    def _list(self, label: str, values: Any) -> NDArray[np.float64]:
        out = np.asarray(values, np.float64)
        if out.shape != (len(self.readers),) or not np.isfinite(out).all():
            raise ConfigError(
                f"{label} has shape {out.shape} for {len(self.readers)} inputs",
                remedy="give one finite number per input",
            )
        return out

    def _of(self, label: str, value: Any, region: Box | None) -> NDArray[np.float64]:
        if self._listed(value):
            return self._list(label, value)
        names: dict[str, Level] = {
            "median": lambda a: statistics(a, sigma=np.inf).median,
            "mean": lambda a: statistics(a).mean,
        }
        if isinstance(value, str) and value not in names:
            raise ConfigError(f"there is no level '{value}' for {label}", remedy="use 'median', 'mean' or a function")
        measure = names[value] if isinstance(value, str) else value
        return np.array([self._sample(r, region, measure, at=i) for i, r in enumerate(self.readers)])

    def _sample(
        self, reader: Bands, region: Box | None, measure: Level | None = None, *, variance: bool = False, at: int = 0
    ) -> float:
        """A level of one input from evenly spaced rows of the region."""
        box = Box.from_shape(self.shape) if region is None else region.intersection(Box.from_shape(self.shape))
        if not box.area:
            raise ConfigError(f"the region {region} has no pixel of the image")
        rows = np.unique(
            np.linspace(box.y0, box.y1 - 1, max(1, min(box.height, SAMPLE_PIXELS // box.width))).astype(int)
        )
        sample = np.empty((rows.size, box.width), np.float32)
        line = np.empty((1, self.shape[1]), np.float32)
        for k, y in enumerate(rows.tolist()):
            (reader.variance if variance else reader.image)(y, y + 1, line)
            if reader.has_mask:
                line[reader.excluded(y, y + 1, self.planes)] = np.nan
            sample[k] = line[0, box.x0 : box.x1]
        good = sample[np.isfinite(sample)]
        if not good.size:
            raise DataError("no pixel is valid in the region that levels are measured in", where=reader.name)
        return float(np.median(good)) if measure is None else float(measure(good - np.float32(self.zeros[at])))

    # -- pixels -------------------------------------------------------------------------------------------------
    def _band_rows(self, threads: int) -> int:
        ny, nx = self.shape
        n = len(self.readers)
        per_pixel = 4 + 4 + 2 + 2 + 4 + (4 if self.propagate else 0) + (-(-n // 8) if self.keep else 0)
        pixel = n * (2 if self.native else 4) + (4 * n if self.propagate else 0) + (1 if self.masked else 0) + 32
        lanes = 260 * n * 4 + 260 * 200 + 2048 * n * (2 if self.native else 4) * (2 if self.propagate else 1)
        left = self.memory - per_pixel * nx * ny - threads * lanes - FIXED_BYTES
        rows = int(left // (threads * pixel * nx))
        if rows < 1:
            need = FIXED_BYTES + per_pixel * nx * ny + threads * (lanes + pixel * nx)
            raise ConfigError(
                f"{self.memory} bytes of memory are too few: {n} frames of {ny} x {nx} pixels need {need}",
                remedy="raise the memory, use fewer workers, or keep no rejections",
            )
        return max(1, min(rows, BAND_BYTES // (pixel * nx) or 1, -(-ny // threads)))

    def run(self, workers: Workers) -> Combined:
        """Fill the planes band by band."""
        ny, nx = self.shape
        n = len(self.readers)
        rows = self._band_rows(workers.count)
        image, scatter = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
        propagated = np.full((ny, nx), np.nan, np.float32) if self.propagate else None
        count, rejected = np.empty((ny, nx), np.uint16), np.empty((ny, nx), np.uint16)
        mask = np.empty((ny, nx), np.uint32)
        kept = np.zeros((-(-n // 8), ny, nx), np.uint8) if self.keep else None
        by_input = np.zeros(n, np.int64)
        lock, local = threading.Lock(), threading.local()
        floor = 0.28867513 * float(self.scales.mean()) if self.integer else 0.0
        weights = None if (self.weights == 1).all() else self.weights.astype(np.float32)
        dtype = np.uint16 if self.native else np.float32

        def band(y0: int) -> None:
            y1 = min(y0 + rows, ny)
            if not hasattr(local, "stack"):
                local.stack = np.empty((n, rows * nx + _spare(rows * nx)), dtype)
                local.variance = np.empty((n, local.stack.shape[1]) if self.propagate else (0, 0), np.float32)
            stack, variance = local.stack, local.variance
            self._load(stack, variance, y0, y1)
            own = np.zeros(n, np.int64)
            part = slice(y0, y1)
            number = (y1 - y0) * nx
            bits = None if kept is None else np.zeros((kept.shape[0], 1, number), np.uint8)
            run(
                stack, self.method, self.clip, floor=floor, weights=weights,
                image=image[part].reshape(-1), scatter=scatter[part].reshape(-1),
                count=count[part].reshape(-1), rejected=rejected[part].reshape(-1), by_input=own,
                variance=variance if self.propagate else None,
                propagated=None if propagated is None else propagated[part].reshape(-1), kept_bits=bits,
            )  # fmt: skip
            if kept is not None and bits is not None:
                kept[:, part] = bits.reshape(kept.shape[0], y1 - y0, nx)
            self._finish(
                scatter[part].reshape(-1), None if propagated is None else propagated[part].reshape(-1),
                count[part].reshape(-1), rejected[part].reshape(-1), mask[part].reshape(-1),
            )  # fmt: skip
            with lock:
                by_input[:] += own

        starts = range(0, ny, rows)
        workers.run(band, progress(starts, "combine") if workers.count == 1 else starts)  # type: ignore[arg-type]
        return Combined(
            image, scatter if propagated is None else propagated, scatter, count, rejected, mask, by_input,
            self.scales, self.zeros, self.weights, self.readers[0].unit, tuple(r.name for r in self.readers),
            self.method, self.clip, tuple(self.notes), self.propagate, kept,
        )  # fmt: skip

    def _load(self, stack: NDArray[Any], variance: NDArray[np.float32], y0: int, y1: int) -> None:
        """Rows of all inputs into the beginning of the rows of `stack`, scaled, NaN where masked."""
        nx = self.shape[1]
        for i, reader in enumerate(self.readers):
            band = stack[i, : (y1 - y0) * nx].reshape(y1 - y0, nx)
            reader.image(y0, y1, band)
            if self.zeros[i]:
                band -= np.float32(self.zeros[i])
            if self.scales[i] != 1:
                band *= np.float32(self.scales[i])
            if reader.has_mask:
                band[reader.excluded(y0, y1, self.planes)] = np.nan
            if self.propagate:
                own = variance[i, : (y1 - y0) * nx].reshape(y1 - y0, nx)
                reader.variance(y0, y1, own)
                if self.scales[i] != 1:
                    own *= np.float32(self.scales[i] ** 2)

    def _finish(
        self,
        scatter: NDArray[np.float32],
        propagated: NDArray[np.float32] | None,
        count: NDArray[np.uint16],
        rejected: NDArray[np.uint16],
        mask: NDArray[np.uint32],
    ) -> None:
        """Factors of the variance, and the mask; flat planes."""
        lost = 0 if self.clip.idle and self.method in ("mean", "clipped") else bit("REJECTED")
        apply_factors(scatter, propagated, count, rejected, self.method, self.clip)
        write_mask(count, rejected, lost, bit("NO_DATA"), mask)
