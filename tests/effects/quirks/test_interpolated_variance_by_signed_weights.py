"""Known mistake of the reference: the variance of a filled pixel is made with the signed weights of the image.

With weights -1/6, 2/3, 2/3, -1/6 that is negative beside noisy outer pixels, and V for a mean of equal ones; ours is
the sum of w**2 V.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.effects import interpolation
from fullwell.frames import Frame


def test_noisy_outer_neighbours_raise_the_variance() -> None:
    image = np.ones((1, 5), np.float32)
    noise = np.array([[900.0, 9.0, 1.0, 9.0, 900.0]], np.float32)
    mask = np.array([[0, 0, 1, 0, 0]])
    out = interpolation.fill(Frame.from_arrays(image, noise, mask, unit="electron"), method="cubic")
    signed = -900 / 6 + 2 / 3 * 9 + 2 / 3 * 9 - 900 / 6
    assert signed < 0
    assert out.variance.array[0, 2] == pytest.approx(2 * (900 / 36 + 9 * 4 / 9))


def test_the_mean_of_two_equal_pixels_has_half_their_variance() -> None:
    frame = Frame.from_arrays(np.ones((1, 3), np.float32), np.full((1, 3), 8, np.float32), np.array([[0, 1, 0]]),
                              unit="electron")  # fmt: skip
    assert interpolation.fill(frame).variance.array[0, 1] == 4.0
