"""Known mistake of the reference: parallel levels per column are made of values cut to integers, towards zero.

After the serial overscan (and in electron) the values are not integers, and the cut pulls every level towards zero by
about half a count.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.effects import overscan_parallel
from fullwell.frames import Frame


def level(compat: str) -> float:
    """Mean level found where the truth is 10.0 with a noise of 3, 400 columns of 20 rows."""
    image = np.random.default_rng(4).normal(10, 3, (30, 400)).astype(np.float32)
    box = Box(0, 0, 400, 10)
    amp = Amplifier("A", (30, 400), box, Box(0, 0, 400, 30), box, parallel_overscan=Box(0, 10, 400, 20))
    frame = Frame.from_arrays(image, unit="adu", detector=Detector("d", 0, (amp,)), raw=True)
    out = overscan_parallel.remove(
        frame, method="mean_per_row", skip_leading=0, skip_trailing=0, smoothing=False, compat=compat
    )
    return float(np.mean(image[:10] - out.image.array[:10]))


def test_levels_are_not_pulled_towards_zero() -> None:
    """8000 pixels: sigma 3/sqrt(8000) = 0.034, 4 sigma 0.13; the cut takes 0.5 away."""
    assert level("") == pytest.approx(10.0, abs=0.13)
    assert level("lsst") == pytest.approx(9.5, abs=0.13)
