"""Known mistake of the reference: UNMASKEDNAN is set on every NaN, masked before or not.

Ours keeps the meaning of the name: a NaN that BAD or NO_DATA accounts for is not counted.
"""

from __future__ import annotations

import numpy as np

from fullwell.effects import nan
from fullwell.frames import Frame


def test_a_masked_nan_is_not_unmasked() -> None:
    frame = Frame.from_arrays(np.full((1, 3), np.nan, np.float32), mask=np.array([[1, 256, 0]]), unit="electron")
    assert nan.flag(frame).mask["UNMASKEDNAN"][0].tolist() == [False, False, True]
