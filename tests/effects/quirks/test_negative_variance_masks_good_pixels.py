"""Known mistake of the reference: a pixel whose counts scatter below minus the read-noise variance is flagged BAD.

Ours floors the total at a tenth of the read-noise variance and flags nothing. The signal is never floored.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import variance
from fullwell.frames import Frame


def test_a_low_pixel_is_kept_with_a_small_variance() -> None:
    detector = plain_detector((1, 3)).with_values(gain={"A": 1.0}, read_noise={"A": 3.0})
    frame = Frame.from_arrays(np.array([[-12.0, -8.5, 4.0]], np.float32), unit="electron", detector=detector)
    out = variance.flag(frame)
    assert out.variance.array[0].tolist() == pytest.approx([0.9, 0.9, 13.0])
    assert not out.mask.counts()
    np.testing.assert_array_equal(out.image.array, frame.image.array)
