"""Known mistake of the reference: the prescan keeps the level that is taken from the rest of its row.

Ours corrects every column of the row; the reference's way is kept under ``compat="lsst"``.
"""

from __future__ import annotations

import numpy as np

from fullwell.cameras import Amplifier, Box, Detector
from fullwell.effects import overscan_serial
from fullwell.frames import Frame


def test_prescan_is_corrected() -> None:
    image = np.full((8, 12), 300.0, np.float32)
    box = Box(2, 0, 5, 8)
    amp = Amplifier(
        "A", (8, 12), box, Box(0, 0, 12, 8), Box(0, 0, 5, 8), Box(0, 0, 2, 8), serial_overscan=Box(7, 0, 5, 8)
    )
    frame = Frame.from_arrays(image, unit="adu", detector=Detector("d", 0, (amp,)), raw=True)
    ours = overscan_serial.remove(frame, skip_leading=0, skip_trailing=0)
    theirs = overscan_serial.remove(frame, skip_leading=0, skip_trailing=0, compat="lsst")
    assert np.all(ours.image.array == 0)
    assert np.all(theirs.image.array[:, :2] == 300)
    assert np.all(theirs.image.array[:, 2:] == 0)
