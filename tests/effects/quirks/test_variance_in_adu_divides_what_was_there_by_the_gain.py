"""Known mistake of the reference: in adu the variances of bias and dark are divided by the gain with the signal.

Ours adds them as they are: V = V_bias + I/g + (R/g)**2.
"""

from __future__ import annotations

import numpy as np

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import bias, variance
from fullwell.frames import Frame
from fullwell.products import Bias


def test_the_variance_of_the_bias_stays_what_it_is() -> None:
    detector = plain_detector((1, 1)).with_values(gain={"A": 4.0}, read_noise={"A": 8.0})
    frame = Frame.from_arrays(np.full((1, 1), 110, np.float32), unit="adu", detector=detector)
    one = np.ones((1, 1), np.float32)
    out = variance.flag(bias.remove(frame, Bias(image=10 * one, variance=3 * one, unit="adu")))
    assert out.variance.array[0, 0] == 3 + 100 / 4 + (8 / 4) ** 2
