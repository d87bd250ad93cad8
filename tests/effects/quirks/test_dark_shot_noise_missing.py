"""Known mistake of the reference: the shot noise of the dark charge is not in the variance.

Ours adds it. Simulated: 100 000 pixels of dark charge and read noise; the scatter is the stated variance.
"""

from __future__ import annotations

import numpy as np

from fullwell.conductor.verbs import plain_detector
from fullwell.effects import dark, variance
from fullwell.frames import Frame, Observation
from fullwell.products import Dark

SHAPE, RATE, TIME, NOISE = (100, 1000), 3.0, 20.0, 4.0


def test_the_scatter_of_a_dark_is_its_variance() -> None:
    rng = np.random.default_rng(5)
    detector = plain_detector(SHAPE).with_values(gain={"A": 1.0}, read_noise={"A": NOISE})
    charge = (rng.poisson(RATE * TIME, SHAPE) + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    frame = Frame.from_arrays(charge, unit="electron", detector=detector, observation=Observation(dark_time=TIME))
    master = Dark(image=np.full(SHAPE, RATE, np.float32), unit="electron/s")
    out = variance.flag(dark.remove(frame, master))
    ratio = np.mean(out.image.array.astype(float) ** 2) / np.mean(out.variance.array)
    # Relative error of a mean square of n values: sqrt(2/n), times 4. Without the dark's own noise it would be 4.75.
    assert abs(ratio - 1) < 4 * np.sqrt(2 / charge.size)
