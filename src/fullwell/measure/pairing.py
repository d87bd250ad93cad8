"""Which frames belong together in pairs: those that had the same light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fullwell.base.errors import UsageError
from fullwell.frames import Frame
from fullwell.measure.levels import statistics

__all__ = ["Pair", "as_pairs", "match_pairs", "name_of"]

Pair = tuple[Frame, Frame]


def as_pairs(first: Any, second: Frame | None, what: str) -> list[Pair]:
    """Pairs of two frames, of pairs, or of frames paired in order, once they are of one size and unit.

    Raises
    ------
    UsageError
        no pair, or frames that differ in box or unit; `what` ("flat", "bias") is named.
    """
    if isinstance(first, Frame):
        if second is None:
            raise UsageError(f"a pair needs two {what} frames")
        first = [(first, second)]
    pairs = list(first)
    if pairs and isinstance(pairs[0], Frame):
        pairs = list(zip(pairs[::2], pairs[1::2], strict=False))
    if not pairs:
        raise UsageError(f"there is no pair of {what} frames", remedy=f"take two {what} frames of the same setting")
    a = pairs[0][0]
    for b in [f for pair in pairs for f in pair]:
        if a.box != b.box or a.unit != b.unit:
            raise UsageError(
                f"the {what} frames differ: {a.box} {a.unit}, {b.box} {b.unit}",
                where=f"{name_of(a)}, {name_of(b)}",
                remedy="pair frames of one size, window and unit",
            )
    return pairs


def name_of(frame: Frame) -> str:
    """File or id of a frame, for messages."""
    return frame.source or frame.observation.obs_id or "frame"


def match_pairs(
    flats: Sequence[Frame], rule: Literal["exposure", "level"] = "exposure", mismatch: float | None = None
) -> list[Pair]:
    """Pairs of flats of one filter that had the same light; each flat is in one pair at most.

    Frames are taken in order of time where they all have one, else as given.

    Parameters
    ----------
    rule : "exposure": one exposure time and one level, as a lamp gives it; frames of other times may lie between.
        "level": consecutive frames of one level, whatever their times, as in twilight.
    mismatch : largest difference of two levels, relative to the larger; default 0.02 with "exposure", else 0.1.
    """
    order = list(flats)
    limit = {"exposure": 0.02, "level": 0.1}[rule] if mismatch is None else mismatch
    if all(math.isfinite(f.observation.mjd) for f in order):
        order.sort(key=lambda f: f.observation.mjd)
    level = {id(f): statistics(f.image.array[:: max(1, f.shape[0] // 256)], sigma=np.inf).median for f in order}
    waiting: dict[tuple[str, float], Frame] = {}
    pairs = []
    for frame in order:
        time = frame.observation.exposure_time if rule == "exposure" else math.nan
        key = (frame.observation.filter, round(time, 2) if math.isfinite(time) else -1.0)
        other = waiting.pop(key, None)
        if other is None:
            waiting[key] = frame
            continue
        a, b = level[id(other)], level[id(frame)]
        if min(a, b) > 0 and abs(a - b) <= limit * max(a, b):
            pairs.append((other, frame))
        else:
            waiting[key] = frame
    return pairs
