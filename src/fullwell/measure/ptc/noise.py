"""Read noise of a pair of flats: what the overscan step left in the history, or the difference of two bias frames."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.measure.ptc.clip import clipped, plain
from fullwell.measure.ptc.config import ExtractConfig

__all__ = ["bias_noise", "overscan_numbers"]

NAN = math.nan


def overscan_numbers(one: Frame, two: Frame, amp: str) -> dict[str, float]:
    """Level [adu], noise [adu] and its error of the serial overscan of an amplifier, over both frames; NaN if unknown.

    The noise is the root of the mean of both squares; its error that of a Gaussian and the number of overscan pixels.
    """
    level, square = 0.0, 0.0
    for frame in (one, two):
        record = frame.last("overscan_serial")
        numbers = record.numbers if record is not None and record.state == "done" else {}
        level += float(numbers.get("level", {}).get(amp, NAN)) / 2
        square += float(numbers.get("noise", {}).get(amp, NAN)) ** 2 / 2
    noise = math.sqrt(square) if square >= 0 else NAN
    pixels = 0
    if one.detector is not None and amp in one.detector.names:
        pixels = one.detector[amp].serial_overscan.area
    return {"overscan": level, "noise": noise, "noise_error": noise / math.sqrt(4 * pixels) if pixels else NAN}


def bias_noise(one: Frame, two: Frame, boxes: Mapping[str, Box], cfg: ExtractConfig) -> dict[str, tuple[float, float]]:
    """Read noise and error [adu] of each amplifier from a pair of bias frames; NaN where too few pixels are left."""
    out = {}
    for name, box in boxes.items():
        out[name] = (NAN, NAN)
        if not box.area:
            continue
        a, b = one[box], two[box]
        good = a.good(cfg.masked) & b.good(cfg.masked)
        difference = plain(a.image.array.astype(np.float64) - b.image.array)
        found = clipped(difference, good, cfg.clip, cfg.rounds)
        if found.count > 1 and found.variance > 0:
            value = math.sqrt(found.variance / found.factor / 2)
            out[name] = (value, value / math.sqrt(2 * found.count))
    return out
