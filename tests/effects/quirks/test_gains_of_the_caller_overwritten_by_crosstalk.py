"""Known mistake of the reference: converting crosstalk by gains overwrites bad gains in the caller's dictionary.

Ours converts with a copy, and an amplifier without a gain stays without one.
"""

from __future__ import annotations

import numpy as np

from fullwell.effects import crosstalk
from fullwell.products import Crosstalk


def test_the_gains_given_are_not_changed(quad, raw_frame) -> None:
    detector = quad(gain=(2.0, np.nan, 1.0, 4.0))
    gains = np.array([2.0, np.nan, 0.0, 4.0])
    product = Crosstalk(amps=detector.names, coefficients=np.full((4, 4), 1e-3), gains=gains.copy())
    crosstalk.remove(raw_frame(detector, [100.0] * 4, "electron"), product)
    np.testing.assert_array_equal(detector.values("gain"), [2.0, np.nan, 1.0, 4.0])
    np.testing.assert_array_equal(product.gains, gains)
