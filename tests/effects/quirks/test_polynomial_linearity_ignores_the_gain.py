"""Known mistake of the reference: polynomials, squares and tables in adu are applied to electrons as they are.

Ours gives the same whether the linearity is corrected before or after the gain.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import gain, linearity
from fullwell.frames import Frame
from fullwell.products import Gain, Linearity

SETS = {
    "Polynomial": [1e-6, -2e-12],
    "Squared": [1e-6],
    "LookupTable": [0, 0],
    "Spline": [0, 1000, 9000, 30000, 0, 5, -20, 60],
}


@pytest.mark.parametrize("model", SETS)
def test_before_or_after_the_gain_is_the_same(model: str) -> None:
    counts = np.linspace(10, 25000, 50, dtype=np.float32)[None, :] + np.float32(0.25)
    detector = plain_detector(counts.shape).with_values(gain={"A": 2.0}, read_noise={"A": 6.0})
    frame = Frame.from_arrays(counts, unit="adu", detector=detector)
    table = np.sin(np.arange(30000.0) / 900)[None, :] * 50
    product, of_camera = Linearity.same(("A",), model, SETS[model], table=table), Gain.of_detector(detector)
    before = gain.remove(linearity.remove(frame, product), of_camera).image.array
    after = linearity.remove(gain.remove(frame, of_camera), product).image.array
    np.testing.assert_allclose(after, before, rtol=3e-7)
    assert np.abs(before - 2 * counts).max() > 10
