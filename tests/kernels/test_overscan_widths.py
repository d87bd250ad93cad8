"""Widths of overscan pixels: whole numbers, rows of few columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fullwell.kernels.overscan import strip_statistics


def widths(image: np.ndarray) -> tuple[float, float, bool]:
    """Width within rows and about the centre of one amplifier, and whether the values are integers."""
    centre, sigma, spread = (np.zeros(1, np.float32) for _ in range(3))
    columns = np.full(1, image.shape[1], np.int64)
    whole = strip_statistics(image.astype(np.float32), np.zeros(1, np.int64), columns, 1e6, centre, sigma, spread)
    return float(sigma[0]), float(spread[0]), bool(whole)


@pytest.mark.parametrize("noise", [1.0, 2.0, 2.5, 3.5, 4.0, 5.0])
def test_width_of_rounded_counts_is_not_a_whole_number(noise):
    """The median deviation of integers is an integer: 1.48, 2.97, 4.45 … whatever the noise, if taken as it is."""
    rng = np.random.default_rng(11)
    sigma, spread, whole = widths(np.rint(rng.normal(1000.3, noise, (256, 58))))
    truth = math.sqrt(noise**2 + 1 / 12)
    # a median absolute deviation of N normal values has the relative error sqrt(1.361/N); the spreading over
    # one count adds a little: the error is that of sqrt(truth^2 + 1/12), and the shape is not quite normal (2 %)
    error = math.sqrt(1.361 / (256 * 58)) * (1 + 1 / (12 * truth**2))
    assert whole
    assert sigma == pytest.approx(truth, rel=4 * error + 0.02)
    assert spread == pytest.approx(truth, rel=4 * error + 0.06 / noise**2)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 6, 10, 20, 58])
def test_width_does_not_depend_on_the_number_of_columns(columns):
    """The median of a row follows its values; a row of one value has no width of its own but the spread."""
    rows = 40_000 // columns
    sigma, _, whole = widths(np.random.default_rng(3).normal(0.5, 7.0, (rows, columns)))
    error = math.sqrt(1.361 / (rows * columns)) * math.sqrt(2)  # neighbours share their median: at most twice over
    assert not whole
    assert sigma == pytest.approx(7.0, rel=4 * error + (0.03 if columns < 10 else 0.01))
