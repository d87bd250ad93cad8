"""The noise of single pixels where an overscan value per row or per column was subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fullwell.base.errors import FullwellError
from fullwell.frames import Frame
from fullwell.measure.pairs import pair_noise
from fullwell.products import Gain

__all__ = ["with_pixel_noise"]


def with_pixel_noise(gain: Gain, pairs: Sequence[tuple[Frame, Frame]]) -> Gain:
    """The gain with the read noise of single pixels, from pairs of bias frames.

    A gain is measured with the noise of the frames as they are, which holds the error of the overscan value of each
    row or column. The variance of a pixel gets that error from the overscan steps, so that it must not be in the
    read noise as well. Where no such value was subtracted, or the noise cannot be measured, `gain` is returned.

    Parameters
    ----------
    gain : of the same detector. pairs : frames of one temperature, corrected alike.
    """
    if not pairs:
        return gain
    rows, columns = (_per_line(pairs[0][0], step) for step in ("overscan_serial", "overscan_parallel"))
    if not (rows or columns):
        return gain
    try:
        own = pair_noise(pairs, centre_rows=rows, centre_columns=columns)
    except FullwellError:
        return gain
    value = np.array([own[name].value for name in gain.amps])
    error = np.array([own[name].error for name in gain.amps])
    spread = np.nan_to_num(gain.gain_error)
    return replace(
        gain,
        read_noise=gain.gain * value,
        read_noise_error=np.hypot(gain.gain * error, value * spread),
        read_noise_adu=value,
        id="",
    )


def _per_line(frame: Frame, step: str) -> bool:
    """Whether an overscan step took one value off each line."""
    record = frame.last(step)
    return record is not None and record.state == "done" and "per_row" in str(record.config.get("method"))
