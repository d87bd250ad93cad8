"""Cosmic rays in two or three frames: too few for a clip, but the noise of the amplifier tells.

The scatter of three values says little about their spread (`fullwell.measure.rejection`), that of a million pixels
says much. A value is a hit where it stands above the lower or middle one of its pixel by more than 5 sigma of a
difference; sigma is that of the amplifier, or of the pixel's own variance where that is larger (hot pixels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Box
from fullwell.frames import Frame, Mask
from fullwell.measure.levels import MAD_TO_SIGMA, amplifier_boxes

__all__ = ["without_hits"]

SIGMAS = 5.0


def without_hits(frames: Sequence[Frame], scales: NDArray[np.float64]) -> tuple[list[Frame], int]:
    """Copies of two or three assembled frames with the mask plane CR set on hits, and the number of hits.

    Parameters
    ----------
    frames : of one scene but for their level. scales : (N,) factors that bring them to one level.
    """
    out = [f.copy() for f in frames]
    for frame in out:
        if frame.mask is None:
            frame.mask = Mask(np.zeros(frame.shape, np.uint32), frame.box)
    count = 0
    for box in amplifier_boxes(frames[0].detector, frames[0].box).values():
        if box.area:
            hit = _hits(frames, scales, box)
            count += int(hit.sum())
            for frame, one in zip(out, hit, strict=True):
                part = frame[box].mask
                assert part is not None
                part["CR"] = part["CR"] | one
    return out, count


def _hits(frames: Sequence[Frame], scales: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """(N, ny, nx) True on hits, in one amplifier."""
    parts = [f[box] for f in frames]
    values = np.stack(
        [
            np.where(p.good(), p.image.array * np.float32(s), np.float32(np.inf))
            for p, s in zip(parts, scales, strict=True)
        ]
    )
    base = np.sort(values, axis=0)[(len(frames) - 1) // 2]
    limit = np.zeros(base.shape)
    for i in range(len(frames)):
        for other in range(i):
            both = np.isfinite(values[i]) & np.isfinite(values[other])
            if both.any():
                away = np.abs(values[i][both] - values[other][both])
                limit = np.maximum(limit, (MAD_TO_SIGMA * float(np.median(away))) ** 2)
    if all(p.variance is not None for p in parts):
        own = [p.variance.array * s**2 for p, s in zip(parts, scales, strict=True) if p.variance is not None]
        limit = np.maximum(limit, 2 * np.nan_to_num(np.min(own, axis=0)))
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & np.isfinite(base) & (values - base > SIGMAS * np.sqrt(limit))
