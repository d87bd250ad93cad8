"""Known gap of the reference: linearity changes the image and leaves the variance.

Ours takes the slope. Simulated: read noise added after a strong non-linearity; the scatter after the correction is the
stated variance at every level.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import linearity, variance
from fullwell.frames import Frame, Plane
from fullwell.products import Linearity

SHAPE, NOISE = (100, 1000), 10.0
PEDESTAL = np.float32(1000.0)  # keeps all pixels above the first node


@pytest.mark.parametrize("level", [0.0, 10.0, 100.0])
def test_the_scatter_after_the_correction_is_the_variance(level: float) -> None:
    rng = np.random.default_rng(int(level))
    detector = plain_detector(SHAPE).with_values(gain={"A": 1.0}, read_noise={"A": NOISE})
    product = Linearity.same(("A",), "Spline", [0.0, 20000.0, 0.0, 8000.0])  # L(v) = 0.6 v
    true = Frame.from_arrays(rng.poisson(level, SHAPE).astype(np.float32), unit="electron", detector=detector)
    true.image = Plane(true.image.array + PEDESTAL, unit="electron")
    measured = linearity.add(true, product)
    measured.image.array += rng.normal(0, NOISE, SHAPE).astype(np.float32)
    out = linearity.remove(measured, product)
    out.image.array -= PEDESTAL
    stated = variance.flag(out).variance.array.astype(float)
    ratio = np.mean((out.image.array.astype(float) - level) ** 2) / stated.mean()
    # sqrt(2/n) times 4; without the slope it would be (level + 36)/(level + 100).
    assert abs(ratio - 1) < 4 * np.sqrt(2 / true.image.array.size)
