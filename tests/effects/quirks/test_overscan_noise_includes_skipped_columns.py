"""Known mistake of the reference: its overscan noise includes the leading columns that were skipped for the level.

Deferred charge of a bright image lies in these columns and is then taken for read noise.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.effects import overscan_serial
from fullwell.frames import Frame
from fullwell.kernels.overscan_fit import clipped


def test_noise_is_that_of_the_columns_used() -> None:
    """Noise 5 adu in 500 x 14 used columns: sigma 5/sqrt(2 x 7000) = 0.042, 4 sigma 0.17; the tail is ± 12 adu wide."""
    rng = np.random.default_rng(8)
    image = rng.normal(1000, 5, (500, 40)).astype(np.float32)
    image[:, 20:23] += rng.normal(0, 12, (500, 3))
    box, whole = Box(0, 0, 20, 500), Box(0, 0, 40, 500)
    amp = Amplifier("A", (500, 40), box, whole, box, serial_overscan=Box(20, 0, 20, 500))
    frame = Frame.from_arrays(image, unit="adu", detector=Detector("d", 0, (amp,)), raw=True)
    out = overscan_serial.remove(frame, skip_leading=3, skip_trailing=3)
    record = out.last("overscan_serial")
    assert record is not None
    assert record.numbers["noise"]["A"] == pytest.approx(5, abs=0.17)
    assert clipped(out.image.array[:, 20:])[1] > 5.3
