"""Known mistake of the reference: frames read as integers start with a variance of 1 adu**2, which stays in the result.

Ours starts with none: the variance of a frame of zeros is the read noise alone, whatever the type of its pixels.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import gain, variance
from fullwell.frames import Frame
from fullwell.products import Gain


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_the_type_of_the_pixels_adds_no_variance(kind: type) -> None:
    detector = plain_detector((2, 2)).with_values(gain={"A": 2.0}, read_noise={"A": 6.0})
    frame = Frame.from_arrays(np.zeros((2, 2), kind), unit="adu", detector=detector)
    out = variance.flag(gain.remove(frame, Gain.of_detector(detector)))
    np.testing.assert_array_equal(out.variance.array, 36.0)
